//! Which line is sent when.
//!
//! On a FIFO queue each group has at most one line on its way: the next one starts when SQS has confirmed the one
//! before. So neither a lost answer nor a failed entry can turn the order of the file around.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::io::AsyncBufRead;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::journal::{Journal, Known};
use super::lines::{Line, Lines, Next};
use super::{Args, Report, SubmitError, Voice};
use crate::config;
use crate::inbox::sqs::producer::{Outgoing, Producer, Sent, request_len};

/// The most lines in memory.
const LINES_MAX: u64 = 1_000;

/// The most bytes of lines in memory, above which no more are read.
const BYTES_MAX: u64 = 16 << 20;

/// A full request.
const FULL: usize = 10;

/// One submission on its way.
pub(super) struct Flow<R> {
    producer: Producer,
    lines: Lines<R>,
    journal: Option<Journal>,
    voice: Voice,
    report: Report,
    /// All lines were read.
    ended: bool,
    /// May start now, in this order.
    ready: VecDeque<Tried>,
    /// Groups with a line on its way (ready, in flight or in `pausing`), and the lines that wait behind it.
    groups: HashMap<String, VecDeque<Tried>>,
    /// Failed, and not to be tried again before this time.
    pausing: Vec<(Instant, Tried)>,
    in_flight: JoinSet<Answered>,
    held_lines: u64,
    held_bytes: u64,
    /// When `--rate` lets the next request start.
    next_start: Instant,
    /// What one line costs of the time, by `--rate`.
    per_line: Duration,
    in_flight_max: usize,
    tries_max: u32,
    backoff: Duration,
    backoff_max: Duration,
}

/// A line, and what happened to it so far.
struct Tried {
    line: Line,
    tries: u32,
    /// Once it was sent without an answer.
    unknown: bool,
}

type Answered = (Vec<Tried>, Vec<Sent>);

