//! Commands that are killed between their steps and run again; two operators at once.

use millrace::cli::maintenance::begin::Beginning;
use millrace::cli::maintenance::course::Advance;
use millrace::cli::maintenance::end::Ending;
use millrace::cli::maintenance::stores::Seen;
use millrace::window::{Gate, Phase};

use super::{Kind, Site};

/// Both stores of one kind; `typed.rs` has them mixed.
const ALIKE: [(Kind, Kind); 2] = [(Kind::Sqlite, Kind::Sqlite), (Kind::Postgres, Kind::Postgres)];

/// More advances than any command needs when nothing stands in its way.
const ENOUGH: usize = 40;

/// Takes so many steps, then is as good as killed. None: it was done before that.
async fn killed_begin(site: &Site, steps: usize) -> Option<()> {
    let mut beginning = site.beginning("ann");
    let mut taken = 0;
    for _ in 0..ENOUGH {
        if taken == steps {
            return Some(());
        }
        match beginning.advance().await.unwrap() {
            Advance::Took(_) => taken += 1,
            Advance::Done(_) => return None,
            Advance::Found(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not come to an end");
}

async fn killed_end(site: &Site, steps: usize) -> Option<()> {
    let mut ending = site.ending();
    let mut taken = 0;
    for _ in 0..ENOUGH {
        if taken == steps {
            return Some(());
        }
        match ending.advance().await.unwrap() {
            Advance::Took(_) => taken += 1,
            Advance::Done(_) => return None,
            Advance::Found(_) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not come to an end");
}

#[tokio::test]
async fn a_begin_that_died_is_finished_by_begin_and_by_end() {
    for kinds in ALIKE {
        let site = Site::new(kinds).await;
        let mut kills = 0;
        for steps in 0..ENOUGH {
            let Some(()) = killed_begin(&site, steps).await else { break };
            kills += 1;
            // What died after its last step needs nothing more.
            site.done(&["maintenance", "begin", "--reason", "again"]);
            assert_eq!(site.stands().0, "spooling", "{kinds:?} after {steps} steps");
            site.done(&["maintenance", "end"]);

            killed_begin(&site, steps).await;
            site.done(&["maintenance", "end"]);
            assert_eq!(site.stands().0, "open", "{kinds:?} after {steps} steps");
        }
        assert_eq!(kills, 4, "after none, announce, close, start spooling");
    }
}

#[tokio::test]
async fn an_end_that_died_is_finished_by_end_and_overtaken_by_begin() {
    for kinds in ALIKE {
        let site = Site::new(kinds).await;
        let mut kills = 0;
        for steps in 0..ENOUGH {
            site.done(&["maintenance", "begin", "--reason", "upgrade"]);
            let Some(()) = killed_end(&site, steps).await else { break };
            kills += 1;
            site.done(&["maintenance", "end"]);
            assert_eq!(site.stands().0, "open", "{kinds:?} after {steps} steps");

            site.done(&["maintenance", "begin", "--reason", "upgrade"]);
            let (_, before) = site.stands();
            killed_end(&site, steps).await;
            site.done(&["maintenance", "begin", "--reason", "not yet"]);
            assert_eq!(site.stands(), ("spooling".into(), before + 1), "{kinds:?} after {steps} steps");
        }
        assert_eq!(kills, 6, "after none, grant, announce the seal, seal, sealed, reopen");
    }
}

/// One of two operators.
enum Operator {
    Begins(Box<Beginning>),
    Ends(Box<Ending>),
}

impl Operator {
    /// Whether it is over, done or overtaken.
    async fn advance(&mut self) -> bool {
        let advance = match self {
            Operator::Begins(beginning) => beginning.advance().await,
            Operator::Ends(ending) => ending.advance().await,
        };
        matches!(advance.unwrap(), Advance::Done(_) | Advance::Stop(_))
    }
}

/// Two operators take turns as the bits of a number say, for every number; then one after the other.
async fn taking_turns(site: &Site, make: impl Fn(&Site) -> [Operator; 2]) {
    let mut observer = site.stores();
    for schedule in 0..64_usize {
        let mut operators = make(site);
        let mut over = [false; 2];
        for turn in 0..ENOUGH {
            if over == [true; 2] {
                break;
            }
            let who = if turn < 6 { (schedule >> turn) & 1 } else { turn & 1 };
            over[who] = over[who] || operators[who].advance().await;
            let Seen { gate, backlog } = observer.read().await.unwrap();
            let broken = gate.gate == Gate::Open && gate.announced == gate.epoch && backlog.phase != Phase::Sealed;
            assert!(!broken, "schedule {schedule:06b}, turn {turn}: {gate:?} {backlog:?}");
        }
        assert_eq!(over, [true; 2], "schedule {schedule:06b}");
        // Whatever came of it, it can be ended.
        let mut ending = site.ending();
        let mut left = ENOUGH;
        while !matches!(ending.advance().await.unwrap(), Advance::Done(_)) {
            left -= 1;
            assert!(left > 0, "schedule {schedule:06b}: it cannot be ended");
        }
    }
}

#[tokio::test]
async fn two_begins_at_once() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    taking_turns(&site, |site| {
        [Operator::Begins(Box::new(site.beginning("ann"))), Operator::Begins(Box::new(site.beginning("bob")))]
    })
    .await;
}

#[tokio::test]
async fn a_begin_beside_an_end() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    killed_begin(&site, 3).await.unwrap();
    taking_turns(&site, |site| {
        [Operator::Begins(Box::new(site.beginning("ann"))), Operator::Ends(Box::new(site.ending()))]
    })
    .await;
}

#[tokio::test]
async fn two_ends_at_once() {
    let site = Site::new((Kind::Sqlite, Kind::Sqlite)).await;
    taking_turns(&site, |site| {
        site.done(&["maintenance", "begin", "--reason", "upgrade"]);
        [Operator::Ends(Box::new(site.ending())), Operator::Ends(Box::new(site.ending()))]
    })
    .await;
}

/// As processes: whoever is overtaken says so, and the window is on or over in the end.
#[tokio::test]
async fn two_operators_type_at_once() {
    let site = Site::new((Kind::Postgres, Kind::Postgres)).await;
    for round in 0..3 {
        for command in [&["maintenance", "begin", "--reason", "upgrade"][..], &["maintenance", "end"]] {
            let (one, two) = (site.program.start(command), site.program.start(command));
            let mut done = 0;
            for mut operator in [one, two] {
                let ended = operator.ended(crate::servers::PATIENCE).await;
                done += u8::from(ended.success());
                assert!(ended.success() || operator.log().contains("another operator"), "{}", operator.log());
            }
            assert!(done > 0, "round {round}: {command:?}");
        }
        // An end may have been overtaken by nobody: nothing is on.
        assert_eq!(site.stands().0, "open", "round {round}");
    }
}
