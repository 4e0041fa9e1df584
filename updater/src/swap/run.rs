//! The loop: observe, decide, act; one engine call at a time.
//!
//! Nothing here decides. What an error means is decided by looking again: a call
//! whose answer was lost has either happened or not, and the facts tell.

mod act;
mod disorder;
mod doing;
mod lost;
mod refused;
mod seen;
mod watch;

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::doing::Doing;
use self::seen::Seen;
use super::data::Keeper;
use super::facts::Container;
use super::observe::{Observed, observe};
use super::{Call, Direction, Next, Outcome, next, shows_page};
use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::gate::Gate;
use crate::handover::Switch;
use crate::plan::Plan;
use crate::progress::Progress;

/// Tries of a step on the way back, or behind the commit, before a person is called: some
/// two minutes.
const PATIENCE: u32 = 150;
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
            seen: Seen::of(members),
        }
    }

    /// Runs the swap to its end.
    pub async fn run(&mut self) -> Result<Outcome, EngineLost> {
        let mut away_since: Option<Instant> = None;
        loop {
            let looked = Instant::now();
            let observed = observe(self.engine, self.plan).await;
            self.seen.lost.note_look(looked, observed.is_ok());
            let observed = match observed {
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
            self.seen.note_what_came_before(self.plan, &observed, self.started_by_engine);
            self.seen.note_who_started_old(&observed);
            self.seen.lost.note_who_is_down(looked, &observed.facts.members);
            for (gate, new) in self.gates.iter_mut().zip(&observed.new) {
                gate.note_if_down(looked, new.as_ref().unwrap_or(&Value::Null));
            }
            if let Some(killed) = self.seen.who_was_killed(self.plan, &observed) {
                self.progress.emit(Event::Warning { text: killed.to_string() });
            }
            let observed = self.seen.added_to(observed);
            let decided = next(self.plan, &observed.facts);
            self.seen.lost.note_what_was_done(&decided);
            self.show(&decided, &observed).await;
            match decided {
                Next::Finish(Outcome::RolledBack | Outcome::Refused { .. })
                    if !self.seen.lost.is_settled(looked) =>
                {
                    tokio::time::sleep(LATE_PAUSE).await;
                }
                Next::Do { call: Call::Start { id }, member, .. }
                    if id == self.plan.members[member].old.id
                        && self.seen.lost.is_worth_a_moment(member, Instant::now()) =>
                {
                    tokio::time::sleep(LATE_PAUSE).await;
                }
                Next::Finish(outcome) => {
                    if outcome == Outcome::RolledBack {
                        self.progress.explain(self.seen.who_gave_up(&observed));
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
                self.seen.lost.note(&error, None, None);
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
        let settled = self.seen.lost.is_settled(Instant::now());
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
            Ok(true) if !looks && self.seen.is_stuck(doing) => {
                let message = "the engine says that it is done, but it isn't".to_owned();
                self.take_no(doing, settled, observed, &EngineError::Reply { status: 500, message })
                    .await
            }
            Ok(true) => {
                let begun = self.seen.doing.take().map_or_else(Instant::now, |(_, begun)| begun);
                let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(step = doing.name(), milliseconds, "done");
                if let Call::Stop { id } = &call {
                    self.seen.last_stop = Some((id.clone(), member, begun.elapsed()));
                }
                self.seen.failures = Default::default();
                self.seen.waits = false;
                self.progress.emit(doing.done(self.plan, milliseconds));
                None
            }
            Err(error) => {
                // That new is stopped late harms nobody.
                let old = &self.plan.members[member].old;
                let stops = matches!(&call, Call::Stop { id } if *id == old.id);
                let stop_time = Duration::from_secs(old.stop_seconds);
                if !error.is_refusal() && matches!(&call, Call::Start { id } if *id != old.id) {
                    let new = observed.facts.members[member].new.as_ref();
                    self.seen.disorder[member].suspect(new);
                }
                let first = settled.then_some(doing);
                self.seen.lost.note(&error, first, stops.then_some((member, stop_time)));
                self.take_no(doing, settled, observed, &error).await
            }
        }
    }

    /// Afterwards: clears away what is of no use any more.
    pub async fn clear(&mut self) {
        if let Some(keeper) = &self.keeper
            && let Err(error) = keeper.clear().await
        {
            warn!(%error, "older backups could not be cleared away");
        }
    }
}
