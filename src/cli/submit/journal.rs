//! Which lines are in the queue already.
//!
//! A text file: the queue in the first line, then `LINE HASH` for each confirmed line. It is written through after
//! each answer of SQS, not synced: what a power failure takes from it is sent again, which is harmless.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::SubmitError;

/// What the first line begins with.
const HEAD: &str = "millrace submit 1 ";

/// The journal of one file and one queue.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    confirmed: HashMap<u64, u64>,
}

/// What the journal knows about a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing: it is to be sent.
    No,
    /// It was confirmed.
    Sent,
    /// Another line was confirmed under this number.
    Changed,
}

impl Journal {
    /// Opens or begins the journal, for this process alone.
    pub(super) fn open(path: &Path, queue_url: &str) -> Result<Self, SubmitError> {
        let usage = |problem: String| SubmitError::Usage(format!("journal {}: {problem}", path.display()));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|error| usage(format!("{error}; name another one by --journal")))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(usage("another submit is at work with it".to_owned())),
            Err(TryLockError::Error(error)) => return Err(usage(error.to_string())),
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| usage(error.to_string()))?;
        // A crash may have cut the last line short; that line counts as not sent.
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        let whole = text.len() as u64;
        let cut = file.set_len(whole).and_then(|()| file.seek(SeekFrom::Start(whole)));
        cut.map_err(|error| usage(error.to_string()))?;

        let mut journal = Self { path: path.to_owned(), file, confirmed: HashMap::new() };
        let mut lines = text.lines();
        match lines.next().map(|head| head.strip_prefix(HEAD)) {
            None => journal.write(&format!("{HEAD}{queue_url}\n"))?,
            Some(Some(queue)) if queue == queue_url => {}
            Some(Some(queue)) => {
                return Err(usage(format!("it is of the queue {queue}; remove it to send everything here")));
            }
            Some(None) => return Err(usage("it is not a journal of millrace submit".to_owned())),
        }
        for line in lines {
            let entry = line
                .split_once(' ')
                .and_then(|(number, hash)| Some((number.parse().ok()?, u64::from_str_radix(hash, 16).ok()?)));
            let (number, hash) = entry.ok_or_else(|| usage(format!("{line:?} is no entry of it")))?;
            journal.confirmed.insert(number, hash);
        }
        Ok(journal)
    }

    pub(super) fn knows(&self, line: u64, hash: u64) -> Known {
        match self.confirmed.get(&line) {
            None => Known::No,
            Some(sent) if *sent == hash => Known::Sent,
            Some(_) => Known::Changed,
        }
    }

    /// Notes lines that SQS has confirmed.
    pub(super) fn confirm(&mut self, lines: impl Iterator<Item = (u64, u64)>) -> Result<(), SubmitError> {
        let mut text = String::new();
        for (number, hash) in lines {
            writeln!(text, "{number} {hash:016x}").expect("a String takes any text");
        }
        self.write(&text)
    }

    fn write(&mut self, text: &str) -> Result<(), SubmitError> {
        self.file
            .write_all(text.as_bytes())
            .map_err(|error| SubmitError::Failed(format!("journal {}: {error}", self.path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_whole_lines_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.sent");
        let mut journal = Journal::open(&path, "queue").unwrap();
        journal.confirm([(1, 0xa), (3, 0xb)].into_iter()).unwrap();
        let busy = Journal::open(&path, "queue").unwrap_err();
        assert!(busy.to_string().contains("another submit"), "{busy}");
        drop(journal);

        let mut torn = OpenOptions::new().append(true).open(&path).unwrap();
        torn.write_all(b"4 00000000000").unwrap();
        drop(torn);
        let mut journal = Journal::open(&path, "queue").unwrap();
        let known = [(1, 0xa), (1, 0xc), (2, 0), (3, 0xb), (4, 0)].map(|(line, hash)| journal.knows(line, hash));
        assert_eq!(known, [Known::Sent, Known::Changed, Known::No, Known::Sent, Known::No]);
        journal.confirm([(4, 0xd)].into_iter()).unwrap();
        drop(journal);
        assert_eq!(Journal::open(&path, "queue").unwrap().knows(4, 0xd), Known::Sent);
    }

    #[test]
    fn belongs_to_one_queue() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.sent");
        drop(Journal::open(&path, "one").unwrap());
        assert!(matches!(Journal::open(&path, "other"), Err(SubmitError::Usage(_))));
        std::fs::write(&path, "something else\n").unwrap();
        assert!(matches!(Journal::open(&path, "one"), Err(SubmitError::Usage(_))));
    }
}
