//! The operator's view: is it alive, is it ready, what does it do. Nothing here asks a dependency anything; it shows
//! the engine's pulse and its latest [`Status`].
//!
//! | path | answer |
//! | --- | --- |
//! | `/live` | 200 while the engine's loop and its committers advance, else 503 and what stands still |
//! | `/ready` | 200 while orders can take effect, else 503 and why not |
//! | `/metrics` | Prometheus's text format |
//! | `/status` | the status as JSON |
//! | `/` | the status as a page |

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::metrics;
use crate::status::pulse::Pulse;
use crate::status::{Phase, Route, Status};

/// How long open connections may take to end after the stop.
const GOODBYE: Duration = Duration::from_secs(1);

/// The page may run its own script and style, and ask its own server; nothing else.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; base-uri 'none'";

/// `http.listen` cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("http.listen: cannot listen on {listen:?}: {source}")]
pub struct HttpError {
    listen: String,
    source: std::io::Error,
}

/// A server that has its port and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

/// What the server shows.
#[derive(Debug, Clone)]
pub struct View {
    /// The engine's latest word.
    pub status: watch::Receiver<Status>,
    /// Whether the engine advances.
    pub pulse: Pulse,
}

impl Server {
    /// Takes the port, so that a port which is not to be had stops the start.
    ///
    /// # Errors
    ///
    /// When `http.listen` is no address, or is taken.
    pub async fn bind(settings: &config::Http) -> Result<Self, HttpError> {
        let failed = |source| HttpError { listen: settings.listen.clone(), source };
        let listener = TcpListener::bind(&settings.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens: the port that was given when port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`; stop it last, so that `/live` answers during the shutdown.
    ///
    /// # Errors
    ///
    /// When the listener breaks.
    pub async fn run(self, view: View, stop: CancellationToken) -> std::io::Result<()> {
        let stopped = stop.clone().cancelled_owned();
        let serving = axum::serve(self.listener, routes(view)).with_graceful_shutdown(stopped).into_future();
        let over = async {
            stop.cancelled().await;
            // A client that reads slowly must not keep the process.
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            served = serving => served,
            () = over => Ok(()),
        }
    }
}

fn routes(view: View) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/status", get(status))
        .with_state(view)
}

const FRESH: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

async fn live(State(view): State<View>) -> impl IntoResponse {
    match view.pulse.stuck() {
        None => (StatusCode::OK, [FRESH], "alive\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, [FRESH], format!("{why}\n")),
    }
}

async fn ready(State(view): State<View>) -> impl IntoResponse {
    match not_ready(&view.status.borrow()) {
        None => (StatusCode::OK, [FRESH], "ready\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, [FRESH], format!("{why}\n")),
    }
}

/// Why orders are not accepted now, if they are not.
fn not_ready(status: &Status) -> Option<String> {
    match (status.phase, status.route) {
        (Phase::Starting, _) => Some("starting".into()),
        (Phase::Stopping, _) => Some("stopping".into()),
        (Phase::Running, Route::Hold | Route::Probing) => {
            let reason = status.route_reason.as_deref().unwrap_or("no reason given");
            Some(format!("holding since {}: {reason}", status.route_since))
        }
        (Phase::Running, Route::Direct | Route::Spool | Route::HalfOpen) => None,
    }
}

async fn scrape(State(view): State<View>) -> impl IntoResponse {
    let series = metrics::render(&view.status.borrow());
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), FRESH], series)
}

async fn status(State(view): State<View>) -> impl IntoResponse {
    ([FRESH], Json(view.status.borrow().clone()))
}

async fn page() -> impl IntoResponse {
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, PAGE_POLICY), FRESH];
    (headers, include_str!("http/page.html"))
}
