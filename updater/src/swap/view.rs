//! What a step of the table sees, and the words in which it says its conditions.

use super::facts::{Container, Sameness, Verdict};
use crate::plan::Member;

/// One member as a step sees it: its plan and its facts.
pub struct View<'a> {
    /// The plan's part.
    pub plan: &'a Member,
    /// The old container, unless it is gone.
    pub old: Option<&'a Container>,
    /// The new container, if there is one.
    pub new: Option<&'a Container>,
    pub(super) sameness: &'a Sameness,
    pub(super) carried: bool,
    pub(super) tagged: bool,
    pub(super) gate: &'a Verdict,
    pub(super) old_answers: bool,
    pub(super) committed: bool,
    pub(super) fell_with_engine: bool,
}

impl View<'_> {
    pub(super) fn runs(&self) -> bool {
        self.plan.old.running
    }

    pub(super) fn old_gone_or(&self, holds: impl Fn(&Container) -> bool) -> bool {
        self.old.is_none_or(holds)
    }

    pub(super) fn new_gone_or(&self, holds: impl Fn(&Container) -> bool) -> bool {
        self.new.is_none_or(holds)
    }

    pub(super) fn old_id(&self) -> String {
        self.plan.old.id.clone()
    }

    pub(super) fn new_id(&self) -> String {
        self.new.map(|new| new.id.clone()).unwrap_or_default()
    }

    pub(super) fn new_started(&self) -> bool {
        self.new.is_some_and(Container::was_started)
    }

    pub(super) fn new_is_armed(&self) -> bool {
        self.new_gone_or(|new| new.policy_is(&self.plan.old.policy))
    }

    /// Past the commit an armed new container needs no proof any more, and one that a
    /// person has removed together with its predecessor can't give any.
    pub(super) fn is_accepted(&self) -> bool {
        self.committed && self.new_is_armed() || self.old.is_none() && self.new.is_none()
    }

    /// An engine that dies takes the new version down with it, and whether that comes
    /// back is up to its policy: before the commit it doesn't, and after it an engine
    /// that was killed leaves down what ran under `unless-stopped`. Nothing but the start
    /// is missing then. It has been at the data, so it is the one to go on with them.
    pub(super) fn is_left_down(&self) -> bool {
        let left = |new: &Container| {
            let forgotten = self.committed && new.policy["Name"] == "unless-stopped";
            !new.running && (self.fell_with_engine || forgotten)
        };
        self.new.is_some_and(left)
    }

    /// Whether the comparison is done, or comes too late to mean anything: from the
    /// moment when old makes room there is another judge, the gate.
    pub(super) fn is_compared(&self) -> bool {
        self.sameness == &Sameness::Same
            || self.new_started()
            || self.new_gone_or(|new| new.name == self.plan.name)
            || self.old_gone_or(|old| old.name == self.plan.parked_name())
    }

    /// A helper that was killed doesn't know, and copies again.
    pub(super) fn is_carried(&self) -> bool {
        self.plan.carry.is_empty()
            || self.carried
            || self.new_started()
            || self.old.is_none()
            || self.new.is_none()
    }

    pub(super) fn missing_network(&self) -> Option<String> {
        let new = self.new?;
        let missing = self.plan.connect.iter().find(|c| !new.networks.contains(&c.network))?;
        Some(missing.network.clone())
    }

    /// Whether the old container runs, but not since before the update: somebody, and
    /// most likely we on the way back, has started it again.
    pub(super) fn old_was_restarted(&self) -> bool {
        let known = &self.plan.old.started_at;
        let restarted = |old: &Container| !known.is_empty() && old.started_at != *known;
        self.runs() && self.old.is_some_and(restarted)
    }

    /// Whether anything about the old container is no longer as it was found.
    pub(super) fn old_is_displaced(&self) -> bool {
        self.old.is_some_and(|old| {
            old.name != self.plan.name
                || old.running != self.runs()
                || !old.policy_is(&self.plan.old.policy)
        })
    }
}
