//! The values of every label. Each is one of an enum, so that a label never grows by what a message contains, and
//! every series exists from the start: `rate()` sees the first error too.

use crate::inbox::InboxErrorClass;
use crate::ledger::{CaseKind, ErrorClass};
use crate::outcome::Outcome;
use crate::status::{Phase, Route};

/// One value for each label of a metric.
pub(super) trait Labels: Copy + PartialEq + 'static {
    /// The names of the labels.
    const NAMES: &'static [&'static str];

    /// Every value there is.
    fn all() -> Vec<Self>;

    /// One text for each name.
    fn texts(self) -> Vec<&'static str>;
}

/// An enum that is a label: with the text of each value, or one of another module that has `label()`.
macro_rules! label {
    ($(#[$doc:meta])* $name:literal: $type:ident { $($(#[$about:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[$about])* $variant,)+
        }

        impl $type {
            /// The value of the label.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $($type::$variant => $text),+ }
            }
        }

        label!($name: $type [$($variant),+]);
    };
    ($name:literal: $type:ident [$($variant:ident),+]) => {
        impl Labels for $type {
            const NAMES: &'static [&'static str] = &[$name];

            fn all() -> Vec<Self> {
                vec![$($type::$variant),+]
            }

            fn texts(self) -> Vec<&'static str> {
                // A variant that is missing in the list does not compile.
                match self { $($type::$variant)|+ => vec![self.label()] }
            }
        }
    };
}

label! {
    /// A step of the engine that is timed, from its beginning to its answer.
    "step": Step {
        /// One receive, its long poll included.
        Receive = "receive",
        /// Taking locks.
        Lock = "lock",
        /// One group commit.
        Commit = "commit",
        /// Parking orders.
        Park = "park",
        /// Looking orders up.
        LookUp = "look_up",
        /// Loading parked runs.
        ParkedRun = "parked_run",
        /// Writing one entry to quarantine.
        Quarantine = "quarantine",
        /// Looking for what a crash left behind.
        Sweep = "sweep",
        /// One batch of deletes.
        Delete = "delete",
        /// One batch of visibility changes.
        Visibility = "visibility",
    }
}

label! {
    /// How a request was answered.
    "result": Answer {
        /// As a whole; single entries may have failed, which are errors of their own.
        Ok = "ok",
        /// With an error.
        Failed = "failed",
        /// Not in time.
        TimedOut = "timed_out",
    }
}

label! {
    /// Something that a person should look at.
    "kind": Alarm {
        /// The ledger's schema, privileges or effects do not fit the program.
        LedgerBroken = "ledger_broken",
        /// The ledger answered with an error that this program does not know.
        LedgerUnrecognised = "ledger_unrecognised",
        /// The queue does not exist or refuses us.
        InboxRefused = "inbox_refused",
        /// The locks are away.
        LocksAway = "locks_away",
        /// A customer was tried in vain too often.
        CustomerStuck = "customer_stuck",
        /// A single order keeps running into timeouts.
        OrderStalls = "order_stalls",
        /// A customer's next number does not come.
        Gap = "gap",
        /// A customer was blocked by an order that failed by its own fault.
        Blocked = "blocked",
    }
}

label!("outcome": Outcome [Committed, Duplicate, Parked, Spooled, Returned, Quarantined]);
label!("kind": CaseKind [Malformed, Poison, Conflict, OutOfSequence]);
label!("route": Route [Direct, Hold, Probing, HalfOpen]);
label!("phase": Phase [Starting, Running, Stopping]);
label!("class": InboxErrorClass [Throttled, Away, Refused]);
label!("class": ErrorClass [Retry, Timeout, Unknown, Away, Fault, Taken, Broken, Unrecognised]);

/// A server that requests are made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Sqs,
    Redis,
    Sql,
}

