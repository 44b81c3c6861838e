//! Every effect of a run in the order in which they come: what a process hands to its shell, and what a store does.
//! A run can be cut at each of them.

use super::World;

/// What is done to one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twist {
    /// The process dies just before it.
    DieBefore,
    /// It is carried out, and the process dies before it hears of it.
    DieAfter,
    /// It is carried out twice; the second answer is heard.
    Twice,
}

#[derive(Debug, Clone, Copy)]
pub struct Effect {
    pub what: &'static str,
    /// A store did it; otherwise it was only asked for.
    pub in_store: bool,
}

#[derive(Debug, Default)]
pub struct Effects {
    pub seen: Vec<Effect>,
    pub cut: Option<(usize, Twist)>,
    doomed: bool,
}

impl Effects {
    /// How often the shell is asked for this: once, or never.
    pub fn asked(&mut self, what: &'static str) -> usize {
        self.times(Effect { what, in_store: false }).min(1)
    }

    /// How often a store does this.
    pub fn done(&mut self, what: &'static str) -> usize {
        self.times(Effect { what, in_store: true })
    }

    fn times(&mut self, effect: Effect) -> usize {
        let number = self.seen.len();
        self.seen.push(effect);
        let Some((_, twist)) = self.cut.filter(|(at, _)| *at == number) else { return 1 };
        self.doomed = twist != Twist::Twice;
        match twist {
            Twist::DieBefore => 0,
            Twist::DieAfter => 1,
            Twist::Twice => 2,
        }
    }

    /// Whether the process that does this dies now.
    pub fn kills(&mut self) -> bool {
        std::mem::take(&mut self.doomed)
    }
}

impl World {
    /// Whether the process of the workers died by this effect; then another one was started. Its drain died with it.
    pub fn falls(&mut self) -> bool {
        let falls = self.effects.kills();
        if falls {
            self.instances.clear();
            self.start();
        }
        falls
    }
}
