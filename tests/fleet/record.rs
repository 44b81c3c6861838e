//! What passed between the workers and the queue: receives, and what became of each message received.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard};

use serde_json::Value;

/// A record of the calls of all workers.
#[derive(Debug, Default)]
pub struct Record(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    receives: Vec<Vec<Member>>,
    /// Where a receipt handle was given out: the worker's number, its receive and the place in it.
    handles: HashMap<String, (usize, usize, usize)>,
    /// Handles that each worker has, and has neither deleted nor handed back.
    held: HashMap<usize, HashSet<String>>,
    /// How many messages each worker has deleted.
    deleted: HashMap<usize, usize>,
}

#[derive(Debug)]
struct Member {
    message: String,
    group: String,
    deleted: bool,
}

/// What the fleet went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Receives that brought something.
    pub receives: usize,
    /// Messages that came more than once.
    pub redelivered: usize,
    /// Receives that held two or more messages of one group.
    pub shared: usize,
    /// Receives that held a message which was not deleted by it, and a later one of its group.
    pub failed_before_followers: usize,
}

impl Record {
    /// Notes the answer to a call.
    pub(super) fn note(&self, worker: usize, operation: &str, request: &Value, answer: &Value) {
        match operation {
            "ReceiveMessage" => self.lock().received(worker, answer),
            "DeleteMessageBatch" => self.lock().settled(worker, request, answer, true),
            "ChangeMessageVisibilityBatch" => self.lock().settled(worker, request, answer, false),
            _ => {}
        }
    }

    /// How many messages a worker holds.
    pub fn held(&self, worker: usize) -> usize {
        self.lock().held.get(&worker).map_or(0, HashSet::len)
    }

    /// Whether a worker holds two or more messages that came in one receive and belong to one group.
    pub fn holds_followers(&self, worker: usize) -> bool {
        let log = self.lock();
        let mut groups = HashSet::new();
        log.held.get(&worker).into_iter().flatten().any(|handle| {
            let (_, receive, place) = log.handles[handle];
            !groups.insert((receive, &log.receives[receive][place].group))
        })
    }

    /// A worker is gone, with everything it held.
    pub fn lost(&self, worker: usize) {
        self.lock().held.remove(&worker);
    }

    /// How many messages a worker has deleted so far, its earlier lives included.
    pub fn deleted(&self, worker: usize) -> usize {
        self.lock().deleted.get(&worker).copied().unwrap_or(0)
    }

    /// Everything in numbers.
    pub fn summary(&self) -> Summary {
        let log = self.lock();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for member in log.receives.iter().flatten() {
            *times.entry(&member.message).or_default() += 1;
        }
        Summary {
            receives: log.receives.len(),
            redelivered: times.values().filter(|times| **times > 1).count(),
            shared: log.receives.iter().filter(|members| of_groups(members).any(|group| group.len() > 1)).count(),
            failed_before_followers: log
                .receives
                .iter()
                .filter(|members| {
                    of_groups(members).any(|group| group.iter().rev().skip(1).any(|member| !member.deleted))
                })
                .count(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("no panic inside")
    }
}

impl Log {
    fn received(&mut self, worker: usize, answer: &Value) {
        let messages = answer["Messages"].as_array().map(Vec::as_slice).unwrap_or_default();
        if messages.is_empty() {
            return;
        }
        let receive = self.receives.len();
        let mut members = Vec::with_capacity(messages.len());
        for (place, message) in messages.iter().enumerate() {
            let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
            let handle = text("/ReceiptHandle");
            self.handles.insert(handle.clone(), (worker, receive, place));
            self.held.entry(worker).or_default().insert(handle);
            let group = text("/Attributes/MessageGroupId");
            members.push(Member { message: text("/MessageId"), group, deleted: false });
        }
        self.receives.push(members);
    }

    /// Entries that were done: deleted, or (with a timeout of 0) handed back.
    fn settled(&mut self, worker: usize, request: &Value, answer: &Value, deletes: bool) {
        let done: HashSet<&str> =
            answer["Successful"].as_array().into_iter().flatten().filter_map(|entry| entry["Id"].as_str()).collect();
        for entry in request["Entries"].as_array().into_iter().flatten() {
            let is_done = entry["Id"].as_str().is_some_and(|id| done.contains(id));
            let Some(handle) = entry["ReceiptHandle"].as_str() else { continue };
            if !is_done || !(deletes || entry["VisibilityTimeout"] == 0) {
                continue;
            }
            if let Some(held) = self.held.get_mut(&worker) {
                held.remove(handle);
            }
            if let (true, Some((_, receive, place))) = (deletes, self.handles.get(handle)) {
                self.receives[*receive][*place].deleted = true;
                *self.deleted.entry(worker).or_default() += 1;
            }
        }
    }
}

/// The messages of a receive by their groups, each in the order in which they came.
fn of_groups(members: &[Member]) -> impl Iterator<Item = Vec<&Member>> {
    let mut groups: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in members {
        groups.entry(&member.group).or_default().push(member);
    }
    groups.into_values()
}

#[test]
fn a_failed_message_with_followers_is_counted() {
    let record = Record::default();
    let message = |id: &str, group: &str| {
        serde_json::json!({ "MessageId": id, "ReceiptHandle": format!("handle-{id}"),
            "Attributes": { "MessageGroupId": group } })
    };
    let receive = |messages: &[Value]| {
        record.note(0, "ReceiveMessage", &Value::Null, &serde_json::json!({ "Messages": messages }));
    };
    let settle = |operation: &str, id: &str| {
        let entry = serde_json::json!({ "Id": "0", "ReceiptHandle": format!("handle-{id}"), "VisibilityTimeout": 0 });
        let request = serde_json::json!({ "Entries": [entry] });
        record.note(0, operation, &request, &serde_json::json!({ "Successful": [{ "Id": "0" }] }));
    };
    receive(&[message("a1", "a"), message("b1", "b"), message("a2", "a")]);
    assert!(record.holds_followers(0));
    settle("DeleteMessageBatch", "a1");
    assert!(!record.holds_followers(0));
    settle("ChangeMessageVisibilityBatch", "a2");
    settle("DeleteMessageBatch", "b1");
    assert_eq!((record.held(0), record.deleted(0)), (0, 2));
    // The last of a group has no followers.
    let summary = Summary { receives: 1, redelivered: 0, shared: 1, failed_before_followers: 0 };
    assert_eq!(record.summary(), summary);
    receive(&[message("a2", "a"), message("a3", "a")]);
    settle("DeleteMessageBatch", "a3");
    record.lost(0);
    assert_eq!(record.held(0), 0);
    let summary = Summary { receives: 2, redelivered: 1, shared: 2, failed_before_followers: 1 };
    assert_eq!(record.summary(), summary);
}
