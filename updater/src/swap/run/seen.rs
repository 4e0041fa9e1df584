//! What one helper observes in its time and the engine doesn't keep.

use std::time::Duration;

use tokio::time::Instant;

use super::super::data::state;
use super::super::facts::{Container, DataFacts, Sameness, Verdict};
use super::super::observe::Observed;
use super::doing::Doing;
use crate::engine::{EngineError, Tether};
use crate::plan::Plan;

/// So long after a call was left without an answer the engine may still carry it out.
/// One that has stopped a container by half goes on with that for its stop time.
const LATE: Duration = Duration::from_secs(10);
/// The same for what a helper before this one has asked for: it was killed, the engine
/// was not slow.
const LATE_AFTER_A_CRASH: Duration = Duration::from_secs(3);
/// So often may the same call succeed without the facts telling of it.
const REPETITIONS: u32 = 5;

/// What the runner has observed itself and the engine doesn't keep. All of it is
/// observed again by a helper that was restarted.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sameness: Vec<Sameness>,
    pub(super) carried: Vec<bool>,
    pub(super) verdicts: Vec<Verdict>,
    pub(super) old_answers: Vec<bool>,
    pub(super) refusal: Option<String>,
    pub(super) data: Data,
    /// What is being done, and since when.
    pub(super) doing: Option<(Doing, Instant)>,
    /// What was done last, and how often in a row: a call that the engine accepts
    /// without effect must not be made for ever.
    pub(super) repeated: Option<(Doing, u32)>,
    /// How often the current step has failed in a row, and which it is.
    pub(super) failures: (String, u32),
    /// Until when a call without an answer may still take effect. Whoever left before
    /// that would leave the app stopped, renamed or armed by a call of their own.
    pub(super) unsettled: Option<Instant>,
    /// The verdict was there before this helper was.
    pub(super) came_late: bool,
    /// The engine was away in the middle of it and has just come back.
    pub(super) returned_with_engine: bool,
    /// The runs of the new containers that an outage of the engine has ended, by the
    /// times of their starts.
    pub(super) fell: Vec<Option<String>>,
    /// The old containers that we have stopped and not started since; each with a
    /// connection that ends if the engine is restarted, which might start them, too.
    pub(super) stopped: Vec<Option<Tether>>,
    /// The old containers that somebody has started all the same.
    pub(super) taken_back: Vec<bool>,
}

/// What this helper has done for the data.
#[derive(Default)]
pub(super) struct Data {
    pub(super) passed: bool,
    /// The state in which it was backed up.
    pub(super) kept: Option<Vec<String>>,
    pub(super) put_back: bool,
}

impl Seen {
    /// Nothing yet, of so many members.
    pub(super) fn of(members: usize) -> Seen {
        Seen {
            sameness: vec![Sameness::Unknown; members],
            carried: vec![false; members],
            verdicts: vec![Verdict::Pending; members],
            old_answers: vec![false; members],
            fell: vec![None; members],
            stopped: (0..members).map(|_| None).collect(),
            taken_back: vec![false; members],
            ..Seen::default()
        }
    }

    /// A helper that finds its update begun was killed, perhaps in the middle of a call.
    pub(super) fn note_what_came_before(
        &mut self,
        plan: &Plan,
        observed: &Observed,
        started_by_engine: bool,
    ) {
        if self.unsettled.is_some() {
            return;
        }
        let lead = plan.members.first().zip(observed.facts.members.first());
        self.came_late = lead.is_some_and(|(plan, facts)| {
            facts.new.as_ref().is_some_and(|new| new.name == plan.failed_name())
        });
        let begun = observed.new.iter().any(Option::is_some);
        self.returned_with_engine = started_by_engine && begun;
        if self.returned_with_engine {
            let fell = |new: &&Container| new.was_started() && !new.running;
            for (n, facts) in observed.facts.members.iter().enumerate() {
                let new = facts.new.as_ref().filter(fell);
                self.fell[n] = new.map(|new| new.started_at.clone());
            }
        }
        let mut late = if begun { LATE_AFTER_A_CRASH } else { Duration::ZERO };
        for (plan, facts) in plan.members.iter().zip(&observed.facts.members) {
            // It runs as it ever did: its stop may be under way.
            let never_left = |old: &Container| old.running && old.started_at == plan.old.started_at;
            if begun && facts.old.as_ref().is_some_and(never_left) {
                late = late.max(LATE_AFTER_A_CRASH + Duration::from_secs(plan.old.stop_seconds));
            }
        }
        self.unsettled = Some(Instant::now() + late);
    }

    /// An old container that runs again after we have stopped it was started by somebody,
    /// unless it was us, or an engine that has come back.
    pub(super) fn note_who_started_old(&mut self, observed: &Observed) {
        for (n, facts) in observed.facts.members.iter().enumerate() {
            let runs = facts.old.as_ref().is_some_and(|old| old.running);
            let stopped = self.stopped[n].as_mut();
            self.taken_back[n] |= runs && stopped.is_some_and(Tether::holds);
        }
    }

    /// Why it has gone back, where nobody here knows better.
    pub(super) fn who_gave_up(&self, observed: &Observed) -> &'static str {
        match observed.facts.members.first().and_then(|lead| lead.new.as_ref()) {
            None => "the new container is gone; somebody has removed it",
            Some(_) if self.came_late => {
                "the new version had been given up before this helper came"
            }
            Some(_) => "somebody has given the new version up, as `changeover rollback` does",
        }
    }

    /// A call was left without an answer.
    pub(super) fn lost(&mut self, error: &EngineError, extra: Duration) {
        if !error.is_refusal() {
            let until = Instant::now() + LATE + extra;
            self.unsettled = Some(self.unsettled.map_or(until, |known| known.max(until)));
        }
    }

    pub(super) fn added_to(&self, mut observed: Observed) -> Observed {
        for (n, member) in observed.facts.members.iter_mut().enumerate() {
            member.sameness = self.sameness[n].clone();
            member.carried = self.carried[n];
            member.gate = self.verdicts[n].clone();
            member.old_answers = self.old_answers[n];
            member.fell_with_engine = member
                .new
                .as_ref()
                .is_some_and(|new| !new.running && self.fell[n].as_ref() == Some(&new.started_at));
            member.taken_back = self.taken_back[n];
        }
        observed.facts.refusal = self.refusal.clone();
        let data = &self.data;
        observed.facts.data = DataFacts {
            passed: data.passed,
            // Old has run since, if its start is another one.
            kept: data.kept.as_ref().is_some_and(|then| *then == state(&observed.facts)),
            put_back: data.put_back,
        };
        observed
    }

    /// Whether this has just been done several times already. A reboot may undo
    /// a step once or twice.
    pub(super) fn is_stuck(&mut self, doing: Doing) -> bool {
        let times = match self.repeated {
            Some((last, times)) if last == doing => times + 1,
            _ => 1,
        };
        self.repeated = Some((doing, times));
        times > REPETITIONS
    }
}
