//! Calls without an answer, and until when they may still happen. Whoever left before that
//! would leave the app stopped, renamed or armed by a call of their own.
//!
//! It can't be known of one call: an engine that has taken it up says nothing of it until
//! it is done, and with a proxy in between not even the end of the connection means that
//! it hasn't. But an engine that answers every look at once doesn't hold calls back: it
//! takes up what it was told before, and what it was told goes by the same wire and the
//! same container's lock as the look. So a call that was cut off is over sooner with such
//! an engine than with one that was silent.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Next;
use super::super::facts::MemberFacts;
use super::doing::Doing;
use crate::engine::EngineError;

/// So long after a call was left without an answer the engine may still take it up.
const LATE: Duration = Duration::from_secs(10);
/// The same for one that was cut off, by its wire or by the end of the helper before this
/// one, since the engine last failed to answer a look at once.
const LATE_AFTER_A_CUT: Duration = Duration::from_secs(3);
/// An engine that needs longer for a look doesn't answer at once.
const AT_ONCE: Duration = Duration::from_millis(500);

/// The calls without an answer.
#[derive(Clone, Default)]
pub(super) struct Lost {
    /// Until when the engine may take one of them up, if it answers every look at once.
    taken_up: Option<Instant>,
    /// The same if it doesn't.
    at_the_latest: Option<Instant>,
    /// How much longer such a call may take to bring an old container down: one that the
    /// engine has asked to end has its stop time for that.
    stops: Vec<Option<Duration>>,
    /// The only one, just after it was made; and what was known before.
    newest: Option<(Doing, Box<Lost>)>,
}

impl Lost {
    /// None yet, of so many members.
    pub(super) fn of(members: usize) -> Lost {
        Lost { stops: vec![None; members], ..Lost::default() }
    }

    /// Whether [`Lost::begin`] was told.
    pub(super) fn knows_what_came_before(&self) -> bool {
        self.taken_up.is_some()
    }

    /// The helper before this one was cut off in the middle, if there was one, perhaps in
    /// stops of old containers.
    pub(super) fn begin(&mut self, in_the_middle: bool, stops: Vec<Option<Duration>>) {
        let late = |late| Instant::now() + if in_the_middle { late } else { Duration::ZERO };
        self.taken_up = Some(late(LATE_AFTER_A_CUT));
        self.at_the_latest = Some(late(LATE));
        self.stops = stops;
    }

    /// A call was left without an answer: perhaps the `first` one in a while, perhaps a stop
    /// of a member's old container, which has so long for that.
    pub(super) fn note(
        &mut self,
        error: &EngineError,
        first: Option<Doing>,
        stops: Option<(usize, Duration)>,
    ) {
        if error.is_refusal() || error.was_never_sent() {
            return;
        }
        self.newest = first.map(|doing| (doing, Box::new(self.clone())));
        let late = if error.is_silence() { LATE } else { LATE_AFTER_A_CUT };
        let now = Instant::now();
        self.taken_up = self.taken_up.max(Some(now + late));
        self.at_the_latest = self.at_the_latest.max(Some(now + LATE));
        if let Some((member, stop_time)) = stops {
            self.stops[member] = Some(stop_time);
        }
    }

    /// A look that was begun then is over, with an answer or without.
    pub(super) fn note_look(&mut self, begun: Instant, answered: bool) {
        if answered && begun.elapsed() <= AT_ONCE || self.at_the_latest <= Some(begun) {
            return;
        }
        let slow = Some(Instant::now() + LATE_AFTER_A_CUT);
        self.taken_up = self.taken_up.max(slow.min(self.at_the_latest));
    }

    /// With an old container that is down all its stops are over, if none can begin any more.
    pub(super) fn note_who_is_down(&mut self, looked: Instant, members: &[MemberFacts]) {
        if self.taken_up > Some(looked) {
            return;
        }
        for (stops, facts) in self.stops.iter_mut().zip(members) {
            if facts.old.as_ref().is_none_or(|old| !old.running) {
                *stops = None;
            }
        }
    }

    /// Where the very next look shows that the only call without an answer has been carried
    /// out, there is nothing to come of it. Later looks can't tell it from its repetition.
    pub(super) fn note_what_was_done(&mut self, decided: &Next) {
        if let Some((doing, before)) = self.newest.take()
            && doing.is_behind(decided)
        {
            *self = *before;
        }
    }

    /// Whether nothing that was asked for can still happen at this time.
    pub(super) fn is_settled(&self, at: Instant) -> bool {
        let Some(taken_up) = self.taken_up else { return true };
        let stops = self.stops.iter().flatten().max();
        taken_up + stops.copied().unwrap_or_default() <= at
    }

