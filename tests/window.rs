//! A window's decisions, explored: two operators who begin and end windows, in every interleaving of their looks and
//! steps, each of whom may die anywhere and be run again, while orders come into the backlog and leave it.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use millrace::window::{Begin, End, Epoch, Gate, Next, Phase, Step, Stop};

use self::stores::{BacklogRow, GateRow, Stores};

mod stores;

/// Windows up to this epoch.
const EPOCHS: Epoch = 2;

/// A command that has looked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Command {
    Begin(Begin),
    End(End),
}

/// What an operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Aim {
    Begin,
    End,
    /// It has looked before.
    GoOn(Command),
}

/// Where an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Operator {
    Away,
    /// Between two rounds.
    Ready(Command),
    /// One store was read, which may have changed since.
    SawGate(Aim, GateRow),
    SawBacklog(Aim, BacklogRow),
    /// A step was decided. Half of it is taken where it consists of two.
    Decided(Command, Step, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    stores: Stores,
    operators: [Operator; 2],
}

impl World {
    /// Two operators are alike: it does not matter which is which.
    fn sorted(mut self) -> Self {
        let key = |operator: &Operator| {
            let mut hasher = DefaultHasher::new();
            operator.hash(&mut hasher);
            hasher.finish()
        };
        self.operators.sort_by_key(key);
        self
    }

    fn successors(&self) -> Vec<Self> {
        let mut next: Vec<Self> =
            self.stores.moves_of_workers().into_iter().map(|stores| Self { stores, ..*self }).collect();
        for who in 0..2 {
            for (stores, operator) in moves(self.stores, self.operators[who]) {
                let mut operators = self.operators;
                operators[who] = operator;
                next.push(Self { stores, operators }.sorted());
            }
        }
        next
    }
}

/// What one operator may do next.
fn moves(mut stores: Stores, operator: Operator) -> Vec<(Stores, Operator)> {
    let looks = |aim| [Operator::SawGate(aim, stores.gate), Operator::SawBacklog(aim, stores.backlog)];
    let mut next: Vec<Operator> = match operator {
        Operator::Away => [looks(Aim::Begin), looks(Aim::End)].concat(),
        Operator::Ready(command) => looks(Aim::GoOn(command)).to_vec(),
        Operator::SawGate(aim, gate) => decide(aim, gate, stores.backlog, gate == stores.gate),
        Operator::SawBacklog(aim, backlog) => decide(aim, stores.gate, backlog, backlog == stores.backlog),
        // It is announced first, as a statement of its own.
        Operator::Decided(command, step @ Step::StartSpooling(epoch), false) => {
            stores.backlog.announced = stores.backlog.announced.max(epoch);
            vec![Operator::Decided(command, step, true)]
        }
        Operator::Decided(command, step, _) => {
            stores.take(step);
            vec![Operator::Ready(command)]
        }
    };
    if operator != Operator::Away {
        next.push(Operator::Away);
    }
    next.into_iter().map(|operator| (stores, operator)).collect()
}

/// Whatever the command may decide over these two readings, which may be of the same moment. (A gate never comes back
/// to a state that it left.) Then they always fit each other; otherwise they may look as if one were a restored copy.
fn decide(aim: Aim, gate: GateRow, backlog: BacklogRow, together: bool) -> Vec<Operator> {
    let (gate, backlog) = (gate.view(), backlog.view());
    let command = match aim {
        Aim::Begin => Command::Begin(Begin::new(&gate, &backlog)),
        Aim::End => Command::End(End::new(&gate)),
        Aim::GoOn(command) => command,
    };
    let next = match command {
        // A window too many for this exploration.
        Command::Begin(begin) if begin.epoch() > EPOCHS => return Vec::new(),
        Command::Begin(begin) => vec![begin.next(&gate, &backlog)],
        Command::End(end) => [true, false].map(|little| end.next(&gate, &backlog, little)).to_vec(),
    };
    let operator = |next| match next {
        Next::Take(step) => Operator::Decided(command, step, false),
        Next::Wait => Operator::Ready(command),
        Next::Stop(stop @ Stop::Inconsistent { .. }) if together => panic!("{stop}: {gate:?}, {backlog:?}"),
        Next::Done | Next::Stop(_) => Operator::Away,
    };
    next.into_iter().map(operator).collect()
}

