//! The loop: observe, decide, act; one engine call at a time.
//!
//! Nothing here decides. What an error means is decided by looking again: a call
//! whose answer was lost has either happened or not, and the facts tell.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::data::{Keeper, state};
use super::facts::{Container, DataFacts, Facts, Sameness, Verdict};
use super::observe::{Observed, observe, update_label};
use super::{Call, Direction, Next, Outcome, REMOVE, STEPS, next, shows_page};
use crate::engine::{Engine, EngineError, Tether};
use crate::events::Event;
use crate::gate::{self, Gate};
use crate::handover::{Switch, port_is_free};
use crate::plan::{Plan, labels};
use crate::progress::Progress;
use crate::successor::{Moved, Pair, unexplained};

/// A server error may pass; it is believed after so many answers.
const SERVER_ERRORS: u32 = 3;
/// The same where the engine has just come back, and what it had left behind when it died
/// may be in its own way: some ten seconds.
const SERVER_ERRORS_AFTER_AN_OUTAGE: u32 = 15;
/// Tries of a step on the way back, or behind the commit, before a person is called: some
/// two minutes.
const PATIENCE: u32 = 150;
/// The longest pause between two tries. The app may be waiting for this one.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// How long a container may take to answer those who came before the page did,
/// ahead of its stop signal. The app is away for that long in the worst case.
const SETTLE_LIMIT: Duration = Duration::from_millis(100);
/// A call that the engine has left without an answer so often hangs.
const SILENCES: u32 = 2;
/// So often may the same call succeed without the facts telling of it.
const REPETITIONS: u32 = 5;
/// So long after a call was left without an answer the engine may still carry it out.
/// One that has stopped a container by half goes on with that for its stop time.
const LATE: Duration = Duration::from_secs(10);
/// The same for what a helper before this one has asked for: it was killed, the engine
/// was not slow.
const LATE_AFTER_A_CRASH: Duration = Duration::from_secs(3);
/// Between two looks while it is only waited for that.
const LATE_PAUSE: Duration = Duration::from_millis(250);
/// For how long the engine may be away before the socket itself is suspected:
/// one that was mounted before an engine restart can be dead for ever. The engine
/// starts a helper that exits again, with a fresh mount.
const SOCKET_PATIENCE: Duration = Duration::from_secs(20);
/// The same where the socket's file is known to be deleted. Still a moment: while
/// the engine is only being restarted, the page has to stay.
const DELETED_SOCKET_PATIENCE: Duration = Duration::from_secs(2);

/// Carries one plan out.
pub struct Runner<'a> {
    engine: &'a Engine,
    plan: &'a Plan,
    switch: Switch,
    progress: Progress,
    gates: Vec<Gate>,
    /// Whether it was the engine that has started this helper, for the first time or when
    /// it came back, and not the helper's own end.
    started_by_engine: bool,
    keeper: Option<Keeper>,
    seen: Seen,
}

/// What the runner has observed itself and the engine doesn't keep. All of it is
/// observed again by a helper that was restarted.
#[derive(Default)]
struct Seen {
    sameness: Vec<Sameness>,
    carried: Vec<bool>,
    verdicts: Vec<Verdict>,
    old_answers: Vec<bool>,
    refusal: Option<String>,
    data: Data,
    /// What is being done, and since when.
    doing: Option<(Doing, Instant)>,
    /// What was done last, and how often in a row: a call that the engine accepts
    /// without effect must not be made for ever.
    repeated: Option<(Doing, u32)>,
    /// How often the current step has failed in a row, and which it is.
    failures: (String, u32),
    /// Until when a call without an answer may still take effect. Whoever left before
    /// that would leave the app stopped, renamed or armed by a call of their own.
    unsettled: Option<Instant>,
    /// The verdict was there before this helper was.
    came_late: bool,
    /// The engine was away in the middle of it and has just come back.
    returned_with_engine: bool,
    /// The runs of the new containers that an outage of the engine has ended, by the
    /// times of their starts.
    fell: Vec<Option<String>>,
    /// The old containers that we have stopped and not started since; each with a
    /// connection that ends if the engine is restarted, which might start them, too.
    stopped: Vec<Option<Tether>>,
    /// The old containers that somebody has started all the same.
    taken_back: Vec<bool>,
}

/// What this helper has done for the data.
#[derive(Default)]
struct Data {
    passed: bool,
    /// The state in which it was backed up.
    kept: Option<Vec<String>>,
    put_back: bool,
}

