//! What the workers say that they did: read from `/metrics` before and after.

use std::net::SocketAddr;

use crate::cli::status::{get, reachable};

/// What all workers have used so far, since each was started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Usage {
    pub receives: f64,
    pub deletes: f64,
    pub visibility: f64,
    pub redis: f64,
    pub sql: f64,
    pub commits: f64,
    pub cpu_seconds: f64,
    /// Deliveries that ended, in whichever way.
    pub ended: f64,
    /// Messages whose delete was not answered yet.
    pub pending_deletes: f64,
}

impl Usage {
    /// Asks every worker.
    pub(super) fn of(workers: &[SocketAddr]) -> Result<Self, String> {
        let mut sum = Self::default();
        for worker in workers {
            let unreachable = |why: String| format!("no worker answers on {worker}: {why}");
            let (code, text) = get(reachable(*worker), "/metrics").map_err(|error| unreachable(error.to_string()))?;
            if code != 200 {
                return Err(unreachable(format!("/metrics says {code}")));
            }
            sum = sum.and(read(&text), 1.0);
        }
        Ok(sum)
    }

    /// What was used since.
    pub(super) fn since(self, before: Self) -> Self {
        self.and(before, -1.0)
    }

    /// Calls of the SQS API.
    pub(super) fn sqs(self) -> f64 {
        self.receives + self.deletes + self.visibility
    }

    fn and(self, other: Self, sign: f64) -> Self {
        Self {
            receives: self.receives + sign * other.receives,
            deletes: self.deletes + sign * other.deletes,
            visibility: self.visibility + sign * other.visibility,
            redis: self.redis + sign * other.redis,
            sql: self.sql + sign * other.sql,
            commits: self.commits + sign * other.commits,
            cpu_seconds: self.cpu_seconds + sign * other.cpu_seconds,
            ended: self.ended + sign * other.ended,
            pending_deletes: self.pending_deletes + sign * other.pending_deletes,
        }
    }
}

/// Reads Prometheus's text format, as far as [`crate::metrics`] writes it: no label of ours holds a blank.
fn read(text: &str) -> Usage {
    let mut usage = Usage::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let has = |label: &str| labels.contains(label);
        match name {
            "millrace_requests_total" if has(r#"to="sqs""#) => {
                *match () {
                    () if has(r#"kind="receive""#) => &mut usage.receives,
                    () if has(r#"kind="delete""#) => &mut usage.deletes,
                    () => &mut usage.visibility,
                } += value;
            }
            "millrace_requests_total" if has(r#"to="redis""#) => usage.redis += value,
            "millrace_requests_total" if has(r#"to="sql""#) => {
                usage.sql += value;
                usage.commits += if has(r#"kind="commit""#) { value } else { 0.0 };
            }
            "millrace_orders_total" => usage.ended += value,
            "millrace_cpu_seconds" => usage.cpu_seconds = value,
            "millrace_pending_deletes" => usage.pending_deletes = value,
            _ => {}
        }
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{self, Answer, Request};
    use crate::order::Ordering;
    use crate::status::{LocksState, Status};

    #[test]
    fn it_reads_what_the_metrics_write() {
        let mut status = Status::starting(Ordering::Gapless, LocksState::Local);
        status.cpu_seconds = 12.5;
        status.pending_deletes = 7;
        let before = read(&metrics::render(&status));
        for (request, times) in [
            (Request::Receive, 1),
            (Request::Delete, 2),
            (Request::Visibility, 3),
            (Request::Take, 4),
            (Request::Commit, 5),
            (Request::Sweep, 6),
        ] {
            (0..times).for_each(|_| metrics::request(request, Answer::Ok));
        }
        metrics::ended(crate::outcome::Outcome::Duplicate);
        status.cpu_seconds = 14.0;
        status.pending_deletes = 8;
        let used = read(&metrics::render(&status)).since(before);
        let expected = Usage {
            receives: 1.0,
            deletes: 2.0,
            visibility: 3.0,
            redis: 4.0,
            sql: 11.0,
            commits: 5.0,
            cpu_seconds: 1.5,
            ended: 1.0,
            pending_deletes: 1.0,
        };
        assert_eq!(used, expected);
    }
}
