//! Whether a lookup or read has ended well.
//!
//! SIM-3: by who could be found all the time, not by what the machine believes.
//!
//! What it does not do: ask the machine that looked. It asks the census.

use cloakroom_wire::{NodeId, OwnedContent, OwnedRecord};

use super::Run;
use super::tally::{Question, What};
use crate::engine::Node;

impl Run<'_> {
    /// Whether a lookup has found whom it ought to, and how many of them.
    pub(super) fn judge_lookup(
        &mut self,
        node: Node,
        question: &Question,
        found: &[NodeId],
    ) -> bool {
        let What::Point(point) = question.what else { return false };
        let wanted = self.people.closest(point, 20, question.began, node);
        let is_found = |node: &Node| found.contains(&self.people.all[node.index()].contact.id);
        let recalled = wanted.iter().filter(|node| is_found(node)).count();
        let good = wanted.first().is_none_or(is_found);
        self.recalled.0 += recalled as u64;
        self.recalled.1 += wanted.len() as u64;
        good
    }

    pub(super) fn judge_read(&self, question: &Question, records: &[OwnedRecord]) -> bool {
        let What::Record(record) = question.what else { return false };
        let origin = self.origins[record as usize];
        let right = |record: &OwnedRecord| {
            Some(record.origin) == origin
                && record.sequence == 1
                && matches!(&record.content, OwnedContent::Value(_))
        };
        !records.is_empty() && records.iter().all(right)
    }
}