/// What holds in every state.
fn hold(stores: &Stores) -> Result<(), &'static str> {
    let Stores { gate, backlog, closed, .. } = stores;
    if gate.gate == Gate::Open && (backlog.phase != Phase::Sealed || backlog.epoch != gate.epoch) {
        return Err("the gate is open beside a backlog that is not sealed under its epoch");
    }
    if gate.gate == Gate::Open && stores.rows() > 0 {
        return Err("the gate is open while orders are in the backlog");
    }
    if closed & (1 << backlog.epoch) == 0 {
        return Err("the backlog is in a window that the gate was never closed for");
    }
    if gate.epoch > gate.announced {
        return Err("the gate was closed without an announcement");
    }
    Ok(())
}

/// What holds over every change.
fn goes_forward(before: &Stores, after: &Stores) -> Result<(), &'static str> {
    if after.gate.epoch < before.gate.epoch || after.gate.announced < before.gate.announced {
        return Err("an epoch of the gate went back");
    }
    if after.backlog.epoch < before.backlog.epoch {
        return Err("the epoch of the backlog went back");
    }
    let sealed = before.backlog.phase == Phase::Sealed && after.backlog.epoch == before.backlog.epoch;
    if sealed && after.backlog.phase != Phase::Sealed {
        return Err("sealed is final");
    }
    let open = before.gate.gate == Gate::Open && after.gate.epoch == before.gate.epoch;
    if open && after.gate.gate != Gate::Open {
        return Err("open is final");
    }
    Ok(())
}

/// One operator alone, who sees both stores as they are, while the drain does what it can.
fn alone(mut stores: Stores, aim: Aim) -> Result<Stores, String> {
    let mut command = None;
    for _ in 0..30 {
        let (gate, backlog) = (stores.gate.view(), stores.backlog.view());
        let command = *command.get_or_insert_with(|| match aim {
            Aim::Begin => Command::Begin(Begin::new(&gate, &backlog)),
            Aim::End => Command::End(End::new(&gate)),
            Aim::GoOn(command) => command,
        });
        let next = match command {
            Command::Begin(begin) => begin.next(&gate, &backlog),
            Command::End(end) => end.next(&gate, &backlog, stores.rows() == 0),
        };
        match next {
            Next::Take(step) => {
                stores.take(step);
            }
            Next::Wait => {}
            Next::Done => return Ok(stores),
            Next::Stop(stop) => return Err(stop.to_string()),
        }
        stores.drain();
    }
    Err(format!("it does not come to an end: {stores:?}"))
}

/// From here, whatever was before: `end` opens the gate over an empty backlog, `begin` closes and spools.
fn can_be_finished(stores: Stores) -> Result<(), String> {
    let ended = alone(stores, Aim::End).map_err(|why| format!("`end`: {why}"))?;
    if ended.gate.gate != Gate::Open || ended.backlog.phase != Phase::Sealed || ended.rows() > 0 {
        return Err(format!("`end` is done in {ended:?}"));
    }
    let begun = alone(stores, Aim::Begin).map_err(|why| format!("`begin`: {why}"))?;
    if begun.gate.gate != Gate::Closed || !begun.backlog.view().accepts() || begun.backlog.epoch != begun.gate.epoch {
        return Err(format!("`begin` is done in {begun:?}"));
    }
    if begun.gate.epoch <= stores.gate.epoch {
        return Err(format!("`begin` did not begin anything: {begun:?}"));
    }
    Ok(())
}

/// Every state that can be reached, each with the one before it.
struct Explored {
    worlds: Vec<(World, usize)>,
}

