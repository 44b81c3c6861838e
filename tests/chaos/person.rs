//! The person who empties the quarantine, with the real commands. Only what blocks its customer is decided: the rest
//! was planted, and stays as evidence.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::history::now_ms;
use super::load::{Kind, Message};
use super::stage::{Stage, sql};

/// How often the list is read: so seldom that orders are parked behind a poison.
const LOOK: Duration = Duration::from_secs(4);

/// What a person has to know, and has done.
pub struct Person<'a> {
    stage: &'a Stage,
    /// Poisons that were sent, by their names.
    poisons: Mutex<HashMap<String, Message>>,
    /// Orders that took the place of others.
    pub replacements: Mutex<Vec<(u64, Message)>>,
}

impl<'a> Person<'a> {
    /// Who has done nothing yet.
    pub fn new(stage: &'a Stage) -> Self {
        Self { stage, poisons: Mutex::default(), replacements: Mutex::default() }
    }

    /// Takes note of what is sent.
    pub fn expect(&self, messages: &[Message]) {
        let mut poisons = self.poisons.lock().expect("no panic inside");
        let planted = messages.iter().filter(|message| message.kind == Kind::Poison);
        poisons.extend(planted.map(|message| (message.order_id(), *message)));
    }

    /// Decides for ever.
    pub async fn decide(&self) -> ! {
        loop {
            sleep(LOOK).await;
            let said = self.stage.site.command(&["quarantine", "list", "--json", "--limit", "10000"]).await;
            for line in said.out.lines() {
                let entry: Value = serde_json::from_str(line).unwrap();
                if entry["blocks"] == true {
                    self.decide_about(&entry).await;
                }
            }
        }
    }

    /// Each poison has its own cure, by its number. What cannot be decided now (the ledger is away, the gate is
    /// closed) is decided later.
    async fn decide_about(&self, entry: &Value) {
        let id = entry["id"].as_str().unwrap();
        let Some(order) = entry["order_id"].as_str() else {
            return self.skip_malformed(id).await;
        };
        let poison = self.poisons.lock().expect("no panic inside").get(order).copied();
        // An innocent order: the checker has to see it, so it stays.
        let Some(poison) = poison else { return };
        // Poisoned customers are the first two of their cohorts.
        match (poison.customer / 100 * 2 + poison.customer % 100) % 3 {
            0 => {
                let pardon = format!("INSERT INTO pardons VALUES ('{order}') ON CONFLICT DO NOTHING");
                if sql(&self.stage.ledger_url, &pardon).await.is_ok() && self.decided(&["retry", id]).await {
                    self.stage.history.fault(now_ms(), None, "retry", order, "");
                }
            }
            1 => self.replace(id, order, &poison).await,
            _ => {
                if self.decided(&["skip", id, "--reason", "chaos"]).await {
                    self.stage.history.fault(now_ms(), None, "skip", order, "");
                }
            }
        }
    }

    async fn replace(&self, id: &str, order: &str, poison: &Message) {
        let other = Message { kind: Kind::Replacement, ..*poison };
        let file = self.stage.site.folder.path().join(other.order_id());
        std::fs::write(&file, other.body(self.stage.play.is_gapless())).unwrap();
        if self.decided(&["replace", id, file.to_str().unwrap()]).await {
            let at = now_ms();
            let detail = json!({ "order_id": other.order_id() }).to_string();
            self.stage.history.fault(at, None, "replace", order, &detail);
            self.replacements.lock().expect("no panic inside").push((at, other));
        }
    }

    /// `fifo`: a message that is no order blocks its group.
    async fn skip_malformed(&self, id: &str) {
        let said = self.stage.site.command(&["quarantine", "show", id, "--body"]).await;
        let body: Value = serde_json::from_str(&said.out).unwrap_or_default();
        let Some(marker) = body["marker"].as_str() else { return };
        if self.decided(&["skip", id, "--reason", "chaos"]).await {
            self.stage.history.fault(now_ms(), None, "skip", marker, "");
        }
    }

    async fn decided(&self, decision: &[&str]) -> bool {
        let arguments = [&["quarantine"], decision, &["--actor", "chaos"]].concat();
        self.stage.site.command(&arguments).await.code == Some(0)
    }
}
