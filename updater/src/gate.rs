//! The gate: whether the new version works.
//!
//! Everything is asked of the new container itself, by its own address, and then
//! once more through the published port as a visitor would, past our own page.
//! The verdict only looks; a helper that was restarted asks again, and the time
//! limit counts from the container's start, so a restart grants no fresh one.

pub mod address;
pub mod probe;

use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;

use crate::clock;
use crate::engine::Engine;
use crate::plan::{ExpectedStatus, GatePlan, Member, Probe, Published};
use crate::successor;
use crate::swap::facts::Verdict;
pub(crate) use address::addresses;
use address::on_host_network;
use probe::Heard;

/// Between two runs of the container's own health command. It costs a process
/// each time, so an app that takes its time is asked less often.
const HEALTH_COMMAND_PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(250), Duration::from_secs(1)];

/// The engine may break off so many looks in a row before that counts against new.
const CUT_SHORT: u32 = 3;

/// What the gate knows about one member between two looks.
pub struct Gate {
    limits: GatePlan,
    member: Member,
    published: Vec<Published>,
    answers_since: Option<Instant>,
    /// The start that is counted from, as the engine stamped it; when we saw it first and
    /// how old it was then. From there on nobody can move the clock.
    counted: Option<(String, Instant, Duration)>,
    /// When it was last seen down: it hasn't run for longer, whatever the clock says by now.
    down: Option<Instant>,
    /// When it last answered well: one that has may be away for a while again.
    answered: Option<Instant>,
    health: HealthCommand,
    /// How many looks in a row the engine has cut short: they tell nothing of the app.
    cut_short: u32,
    /// What was wrong at the last look, for the verdict's words.
    problem: String,
}

#[derive(Default)]
struct HealthCommand {
    /// When it last ended, and how often it has been run.
    last: Option<Instant>,
    runs: usize,
    passed: bool,
}

impl Gate {
    /// A gate for one member; `published` are the ports on which visitors reach it.
    pub fn new(limits: GatePlan, member: Member, published: Vec<Published>) -> Gate {
        Gate {
            limits,
            member,
            published,
            answers_since: None,
            counted: None,
            down: None,
            answered: None,
            health: HealthCommand::default(),
            cut_short: 0,
            problem: "it has not been asked yet".to_owned(),
        }
    }

    /// Keeps in mind that the new container, by an inspect document of this time, is down.
    pub fn note_if_down(&mut self, looked: Instant, new: &Value) {
        if new["State"]["Running"] != true {
            self.down = Some(looked);
        }
    }

    /// One look at the running (or, if the app was stopped, the created) new
    /// container, from its inspect document.
    pub async fn look(&mut self, engine: &Engine, new: &Value) -> Verdict {
        self.count_from(new);
        if !self.member.old.running {
            return Verdict::Passed;
        }
        let mismatches = successor::compare(&self.member.expected, new);
        if !mismatches.is_empty() {
            return Verdict::Failed(format!(
                "the new container differs: {}",
                mismatches.join(", ")
            ));
        }
        match self.ask(engine, new).await {
            Ok(()) => {
                let first = self.answers_since.is_none();
                let since = *self.answers_since.get_or_insert_with(Instant::now);
                if on_host_network(new) && health_command(new).is_some() {
                    if first {
                        // The page has to be out of the way first.
                        return Verdict::Answers;
                    }
                    if let Err(problem) = self.ask_health(engine, new).await {
                        self.problem = problem;
                        // Visitors stay: page and app in turn would be no help.
                        return match self.judge_time(new) {
                            Verdict::Pending => Verdict::Answers,
                            late => late,
                        };
                    }
                }
                self.answered = Some(Instant::now());
                match since.elapsed() >= Duration::from_secs(self.limits.stable_seconds) {
                    true => Verdict::Passed,
                    false => Verdict::Answers,
                }
            }
            Err(problem) => {
                self.answers_since = None;
                self.problem = problem;
                self.judge_time(new)
            }
        }
    }

    /// How long to wait before the next look: hardly at all while an app that
    /// boots quickly may come up, longer for one that takes its time.
    pub fn pause(&self, new: &Value) -> Duration {
        if self.answers_since.is_some() {
            return Duration::from_millis(250);
        }
        match self.age(new) {
            age if age < Duration::from_secs(5) => Duration::from_millis(5),
            age if age < Duration::from_secs(20) => Duration::from_millis(50),
            _ => Duration::from_millis(250),
        }
    }

    fn count_from(&mut self, new: &Value) {
        let started = new["State"]["StartedAt"].as_str().unwrap_or_default();
        if self.counted.as_ref().is_none_or(|(known, _, _)| known != started) {
            let at_most = self.down.map_or(Duration::MAX, |down| down.elapsed());
            self.counted = Some((started.to_owned(), Instant::now(), age(new).min(at_most)));
        }
    }

