//! The log of one worker process, read once from the beginning to the end: what it was told, and what it deleted.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use crate::folder::Wrong;
use crate::line::{Append, Case, Event, Found, Head, Line, Name, Park, Role, Verdict, Work, millis};

const TARGET: &str = "millrace::history";

/// What a process did: a question is put together with its answer.
#[derive(Debug)]
pub(crate) enum Deed {
    Received {
        at_ms: u64,
        entries: Vec<Name>,
    },
    /// The runs, and a verdict for each, or the class of the error.
    Commit {
        begun_ms: u64,
        answered_ms: u64,
        resolve: bool,
        /// Its orders came from the parked ones.
        parked: bool,
        runs: Vec<Vec<Name>>,
        answer: Result<Vec<Verdict>, String>,
    },
    Park(Vec<(Name, Park)>),
    LookUp(Vec<(Name, Found)>),
    Quarantine(Name, Case),
    /// An append that the backlog took, for which window, and when it was begun.
    Append {
        begun_ms: u64,
        epoch: u64,
        entries: Vec<Name>,
    },
    Delete(Vec<Name>),
    Ended {
        outcome: String,
    },
    Unparked,
}

/// Where something stands in a log.
pub(crate) struct Place<'a> {
    file: &'a str,
    line: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What a worker says on its standard output when it ends; a log line of another of its threads may come after it.
const REPORT: &[u8] = b"stopped: ";

/// Reads a log. Only its last line, and a worker's report, may be anything else than a JSON object.
pub(crate) fn read(path: &Path, mut each: impl FnMut(&Place, Role, &Deed)) -> Result<(), Wrong> {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or("a worker's log");
    let mut lines = BufReader::new(File::open(path).map_err(|error| Wrong::new(file, error))?);
    let mut asked = Asked::default();
    let (mut line, mut text) = (0, Vec::new());
    loop {
        text.clear();
        if lines.read_until(b'\n', &mut text).map_err(|error| Wrong::new(file, error))? == 0 {
            return Ok(());
        }
        line += 1;
        if text.starts_with(REPORT) {
            continue;
        }
        let head: Head = match serde_json::from_slice(&text) {
            Ok(head) => head,
            Err(error) => {
                let is_last = lines.fill_buf().map_err(|error| Wrong::new(file, error))?.is_empty();
                return if is_last { Ok(()) } else { Err(Wrong::at(file, line, error)) };
            }
        };
        if head.target != TARGET {
            continue;
        }
        let taken = serde_json::from_slice::<Line>(&text).map_err(|error| error.to_string());
        let deed = taken.and_then(|line| Ok((line.role, asked.take(&line)?)));
        if let (role, Some(deed)) = deed.map_err(|why| Wrong::at(file, line, why))? {
            each(&Place { file, line }, role, &deed);
        }
    }
}

/// The questions that wait for their answers, by who asks. An engine that ends leaves its last ones open.
#[derive(Default)]
struct Asked {
    writes: HashMap<(Role, usize), Write>,
    appends: HashMap<(Role, usize), (u64, u64, Vec<Name>)>,
}

struct Write {
    work: Work,
    begun_ms: u64,
    resolve: bool,
    parked: bool,
    /// Of a commit: one for each customer.
    runs: Vec<Vec<Name>>,
}

