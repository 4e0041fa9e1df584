//! What is being done, as it is told.

use super::super::{Direction, Next, Outcome, STEPS};
use crate::events::Event;
use crate::plan::Plan;

/// One step for one member in one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Doing {
    pub(super) direction: Direction,
    pub(super) step: usize,
    pub(super) member: usize,
}

impl Doing {
    pub(super) fn name(self) -> &'static str {
        match self.direction {
            Direction::Forward => STEPS[self.step].name,
            Direction::Back => STEPS[self.step].undo_name,
        }
    }

    /// Whether it holds where this comes next: a decision is the first step that doesn't.
    pub(super) fn is_behind(self, decided: &Next) -> bool {
        match (decided, self.direction) {
            (Next::Do { direction, .. }, mine) if *direction != mine => false,
            (Next::Do { step, .. }, Direction::Forward) => *step > self.step,
            (Next::Do { step, .. }, Direction::Back) => *step < self.step,
            (Next::Finish(Outcome::Updated), Direction::Forward) => true,
            (Next::Finish(Outcome::RolledBack), Direction::Back) => true,
            _ => false,
        }
    }

    fn key(self) -> String {
        match self.direction {
            Direction::Forward => STEPS[self.step].key.to_owned(),
            Direction::Back => format!("undo-{}", STEPS[self.step].key),
        }
    }

    pub(super) fn begun(self, plan: &Plan) -> Event {
        let member = plan.members[self.member].name.clone();
        Event::Begun { key: self.key(), name: self.name().to_owned(), member }
    }

    pub(super) fn done(self, plan: &Plan, milliseconds: u64) -> Event {
        let member = plan.members[self.member].name.clone();
        Event::Step { key: self.key(), name: self.name().to_owned(), member, milliseconds }
    }
}
