//! What is being done, as it is told.

use super::super::{Direction, STEPS};
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