    /// For how long the container has been running.
    fn age(&self, new: &Value) -> Duration {
        let counted = self.counted.as_ref();
        counted.map_or_else(|| age(new), |(_, seen, age)| *age + seen.elapsed())
    }

    fn judge_time(&self, new: &Value) -> Verdict {
        let limit = Duration::from_secs(self.limits.timeout_seconds);
        let (waited, what) = match self.answered {
            None => (self.age(new), "was not ready within"),
            Some(answered) => (answered.elapsed(), "was ready, but then not for"),
        };
        let heard = self.cut_short == 0 || self.cut_short > CUT_SHORT;
        match waited > limit && heard {
            true => Verdict::Failed(format!(
                "the new version {what} {} s: {}",
                limit.as_secs(),
                self.problem
            )),
            false => Verdict::Pending,
        }
    }

    /// `Ok` if every question is answered well; otherwise the first that isn't.
    async fn ask(&mut self, engine: &Engine, new: &Value) -> Result<(), String> {
        self.ask_directly(engine, new).await?;
        if !on_host_network(new) {
            // There it would be answered by our own page; it is asked later.
            self.ask_health(engine, new).await?;
        }
        for published in self.published.iter().filter(|published| published.answers) {
            for ip in published.visited() {
                let at = SocketAddr::new(ip, published.port);
                self.visit(published, at)
                    .await
                    .map_err(|what| format!("on the published port {at}: {what}"))?;
            }
        }
        Ok(())
    }

    async fn ask_directly(&self, engine: &Engine, new: &Value) -> Result<(), String> {
        let (Probe::Http { port, .. } | Probe::Auto { port } | Probe::Tcp { port }) =
            &self.member.probe
        else {
            return Ok(());
        };
        let mut last = format!("port {port} cannot be reached");
        let addresses = addresses(engine, new).await;
        for ip in &addresses {
            let heard = hear(&self.member.probe, SocketAddr::new(*ip, *port)).await;
            match judge(&heard, &self.member.probe) {
                Ok(()) => return Ok(()),
                Err(what) => last = format!("port {port}: {what}"),
            }
        }
        // Not every network can be reached from the host, say a macvlan one. Then
        // the way that visitors take has to do, which is asked next.
        let reachable = !addresses.is_empty();
        let by_visit = self.published.iter().any(|p| p.answers && p.container_port == *port);
        match reachable || !by_visit {
            true => Err(last),
            false => Ok(()),
        }
    }

    /// The container's own HEALTHCHECK. The engine runs it first after a whole
    /// interval (30 s by default), so we run the same command ourselves.
    async fn ask_health(&mut self, engine: &Engine, new: &Value) -> Result<(), String> {
        let Some(command) = health_command(new) else { return Ok(()) };
        let status = new.pointer("/State/Health/Status").and_then(Value::as_str);
        if status == Some("healthy") || (self.health.passed && status == Some("starting")) {
            return Ok(());
        }
        let pause = HEALTH_COMMAND_PAUSES[(self.health.runs / 10).min(2)];
        if self.health.last.is_some_and(|last| last.elapsed() < pause) {
            return match self.health.passed {
                true => Ok(()),
                false => Err(self.problem.clone()),
            };
        }
        let id = new["Id"].as_str().unwrap_or_default();
        let limit = Duration::from_secs(self.limits.timeout_seconds);
        let left = limit.saturating_sub(self.age(new)).max(Duration::from_secs(1));
        let code = engine.exec(id, &command, health_limit(new).min(left)).await;
        self.health.runs += 1;
        self.health.last = Some(Instant::now());
        self.health.passed = matches!(code, Ok(0));
        self.cut_short = match &code {
            Err(error) if !error.is_refusal() => self.cut_short + 1,
            _ => 0,
        };
        match code {
            Ok(0) => Ok(()),
            Ok(code) => Err(format!("its health check fails with exit code {code}")),
            Err(error) => Err(format!("its health check cannot be run: {error}")),
        }
    }

    /// Asks through a published port, as a visitor would.
    async fn visit(&self, published: &Published, at: SocketAddr) -> Result<(), String> {
        let probe = visitors_probe(published, &self.member.probe);
        match hear(&probe, at).await {
            // The engine's proxy accepts while nothing listens inside.
            Heard::Closed => Err("the connection is closed without an answer".to_owned()),
            heard => judge(&heard, &probe),
        }
    }
}

