//! What a step of the table sees, and the words in which it says its conditions.

use super::Call;
use super::facts::{Container, Facts, Sameness, Verdict};
use crate::plan::{Member, Plan};

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
    pub(super) old_in_disorder: bool,
    pub(super) new_in_disorder: bool,
    pub(super) data: Data,
}

/// How far the data of the whole set is: it is kept and put back for all at once.
#[derive(Clone, Copy)]
pub(super) struct Data {
    /// The first pass is over, or nobody needs it any more.
    pub(super) is_passed: bool,
    /// There is a snapshot, or it is too late to need one: new runs, or old is gone.
    pub(super) is_kept: bool,
    /// New has run on it, so a snapshot of it would be none of old's any more.
    pub(super) is_touched: bool,
    /// Old may run on it: it was put back, or new has never touched it, or old has been
    /// released already.
    pub(super) is_put_back: bool,
}

impl Data {
    pub(super) fn of(plan: &Plan, facts: &Facts) -> Data {
        let (keeps, seen) = (plan.keeps_data(), facts.data);
        let members = || plan.members.iter().zip(&facts.members);
        let is_touched = members().any(|(_, m)| m.new.as_ref().is_some_and(Container::was_started));
        // One that went down with the engine is started again only on data of which there
        // still is a snapshot: old may have run in between, if a person has started it.
        let down = |new: &Container| new.was_started() && !new.running;
        let is_down = members().any(|(_, m)| m.new.as_ref().is_some_and(down));
        let committed = facts.members.first().is_some_and(|lead| lead.old.is_none());
        let untouched =
            members().all(|(_, m)| m.new.as_ref().is_some_and(|new| !new.was_started()));
        // Old is armed on the way back when its data is what it was, and not before.
        let released = members().any(|(plan, m)| {
            let back =
                |old: &Container| old.running || plan.old.running && old.policy["Name"] == "always";
            m.old.as_ref().is_some_and(back)
        });
        let nobody_left = members().all(|(_, m)| m.old.is_none());
        let begun = members().any(|(_, m)| m.new.is_some())
            || members().any(|(_, m)| m.old.as_ref().is_none_or(|old| !old.running));
        Data {
            is_passed: !keeps || seen.passed || begun,
            is_kept: !keeps || seen.kept || committed || is_touched && !is_down,
            is_touched,
            is_put_back: !keeps || seen.put_back || untouched || released || nobody_left,
        }
    }
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

    /// Whether nothing of its start is missing.
    pub(super) fn new_is_started(&self) -> bool {
        let up = |new: &Container| new.was_started() && !self.is_left_down();
        self.new.is_some_and(up) && !self.new_in_disorder
    }

    /// What starts the old container.
    pub(super) fn start_old(&self) -> Call {
        start(self.old_id(), self.old_in_disorder)
    }

    /// What starts the new container.
    pub(super) fn start_new(&self) -> Call {
        start(self.new_id(), self.new_in_disorder)
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

fn start(id: String, in_disorder: bool) -> Call {
    match in_disorder {
        true => Call::StartAnew { id },
        false => Call::Start { id },
    }
}
