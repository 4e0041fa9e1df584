//! The swap: which step comes next, in both directions.
//!
//! [`STEPS`] is the swap explained aloud. [`next`] picks from it. Neither does
//! I/O and nothing is remembered between two calls: progress is what the engine
//! reports (names, states and restart policies of two containers), the verdict
//! *condemned* is the new container's name, the *commit* is the old one's
//! absence. A helper that was killed looks again and carries on.
//!
//! Before changing the order, read the invariants in [`model`](self), which
//! walks every reachable state through crashes and reboots.

pub mod facts;
#[cfg(test)]
mod model;
pub mod observe;
pub mod run;

use serde_json::{Value, json};

use crate::plan::{Member, Plan};
use facts::{Container, Facts, MemberFacts, Verdict};

/// One row of the table. It makes one engine call in either direction, so a
/// crash is before it or after it, never inside.
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
    Step {
        name: "arm the old container",
        undo_name: "give the old container its own restart policy",
        key: "arm-old",
        order: Order::AsStarted,
        page: false,
        done: |v| v.old_gone_or(|old| !v.runs() || !old.running || old.policy_is(&always())),
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
        undone: |v| !v.runs() || v.old_gone_or(|old| old.running),
        undo: |v| Call::Start { id: v.old_id() },
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
    Step {
        name: "start the new container",
        undo_name: "stop the new container",
        key: "start-new",
        order: Order::AsStarted,
        page: true,
        done: |v| !v.runs() || v.new_gone_or(|new| new.was_started() && !v.is_left_down()),
        act: |v| Call::Start { id: v.new_id() },
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
];

/// Where in [`STEPS`] the old container serves: everything behind it is the gap.
pub(crate) const SERVE: usize = 3;

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

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new version has taken over.
    Updated,
    /// The old version is back as it was.
    RolledBack,
    /// Nothing was touched.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// Neither version can be brought up without a person.
    NeedsAPerson {
        /// What is the matter and what to do, for people.
        reason: String,
    },
}

/// One member as a step sees it: its plan and its facts.
pub struct View<'a> {
    /// The plan's part.
    pub plan: &'a Member,
    /// The old container, unless it is gone.
    pub old: Option<&'a Container>,
    /// The new container, if there is one.
    pub new: Option<&'a Container>,
    gate: &'a Verdict,
    old_answers: bool,
    committed: bool,
}

impl View<'_> {
    fn runs(&self) -> bool {
        self.plan.old.running
    }

    fn old_gone_or(&self, holds: impl Fn(&Container) -> bool) -> bool {
        self.old.is_none_or(holds)
    }

    fn new_gone_or(&self, holds: impl Fn(&Container) -> bool) -> bool {
        self.new.is_none_or(holds)
    }

    fn old_id(&self) -> String {
        self.plan.old.id.clone()
    }

    fn new_id(&self) -> String {
        self.new.map(|new| new.id.clone()).unwrap_or_default()
    }

    fn new_started(&self) -> bool {
        self.new.is_some_and(Container::was_started)
    }

    fn new_is_armed(&self) -> bool {
        self.new_gone_or(|new| new.policy_is(&self.plan.old.policy))
    }

    /// Past the commit an armed new container needs no proof any more.
    fn is_accepted(&self) -> bool {
        self.committed && self.new_is_armed()
    }

    /// An engine that is killed leaves what ran under `unless-stopped` down when it
    /// comes back. Past the commit nothing but the start is missing then; before it,
    /// the old version is the safer way.
    fn is_left_down(&self) -> bool {
        let down = |new: &Container| !new.running && new.policy["Name"] == "unless-stopped";
        self.committed && self.new.is_some_and(down)
    }

    fn missing_network(&self) -> Option<String> {
        let new = self.new?;
        let missing = self.plan.connect.iter().find(|c| !new.networks.contains(&c.network))?;
        Some(missing.network.clone())
    }

    /// Whether anything about the old container is no longer as it was found. One
    /// that runs again has been stopped before.
    fn old_is_displaced(&self) -> bool {
        self.old.is_some_and(|old| {
            old.name != self.plan.name
                || old.running != self.runs()
                || (self.runs() && old.started_at != self.plan.old.started_at)
                || !old.policy_is(&self.plan.old.policy)
        })
    }
}

/// Decides what comes next. No I/O and no memory: `facts` is all there is.
pub fn next(plan: &Plan, facts: &Facts) -> Next {
    let views = views(plan, facts);
    let Some(lead) = views.first() else {
        return refused("the plan names no container");
    };
    if lead.committed {
        return committed(plan, facts, lead, &views);
    }
    if is_condemned(lead, &views) {
        return back(&views);
    }
    if let Some(reason) = facts.doom(plan) {
        return match lead.new {
            Some(new) => Next::Condemn { id: new.id.clone(), to: lead.plan.failed_name(), reason },
            // Without a new container there is nothing that could carry the verdict,
            // and nothing has been touched yet: creating it is the first step.
            None => refused(reason),
        };
    }
    forward(&views)
}

