//! What one helper observes in its time and the engine doesn't keep.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::super::always;
use super::super::data::state;
use super::super::facts::{Container, DataFacts, KILLED, MemberFacts, Sameness, Verdict};
use super::super::observe::Observed;
use super::disorder::Disorder;
use super::doing::Doing;
use super::lost::Lost;
use crate::engine::Tether;
use crate::plan::{Member, Plan};
use crate::successor::signals;

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
    /// A person has been called for the app's port, and it is waited for.
    pub(super) waits: bool,
    /// The calls without an answer.
    pub(super) lost: Lost,
    /// The verdict was there before this helper was.
    pub(super) came_late: bool,
    /// The engine was away in the middle of it and has just come back.
    pub(super) returned_with_engine: bool,
    /// The runs of the new containers that an outage of the engine has ended, by the
    /// times of their starts.
    pub(super) fell: Vec<Option<String>>,
    /// What has come of starts in which the engine has died.
    pub(super) disorder: Vec<Disorder>,
    /// The old containers that we have stopped and not started since; each with a
    /// connection that ends if the engine is restarted, which might start them, too.
    pub(super) stopped: Vec<Option<Tether>>,
    /// The old containers that somebody has started all the same.
    pub(super) taken_back: Vec<bool>,
    /// The stop that was just asked for: of which container, of which member, and how long
    /// it took.
    pub(super) last_stop: Option<(String, usize, Duration)>,
}

/// A container that went on until the engine killed it, while visitors waited.
#[derive(Debug, PartialEq)]
pub(super) struct Killed {
    app: String,
    which: &'static str,
    signal: String,
    seconds: u64,
    cause: Cause,
}

/// Why a signal goes unheeded, as far as can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// A shell is process 1, and keeps it from the program that it runs.
    Shell,
    /// What is process 1 gets only the signals that it asks for.
    First,
    /// Docker's init passes them on.
    Program,
}

impl Cause {
    fn of(inspect: &Value) -> Cause {
        let shells = ["sh", "bash", "ash", "dash"];
        let is_shell = |path: &str| path.rsplit('/').next().is_some_and(|n| shells.contains(&n));
        let with_line = inspect["Args"].as_array().is_some_and(|args| args.contains(&"-c".into()));
        match inspect["Path"].as_str() {
            _ if inspect["HostConfig"]["Init"] == true => Cause::Program,
            Some(path) if is_shell(path) && with_line => Cause::Shell,
            _ => Cause::First,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Shell => "a shell runs it, and keeps signals to itself: write CMD as [\"program\", \"argument\"]",
            Cause::First => "as process 1 it has to handle that signal itself, or `docker run --init` does; STOPSIGNAL in the Dockerfile names another",
            Cause::Program => "let it end at that signal, or name another by STOPSIGNAL in its Dockerfile",
        })
    }
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Killed { app, which, signal, seconds, cause } = self;
        write!(
            f,
            "the {which} container of `{app}` did not end at {signal} and was killed after {seconds} s, for which visitors waited; {cause}"
        )
    }
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
            lost: Lost::of(members),
            fell: vec![None; members],
            disorder: vec![Disorder::default(); members],
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
        if self.lost.knows_what_came_before() {
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
                self.disorder[n].suspect(facts.new.as_ref());
            }
        }
        // It runs as it ever did: its stop may be under way. Not before it was armed, and
        // who has gone back has disarmed it since.
        let stops = |(plan, facts): (&Member, &MemberFacts)| {
            let stops = |old: &&Container| {
                let never_left = old.running && old.started_at == plan.old.started_at;
                never_left && (old.policy_is(&always()) || self.came_late)
            };
            let old = facts.old.as_ref().filter(|_| begun).filter(stops);
            old.map(|_| Duration::from_secs(plan.old.stop_seconds))
        };
        let stops = plan.members.iter().zip(&observed.facts.members).map(stops).collect();
        self.lost.begin(begun, stops);
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

    /// A stop that lasted its whole time and ended in SIGKILL. An app that wants no time
    /// has it so on purpose.
    pub(super) fn who_was_killed(&mut self, plan: &Plan, observed: &Observed) -> Option<Killed> {
        let (id, member, took) = self.last_stop.take()?;
        let both = [("old", &observed.old[member]), ("new", &observed.new[member])];
        let is_it = |(which, inspect): (_, &'_ Option<Value>)| {
            inspect.clone().filter(|inspect| inspect["Id"] == *id).map(|inspect| (which, inspect))
        };
        let (which, inspect) = both.into_iter().find_map(is_it)?;
        let plan = &plan.members[member];
        let seconds = plan.old.stop_seconds;
        let killed = inspect["State"]["ExitCode"] == KILLED && inspect["State"]["Running"] == false;
        let in_time = seconds == 0 || took < Duration::from_secs(seconds);
        let signal = inspect["Config"]["StopSignal"].as_str().unwrap_or_default();
        let killed = killed && !in_time && inspect["State"]["OOMKilled"] != true;
        let (signal, cause) = (signals::name(signal), Cause::of(&inspect));
        killed.then(|| Killed { app: plan.name.clone(), which, signal, seconds, cause })
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
            member.old_in_disorder = self.disorder[n].is_of_old(member.old.as_ref());
            member.new_in_disorder = self.disorder[n].is_of_new(member.new.as_ref());
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
    use tokio::time::{Instant, advance};

    use super::super::super::facts::Facts;
    use super::*;

    /// The stop time of the plan's app.
    const STOP_TIME: Duration = Duration::from_secs(10);
    /// When it has been taken up what a killed helper has asked for.
    const TAKEN_UP: Duration = Duration::from_secs(3);

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
        assert!(!nobody_was_stopped.lost.is_settled(Instant::now()));
        advance(TAKEN_UP).await;
        assert!(nobody_was_stopped.lost.is_settled(Instant::now()));
        assert!(!perhaps.lost.is_settled(Instant::now()));
        advance(STOP_TIME).await;
        assert!(perhaps.lost.is_settled(Instant::now()));
    }
}
