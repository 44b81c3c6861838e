//! The lines of the input, and what each of them is as a message.

use std::fmt::Write as _;
use std::io;

use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

use crate::inbox::sqs::producer::Outgoing;

/// The group of a raw line on a FIFO queue that names no customer.
const NO_CUSTOMER: &str = "malformed";

/// The longest message group id.
const GROUP_MAX: usize = 128;

/// One line that can be sent.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Of number and content: by this the journal knows it.
    pub(super) hash: u64,
    /// With its line end.
    pub(super) bytes: u64,
    pub(super) message: Outgoing,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Line(Line),
    /// A line that is not to be sent.
    Refused {
        number: u64,
        bytes: u64,
        problem: String,
    },
    Blank,
    End,
}

/// Reads lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    /// What is read of the next line: kept here, so that waiting for the rest may be given up at any time.
    partial: Vec<u8>,
    number: u64,
    fifo: bool,
    raw: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn new(input: R, fifo: bool, raw: bool) -> Self {
        Self { input, partial: Vec::new(), number: 0, fifo, raw }
    }

    /// The next line. Cancel safe.
    pub(super) async fn next(&mut self) -> io::Result<Next> {
        self.input.read_until(b'\n', &mut self.partial).await?;
        let line = std::mem::take(&mut self.partial);
        if line.is_empty() {
            return Ok(Next::End);
        }
        self.number += 1;
        Ok(self.read(line))
    }

    fn read(&self, mut line: Vec<u8>) -> Next {
        let (number, bytes) = (self.number, line.len() as u64);
        for end in [b'\n', b'\r'] {
            line.pop_if(|last| *last == end);
        }
        if line.is_empty() {
            return Next::Blank;
        }
        let read = String::from_utf8(line)
            .map_err(|error| format!("not UTF-8: {}", error.utf8_error()))
            .and_then(|body| Ok((self.group(&body)?, body)));
        match read {
            Err(problem) => Next::Refused { number, bytes, problem },
            Ok((group, body)) => {
                let digest = Sha256::new().chain_update(number.to_be_bytes()).chain_update(&body).finalize();
                let (head, _) = digest.split_first_chunk().expect("SHA-256 has 32 bytes");
                // A duplicate on another line keeps an id of its own: SQS is not to drop it.
                let deduplication_id = self.fifo.then(|| hex(&digest));
                let message = Outgoing { body, group, deduplication_id };
                Next::Line(Line { number, hash: u64::from_be_bytes(*head), bytes, message })
            }
        }
    }

    /// The message group: the customer on a FIFO queue, none on a standard queue.
    fn group(&self, body: &str) -> Result<Option<String>, String> {
        let customer = match customer_of(body) {
            Ok(customer) => customer,
            Err(_) if self.raw => None,
            Err(problem) => return Err(problem),
        };
        if !self.fifo {
            return Ok(None);
        }
        match customer.filter(|customer| is_group(customer)) {
            Some(customer) => Ok(Some(customer)),
            None if self.raw => Ok(Some(NO_CUSTOMER.to_owned())),
            None => Err("no customer_id that can be a message group, and the queue is FIFO".to_owned()),
        }
    }
}

/// Reads no more than it must: whether the order is right is for the engine to say.
fn customer_of(body: &str) -> Result<Option<String>, String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        customer_id: Option<&'a RawValue>,
    }
    // An array would pass for a struct.
    if !body.trim_start().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    let head: Head<'_> = serde_json::from_str(body).map_err(|error| format!("not a JSON object: {error}"))?;
    Ok(head.customer_id.and_then(|customer| serde_json::from_str(customer.get()).ok()))
}

/// What SQS takes for a message group id.
fn is_group(text: &str) -> bool {
    (1..=GROUP_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(input: &str, fifo: bool, raw: bool) -> Vec<Result<Line, (u64, String)>> {
        let mut lines = Lines::new(input.as_bytes(), fifo, raw);
        let mut all = Vec::new();
        loop {
            match lines.next().await.unwrap() {
                Next::Line(line) => all.push(Ok(line)),
                Next::Refused { number, problem, .. } => all.push(Err((number, problem))),
                Next::Blank => {}
                Next::End => return all,
            }
        }
    }

    #[tokio::test]
    async fn only_objects_are_messages() {
        let lines = read("{\"a\":1}\r\n\n[1]\nnull\n{\"a\":\n{}", false, false).await;
        assert_eq!(lines[0].as_ref().unwrap().message.body, r#"{"a":1}"#);
        let refused: Vec<u64> = lines.iter().filter_map(|line| Some(line.as_ref().err()?.0)).collect();
        assert_eq!(refused, [3, 4, 5]);
        let last = lines[4].as_ref().unwrap();
        assert_eq!((last.number, last.message.body.as_str(), last.message.group.as_deref()), (6, "{}", None));
    }

    #[tokio::test]
    async fn raw_lines_go_as_they_are() {
        let lines = read("what?\n{\"customer_id\":\"c 1\"}\n{\"customer_id\":\"c1\"}\n", true, true).await;
        let groups: Vec<_> = lines.iter().map(|line| line.as_ref().unwrap().message.group.as_deref()).collect();
        assert_eq!(groups, [Some("malformed"), Some("malformed"), Some("c1")]);
        assert_eq!(lines[0].as_ref().unwrap().message.body, "what?");
    }

    #[tokio::test]
    async fn fifo_line_needs_its_customer_and_keeps_its_own_id() {
        let line = r#"{"customer_id":"c\u0031"}"#;
        let lines = read(&format!("{line}\n{line}\n{{}}\n{{\"customer_id\":7}}\n"), true, false).await;
        let (first, second) = (lines[0].as_ref().unwrap(), lines[1].as_ref().unwrap());
        assert_eq!(first.message.group.as_deref(), Some("c1"));
        assert_ne!(first.message.deduplication_id, second.message.deduplication_id);
        assert_ne!(first.hash, second.hash);
        assert!(lines[2].is_err() && lines[3].is_err());
        // The same line at the same place has the same id, however often it is read.
        let again = read(line, true, false).await;
        assert_eq!(again[0].as_ref().unwrap().message.deduplication_id, first.message.deduplication_id);
    }
}