impl Explored {
    /// How the last state was reached, without repetitions of the stores.
    fn story(&self, mut at: usize) -> String {
        let mut lines = Vec::new();
        loop {
            let (world, before) = &self.worlds[at];
            lines.push(format!("{world:?}"));
            if *before == at {
                break;
            }
            at = *before;
        }
        lines.reverse();
        lines.join("\n")
    }

    fn everything() -> Self {
        let start = World { stores: Stores::new(), operators: [Operator::Away; 2] };
        let mut explored = Self { worlds: vec![(start, 0)] };
        let mut known = HashSet::from([start]);
        let mut finished = HashSet::new();
        let mut at = 0;
        while at < explored.worlds.len() {
            let world = explored.worlds[at].0;
            let held = hold(&world.stores).map_err(str::to_owned);
            let held =
                held.and_then(|()| if finished.insert(world.stores) { can_be_finished(world.stores) } else { Ok(()) });
            if let Err(why) = held {
                panic!("{why}:\n{}", explored.story(at));
            }
            for next in world.successors() {
                if let Err(why) = goes_forward(&world.stores, &next.stores) {
                    panic!("{why}: {:?} after\n{}", next.stores, explored.story(at));
                }
                if known.insert(next) {
                    explored.worlds.push((next, at));
                }
            }
            at += 1;
        }
        explored
    }
}

#[test]
fn two_operators_in_every_interleaving() {
    let explored = Explored::everything();
    println!("{} states", explored.worlds.len());
    // It came around: every state of a window, of each window, and orders in it.
    for epoch in 1..=EPOCHS {
        for gate in [Gate::Closed, Gate::Draining, Gate::Open] {
            let reached =
                |(world, _): &(World, usize)| world.stores.gate.gate == gate && world.stores.gate.epoch == epoch;
            assert!(explored.worlds.iter().any(reached), "{gate:?} {epoch}");
        }
        for phase in [Phase::Spooling, Phase::Sealing, Phase::Sealed] {
            let reached = |(world, _): &(World, usize)| {
                let backlog = &world.stores.backlog;
                backlog.phase == phase && backlog.epoch == epoch && (phase == Phase::Sealed || world.stores.rows() > 0)
            };
            assert!(explored.worlds.iter().any(reached), "{phase:?} {epoch}");
        }
    }
}

/// One of the stores was restored from a snapshot, so that they fit each other in no way: `begin` closes the gate above
/// both, and `end` drains.
#[test]
fn restored_stores_are_closed_and_drained() {
    let epochs = 0..=EPOCHS;
    let mut inconsistent = 0;
    for (epoch, announced, other) in
        epochs.clone().flat_map(|e| epochs.clone().flat_map(move |a| (0..=EPOCHS).map(move |b| (e, a, b))))
    {
        for gate in [Gate::Open, Gate::Closed, Gate::Draining] {
            for phase in [Phase::Spooling, Phase::Sealing, Phase::Sealed] {
                let stores = Stores {
                    gate: GateRow { gate, epoch, announced: announced.max(epoch) },
                    backlog: BacklogRow { phase, epoch: other, turn: 0, sealing: false, announced: other },
                    waiting: u8::from(phase != Phase::Sealed),
                    ..Stores::new()
                };
                let ended = alone(stores, Aim::End);
                inconsistent += usize::from(ended.is_err_and(|why| why.contains("restored")));
                let begun = alone(stores, Aim::Begin).unwrap_or_else(|why| panic!("{why}: {stores:?}"));
                assert_eq!((begun.gate.gate, begun.backlog.epoch), (Gate::Closed, begun.gate.epoch), "{stores:?}");
                assert!(begun.backlog.view().accepts() && begun.gate.epoch > epoch.max(other), "{stores:?}");
                let ended = alone(begun, Aim::End).unwrap_or_else(|why| panic!("{why}: {stores:?}"));
                assert_eq!((ended.gate.gate, ended.backlog.phase), (Gate::Open, Phase::Sealed), "{stores:?}");
            }
        }
    }
    assert!(inconsistent > 0, "`end` says when they do not fit");
}