/// What is asked through a published port, of a member with this probe.
pub(crate) fn visitors_probe(published: &Published, probe: &Probe) -> Probe {
    match probe {
        Probe::Http { port, .. } | Probe::Auto { port } if *port == published.container_port => {
            probe.clone()
        }
        // Nobody knows what is spoken there.
        _ => Probe::Tcp { port: published.container_port },
    }
}

/// Asks in the way of the probe: a path, or only whether a connection is kept.
async fn hear(probe: &Probe, at: SocketAddr) -> Heard {
    match probe {
        Probe::Http { path, .. } => probe::ask(at, path).await,
        Probe::Auto { .. } => probe::ask(at, "/").await,
        Probe::Tcp { .. } | Probe::Running => probe::knock(at).await,
    }
}

fn judge(heard: &Heard, probe: &Probe) -> Result<(), String> {
    let expect = match probe {
        Probe::Http { expect, .. } => *expect,
        _ => ExpectedStatus::Below500,
    };
    match heard {
        Heard::Nothing(what) => Err(what.clone()),
        Heard::Refused => Err("nobody listens there".to_owned()),
        Heard::Http { page: true, .. } => Err("our own page answers".to_owned()),
        Heard::Http { status, .. } if expect.accepts(*status) => Ok(()),
        Heard::Http { status, .. } => Err(format!("it answers with status {status}")),
        // The old version spoke HTTP here, or the operator said so.
        _ if matches!(probe, Probe::Http { .. }) => {
            Err("it accepts a connection, but gives no answer over HTTP".to_owned())
        }
        Heard::Other | Heard::Silence | Heard::Closed => Ok(()),
    }
}

/// Whether the restored old container answers anywhere, as far as can be told.
pub async fn old_answers(engine: &Engine, member: &Member, old: &Value) -> bool {
    let (Probe::Http { port, .. } | Probe::Auto { port } | Probe::Tcp { port }) = &member.probe
    else {
        return true;
    };
    let addresses = addresses(engine, old).await;
    for ip in &addresses {
        let heard = hear(&member.probe, SocketAddr::new(*ip, *port)).await;
        if !matches!(heard, Heard::Nothing(_) | Heard::Refused | Heard::Http { page: true, .. }) {
            return true;
        }
    }
    addresses.is_empty()
}

/// For how long the container has been running, by the wall clock.
fn age(inspect: &Value) -> Duration {
    let started = inspect["State"]["StartedAt"].as_str().unwrap_or_default();
    let Ok(started) = started.parse::<Timestamp>() else { return Duration::ZERO };
    clock::wall().duration_since(started).try_into().unwrap_or(Duration::ZERO)
}

/// The command of the HEALTHCHECK, ready for an exec.
fn health_command(inspect: &Value) -> Option<Value> {
    let test = inspect["Config"]["Healthcheck"]["Test"].as_array()?;
    let arguments = test.get(1..)?;
    match test.first()?.as_str()? {
        "CMD" => Some(Value::from(arguments.to_vec())),
        "CMD-SHELL" => {
            let shell = match inspect["Config"]["Shell"].as_array() {
                Some(shell) if !shell.is_empty() => shell.clone(),
                _ => vec!["/bin/sh".into(), "-c".into()],
            };
            Some(Value::from([shell, arguments.to_vec()].concat()))
        }
        _ => None,
    }
}

fn health_limit(inspect: &Value) -> Duration {
    let nanoseconds = inspect["Config"]["Healthcheck"]["Timeout"].as_u64().unwrap_or(0);
    match nanoseconds {
        0 => Duration::from_secs(30),
        n => Duration::from_nanos(n),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plan::Plan;

    #[tokio::test(start_paused = true)]
    async fn a_version_is_no_older_than_it_was_last_seen_down_whatever_the_clock_says() {
        let plan: Plan = serde_json::from_value(crate::fuzzed::plan()).expect("a plan");
        let gate = || Gate::new(plan.gate.clone(), plan.members[0].clone(), Vec::new());
        let yesterday = Timestamp::now() - jiff::SignedDuration::from_hours(24);
        let new = json!({ "State": { "Running": true, "StartedAt": yesterday.to_string() } });

        let mut gate_that_saw_it_start = gate();
        gate_that_saw_it_start.note_if_down(Instant::now(), &json!({}));
        tokio::time::advance(Duration::from_secs(1)).await;
        gate_that_saw_it_start.note_if_down(Instant::now(), &new);
        gate_that_saw_it_start.count_from(&new);
        assert_eq!(gate_that_saw_it_start.age(&new), Duration::from_secs(1));

        // Of one that runs already only the clock knows for how long.
        let mut gate_that_came_later = gate();
        gate_that_came_later.note_if_down(Instant::now(), &new);
        gate_that_came_later.count_from(&new);
        assert!(gate_that_came_later.age(&new) > Duration::from_secs(23 * 3600));
    }
}
