//! `millrace status`: asks the engine on this host. `--live` is the container's health check.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::{DONE, FAILED, failed, table};
use crate::config::Config;
use crate::status::{LocksState, Status};

/// How long each step of the conversation may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The largest answer that is read.
const ANSWER_MAX: u64 = 4 << 20;

/// Arguments of `millrace status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only say by the exit code whether the engine lives, for a health check
    #[arg(long, conflicts_with = "json")]
    pub live: bool,

    /// JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Runs the command.
#[must_use]
pub fn run(config: &Config, args: &Args) -> ExitCode {
    let listen = &config.http.listen;
    let Ok(address) = listen.parse::<SocketAddr>() else {
        return failed("status", &format!("http.listen = {listen} is no address"));
    };
    let path = if args.live { "/live" } else { "/status" };
    let (code, body) = match get(reachable(address), path) {
        Ok(answer) => answer,
        Err(error) => return failed("status", &format!("no engine answers on http.listen = {listen}: {error}")),
    };
    if code != 200 {
        return failed("status", &format!("http://{listen}{path} answers {code}: {}", body.trim()));
    }
    if args.live {
        return ExitCode::from(DONE);
    }
    if args.json {
        println!("{}", body.trim());
        return ExitCode::from(DONE);
    }
    match serde_json::from_str::<Status>(&body) {
        Ok(status) => {
            print(&status);
            ExitCode::from(DONE)
        }
        Err(error) => {
            eprintln!("millrace status: the engine is of another version: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// An engine that listens on every address is asked on loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// One GET in HTTP/1.0, whose answer ends with the connection: no client library for one line.
pub(super) fn get(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut connection = TcpStream::connect_timeout(&address, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    connection.take(ANSWER_MAX).read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| io::Error::other("no HTTP answer"))?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((code.ok_or_else(|| io::Error::other("no HTTP answer"))?, body.to_owned()))
}

fn print(status: &Status) {
    let route = match &status.route_reason {
        Some(reason) => format!("{} since {}: {reason}", status.route.label(), status.route_since),
        None => format!("{} since {}", status.route.label(), status.route_since),
    };
    let locks = match &status.locks {
        LocksState::Redis => "in Redis".to_owned(),
        LocksState::Local => "in this process".to_owned(),
        LocksState::Away { since, reason } => format!("away since {since}: {reason}"),
    };
    let oldest =
        status.oldest_order_seconds.map_or_else(String::new, |age| format!(", the oldest sent {age:.1} s ago"));
    let ends = &status.outcomes;
    println!(
        "{}",
        table::facts([
            ("engine", format!("{} {}, since {}", status.version, status.phase.label(), status.started_at)),
            ("ordering", status.ordering.to_string()),
            ("route", route),
            (
                "held",
                format!(
                    "{} of {} messages, {} of {} bytes{oldest}",
                    status.held_messages, status.held_messages_max, status.held_bytes, status.held_bytes_max
                )
            ),
            ("early", status.early.to_string()),
            (
                "customers",
                format!(
                    "{} in memory, {} wait for a lock, {} go on without, {} blocked",
                    status.lanes, status.lanes_waiting_for_lock, status.lanes_without_lock, status.blocked_customers
                )
            ),
            ("parked", format!("{} as far as was seen", status.parked_known)),
            ("locks", locks),
            (
                "at work",
                format!("{} polls, {} of {} committers", status.polls, status.committers_busy, status.committers)
            ),
            (
                "ended",
                format!(
                    "{} committed, {} duplicate, {} parked ({} of them committed since), {} spooled, {} returned, \
                     {} quarantined",
                    ends.committed,
                    ends.duplicate,
                    ends.parked,
                    status.unparked,
                    ends.spooled,
                    ends.returned,
                    ends.quarantined
                )
            ),
            (
                "requests",
                format!("{} SQS, {} Redis, {} SQL", status.requests.sqs, status.requests.redis, status.requests.sql)
            ),
        ])
    );
    if !status.last_errors.is_empty() {
        let mut rows = table::with_head(["from", "class", "when", "error"]);
        for error in &status.last_errors {
            rows.add_row([error.from.clone(), error.class.clone(), error.at.to_string(), error.message.clone()]);
        }
        println!("\nlast errors\n{rows}");
    }
}