/// One step for one member in one direction.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Doing {
    direction: Direction,
    step: usize,
    member: usize,
}

impl Doing {
    fn name(self) -> &'static str {
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

    fn begun(self, plan: &Plan) -> Event {
        let member = plan.members[self.member].name.clone();
        Event::Begun { key: self.key(), name: self.name().to_owned(), member }
    }

    fn done(self, plan: &Plan, milliseconds: u64) -> Event {
        let member = plan.members[self.member].name.clone();
        Event::Step { key: self.key(), name: self.name().to_owned(), member, milliseconds }
    }
}

/// The engine can't be reached any more: exit and be started again.
#[derive(Debug, thiserror::Error)]
#[error("the engine has been out of reach for {0:?}; its socket may be stale")]
pub struct EngineLost(Duration, #[source] EngineError);

impl<'a> Runner<'a> {
    /// A runner for `plan`, which shows the page through `switch`. `helper` is the document
    /// of the container that it runs in.
    pub fn new(
        engine: &'a Engine,
        plan: &'a Plan,
        helper: &Value,
        switch: Switch,
        progress: Progress,
    ) -> Self {
        let gate = |(n, member): (usize, &crate::plan::Member)| {
            let published = plan.handover.published.iter().filter(|port| port.member == n);
            Gate::new(plan.gate.clone(), member.clone(), published.copied().collect())
        };
        let members = plan.members.len();
        Runner {
            engine,
            plan,
            switch,
            progress,
            gates: plan.members.iter().enumerate().map(gate).collect(),
            // Every engine starts to count anew when it comes back.
            started_by_engine: helper["RestartCount"] == 0,
            keeper: Keeper::new(plan),
            seen: Seen {
                sameness: vec![Sameness::Unknown; members],
                carried: vec![false; members],
                verdicts: vec![Verdict::Pending; members],
                old_answers: vec![false; members],
                fell: vec![None; members],
                stopped: (0..members).map(|_| None).collect(),
                taken_back: vec![false; members],
                ..Seen::default()
            },
        }
    }

    /// Runs the swap to its end.
    pub async fn run(&mut self) -> Result<Outcome, EngineLost> {
        let mut away_since: Option<Instant> = None;
        loop {
            let looked = Instant::now();
            let observed = match observe(self.engine, self.plan).await {
                Ok(observed) => observed,
                Err(error) => {
                    let away = away_since.get_or_insert_with(Instant::now).elapsed();
                    let patience = match self.engine.socket_is_deleted() {
                        true => DELETED_SOCKET_PATIENCE,
                        false => SOCKET_PATIENCE,
                    };
                    if away > patience {
                        return Err(EngineLost(away, error));
                    }
                    debug!(%error, "cannot look at the engine");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            away_since = None;
            self.note_what_came_before(&observed);
            self.note_who_started_old(&observed);
            let observed = self.with_own_observations(observed);
            let decided = next(self.plan, &observed.facts);
            self.show(&decided, &observed).await;
            match decided {
                Next::Finish(Outcome::RolledBack | Outcome::Refused { .. })
                    if self.seen.unsettled.is_some_and(|until| until > looked) =>
                {
                    tokio::time::sleep(LATE_PAUSE).await;
                }
                Next::Finish(outcome) => {
                    if outcome == Outcome::RolledBack {
                        self.progress.explain(self.who_gave_up(&observed));
                    }
                    self.progress.finish(&outcome);
                    return Ok(outcome);
                }
                Next::Condemn { id, to, reason } => {
                    if let Some(outcome) = self.condemn(&id, &to, &reason).await {
                        self.progress.finish(&outcome);
                        return Ok(outcome);
                    }
                }
                Next::Do { direction, step, member, call } => {
                    if let Some(outcome) =
                        self.perform(direction, step, member, call, &observed).await
                    {
                        self.progress.finish(&outcome);
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// What is told, and to whom.
    pub fn progress(&mut self) -> &mut Progress {
        &mut self.progress
    }

    /// Waits until visitors have left the page, at most for `limit`.
    pub async fn drain(&mut self, limit: Duration) {
        self.switch.drain(limit).await;
    }

    /// A helper that finds its update begun was killed, perhaps in the middle of a call.
    fn note_what_came_before(&mut self, observed: &Observed) {
        if self.seen.unsettled.is_some() {
            return;
        }
        let lead = self.plan.members.first().zip(observed.facts.members.first());
        self.seen.came_late = lead.is_some_and(|(plan, facts)| {
            facts.new.as_ref().is_some_and(|new| new.name == plan.failed_name())
        });
        let begun = observed.new.iter().any(Option::is_some);
        self.seen.returned_with_engine = self.started_by_engine && begun;
        if self.seen.returned_with_engine {
            let fell = |new: &&Container| new.was_started() && !new.running;
            for (n, facts) in observed.facts.members.iter().enumerate() {
                let new = facts.new.as_ref().filter(fell);
                self.seen.fell[n] = new.map(|new| new.started_at.clone());
            }
        }
        let mut late = if begun { LATE_AFTER_A_CRASH } else { Duration::ZERO };
        for (plan, facts) in self.plan.members.iter().zip(&observed.facts.members) {
            // It runs as it ever did: its stop may be under way.
            let never_left = |old: &Container| old.running && old.started_at == plan.old.started_at;
            if begun && facts.old.as_ref().is_some_and(never_left) {
                late = late.max(LATE_AFTER_A_CRASH + Duration::from_secs(plan.old.stop_seconds));
            }
        }
        self.seen.unsettled = Some(Instant::now() + late);
    }

    /// An old container that runs again after we have stopped it was started by somebody,
    /// unless it was us, or an engine that has come back.
    fn note_who_started_old(&mut self, observed: &Observed) {
        for (n, facts) in observed.facts.members.iter().enumerate() {
            let runs = facts.old.as_ref().is_some_and(|old| old.running);
            let stopped = self.seen.stopped[n].as_mut();
            self.seen.taken_back[n] |= runs && stopped.is_some_and(Tether::holds);
        }
    }

    /// Why it has gone back, where nobody here knows better.
    fn who_gave_up(&self, observed: &Observed) -> &'static str {
        match observed.facts.members.first().and_then(|lead| lead.new.as_ref()) {
            None => "the new container is gone; somebody has removed it",
            Some(_) if self.seen.came_late => {
                "the new version had been given up before this helper came"
            }
            Some(_) => "somebody has given the new version up, as `changeover rollback` does",
        }
    }

    /// A call was left without an answer.
    fn lost(&mut self, error: &EngineError, extra: Duration) {
        if !error.is_refusal() {
            let until = Instant::now() + LATE + extra;
            self.seen.unsettled = Some(self.seen.unsettled.map_or(until, |known| known.max(until)));
        }
    }

    fn with_own_observations(&self, mut observed: Observed) -> Observed {
        for (n, member) in observed.facts.members.iter_mut().enumerate() {
            member.sameness = self.seen.sameness[n].clone();
            member.carried = self.seen.carried[n];
            member.gate = self.seen.verdicts[n].clone();
            member.old_answers = self.seen.old_answers[n];
            member.fell_with_engine = member.new.as_ref().is_some_and(|new| {
                !new.running && self.seen.fell[n].as_ref() == Some(&new.started_at)
            });
            member.taken_back = self.seen.taken_back[n];
        }
        observed.facts.refusal = self.seen.refusal.clone();
        let data = &self.seen.data;
        observed.facts.data = DataFacts {
            passed: data.passed,
            // Old has run since, if its start is another one.
            kept: data.kept.as_ref().is_some_and(|then| *then == state(&observed.facts)),
            put_back: data.put_back,
        };
        observed
    }

    /// Sets what visitors see before anything is done: page and engine never disagree.
    async fn show(&mut self, decided: &Next, observed: &Observed) {
        // The switch first: an open page that is told "updated" asks at once.
        self.switch_to(decided, observed).await;
        self.progress.show(decided);
    }

    async fn switch_to(&mut self, decided: &Next, observed: &Observed) {
        let Some(page) = shows_page(self.plan, &observed.facts, decided) else { return };
        let running = |c: &Option<Container>| c.as_ref().is_some_and(|c| c.running);
        let nobody_runs =
            !observed.facts.members.iter().any(|m| running(&m.old) || running(&m.new));
        let stopping = matches!(decided, Next::Do { call: Call::Stop { .. }, .. });
        if self.switch.set(page, nobody_runs || stopping).await {
            self.progress.emit(Event::Page { shown: page });
        }
    }

    /// An outcome is returned where patience has run out.
    async fn condemn(&mut self, id: &str, to: &str, reason: &str) -> Option<Outcome> {
        const WHAT: &str = "condemn the new container";
        let log = self.engine.log_tail(id, 20).await.unwrap_or_default();
        match self.engine.rename(id, to).await {
            Ok(()) => {
                warn!(reason, "the new version is given up");
                self.progress.emit(Event::Condemned { reason: reason.to_owned(), log });
                self.seen.refusal = None;
                None
            }
            Err(error) => {
                self.lost(&error, Duration::ZERO);
                self.failed(WHAT, &error).await;
                let barred = error.is_refusal() && self.seen.failures.1 >= PATIENCE;
                barred.then(|| self.out_of_patience(WHAT, &error))
            }
        }
    }

    /// Carries out one call. An outcome is returned where patience has run out.
    async fn perform(
        &mut self,
        direction: Direction,
        step: usize,
        member: usize,
        call: Call,
        observed: &Observed,
    ) -> Option<Outcome> {
        let doing = Doing { direction, step, member };
        if self.seen.doing.as_ref().is_none_or(|(last, _)| *last != doing) {
            self.seen.doing = Some((doing, Instant::now()));
            self.progress.emit(doing.begun(self.plan));
        }
        let looks = matches!(call, Call::Compare | Call::WatchNew | Call::WatchOld);
        let done = match &call {
            Call::Compare => self.compare(member, observed).await,
            Call::WatchNew => Ok(self.watch_new(member, observed).await),
            Call::WatchOld => Ok(self.watch_old(member, observed).await),
            Call::FirstPass | Call::BackUp | Call::FindBackup | Call::PutBack => {
                self.look_after_data(&call, &observed.facts).await.map(|()| true)
            }
            call => self.act(member, call, observed).await.map(|()| true),
        };
        match done {
            Ok(false) => None,
            Ok(true) if !looks && self.is_stuck(doing) => {
                let message = "the engine says that it is done, but it isn't".to_owned();
                self.take_no(doing, &EngineError::Reply { status: 500, message }).await
            }
            Ok(true) => {
                let begun = self.seen.doing.take().map_or_else(Instant::now, |(_, begun)| begun);
                let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(step = doing.name(), milliseconds, "done");
                self.seen.failures = Default::default();
                self.progress.emit(doing.done(self.plan, milliseconds));
                None
            }
            Err(error) => {
                // That new is stopped late harms nobody.
                let old = &self.plan.members[member].old;
                let stops = matches!(&call, Call::Stop { id } if *id == old.id);
                let seconds = old.stop_seconds;
                self.lost(&error, Duration::from_secs(if stops { seconds } else { 0 }));
                self.take_no(doing, &error).await
            }
        }
    }

    /// Whether this has just been done several times already. A reboot may undo
    /// a step once or twice.
    fn is_stuck(&mut self, doing: Doing) -> bool {
        let times = match self.seen.repeated {
            Some((last, times)) if last == doing => times + 1,
            _ => 1,
        };
        self.seen.repeated = Some((doing, times));
        times > REPETITIONS
    }

    async fn act(
        &mut self,
        member: usize,
        call: &Call,
        observed: &Observed,
    ) -> Result<(), EngineError> {
        let plan = &self.plan.members[member];
        match call {
            Call::Create => {
                let body = create_body(self.plan, member);
                self.engine.create(&plan.next_name(), plan.platform.as_deref(), &body).await?;
                self.seen.sameness[member] = Sameness::Unknown;
                self.seen.carried[member] = false;
                Ok(())
            }
            Call::Connect { id, network } => {
                let endpoint = plan.connect.iter().find(|c| &c.network == network);
                let endpoint = endpoint.map(|c| c.endpoint.clone()).unwrap_or(Value::Null);
                self.engine.connect_network(network, id, &endpoint).await
            }
            Call::Carry { from, to } => {
                for path in &plan.carry {
                    self.engine.copy(from, to, path).await?;
                }
                self.seen.carried[member] = true;
                Ok(())
            }
            Call::SetPolicy { id, policy } => self.engine.set_policy(id, policy).await,
            Call::Stop { id } => {
                self.switch.settle(SETTLE_LIMIT).await;
                // It may have written since, if somebody has started it again.
                self.seen.carried[member] = false;
                let tether = self.engine.tether().await.filter(|_| *id == plan.old.id);
                self.engine.stop(id, Duration::from_secs(plan.old.stop_seconds)).await?;
                self.seen.stopped[member] = tether;
                Ok(())
            }
            Call::Start { id } => {
                self.switch.make_way().await;
                self.check_ports(member)?;
                if *id == plan.old.id {
                    self.seen.stopped[member] = None;
                }
                let done = self.engine.start(id).await;
                if let Err(EngineError::Reply { message, .. }) = &done {
                    let both = [&observed.old[member], &observed.new[member]];
                    for inspect in both.into_iter().flatten().filter(|one| one["Id"] == **id) {
                        self.tie_anew(inspect, message).await;
                    }
                }
                done
            }
            Call::Rename { id, to } => self.engine.rename(id, to).await,
            Call::Remove { id } => self.engine.remove(id).await,
            Call::Tag { image, reference } => self.engine.tag(image, reference).await,
            Call::Compare
            | Call::WatchNew
            | Call::WatchOld
            | Call::FirstPass
            | Call::BackUp
            | Call::FindBackup
            | Call::PutBack
            | Call::Nothing => Ok(()),
        }
    }

    async fn look_after_data(&mut self, call: &Call, facts: &Facts) -> Result<(), EngineError> {
        let (Some(keeper), progress) = (&self.keeper, &mut self.progress) else { return Ok(()) };
        let data = &mut self.seen.data;
        match call {
            Call::FirstPass => {
                keeper.first_pass(progress).await?;
                data.passed = true;
            }
            Call::BackUp => {
                keeper.back_up(progress, facts).await?;
                data.kept = Some(state(facts));
            }
            Call::FindBackup => {
                keeper.find(facts).await?;
                data.kept = Some(state(facts));
            }
            _ => {
                keeper.put_back(progress, facts).await?;
                data.put_back = true;
            }
        }
        Ok(())
    }

    /// Afterwards: clears away what is of no use any more.
    pub async fn clear(&mut self) {
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.clear().await
        {
            warn!(%error, "older backups could not be cleared away");
        }
    }

    /// A container is tied to its networks by their ids, and one that was removed and made
    /// again has another: then no start would ever succeed. `why` is what the engine says.
    async fn tie_anew(&mut self, container: &Value, why: &str) {
        let id = container["Id"].as_str().unwrap_or_default();
        let networks = container["NetworkSettings"]["Networks"].as_object();
        for (name, endpoint) in networks.into_iter().flatten() {
            let network = endpoint["NetworkID"].as_str().filter(|network| !network.is_empty());
            if !network.is_some_and(|network| why.contains(network) && why.contains("not found")) {
                continue;
            }
            let asked: serde_json::Map<String, Value> =
                ["IPAMConfig", "Aliases", "Links", "DriverOpts"]
                    .into_iter()
                    .map(|key| (key.to_owned(), endpoint[key].clone()))
                    .collect();
            let off = self.engine.disconnect_network(name, id).await;
            let on = self.engine.connect_network(name, id, &asked.into()).await;
            debug!(name, ?off, ?on, "tied to a network that was made again");
        }
    }

    /// A start that fails on a busy port costs the container its network on
    /// engine 29, so the port is tried before.
    fn check_ports(&self, member: usize) -> Result<(), EngineError> {
        let published = &self.plan.handover.published;
        for published in published.iter().filter(|port| port.member == member && !port.lent) {
            port_is_free(published)
                .map_err(|busy| EngineError::Reply { status: 409, message: busy.to_string() })?;
        }
        Ok(())
    }

    /// Compares the new container with the old one; says whether they are the same.
    async fn compare(&mut self, member: usize, observed: &Observed) -> Result<bool, EngineError> {
        let (Some(old), Some(new)) = (&observed.old[member], &observed.new[member]) else {
            return Ok(false);
        };
        let image = &self.plan.members[member].image.id;
        let gone = || EngineError::Reply { status: 404, message: format!("no image {image}") };
        let new_image = self.engine.image(image).await?.ok_or_else(gone)?;
        let old_image = self.engine.image(old["Image"].as_str().unwrap_or_default()).await?;
        let moved = moved(self.plan, observed);
        let difference = unexplained(&Pair {
            old,
            old_image: old_image.as_ref(),
            new,
            new_image: &new_image,
            moved: &moved,
        });
        let same = difference.is_none();
        self.seen.sameness[member] = difference.map_or(Sameness::Same, Sameness::Differs);
        Ok(same)
    }

    /// Looks at the new container; says whether it is through this step.
    async fn watch_new(&mut self, member: usize, observed: &Observed) -> bool {
        let Some(new) = &observed.new[member] else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return false;
        };
        let gate = &mut self.gates[member];
        let verdict = gate.look(self.engine, new).await;
        let before = std::mem::replace(&mut self.seen.verdicts[member], verdict.clone());
        if verdict == before {
            tokio::time::sleep(gate.pause(new)).await;
            return false;
        }
        verdict.answers()
    }

    /// Looks at the restored old container; says whether it answers.
    async fn watch_old(&mut self, member: usize, observed: &Observed) -> bool {
        let Some(old) = &observed.old[member] else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            return false;
        };
        // Old is the way back. If it doesn't answer it is still better than the page.
        let limit = Duration::from_secs(self.plan.gate.timeout_seconds);
        let waited = self.seen.doing.as_ref().map_or(limit, |(_, begun)| begun.elapsed());
        let plan = &self.plan.members[member];
        let answers = waited >= limit || gate::old_answers(self.engine, plan, old).await;
        self.seen.old_answers[member] = answers;
        if !answers {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        answers
    }

    /// What follows from a call that failed.
    async fn take_no(&mut self, doing: Doing, error: &EngineError) -> Option<Outcome> {
        let name = doing.name();
        self.failed(name, error).await;
        let tries = self.seen.failures.1;
        let hangs = matches!(error, EngineError::Silent { .. }) && tries >= SILENCES;
        if !error.is_refusal() && !hangs {
            // It may have happened, or the engine is away. Looking again tells.
            return None;
        }
        let settled = error.status().is_none_or(|s| (400..500).contains(&s) && s != 404);
        let past_the_gate = doing.step >= REMOVE;
        if doing.direction == Direction::Forward && !past_the_gate {
            // While a call may still be under way that we have heard nothing of, a no can
            // mean that the step has been done: looking again tells.
            let sure = self.seen.unsettled.is_none_or(|until| until <= Instant::now());
            let enough = match self.seen.returned_with_engine {
                true => SERVER_ERRORS_AFTER_AN_OUTAGE,
                false => SERVER_ERRORS,
            };
            if settled && sure || tries >= enough {
                self.seen.refusal = Some(format!("cannot {name}: {error}"));
            }
            return None;
        }
        // A tag is a comfort; nobody is kept waiting for it.
        let comfort = doing.step > REMOVE && (settled || tries >= SERVER_ERRORS);
        if tries < PATIENCE && !hangs && !comfort {
            return None;
        }
        if past_the_gate {
            let member = &self.plan.members[doing.member];
            let text = match &member.retag {
                Some(tag) if comfort => format!(
                    "{tag} still means the old image ({error}); `docker tag {} {tag}` changes that",
                    member.image.id
                ),
                _ => format!(
                    "the old container `{}` cannot be removed ({error}); remove it by hand",
                    member.parked_name()
                ),
            };
            warn!(text);
            self.progress.emit(Event::Warning { text });
            return Some(Outcome::Updated);
        }
        Some(self.out_of_patience(name, error))
    }

    fn out_of_patience(&self, what: &str, error: &EngineError) -> Outcome {
        Outcome::NeedsAPerson {
            reason: format!(
                "cannot {what}: {error}\nhint: mend that, then run `changeover resume {}`",
                self.plan.app
            ),
        }
    }

    /// Counts failures of the same thing in a row and waits longer each time.
    async fn failed(&mut self, what: &str, error: &EngineError) {
        let (last, tries) = &mut self.seen.failures;
        if last != what {
            (*last, *tries) = (what.to_owned(), 0);
        }
        *tries += 1;
        let tries = *tries;
        debug!(what, tries, %error, "failed");
        // Told now and then: the patient would fill the log.
        if tries > 1 && tries.is_power_of_two() {
            self.progress.emit(Event::Retrying { what: what.to_owned(), why: error.to_string() });
        }
        tokio::time::sleep(LONGEST_PAUSE.min(Duration::from_millis(50 << tries.min(6)))).await;
    }
}

/// Who is called how before and after, for those whose settings name others of the set.
fn moved(plan: &Plan, observed: &Observed) -> Vec<Moved> {
    let members = plan.members.iter().zip(&observed.facts.members);
    members
        .map(|(member, facts)| Moved {
            old: [member.old.id.clone(), member.name.clone()],
            new: [
                facts.new.as_ref().map(|new| new.id.clone()).unwrap_or_default(),
                member.next_name(),
                member.name.clone(),
            ],
        })
        .collect()
}

/// The create request with our own labels: which update made the container, and
/// the record from which a lost helper is replaced and a version gone back to.
fn create_body(plan: &Plan, member: usize) -> Value {
    let member = &plan.members[member];
    let mut body = member.create.clone().unwrap_or_default();
    if !body["Labels"].is_object() {
        body["Labels"] = json!({});
    }
    body["Labels"][labels::UPDATE] = update_label(plan, &member.name).into();
    body["Labels"][labels::RECORD] = json!(plan.record()).to_string().into();
    body
}
