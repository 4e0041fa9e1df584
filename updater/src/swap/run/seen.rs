//! What one helper observes in its time and the engine doesn't keep.

use std::time::Duration;

use tokio::time::Instant;

use super::super::data::state;
use super::super::facts::{Container, DataFacts, Sameness, Verdict};
use super::super::observe::Observed;
use super::super::{Next, always};
use super::doing::Doing;
use crate::engine::{EngineError, Tether};
use crate::plan::Plan;

/// So long after a call was left without an answer the engine may still take it up.
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
    /// Until when the engine may still take up a call without an answer. Whoever left before
    /// that would leave the app stopped, renamed or armed by a call of their own.
    unsettled: Option<Instant>,
    /// Until when such a call may still bring an old container down: one that the engine
    /// has asked to end has its stop time for that.
    stops: Vec<Option<Instant>>,
    /// The only call without an answer, just after it was made; and what was known before.
    unheard: Option<(Doing, Option<Instant>, Vec<Option<Instant>>)>,
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
            stops: vec![None; members],
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
        let late = if begun { LATE_AFTER_A_CRASH } else { Duration::ZERO };
        let taken_up = Instant::now() + late;
        for (n, (plan, facts)) in plan.members.iter().zip(&observed.facts.members).enumerate() {
            // It runs as it ever did: its stop may be under way. Not before it was armed,
            // and who has gone back has disarmed it since.
            let stops = |old: &Container| {
                let never_left = old.running && old.started_at == plan.old.started_at;
                never_left && (old.policy_is(&always()) || self.came_late)
            };
            if begun && facts.old.as_ref().is_some_and(stops) {
                self.stops[n] = Some(taken_up + Duration::from_secs(plan.old.stop_seconds));
            }
        }
        self.unsettled = Some(taken_up);
    }

    /// Whether nothing that was asked for can still happen at this time.
    pub(super) fn is_settled(&self, at: Instant) -> bool {
        self.unsettled.iter().chain(self.stops.iter().flatten()).all(|until| *until <= at)
    }

    /// With an old container that is down all its stops are over, if none can begin any more.
    pub(super) fn note_who_is_down(&mut self, looked: Instant, observed: &Observed) {
        if self.unsettled.is_some_and(|until| until > looked) {
            return;
        }
        for (stops, facts) in self.stops.iter_mut().zip(&observed.facts.members) {
            if facts.old.as_ref().is_none_or(|old| !old.running) {
                *stops = None;
            }
        }
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

    /// A call was left without an answer: perhaps the `first` one in a while, perhaps a stop
    /// of a member's old container, which has so long for that.
    pub(super) fn lost(
        &mut self,
        error: &EngineError,
        first: Option<Doing>,
        stops: Option<(usize, Duration)>,
    ) {
        if error.is_refusal() {
            return;
        }
        self.unheard = first.map(|doing| (doing, self.unsettled, self.stops.clone()));
        let later = |known: Option<Instant>, until| known.map_or(until, |known| known.max(until));
        let taken_up = later(self.unsettled, Instant::now() + LATE);
        self.unsettled = Some(taken_up);
        if let Some((member, stop_time)) = stops {
            self.stops[member] = Some(later(self.stops[member], taken_up + stop_time));
        }
    }

    /// Where the very next look shows that the only call without an answer has been carried
    /// out, there is nothing to come of it. Later looks can't tell it from its repetition.
    pub(super) fn note_what_was_done(&mut self, decided: &Next) {
        if let Some((doing, unsettled, stops)) = self.unheard.take()
            && doing.is_behind(decided)
        {
            (self.unsettled, self.stops) = (unsettled, stops);
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::time::advance;

    use super::super::super::facts::{Facts, MemberFacts};
    use super::super::super::{Call, Direction, Outcome, STEPS};
    use super::*;

    /// The stop time of the plan's app.
    const STOP_TIME: Duration = Duration::from_secs(10);

    /// What is seen once new has been created.
    fn observed(policy: &str, running: bool) -> Observed {
        let old = Container {
            running,
            policy: json!({ "Name": policy, "MaximumRetryCount": 0 }),
            started_at: "2026-01-01T00:00:00Z".to_owned(),
            ..Container::default()
        };
        let member = MemberFacts { old: Some(old), ..MemberFacts::default() };
        Observed {
            facts: Facts { members: vec![member], ..Facts::default() },
            old: vec![Some(json!({}))],
            new: vec![Some(json!({}))],
        }
    }

    /// A helper that was started in place of one that was killed, and sees this.
    fn after_a_crash(observed: &Observed) -> Seen {
        let plan = serde_json::from_value(crate::fuzzed::plan()).expect("a plan");
        let mut seen = Seen::of(1);
        seen.note_what_came_before(&plan, observed, false);
        seen
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_waited_for_only_where_there_may_have_been_one() {
        let nobody_was_stopped = after_a_crash(&observed("unless-stopped", true));
        let perhaps = after_a_crash(&observed("always", true));
        advance(LATE_AFTER_A_CRASH).await;
        assert!(nobody_was_stopped.is_settled(Instant::now()));
        assert!(!perhaps.is_settled(Instant::now()));
        advance(STOP_TIME).await;
        assert!(perhaps.is_settled(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn with_an_old_version_that_is_down_its_stops_are_over_unless_one_can_begin_still() {
        let mut seen = after_a_crash(&observed("always", true));
        seen.note_who_is_down(Instant::now(), &observed("always", false));
        advance(LATE_AFTER_A_CRASH).await;
        assert!(!seen.is_settled(Instant::now()), "one may have begun since");
        seen.note_who_is_down(Instant::now(), &observed("always", false));
        assert!(seen.is_settled(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_call_is_over_where_the_next_look_shows_that_it_alone_was_carried_out() {
        let stop = STEPS.iter().position(|step| step.key == "stop-old").expect("the step");
        let doing = Doing { direction: Direction::Forward, step: stop, member: 0 };
        let next =
            |step| Next::Do { direction: Direction::Forward, step, member: 0, call: Call::Nothing };
        let cut = EngineError::Silent { doing: String::new(), seconds: 0 };
        for (first, shown, over) in [
            (Some(doing), next(stop + 1), true),
            // It wasn't.
            (Some(doing), next(stop), false),
            // An earlier one may have been.
            (None, next(stop + 1), false),
            // Who turns back hasn't looked at that.
            (Some(doing), Next::Finish(Outcome::RolledBack), false),
        ] {
            let mut seen = Seen::of(1);
            seen.lost(&cut, first, Some((0, STOP_TIME)));
            assert!(!seen.is_settled(Instant::now()));
            seen.note_what_was_done(&shown);
            assert_eq!(seen.is_settled(Instant::now()), over, "{shown:?}");
            advance(LATE).await;
            assert_eq!(seen.is_settled(Instant::now()), over, "{shown:?}");
            advance(STOP_TIME).await;
            assert!(seen.is_settled(Instant::now()));
        }
    }
}
