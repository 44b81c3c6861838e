//! The two stores of a window, as a command works with them: connected when needed, left after an error.

use serde::Serialize;

use crate::backlog::{self, AnyBacklog, Backlog as _, BacklogError, Depth, Drainer, Session as _};
use crate::config::Config;
use crate::ledger::any::AnyGatekeeper;
use crate::ledger::gatekeeper::Gatekeeper as _;
use crate::ledger::{self, AnyLedger, ErrorClass, Ledger as _, LedgerError};
use crate::window::{GateView, Notice, PhaseView, Step};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Store {
    /// The ledger.
    Ledger,
    /// The backlog.
    Backlog,
}

impl Store {
    /// As a sentence begins.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Store::Ledger => "the ledger",
            Store::Backlog => "the backlog",
        }
    }
}

/// A store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which one.
    pub store: Store,
    /// What it said.
    pub message: String,
    /// Asking again may help.
    pub passing: bool,
}

impl From<LedgerError> for Trouble {
    fn from(error: LedgerError) -> Self {
        let passing =
            matches!(error.class, ErrorClass::Away | ErrorClass::Timeout | ErrorClass::Unknown | ErrorClass::Retry);
        Self { store: Store::Ledger, message: error.to_string(), passing }
    }
}

impl From<BacklogError> for Trouble {
    fn from(error: BacklogError) -> Self {
        let passing = error.class == backlog::ErrorClass::Away;
        Self { store: Store::Backlog, message: error.to_string(), passing }
    }
}

/// What was read of both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The ledger's gate.
    pub gate: GateView,
    /// The backlog's phase.
    pub backlog: PhaseView,
}

/// Both stores.
#[derive(Debug)]
pub struct Stores {
    ledger: AnyLedger,
    backlog: AnyBacklog,
    gatekeeper: Option<AnyGatekeeper>,
    session: Option<backlog::any::AnySession>,
    asked: bool,
}

impl Stores {
    /// The stores that the settings name. Connects to nothing yet.
    ///
    /// # Errors
    ///
    /// A setting cannot be used. None: no backlog is configured.
    pub fn open(config: &Config) -> Result<Option<Self>, Trouble> {
        let ledger = ledger::open(config)?;
        let Some(backlog) = backlog::open(config)? else { return Ok(None) };
        Ok(Some(Self { ledger, backlog, gatekeeper: None, session: None, asked: false }))
    }

    /// Reads the gate.
    ///
    /// # Errors
    ///
    /// The ledger's; the next call connects anew.
    pub async fn gate(&mut self) -> Result<GateView, Trouble> {
        let read = async { Ok(self.gatekeeper().await?.view().await?) }.await;
        self.heed(read)
    }

    /// Reads the phase.
    ///
    /// # Errors
    ///
    /// The backlog's; the next call connects anew.
    pub async fn phase(&mut self) -> Result<PhaseView, Trouble> {
        let read = async { Ok(self.session().await?.phase().await?) }.await;
        self.heed(read)
    }

    /// Reads both, the gate first.
    ///
    /// # Errors
    ///
    /// Of the first one that does not answer.
    pub async fn read(&mut self) -> Result<Seen, Trouble> {
        Ok(Seen { gate: self.gate().await?, backlog: self.phase().await? })
    }

    /// Reads how much there is, and who drains it.
    ///
    /// # Errors
    ///
    /// The backlog's; the next call connects anew.
    pub async fn depth(&mut self) -> Result<(Depth, Option<Drainer>), Trouble> {
        let read = async {
            let session = self.session().await?;
            Ok((session.depth().await?, session.drainer().await?))
        }
        .await;
        self.heed(read)
    }

    /// Takes a step, in `actor`'s name. False: it came too late, and nothing was changed.
    ///
    /// # Errors
    ///
    /// Of the store that the step is in. Whether it was taken shows when both are read again.
    pub async fn take(&mut self, step: Step, notice: &Notice, actor: &str) -> Result<bool, Trouble> {
        self.asked = true;
        let taken = async {
            Ok(match step {
                Step::Announce(epoch) => self.gatekeeper().await?.announce(epoch).await?,
                Step::Close { from, to } => self.gatekeeper().await?.close(from, to, notice).await?,
                Step::Grant(epoch) => self.gatekeeper().await?.grant(epoch, actor).await?,
                Step::Reopen(epoch) => self.gatekeeper().await?.reopen(epoch, actor).await?,
                Step::StartSpooling(epoch) => self.session().await?.start_spooling(epoch, notice).await?,
                Step::AnnounceSeal { epoch, turn } => self.session().await?.announce_seal(epoch, turn).await?,
                Step::Seal { epoch, turn } => self.session().await?.seal(epoch, turn).await?,
                Step::Sealed(epoch) => self.session().await?.sealed(epoch).await?,
            })
        }
        .await;
        self.heed(taken)
    }

    /// Whether a step was asked for: something may have been changed, also when no answer came.
    #[must_use]
    pub fn may_have_changed(&self) -> bool {
        self.asked
    }

    /// After an error of a store its connection is not used again.
    fn heed<T>(&mut self, answer: Result<T, Trouble>) -> Result<T, Trouble> {
        match answer.as_ref().map_err(|trouble| trouble.store) {
            Ok(_) => {}
            Err(Store::Ledger) => self.gatekeeper = None,
            Err(Store::Backlog) => self.session = None,
        }
        answer
    }

    async fn gatekeeper(&mut self) -> Result<&mut AnyGatekeeper, Trouble> {
        match &mut self.gatekeeper {
            Some(gatekeeper) => Ok(gatekeeper),
            none => Ok(none.insert(self.ledger.gatekeeper().await?)),
        }
    }

    async fn session(&mut self) -> Result<&mut backlog::any::AnySession, Trouble> {
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert(self.backlog.connect().await?)),
        }
    }
}
