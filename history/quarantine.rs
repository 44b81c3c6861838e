//! Rule 7: only what was planted goes to quarantine: a poison, a conflict or its rival, a malformed message.

use crate::folder::History;
use crate::line::{Case, Name};
use crate::report::{Rule, grouped};
use crate::sent::Source;
use crate::worker::{Deed, Place};

pub(crate) struct Quarantine<'a> {
    rule: Rule,
    source: &'a Source<'a>,
}

impl<'a> Quarantine<'a> {
    pub(crate) fn new(source: &'a Source<'a>) -> Self {
        Self { rule: Rule::new(7, "quarantine"), source }
    }

    fn is_planted(&self, id: &str) -> bool {
        self.source.orders.get(id).is_some_and(|asked| !asked.is_innocent())
    }

    /// A person may have taken it out again since. (Of a malformed message the log has the message's name only.)
    pub(crate) fn saw(&mut self, place: &Place, deed: &Deed) {
        if let Deed::Quarantine(Name(id, _), Case::Quarantined) = deed
            && !id.starts_with('!')
            && !self.is_planted(id)
        {
            self.rule.broken(format_args!("{place}: {id} goes to quarantine, and nothing is wrong with it"));
        }
    }

    pub(crate) fn judge(mut self, history: &History) -> Rule {
        for row in &history.quarantined {
            let planted = match &row.order_id {
                Some(id) => self.is_planted(id),
                None => self.source.malformed_in(&row.body).is_some(),
            };
            if !planted {
                let (id, kind) = (&row.id, &row.kind);
                self.rule.broken(format_args!("{id} is in quarantine as {kind}, and nothing is wrong with it"));
            }
        }
        let innocent = self.source.orders.keys().filter(|id| !self.is_planted(id)).count();
        let entries = history.quarantined.len();
        self.rule.checked(innocent + entries, format_args!("{} innocent orders, {entries} entries", grouped(innocent)))
    }
}