impl<R: AsyncBufRead + Unpin> Flow<R> {
    pub(super) fn new(
        producer: Producer,
        inbox: &config::Inbox,
        args: &Args,
        lines: Lines<R>,
        journal: Option<Journal>,
        voice: Voice,
    ) -> Self {
        Self {
            producer,
            lines,
            journal,
            voice,
            report: Report::default(),
            ended: false,
            ready: VecDeque::new(),
            groups: HashMap::new(),
            pausing: Vec::new(),
            in_flight: JoinSet::new(),
            held_lines: 0,
            held_bytes: 0,
            next_start: Instant::now(),
            per_line: args.rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get()),
            in_flight_max: args.in_flight.get() as usize,
            tries_max: args.tries.get(),
            backoff: inbox.backoff,
            backoff_max: inbox.backoff_max,
        }
    }

    pub(super) async fn run(mut self) -> Result<Report, SubmitError> {
        loop {
            while self.may_start() && self.ready.len() >= FULL {
                self.start();
            }
            if self.is_over() {
                return Ok(self.report);
            }
            let (reading, starting, wake_at) = (self.may_read(), self.may_start(), self.wake_at());
            tokio::select! {
                biased;
                Some(answered) = self.in_flight.join_next() => {
                    self.settle(answered.expect("a request neither panics nor is cancelled"))?;
                }
                next = self.lines.next(), if reading => {
                    let next = next.map_err(|error| SubmitError::Failed(format!("reading the input: {error}")))?;
                    self.take(next);
                }
                // The input has nothing at the moment, so a request goes out half empty.
                () = std::future::ready(()), if starting => self.start(),
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => self.wake(),
            }
        }
    }

    fn is_over(&self) -> bool {
        let nothing_to_do = self.ended && self.ready.is_empty() && self.pausing.is_empty();
        self.in_flight.is_empty() && (nothing_to_do || self.report.stopped.is_some())
    }

    fn may_read(&self) -> bool {
        !self.ended && self.report.stopped.is_none() && self.held_lines < LINES_MAX && self.held_bytes < BYTES_MAX
    }

    fn may_start(&self) -> bool {
        self.report.stopped.is_none()
            && !self.ready.is_empty()
            && self.in_flight.len() < self.in_flight_max
            && self.next_start <= Instant::now()
    }

    /// When something falls due that no answer and no line brings about.
    fn wake_at(&self) -> Option<Instant> {
        if self.report.stopped.is_some() {
            return None;
        }
        let paced = (!self.ready.is_empty() && self.in_flight.len() < self.in_flight_max).then_some(self.next_start);
        self.pausing.iter().map(|(due, _)| *due).chain(paced).min()
    }

    fn wake(&mut self) {
        let now = Instant::now();
        for (_, tried) in self.pausing.extract_if(.., |(due, _)| *due <= now) {
            self.ready.push_front(tried);
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::End => self.ended = true,
            Next::Blank => {}
            Next::Refused { number, bytes, problem } => {
                self.voice.refuse(&self.report.note_problem(number, problem));
                self.voice.advance(bytes, self.report.sent);
            }
            Next::Line(line) => {
                match self.journal.as_ref().map_or(Known::No, |journal| journal.knows(line.number, line.hash)) {
                    Known::Sent => {
                        self.report.sent_before += 1;
                        self.voice.advance(line.bytes, self.report.sent);
                    }
                    Known::Changed => self.stop(format!(
                        "line {} is not the line that was sent; remove the journal to send the whole file",
                        line.number
                    )),
                    Known::No => self.hold(Tried { line, tries: 0, unknown: false }),
                }
            }
        }
    }

    fn hold(&mut self, tried: Tried) {
        self.held_lines += 1;
        self.held_bytes += tried.line.bytes;
        let Some(group) = &tried.line.message.group else {
            self.ready.push_back(tried);
            return;
        };
        if let Some(behind) = self.groups.get_mut(group) {
            behind.push_back(tried);
        } else {
            self.groups.insert(group.clone(), VecDeque::new());
            self.ready.push_back(tried);
        }
    }

    /// Sends one request of what is ready.
    fn start(&mut self) {
        let many = request_len(self.ready.iter().map(|tried| tried.line.message.body.len()));
        let batch: Vec<Tried> = self.ready.drain(..many.min(self.ready.len())).collect();
        let lines = u32::try_from(batch.len()).expect("ten at most");
        // Time that nobody used is not saved up.
        self.next_start = self.next_start.max(Instant::now()) + self.per_line * lines;
        let producer = self.producer.clone();
        self.in_flight.spawn(async move {
            let messages: Vec<&Outgoing> = batch.iter().map(|tried| &tried.line.message).collect();
            let answers = producer.send(&messages).await;
            (batch, answers)
        });
    }

    fn settle(&mut self, (batch, answers): Answered) -> Result<(), SubmitError> {
        if let Some(journal) = &mut self.journal {
            let done = batch.iter().zip(&answers).filter(|(_, sent)| **sent == Sent::Done);
            journal.confirm(done.map(|(tried, _)| (tried.line.number, tried.line.hash)))?;
        }
        for (tried, sent) in batch.into_iter().zip(answers) {
            match sent {
                Sent::Done => {
                    self.report.sent += 1;
                    // On a FIFO queue SQS drops the second one by its deduplication id.
                    self.report.may_be_twice += u64::from(tried.unknown && tried.line.message.group.is_none());
                    self.finish(&tried);
                }
                Sent::Rejected(problem) => {
                    let number = tried.line.number;
                    self.voice.refuse(&self.report.note_problem(number, problem));
                    if tried.line.message.group.is_some() {
                        self.stop(format!("line {number} was refused, and later lines may not overtake it"));
                    }
                    self.finish(&tried);
                }
                Sent::Refused(problem) => self.stop(problem),
                Sent::Again(problem) => self.again(tried, &problem, false),
                Sent::Unknown(problem) => self.again(tried, &problem, true),
            }
        }
        Ok(())
    }

    /// A line is done with; the next one of its group may start.
    fn finish(&mut self, tried: &Tried) {
        self.held_lines -= 1;
        self.held_bytes -= tried.line.bytes;
        self.voice.advance(tried.line.bytes, self.report.sent);
        if let Some(group) = &tried.line.message.group {
            match self.groups.get_mut(group).and_then(VecDeque::pop_front) {
                Some(next) => self.ready.push_back(next),
                None => drop(self.groups.remove(group)),
            }
        }
    }

    fn again(&mut self, tried: Tried, problem: &str, unknown: bool) {
        let tried = Tried { tries: tried.tries + 1, unknown: tried.unknown || unknown, ..tried };
        if tried.tries >= self.tries_max {
            self.stop(format!("line {} failed {} times: {problem}", tried.line.number, tried.tries));
            return;
        }
        let pause = self.backoff.saturating_mul(2_u32.saturating_pow(tried.tries - 1)).min(self.backoff_max);
        self.pausing.push((Instant::now() + pause, tried));
    }

    /// Starts nothing more. The first reason counts.
    fn stop(&mut self, reason: String) {
        self.report.stopped.get_or_insert(reason);
    }
}
