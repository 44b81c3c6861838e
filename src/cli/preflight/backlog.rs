//! The backlog: only a window needs it, so one that is away stops nothing. A schema that is missing does: it would be
//! noticed in the middle of a window.

use super::Finding;
use crate::backlog::{self, Backlog as _, BacklogError, ErrorClass, Session as _};
use crate::config::{Config, Place, place, redacted};
use crate::window::{Phase, PhaseView};

/// Reads the phase. None: no backlog is configured.
pub(super) async fn look(config: &Config) -> Option<Result<PhaseView, BacklogError>> {
    let backlog = match backlog::open(config) {
        Ok(backlog) => backlog?,
        Err(error) => return Some(Err(error)),
    };
    let phase = async { backlog.connect().await?.phase().await };
    Some(phase.await)
}

/// What is to be said of it. `open`: the ledger's gate is known to be open.
#[must_use]
pub fn judge(config: &Config, phase: Option<Result<PhaseView, BacklogError>>, open: bool) -> Vec<Finding> {
    let Some(phase) = phase else {
        let remedy = "for maintenance windows set backlog.url to a database that stays up";
        return vec![Finding::warn(
            "backlog",
            "none is configured: while the ledger is closed orders stay in SQS",
            remedy,
        )];
    };
    let url = redacted(config.backlog.url.as_deref().unwrap_or_default());
    let mut findings = vec![match &phase {
        Ok(view) if open && view.phase != Phase::Sealed => inconsistent(&url, view),
        Ok(view) => phase_is(&url, view),
        Err(error) => failed(&url, error),
    }];
    findings.extend(same_server(config));
    findings
}

fn phase_is(url: &str, view: &PhaseView) -> Finding {
    let found = |word| format!("{url}: {word} since {:.0} (window {})", view.since, view.epoch);
    match view.phase {
        Phase::Sealed if view.epoch == 0 => Finding::ok("backlog", format!("{url}: sealed, no window yet")),
        Phase::Sealed => Finding::ok("backlog", found("sealed")),
        Phase::Spooling => Finding::warn("backlog", found("spooling"), "a window is on: millrace maintenance status"),
        Phase::Sealing => Finding::warn("backlog", found("sealing"), "a window ends: millrace maintenance status"),
    }
}

/// A window never leads there, so one of the two was put back in time, and orders may be missing from it.
fn inconsistent(url: &str, view: &PhaseView) -> Finding {
    Finding::away(
        "backlog",
        format!("{url}: not sealed (window {}), beside a ledger whose gate is open", view.epoch),
        "was one restored from a snapshot? millrace maintenance begin, then end, puts them in step",
    )
}

fn failed(url: &str, error: &BacklogError) -> Finding {
    let found = format!("{url}: {error}");
    match error.class {
        ErrorClass::Broken => {
            Finding::refused("backlog", found, "run `millrace migrate`; look at backlog.url and the role's privileges")
        }
        ErrorClass::Away | ErrorClass::Unrecognised => {
            let remedy = "start its database, or look at backlog.url; normal operation does not need it, a window does";
            Finding::away("backlog", found, remedy)
        }
    }
}

/// One server for both goes down as one.
fn same_server(config: &Config) -> Option<Finding> {
    let server = |url: &str| match place(url) {
        Some(Place::Server { server, .. }) => Some(server),
        Some(Place::File(_)) | None => None,
    };
    let shared =
        server(config.backlog.url.as_deref()?).filter(|one| Some(one) == server(&config.ledger.url).as_ref())?;
    Some(Finding::warn(
        "backlog's server",
        format!("backlog.url and ledger.url are on the same server, {shared}"),
        "give the backlog a server of its own: a maintenance of this one takes both away",
    ))
}