impl Asked {
    fn take(&mut self, line: &Line) -> Result<Option<Deed>, String> {
        let entries = || line.inner::<Vec<Name>>("entries", line.entries.as_ref());
        let at = || millis(&line.timestamp).ok_or("its timestamp is none");
        let asker = || line.slot.map(|slot| (line.role, slot)).ok_or("it lacks its slot");
        Ok(match line.event {
            Event::Received => Some(Deed::Received { at_ms: at()?, entries: entries()? }),
            Event::Delete => Some(Deed::Delete(entries()?)),
            Event::Unparked => Some(Deed::Unparked),
            Event::Ended => match (&line.outcome, &line.id, &line.digest8) {
                (Some(outcome), Some(_), Some(_)) => Some(Deed::Ended { outcome: outcome.clone() }),
                _ => return Err("it lacks its id, digest8 or outcome".into()),
            },
            Event::Write => {
                self.writes.insert(asker()?, write(line, at()?)?);
                None
            }
            Event::Wrote => {
                let write = self.writes.remove(&asker()?).ok_or("an answer to no write")?;
                wrote(line, write, at()?)?
            }
            Event::Append => {
                let epoch = line.epoch.ok_or("it lacks its epoch")?;
                self.appends.insert(asker()?, (at()?, epoch, entries()?));
                None
            }
            Event::Appended => {
                let (begun_ms, epoch, entries) = self.appends.remove(&asker()?).ok_or("an answer to no append")?;
                match (line.answer, &line.error) {
                    (Some(Append::All), None) => Some(Deed::Append { begun_ms, epoch, entries }),
                    (Some(Append::Refused), None) | (None, Some(_)) => None,
                    _ => return Err("it needs an answer or an error".into()),
                }
            }
            Event::Deleted | Event::Visibility | Event::MadeVisible | Event::Route | Event::Locked => None,
        })
    }
}

fn write(line: &Line, begun_ms: u64) -> Result<Write, String> {
    let work = line.work.ok_or("it lacks its work")?;
    let entries = line.entries.as_ref();
    let runs = match work {
        Work::Commit => {
            let runs: Vec<(String, Vec<Name>)> = line.inner("entries", entries)?;
            runs.into_iter().map(|(_, run)| run).collect()
        }
        Work::Park | Work::LookUp | Work::Quarantine => vec![line.inner("entries", entries)?],
        Work::Load | Work::Sweep | Work::Probe => Vec::new(),
    };
    let [resolve, parked] = [line.resolve, line.parked].map(Option::unwrap_or_default);
    Ok(Write { work, begun_ms, resolve, parked, runs })
}

fn wrote(line: &Line, write: Write, answered_ms: u64) -> Result<Option<Deed>, String> {
    let Write { work, begun_ms, resolve, parked, mut runs } = write;
    if line.work != Some(work) {
        return Err(format!("the answer to another work than {work:?}"));
    }
    let answers = line.answers.as_ref();
    if line.error.is_some() == answers.is_some() {
        return Err("it needs answers or an error".into());
    }
    if let Some(error) = &line.error {
        let answer = Err(error.clone());
        let failed = Deed::Commit { begun_ms, answered_ms, resolve, parked, runs, answer };
        return Ok((work == Work::Commit).then_some(failed));
    }
    let mut entries = || runs.pop().unwrap_or_default();
    Ok(match work {
        Work::Commit => {
            let verdicts: Vec<Verdict> = line.inner("answers", answers)?;
            same(runs.len(), verdicts.len())?;
            Some(Deed::Commit { begun_ms, answered_ms, resolve, parked, runs, answer: Ok(verdicts) })
        }
        Work::Park => Some(Deed::Park(paired(entries(), line.inner("answers", answers)?)?)),
        Work::LookUp => Some(Deed::LookUp(paired(entries(), line.inner("answers", answers)?)?)),
        Work::Quarantine => {
            let case: Case = line.inner("answers", answers)?;
            let entry = entries().pop().ok_or("a quarantine of nothing")?;
            Some(Deed::Quarantine(entry, case))
        }
        Work::Load | Work::Sweep | Work::Probe => None,
    })
}

fn paired<T>(entries: Vec<Name>, answers: Vec<T>) -> Result<Vec<(Name, T)>, String> {
    same(entries.len(), answers.len())?;
    Ok(entries.into_iter().zip(answers).collect())
}

fn same(asked: usize, answered: usize) -> Result<(), String> {
    if asked == answered { Ok(()) } else { Err(format!("{answered} answers to {asked} questions")) }
}
