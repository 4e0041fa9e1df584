//! The decision: a pure function from facts to the next call.

use super::facts::{Container, Facts, MemberFacts};
use super::view::{Data, View};
use super::{Direction, Next, Order, Outcome, SERVE, STEPS};
use crate::plan::{Member, Plan};

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

/// Whether the update has displaced the old version and still owes it its place:
/// then its containers are no leftovers, whatever their names look like.
pub fn is_owed(plan: &Plan, facts: &Facts) -> bool {
    views(plan, facts).iter().any(View::old_is_displaced)
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
    // A verdict that came after the commit had been decided comes too late.
    let given_up = new.name == lead.plan.failed_name() && !lead.is_accepted();
    let reason = match given_up {
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
/// A new container that vanished after the old one was touched counts as well, also
/// once that is back: what was taken away is not to be tried again and again.
fn is_condemned(lead: &View, views: &[View]) -> bool {
    match lead.new {
        Some(new) => new.name == lead.plan.failed_name(),
        None => views.iter().any(|view| view.old_is_displaced() || view.old_was_restarted()),
    }
}

fn views<'a>(plan: &'a Plan, facts: &'a Facts) -> Vec<View<'a>> {
    let committed = facts.members.first().is_some_and(|lead| lead.old.is_none());
    let data = Data::of(plan, facts);
    let view = |(plan, facts): (&'a Member, &'a MemberFacts)| View {
        plan,
        old: facts.old.as_ref(),
        new: facts.new.as_ref(),
        sameness: &facts.sameness,
        carried: facts.carried,
        tagged: facts.tagged,
        gate: &facts.gate,
        old_answers: facts.old_answers,
        committed,
        fell_with_engine: facts.fell_with_engine,
        old_in_disorder: facts.old_in_disorder,
        new_in_disorder: facts.new_in_disorder,
        data,
    };
    plan.members.iter().zip(&facts.members).map(view).collect()
}

fn refused(reason: impl Into<String>) -> Next {
    Next::Finish(Outcome::Refused { reason: reason.into() })
}

fn needs_a_person(reason: impl Into<String>) -> Next {
    Next::Finish(Outcome::NeedsAPerson { reason: reason.into() })
}
