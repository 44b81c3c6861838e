//! The values of every label. Each is one of an enum, so that a label never grows by what a message contains, and
//! every series exists from the start: `rate()` sees the first error too.

use crate::backlog::{ErrorClass as BacklogErrorClass, Limit};
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
        /// One append to the backlog.
        Append = "append",
        /// One read of the backlog for the drain.
        BacklogRead = "backlog_read",
        /// One removal of drained orders from the backlog.
        BacklogRemove = "backlog_remove",
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
        /// The backlog's schema or privileges do not fit the program, or it gave an error that this program does not know.
        BacklogBroken = "backlog_broken",
        /// A customer was blocked by an order that failed by its own fault.
        Blocked = "blocked",
        /// The ledger's gate is open beside a backlog that is not sealed: one of them was restored from a snapshot.
        Inconsistent = "inconsistent",
    }
}

label!("outcome": Outcome [Committed, Duplicate, Parked, Spooled, Returned, Quarantined]);
label!("kind": CaseKind [Malformed, Poison, Conflict, OutOfSequence]);
label!("route": Route [Direct, Spool, Hold, Probing, HalfOpen]);
label!("phase": Phase [Starting, Running, Stopping]);
label!("class": BacklogErrorClass [Away, Broken, Unrecognised]);
label!("class": InboxErrorClass [Throttled, Away, Refused]);
label!("class": ErrorClass [Retry, Timeout, Unknown, Away, Fault, Taken, Broken, Unrecognised, Inconsistent]);

/// What limits the drain; none while nobody drains.
impl Labels for Option<Limit> {
    const NAMES: &'static [&'static str] = &["limit"];

    fn all() -> Vec<Self> {
        let limits = [Limit::DatabaseLatency, Limit::Ceiling, Limit::HotCustomer, Limit::LedgerAway, Limit::RampUp];
        limits.into_iter().chain([Limit::Empty]).map(Some).chain([None]).collect()
    }

    fn texts(self) -> Vec<&'static str> {
        vec![match self {
            Some(Limit::DatabaseLatency) => "database_latency",
            Some(Limit::Ceiling) => "ceiling",
            Some(Limit::HotCustomer) => "hot_customer",
            Some(Limit::LedgerAway) => "ledger_away",
            Some(Limit::RampUp) => "ramp_up",
            Some(Limit::Empty) => "empty",
            None => "nobody_drains",
        }]
    }
}

/// A server that requests are made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum To {
    Sqs,
    Redis,
    Sql,
    Backlog,
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
    /// Backlog: connecting.
    BacklogConnect,
    /// Backlog: reading the phase, the depth and who drains.
    BacklogLook,
    /// Backlog: appending orders.
    Append,
    /// Backlog: reading orders for the drain.
    BacklogRead,
    /// Backlog: removing orders that are durable in the ledger.
    BacklogRemove,
    /// Backlog: the drain lease.
    DrainLease,
}

impl Request {
    const ALL: [Request; 21] = [
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
        Request::BacklogConnect,
        Request::BacklogLook,
        Request::Append,
        Request::BacklogRead,
        Request::BacklogRemove,
        Request::DrainLease,
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
            Request::BacklogConnect => (To::Backlog, "connect"),
            Request::BacklogLook => (To::Backlog, "look"),
            Request::Append => (To::Backlog, "append"),
            Request::BacklogRead => (To::Backlog, "read"),
            Request::BacklogRemove => (To::Backlog, "remove"),
            Request::DrainLease => (To::Backlog, "lease"),
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
            To::Backlog => "backlog",
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
    /// A call to the backlog failed.
    Backlog(BacklogErrorClass),
}

impl Labels for Failure {
    const NAMES: &'static [&'static str] = &["from", "class"];

    fn all() -> Vec<Self> {
        let single = [Failure::EntryAgain, Failure::EntryGone, Failure::LocksAway];
        let inbox = InboxErrorClass::all().into_iter().map(Failure::Inbox);
        let ledger = ErrorClass::all().into_iter().map(Failure::Ledger);
        let backlog = BacklogErrorClass::all().into_iter().map(Failure::Backlog);
        single.into_iter().chain(inbox).chain(ledger).chain(backlog).collect()
    }

    fn texts(self) -> Vec<&'static str> {
        match self {
            Failure::Inbox(class) => vec!["inbox", class.label()],
            Failure::EntryAgain => vec!["inbox", "entry_again"],
            Failure::EntryGone => vec!["inbox", "entry_gone"],
            Failure::LocksAway => vec!["locks", "away"],
            Failure::Ledger(class) => vec!["ledger", class.label()],
            Failure::Backlog(class) => vec!["backlog", class.label()],
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