    /// Whether an old container is better started a moment later: a stop of it can still
    /// begin, and would bring it down again, or have it watched for its stop time.
    pub(super) fn is_worth_a_moment(&self, member: usize, at: Instant) -> bool {
        let begins = |until: Instant| until > at && until <= at + LATE_AFTER_A_CUT;
        self.stops[member].is_some() && self.taken_up.is_some_and(begins)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::time::advance;

    use super::super::super::facts::Container;
    use super::super::super::{Call, Direction, Outcome, STEPS};
    use super::*;

    /// The stop time of the app.
    const STOP_TIME: Duration = Duration::from_secs(10);
    const STOP: Option<(usize, Duration)> = Some((0, STOP_TIME));

    fn cut() -> EngineError {
        EngineError::Garbled { doing: String::new(), what: String::new() }
    }

    fn silence() -> EngineError {
        EngineError::Silent { doing: String::new(), seconds: 60 }
    }

    fn after(error: &EngineError, stops: Option<(usize, Duration)>) -> Lost {
        let mut lost = Lost::of(1);
        lost.note(error, None, stops);
        lost
    }

    fn old(running: bool) -> [MemberFacts; 1] {
        let old = Some(Container { running, ..Container::default() });
        [MemberFacts { old, ..MemberFacts::default() }]
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_cut_off_is_over_sooner_with_an_engine_that_answers_at_once() {
        let (mut at_once, mut slowly) = (after(&cut(), None), after(&cut(), None));
        let (mut away, silent) = (after(&cut(), None), after(&silence(), None));
        for second in 0..10 {
            let now = Instant::now();
            assert_eq!(at_once.is_settled(now), second >= 3, "at once, {second}");
            assert!(!slowly.is_settled(now), "slowly, {second}");
            assert_eq!(away.is_settled(now), second >= 5, "away once, {second}");
            assert!(!silent.is_settled(now), "silent, {second}");
            at_once.note_look(now, true);
            away.note_look(now, second != 2);
            advance(AT_ONCE * 2).await;
            slowly.note_look(now, true);
        }
        for lost in [at_once, slowly, away, silent] {
            assert!(lost.is_settled(Instant::now()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_is_not_waited_for() {
        let lost = |source: io::Error| {
            let (endpoint, doing) = (String::new(), String::new());
            !after(&EngineError::Unreachable { endpoint, doing, source }, STOP)
                .is_settled(Instant::now())
        };
        assert!(!lost(io::ErrorKind::ConnectionRefused.into()));
        assert!(!lost(io::ErrorKind::TimedOut.into()));
        assert!(!lost(io::Error::from_raw_os_error(11)), "a full backlog");
    }

    #[tokio::test(start_paused = true)]
    async fn with_an_old_version_that_is_down_its_stops_are_over_unless_one_can_begin_still() {
        let mut lost = after(&cut(), STOP);
        lost.note_who_is_down(Instant::now(), &old(false));
        assert!(lost.is_worth_a_moment(0, Instant::now()), "one may have begun since");
        advance(LATE_AFTER_A_CUT).await;
        assert!(!lost.is_settled(Instant::now()), "it may have begun");
        lost.note_who_is_down(Instant::now(), &old(true));
        assert!(!lost.is_settled(Instant::now()), "it runs still");
        lost.note_who_is_down(Instant::now(), &old(false));
        assert!(lost.is_settled(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_version_is_held_back_only_for_a_moment_and_for_a_stop() {
        let now = Instant::now();
        assert!(after(&cut(), STOP).is_worth_a_moment(0, now));
        assert!(!after(&cut(), None).is_worth_a_moment(0, now), "nobody stops it");
        assert!(!after(&silence(), STOP).is_worth_a_moment(0, now), "that would be long");
        let lost = after(&cut(), STOP);
        advance(LATE_AFTER_A_CUT).await;
        assert!(!lost.is_worth_a_moment(0, Instant::now()), "none can begin any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_call_is_over_where_the_next_look_shows_that_it_alone_was_carried_out() {
        let stop = STEPS.iter().position(|step| step.key == "stop-old").expect("the step");
        let doing = Doing { direction: Direction::Forward, step: stop, member: 0 };
        let next =
            |step| Next::Do { direction: Direction::Forward, step, member: 0, call: Call::Nothing };
        for (first, shown, over) in [
            (Some(doing), next(stop + 1), true),
            // It wasn't.
            (Some(doing), next(stop), false),
            // An earlier one may have been.
            (None, next(stop + 1), false),
            // Who turns back hasn't looked at that.
            (Some(doing), Next::Finish(Outcome::RolledBack), false),
        ] {
            let mut lost = Lost::of(1);
            lost.note(&silence(), first, STOP);
            assert!(!lost.is_settled(Instant::now()));
            lost.note_what_was_done(&shown);
            assert_eq!(lost.is_settled(Instant::now()), over, "{shown:?}");
            advance(LATE).await;
            assert_eq!(lost.is_settled(Instant::now()), over, "{shown:?}");
            advance(STOP_TIME).await;
            assert!(lost.is_settled(Instant::now()));
        }
    }
}
