//! The person who empties the quarantine, with the real commands. Only what blocks its customer is decided: the rest
//! was planted, and stays as evidence.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::history::now_ms;
use super::load::{Kind, Message};
use super::stage::{Stage, sql};
use crate::servers::{PATIENCE, eventually};

/// How often the list is read: so seldom that orders are parked behind a poison, and that all others would wait too long
/// if they waited for it.
const LOOK: Duration = Duration::from_secs(6);

/// What a person has to know, and has done.
pub struct Person<'a> {
    stage: &'a Stage,
    /// Poisons that were sent, by their names.
    poisons: Mutex<HashMap<String, Message>>,
    /// Entries that were seen and not decided, as far as is known, by their ids. A command that failed is given again:
    /// it may have been done all the same.
    undecided: Mutex<BTreeMap<String, Case>>,
    /// Orders that took the place of others.
    pub replacements: Mutex<Vec<(u64, Message)>>,
}

/// What blocks a customer.
#[derive(Debug, Clone)]
enum Case {
    Poison(Message),
    /// `fifo`: a message that is no order, by its marker.
    Malformed(String),
}

impl<'a> Person<'a> {
    /// Who has done nothing yet.
    pub fn new(stage: &'a Stage) -> Self {
        Self { stage, poisons: Mutex::default(), undecided: Mutex::default(), replacements: Mutex::default() }
    }

    /// Takes note of what is sent.
    pub fn expect(&self, messages: &[Message]) {
        let mut poisons = self.poisons.lock().expect("no panic inside");
        let planted = messages.iter().filter(|message| message.kind == Kind::Poison);
        poisons.extend(planted.map(|message| (message.order_id(), *message)));
    }

    /// Decides for ever. What cannot be decided now (the ledger is away, the gate is closed) is decided later.
    pub async fn decide(&self) -> ! {
        loop {
            sleep(LOOK).await;
            let said = self.stage.site.command(&["quarantine", "list", "--json", "--limit", "10000"]).await;
            for line in said.out.lines() {
                let entry: Value = serde_json::from_str(line).unwrap();
                if entry["blocks"] == true {
                    self.see(&entry).await;
                }
            }
            let undecided = self.undecided.lock().expect("no panic inside").clone();
            for (id, case) in undecided {
                if self.decided(&id, &case).await {
                    self.undecided.lock().expect("no panic inside").remove(&id);
                }
            }
        }
    }

    /// Waits until every decision has its answer. Called when nobody is blocked, so that it takes a look or two.
    pub async fn until_decided(&self) {
        eventually("every decision has its answer", PATIENCE, || {
            std::future::ready(self.undecided.lock().expect("no panic inside").is_empty())
        })
        .await;
    }

    /// An innocent order is no case: it stays where it is, and the checker sees it.
    async fn see(&self, entry: &Value) {
        let id = entry["id"].as_str().unwrap();
        let case = if let Some(order) = entry["order_id"].as_str() {
            self.poisons.lock().expect("no panic inside").get(order).copied().map(Case::Poison)
        } else {
            let said = self.stage.site.command(&["quarantine", "show", id, "--body"]).await;
            let body: Value = serde_json::from_str(&said.out).unwrap_or_default();
            body["marker"].as_str().map(|marker| Case::Malformed(marker.to_owned()))
        };
        if let Some(case) = case {
            self.undecided.lock().expect("no panic inside").insert(id.to_owned(), case);
        }
    }

    /// Each poison has its own cure, by its customer: the first two of each cohort.
    async fn decided(&self, id: &str, case: &Case) -> bool {
        let poison = match case {
            Case::Malformed(marker) => return self.skipped(id, marker).await,
            Case::Poison(poison) => poison,
        };
        let order = poison.order_id();
        match (poison.customer / 100 * 2 + poison.customer % 100) % 3 {
            0 => self.retried(id, &order).await,
            1 => self.replaced(id, &order, poison).await,
            _ => self.skipped(id, &order).await,
        }
    }

    /// The table is made to take it before.
    async fn retried(&self, id: &str, order: &str) -> bool {
        let pardon = format!("INSERT INTO pardons VALUES ('{order}') ON CONFLICT DO NOTHING");
        let done = sql(&self.stage.ledger_url, &pardon).await.is_ok() && self.done(&["retry", id]).await;
        if done {
            self.stage.history.fault(now_ms(), None, "retry", order, "");
        }
        done
    }

    async fn replaced(&self, id: &str, order: &str, poison: &Message) -> bool {
        let other = Message { kind: Kind::Replacement, ..*poison };
        let file = self.stage.site.folder.path().join(other.order_id());
        std::fs::write(&file, other.body(self.stage.play.is_gapless())).unwrap();
        let done = self.done(&["replace", id, file.to_str().unwrap()]).await;
        if done {
            let at = now_ms();
            let detail = json!({ "order_id": other.order_id() }).to_string();
            self.stage.history.fault(at, None, "replace", order, &detail);
            self.replacements.lock().expect("no panic inside").push((at, other));
        }
        done
    }

    async fn skipped(&self, id: &str, target: &str) -> bool {
        let done = self.done(&["skip", id, "--reason", "chaos"]).await;
        if done {
            self.stage.history.fault(now_ms(), None, "skip", target, "");
        }
        done
    }

    async fn done(&self, decision: &[&str]) -> bool {
        let arguments = [&["quarantine"], decision, &["--actor", "chaos"]].concat();
        self.stage.site.command(&arguments).await.code == Some(0)
    }
}
