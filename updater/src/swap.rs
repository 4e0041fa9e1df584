//! The swap: which step comes next, in both directions.
//!
//! [`STEPS`] is the swap explained aloud. [`next`] picks from it. Neither does
//! I/O and nothing is remembered between two calls: progress is what the engine
//! reports (names, states and restart policies of two containers), the verdict
//! *condemned* is the new container's name, the *commit* is the old one's
//! absence. A helper that was killed looks again and carries on.
//!
//! Before changing the order, read the invariants at the top of `model.rs`, which
//! walks every reachable state through crashes and reboots.

pub mod data;
mod decide;
pub mod facts;
#[cfg(test)]
mod model;
pub mod observe;
mod outcome;
pub mod run;
mod view;

pub use decide::{is_owed, next, shows_page};
pub use outcome::{Ending, Outcome};
pub use view::View;

use serde_json::{Value, json};

use facts::Verdict;

/// One row of the table. It changes something by one engine call at most, in either
/// direction, so a crash is before it or after it, never inside.
pub struct Step {
    /// The step in the operator's words.
    pub name: &'static str,
    /// The way back in the operator's words.
    pub undo_name: &'static str,
    /// A stable key, for the page's translations and for scripts.
    pub key: &'static str,
    /// In which order the members of a set go through it on the way forward.
    pub order: Order,
    /// Whether visitors see the page while this step is the next one forward.
    pub page: bool,
    /// "This, or something later, has happened."
    pub done: fn(&View) -> bool,
    /// The call that does it.
    pub act: fn(&View) -> Call,
    /// "This no longer holds, or never did."
    pub undone: fn(&View) -> bool,
    /// The call that takes it back.
    pub undo: fn(&View) -> Call,
}

/// The order of a step among the members of a set. Going back reverses it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they are started: whom others depend on first.
    AsStarted,
    /// As they are stopped: dependants first.
    AsStopped,
}