/// One request to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SQS: `ReceiveMessage`.
    Receive,
    /// SQS: `DeleteMessageBatch`.
    Delete,
    /// SQS: `ChangeMessageVisibilityBatch`.
    Visibility,
    /// Redis: taking the locks of one bucket.
    Take,
    /// Redis: renewing the locks of one bucket.
    Renew,
    /// Redis: releasing the locks of one bucket.
    Release,
    /// Redis: connecting and its proof.
    Prove,
    /// Ledger: connecting.
    Connect,
    /// Ledger: reading the gate.
    Gate,
    /// Ledger: a group commit.
    Commit,
    /// Ledger: parking.
    Park,
    /// Ledger: looking orders up.
    LookUp,
    /// Ledger: loading parked runs.
    ParkedRuns,
    /// Ledger: writing to quarantine.
    Quarantine,
    /// Ledger: the sweep.
    Sweep,
}

impl Request {
    const ALL: [Request; 15] = [
        Request::Receive,
        Request::Delete,
        Request::Visibility,
        Request::Take,
        Request::Renew,
        Request::Release,
        Request::Prove,
        Request::Connect,
        Request::Gate,
        Request::Commit,
        Request::Park,
        Request::LookUp,
        Request::ParkedRuns,
        Request::Quarantine,
        Request::Sweep,
    ];

    pub(super) fn to(self) -> To {
        self.describe().0
    }

    fn describe(self) -> (To, &'static str) {
        match self {
            Request::Receive => (To::Sqs, "receive"),
            Request::Delete => (To::Sqs, "delete"),
            Request::Visibility => (To::Sqs, "visibility"),
            Request::Take => (To::Redis, "take"),
            Request::Renew => (To::Redis, "renew"),
            Request::Release => (To::Redis, "release"),
            Request::Prove => (To::Redis, "prove"),
            Request::Connect => (To::Sql, "connect"),
            Request::Gate => (To::Sql, "gate"),
            Request::Commit => (To::Sql, "commit"),
            Request::Park => (To::Sql, "park"),
            Request::LookUp => (To::Sql, "look_up"),
            Request::ParkedRuns => (To::Sql, "parked_runs"),
            Request::Quarantine => (To::Sql, "quarantine"),
            Request::Sweep => (To::Sql, "sweep"),
        }
    }
}

impl Labels for (Request, Answer) {
    const NAMES: &'static [&'static str] = &["to", "kind", "result"];

    fn all() -> Vec<Self> {
        Request::ALL
            .into_iter()
            .flat_map(|request| Answer::all().into_iter().map(move |answer| (request, answer)))
            .collect()
    }

    fn texts(self) -> Vec<&'static str> {
        let (to, kind) = self.0.describe();
        let to = match to {
            To::Sqs => "sqs",
            To::Redis => "redis",
            To::Sql => "sql",
        };
        [vec![to, kind], self.1.texts()].concat()
    }
}

/// An error, by what the engine does about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// A call to the queue failed as a whole.
    Inbox(InboxErrorClass),
    /// One entry of a batch failed and is tried again.
    EntryAgain,
    /// One entry of a batch failed for good: its handle is stale, or the message is gone.
    EntryGone,
    /// The locks are away.
    LocksAway,
    /// A call to the ledger failed.
    Ledger(ErrorClass),
}

impl Labels for Failure {
    const NAMES: &'static [&'static str] = &["from", "class"];

    fn all() -> Vec<Self> {
        let single = [Failure::EntryAgain, Failure::EntryGone, Failure::LocksAway];
        let inbox = InboxErrorClass::all().into_iter().map(Failure::Inbox);
        let ledger = ErrorClass::all().into_iter().map(Failure::Ledger);
        single.into_iter().chain(inbox).chain(ledger).collect()
    }

    fn texts(self) -> Vec<&'static str> {
        match self {
            Failure::Inbox(class) => vec!["inbox", class.label()],
            Failure::EntryAgain => vec!["inbox", "entry_again"],
            Failure::EntryGone => vec!["inbox", "entry_gone"],
            Failure::LocksAway => vec!["locks", "away"],
            Failure::Ledger(class) => vec!["ledger", class.label()],
        }
    }
}

/// A metric without labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plain;

impl Labels for Plain {
    const NAMES: &'static [&'static str] = &[];

    fn all() -> Vec<Self> {
        vec![Plain]
    }

    fn texts(self) -> Vec<&'static str> {
        Vec::new()
    }
}