/// Whether visitors should see the page while `next` is carried out; `None`
/// where it should stay as it is. An app that was stopped has no visitors.
pub fn shows_page(plan: &Plan, facts: &Facts, next: &Next) -> Option<bool> {
    if !plan.members.iter().any(|member| member.old.running) {
        return Some(false);
    }
    let every_old = |holds: &dyn Fn(&Member, &Container) -> bool| {
        let members = plan.members.iter().zip(&facts.members);
        members.into_iter().all(|(plan, m)| m.old.as_ref().is_some_and(|old| holds(plan, old)))
    };
    // One that died by itself before its turn leaves a gap as well; one that
    // nobody has stopped yet needs no page on the way back either.
    let serves = every_old(&|_, old| old.running);
    let never_left = every_old(&|plan, old| old.running && old.started_at == plan.old.started_at);
    match next {
        Next::Do { direction: Direction::Forward, step, .. } => {
            Some(STEPS[*step].page || (*step < SERVE && !serves))
        }
        Next::Do { direction: Direction::Back, step, .. } => Some(*step >= SERVE && !never_left),
        Next::Condemn { .. } => None,
        Next::Finish(_) => Some(false),
    }
}

/// There is no way back any more. Ours is the removal of an old container whose
/// successor has proved itself; but anybody can remove one.
fn committed(plan: &Plan, facts: &Facts, lead: &View, views: &[View]) -> Next {
    let app = &plan.app;
    let Some(new) = lead.new else {
        return needs_a_person(format!(
            "the old and the new container of `{app}` are both gone\nhint: create it anew; its volumes are untouched"
        ));
    };
    let reason = match new.name == lead.plan.failed_name() {
        true => Some("it had been given up".to_owned()),
        // What has proved itself may do as it likes, unless we are refused.
        false if views.iter().all(View::is_accepted) => facts.refusal.clone(),
        false => facts.doom(plan),
    };
    match (forward(views), reason) {
        (Next::Do { .. }, Some(reason)) => needs_a_person(format!(
            "the old container of `{app}` is gone, and the new one is no good: {reason}\nhint: it is `{}`, mend it or create the app anew; its volumes are untouched",
            new.name
        )),
        (decided, _) => decided,
    }
}

fn forward(views: &[View]) -> Next {
    first_open(Direction::Forward, views).unwrap_or(Next::Finish(Outcome::Updated))
}

fn back(views: &[View]) -> Next {
    first_open(Direction::Back, views).unwrap_or_else(|| {
        match views.iter().find(|view| view.old.is_none()) {
            None => Next::Finish(Outcome::RolledBack),
            Some(view) => needs_a_person(format!(
                "the old container of `{}` is gone, so only the others are back\nhint: create it anew; its volumes are untouched",
                view.plan.name
            )),
        }
    })
}

/// The first call that is still to be made in this direction: phase by phase,
/// in each phase member by member.
fn first_open(direction: Direction, views: &[View]) -> Option<Next> {
    let rows: Vec<usize> = match direction {
        Direction::Forward => (0..STEPS.len()).collect(),
        Direction::Back => (0..STEPS.len()).rev().collect(),
    };
    for step in rows {
        let row = &STEPS[step];
        let as_started = (row.order == Order::AsStarted) == (direction == Direction::Forward);
        let members: Vec<usize> = match as_started {
            true => (0..views.len()).collect(),
            false => (0..views.len()).rev().collect(),
        };
        for member in members {
            let view = &views[member];
            let (holds, call) = match direction {
                Direction::Forward => (row.done, row.act),
                Direction::Back => (row.undone, row.undo),
            };
            if !holds(view) {
                return Some(Next::Do { direction, step, member, call: call(view) });
            }
        }
    }
    None
}

/// The new version has been given up: its lead carries the verdict in its name.
/// A new container that vanished after the old one was touched counts as well.
fn is_condemned(lead: &View, views: &[View]) -> bool {
    match lead.new {
        Some(new) => new.name == lead.plan.failed_name(),
        None => views.iter().any(View::old_is_displaced),
    }
}

fn views<'a>(plan: &'a Plan, facts: &'a Facts) -> Vec<View<'a>> {
    let committed = facts.members.first().is_some_and(|lead| lead.old.is_none());
    let view = |(plan, facts): (&'a Member, &'a MemberFacts)| View {
        plan,
        old: facts.old.as_ref(),
        new: facts.new.as_ref(),
        gate: &facts.gate,
        old_answers: facts.old_answers,
        committed,
    };
    plan.members.iter().zip(&facts.members).map(view).collect()
}

fn refused(reason: impl Into<String>) -> Next {
    Next::Finish(Outcome::Refused { reason: reason.into() })
}

fn needs_a_person(reason: impl Into<String>) -> Next {
    Next::Finish(Outcome::NeedsAPerson { reason: reason.into() })
}

/// Comes back after every kind of engine restart, also after a `docker stop`.
fn always() -> Value {
    json!({ "Name": "always", "MaximumRetryCount": 0 })
}

/// Never comes back by itself.
fn no() -> Value {
    json!({ "Name": "no", "MaximumRetryCount": 0 })
}