/// The swap. What comes back after a power cut is decided by restart policies,
/// so arming is part of it: old is armed from before it is stopped until just
/// before new starts, new only once it has proved itself, never both.
pub const STEPS: &[Step] = &[
    // Nearly all of the reading and writing is done while the app still serves. What it
    // changes meanwhile is what "back up the data" finds.
    Step {
        name: "back up the data while the app serves",
        undo_name: "keep the backup",
        key: "first-pass",
        order: Order::AsStarted,
        page: false,
        done: |v| v.data.is_passed,
        act: |_| Call::FirstPass,
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "create the new container",
        undo_name: "keep the failed container as evidence",
        key: "create-new",
        order: Order::AsStarted,
        page: false,
        done: |v| v.new.is_some() || v.old.is_none(),
        act: |_| Call::Create,
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "connect the new container to its networks",
        undo_name: "leave the failed container its networks",
        key: "connect-new",
        order: Order::AsStarted,
        page: false,
        done: |v| v.new_started() || v.missing_network().is_none(),
        act: |v| Call::Connect { id: v.new_id(), network: v.missing_network().unwrap_or_default() },
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    // The last look before anything happens to old: what an engine has dropped or
    // changed on its own is found here, and not by the users of the new version.
    Step {
        name: "compare the new container with the old one",
        undo_name: "leave the failed container as it is",
        key: "compare-new",
        order: Order::AsStarted,
        page: false,
        done: |v| v.is_compared(),
        act: |_| Call::Compare,
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "arm the old container",
        undo_name: "give the old container its own restart policy",
        key: "arm-old",
        order: Order::AsStarted,
        page: false,
        // Once new has been at the data, old must not come back without us.
        done: |v| {
            let settled = !v.runs() || v.new_started();
            v.old_gone_or(|old| settled || !old.running || old.policy_is(&always()))
        },
        act: |v| Call::SetPolicy { id: v.old_id(), policy: always() },
        undone: |v| v.old_gone_or(|old| old.policy_is(&v.plan.old.policy)),
        undo: |v| Call::SetPolicy { id: v.old_id(), policy: v.plan.old.policy.clone() },
    },
    Step {
        name: "let the old container serve",
        undo_name: "wait for the old container to answer",
        key: "serve-old",
        order: Order::AsStarted,
        page: false,
        done: |_| true,
        act: |_| Call::Nothing,
        // One that nobody has restarted never went away.
        undone: |v| {
            !v.runs()
                || v.old_gone_or(|old| old.started_at == v.plan.old.started_at || v.old_answers)
        },
        undo: |_| Call::WatchOld,
    },
    Step {
        name: "stop the old container",
        undo_name: "start the old container",
        key: "stop-old",
        order: Order::AsStopped,
        page: true,
        done: |v| v.old_gone_or(|old| !old.running),
        act: |v| Call::Stop { id: v.old_id() },
        undone: |v| !v.runs() || v.old_gone_or(|old| old.running && !v.old_in_disorder),
        undo: |v| v.start_old(),
    },
    // Only now does nobody write any more. Old is still armed: until new is about to
    // start, the data is its own.
    Step {
        name: "back up the data",
        undo_name: "keep the backup",
        key: "back-up",
        order: Order::AsStarted,
        page: true,
        done: |v| v.data.is_kept,
        act: |v| if v.data.is_touched { Call::FindBackup } else { Call::BackUp },
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "carry files over",
        undo_name: "leave the failed container its files",
        key: "carry-files",
        order: Order::AsStarted,
        page: true,
        done: |v| v.is_carried(),
        act: |v| Call::Carry { from: v.old_id(), to: v.new_id() },
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "park the old container",
        undo_name: "give the old container its name back",
        key: "park-old",
        order: Order::AsStopped,
        page: true,
        done: |v| v.old_gone_or(|old| old.name == v.plan.parked_name()),
        act: |v| Call::Rename { id: v.old_id(), to: v.plan.parked_name() },
        undone: |v| v.old_gone_or(|old| old.name == v.plan.name),
        undo: |v| Call::Rename { id: v.old_id(), to: v.plan.name.clone() },
    },
    Step {
        name: "promote the new container",
        undo_name: "set the failed container aside",
        key: "promote-new",
        order: Order::AsStarted,
        page: true,
        done: |v| v.new_gone_or(|new| new.name == v.plan.name),
        act: |v| Call::Rename { id: v.new_id(), to: v.plan.name.clone() },
        undone: |v| v.new_gone_or(|new| new.name == v.plan.failed_name()),
        undo: |v| Call::Rename { id: v.new_id(), to: v.plan.failed_name() },
    },
    Step {
        name: "disarm the old container",
        undo_name: "arm the old container again",
        key: "disarm-old",
        order: Order::AsStopped,
        page: true,
        done: |v| !v.runs() || v.old_gone_or(|old| old.policy_is(&no())),
        act: |v| Call::SetPolicy { id: v.old_id(), policy: no() },
        // Old is to come back even if we die between this and its start.
        undone: |v| !v.runs() || v.old_gone_or(|old| old.running || old.policy_is(&always())),
        undo: |v| Call::SetPolicy { id: v.old_id(), policy: always() },
    },
    // On the way back before old is armed: at a power cut it must not come up by itself
    // on data that new has touched.
    Step {
        name: "leave the data to the new container",
        undo_name: "put the data back",
        key: "put-back",
        order: Order::AsStarted,
        page: true,
        done: |_| true,
        act: |_| Call::Nothing,
        undone: |v| v.data.is_put_back,
        undo: |_| Call::PutBack,
    },
    Step {
        name: "start the new container",
        undo_name: "stop the new container",
        key: "start-new",
        order: Order::AsStarted,
        page: true,
        done: |v| !v.runs() || v.new.is_none() || v.new_is_started(),
        act: |v| v.start_new(),
        undone: |v| v.new_gone_or(|new| !new.running),
        undo: |v| Call::Stop { id: v.new_id() },
    },
    Step {
        name: "check the new container",
        undo_name: "give the new container up",
        key: "gate",
        order: Order::AsStarted,
        page: true,
        done: |v| v.gate.answers() || v.is_accepted(),
        act: |_| Call::WatchNew,
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    // Visitors are on the new version by now; only the way back is kept a little
    // longer, for the version that answers once and then falls over.
    Step {
        name: "watch the new container for a moment",
        undo_name: "give the new container up",
        key: "watch-new",
        order: Order::AsStarted,
        page: false,
        done: |v| v.gate == &Verdict::Passed || v.is_accepted(),
        act: |_| Call::WatchNew,
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    Step {
        name: "arm the new container",
        undo_name: "disarm the new container",
        key: "arm-new",
        order: Order::AsStarted,
        page: false,
        done: |v| v.new_is_armed(),
        act: |v| Call::SetPolicy { id: v.new_id(), policy: v.plan.old.policy.clone() },
        undone: |v| v.new_gone_or(|new| new.policy_is(&no())),
        undo: |v| Call::SetPolicy { id: v.new_id(), policy: no() },
    },
    Step {
        name: "remove the old container",
        undo_name: "keep the old container",
        key: "remove-old",
        order: Order::AsStarted,
        page: false,
        done: |v| v.old.is_none(),
        act: |v| Call::Remove { id: v.old_id() },
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
    // Not before the commit: until then the tag has to lead to the version that is there.
    Step {
        name: "give the user's tag to the new image",
        undo_name: "leave the user's tag to the old image",
        key: "retag",
        order: Order::AsStarted,
        page: false,
        done: |v| v.plan.retag.is_none() || v.tagged || v.new.is_none(),
        act: |v| Call::Tag {
            image: v.plan.image.id.clone(),
            reference: v.plan.retag.clone().unwrap_or_default(),
        },
        undone: |_| true,
        undo: |_| Call::Nothing,
    },
];

/// Where in [`STEPS`] the old container serves: everything behind it is the gap.
pub(crate) const SERVE: usize = 5;

/// Where in [`STEPS`] the old container is removed. Beyond, nothing can be refused.
pub(crate) const REMOVE: usize = 17;

/// One engine call, or one look at whether somebody answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Create the new container from the plan.
    Create,
    /// Connect a container to one of the networks of the plan.
    Connect {
        /// The container.
        id: String,
        /// The network's name.
        network: String,
    },
    /// Look whether the new container is the same as the old one, but for what the
    /// update explains.
    Compare,
    /// Copy the plan's files from one container to another that was never started, so
    /// that it does no harm to do it again.
    Carry {
        /// The old container.
        from: String,
        /// The new one.
        to: String,
    },
    /// Change a restart policy.
    SetPolicy {
        /// The container.
        id: String,
        /// The policy as inspect writes it.
        policy: Value,
    },
    /// Stop a container with its own signal and time.
    Stop {
        /// The container.
        id: String,
    },
    /// Start a container.
    Start {
        /// The container.
        id: String,
    },
    /// Start a container anew that has come up in disorder. More than one call, but none
    /// of them leaves anything that the steps wouldn't put right.
    StartAnew {
        /// The container.
        id: String,
    },
    /// Rename a container.
    Rename {
        /// The container.
        id: String,
        /// Its new name, without a slash.
        to: String,
    },
    /// Remove a container, but not its volumes.
    Remove {
        /// The container.
        id: String,
    },
    /// Let a reference mean an image from now on.
    Tag {
        /// The image's id.
        image: String,
        /// The reference.
        reference: String,
    },
    /// Back up what the app has at the moment, so that less is left to do later.
    FirstPass,
    /// Back up the data that nobody is writing to any more.
    BackUp,
    /// Look whether what was backed up is what old has left: new has run since, and is to
    /// run once more.
    FindBackup,
    /// Make the data what it was when it was backed up. Does no harm to do again, as
    /// long as old hasn't run since.
    PutBack,
    /// Look whether the new container works.
    WatchNew,
    /// Look whether the old container answers again.
    WatchOld,
    /// There is nothing to do in this direction.
    Nothing,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// One call of one step for one member.
    Do {
        /// Forward or back.
        direction: Direction,
        /// Index into [`STEPS`].
        step: usize,
        /// Index into the plan's members.
        member: usize,
        /// The call.
        call: Call,
    },
    /// Give the new version up: rename the lead's new container.
    Condemn {
        /// Its id.
        id: String,
        /// The name that says so.
        to: String,
        /// Why, for people.
        reason: String,
    },
    /// Nothing is left to do.
    Finish(Outcome),
}

/// The two ways through the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Towards the new version.
    Forward,
    /// Back to the old one.
    Back,
}

/// Comes back after every kind of engine restart, also after a `docker stop`.
fn always() -> Value {
    json!({ "Name": "always", "MaximumRetryCount": 0 })
}

/// Never comes back by itself.
fn no() -> Value {
    json!({ "Name": "no", "MaximumRetryCount": 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_comes_right_before_the_gap() {
        assert_eq!(STEPS[SERVE].key, "serve-old");
        assert_eq!(STEPS[SERVE + 1].key, "stop-old");
        assert_eq!(STEPS[REMOVE].key, "remove-old");
    }
}
