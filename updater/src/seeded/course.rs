//! One run: an app, an update that meets its faults, the end, and what must hold then.

use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::containers::{Container, Fate, HELPER};
use super::dice::Dice;
use super::engine::{Engine, HEALTH_TIMEOUT};
use super::faults::Mischief;
use crate::cli::{self, Cli};
use crate::clock;

/// Within this everything is over, whatever was in the way.
const PATIENCE: Duration = Duration::from_secs(1800);

/// How a run ended, for the tally.
#[derive(Debug, Default, Clone)]
pub(super) struct Told {
    /// What `status` says: `updated`, `rolled-back`, … or `untouched`.
    pub(super) outcome: String,
    pub(super) story: Vec<String>,
    pub(super) minutes: f64,
    /// Whether the engine has lost track of the app's port.
    pub(super) lost_the_port: bool,
}

/// What the world was like before.
struct Before {
    policy: &'static str,
    ran: bool,
    data: String,
    cache: String,
}

/// Runs a seed to its end; an error says which promise was broken.
pub(super) async fn run(seed: u64) -> (Told, Result<(), String>) {
    let mut dice = Dice::new(seed);
    clock::simulated::set(jiff::Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(490_000));
    let begun = Instant::now();
    let fate = match dice.between(0, 10) {
        0 => Fate::NeverHealthy,
        1 => Fate::Exits { after: dice.between(0, 900) },
        2 => Fate::StartRefused,
        3 if dice.chance(50) => Fate::CreateRefused,
        _ => Fate::Good { boot: dice.between(0, 4000) },
    };
    let engine = Engine::new(dice.split(), vec![(2, fate)]);
    let before = furnish(&engine, &mut dice);
    engine.state().tell(format!("seed {seed}: {fate:?}, {} ran: {}", before.policy, before.ran));

    let limit = format!("{}s", HEALTH_TIMEOUT / 1000);
    let update =
        ["update", "web", "--image", "web:2", "--stable", "1s", "--health-timeout", &limit];
    // Half of it lets the helper start in peace, since most of what can break is after that.
    if dice.chance(50) {
        trouble(&engine, &mut dice);
        ask(&engine, &update);
    } else {
        ask(&engine, &update);
        while engine.state().pending > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        trouble(&engine, &mut dice);
    }
    let held = settle(&engine, fate, &before, begun).await;
    let mut told = Told::default();
    let held = held.map(|outcome| told.outcome = outcome);
    let held = match (held, engine.state().broken.first()) {
        (Ok(()), Some(broken)) => Err(broken.clone()),
        (held, _) => held,
    };
    told.lost_the_port = engine.state().has_lost_the_port;
    told.minutes = begun.elapsed().as_secs_f64() / 60.0;
    told.story = std::mem::take(&mut engine.state().story);
    clock::simulated::unset();
    (told, held)
}

/// An app on its first version, with data.
fn furnish(engine: &Arc<Engine>, dice: &mut Dice) -> Before {
    let policy = dice.pick(&["unless-stopped", "unless-stopped", "always", "on-failure", "no"]);
    let ran = dice.chance(90);
    let body = json!({
        "Image": "web:1",
        "Labels": { "of": "the user" },
        "HostConfig": {
            "RestartPolicy": { "Name": policy },
            "Binds": ["data:/data"],
        },
    });
    let mut state = engine.state();
    let (status, _) = state.containers.create("web", &body);
    assert_eq!(status, 201, "the app is created");
    let web = state.containers.find("web").expect("the app is there");
    let cache = web.mounts.iter().find(|(path, _, _)| path == "/cache").expect("a volume");
    let cache = cache.1.clone();
    drop(state);
    if ran {
        assert_eq!(engine.start("web").0, 204, "the app starts");
    }
    Before { policy, ran, data: "data".into(), cache }
}

/// From here on things go wrong.
fn trouble(engine: &Arc<Engine>, dice: &mut Dice) {
    let mut state = engine.state();
    state.faults = (dice.between(0, 9) as u32, dice.between(10, 50));
    for _ in 0..dice.between(0, 4) {
        let at = dice.between(0, 22) as usize;
        state.mischief.push((at, dice.chance(50), Mischief::any(dice)));
    }
    // An engine that is slow for so long, and a helper that doesn't live to see it, would
    // be too much.
    let dies = |(_, _, mischief): &(usize, bool, Mischief)| mischief.ends_the_helper();
    state.latest = if state.mischief.iter().any(dies) { 2500 } else { 9000 };
}

/// A command of a person's, or of a program's: it runs by itself.
pub(super) fn ask(engine: &Arc<Engine>, args: &[&str]) {
    let mut line = vec!["changeover", "--quiet"];
    line.extend(args);
    if args[0] != "status" && args[0] != "gc" {
        line.extend(["--detach", "--helper-image", "helper:1"]);
    }
    if args[0] == "update" {
        line.extend(["--pull", "never"]);
    }
    let mut cli = Cli::parse_from(line);
    cli.host = Some(cli::Host(Some(engine.endpoint())));
    let words = args.join(" ");
    engine.state().tell(format!("$ changeover {words}"));
    engine.state().pending += 1;
    let engine = engine.clone();
    tokio::spawn(async move {
        let done = cli::run(cli).await;
        let mut state = engine.state();
        state.pending -= 1;
        let code = done.as_ref().map_or_else(cli::CliError::code, |exit| exit.code());
        let said = done.err().map(|error| format!(": {}", chain(&error))).unwrap_or_default();
        // Refused, or out of sight before it had begun.
        if code == 21 || code == 30 {
            state.refusals.push(words.clone());
        }
        state.tell(format!("$ changeover {words} -> {code}{said}"));
    });
}

fn chain(error: &dyn std::error::Error) -> String {
    let source = error.source().map(|source| format!(": {}", chain(source))).unwrap_or_default();
    format!("{error}{source}").replace('\n', " | ")
}

/// Waits until nobody does anything any more.
async fn quiet(engine: &Arc<Engine>, begun: Instant) -> Result<(), String> {
    let mut calm = 0;
    // What an engine does late is done by then.
    while calm < 120 {
        sleep(Duration::from_millis(100)).await;
        calm = if engine.is_quiet() { calm + 1 } else { 0 };
        if begun.elapsed() > PATIENCE {
            return Err(format!("still not over after {PATIENCE:?}"));
        }
    }
    Ok(())
}

/// To the end, and then what must hold. Says how it ended.
async fn settle(
    engine: &Arc<Engine>,
    fate: Fate,
    before: &Before,
    begun: Instant,
) -> Result<String, String> {
    quiet(engine, begun).await?;
    engine.behave();
    restart_for_the_port(engine, begun).await?;
    // A person reads `status` and does as it says.
    let mut states = vec![state_of(engine).await?];
    for _ in 0..3 {
        if !matches!(states.last().map(String::as_str), Some("interrupted" | "needs-a-person")) {
            break;
        }
        ask(engine, &["resume", "web"]);
        quiet(engine, begun).await?;
        states.push(state_of(engine).await?);
    }
    engine.state().tell(format!("status: {states:?}"));
    let excuses = engine.state().excuses.clone();
    let outcome = states.last().cloned().unwrap_or_default();
    for state in &states[..states.len() - 1] {
        if excuses.is_empty() {
            return Err(format!("`{state}`, with no reason for it"));
        }
    }
    let is_good = matches!(fate, Fate::Good { .. });
    // Whoever asks is told at once that nothing was touched, and asks again.
    let never_began =
        ["untouched", "refused"].contains(&&*outcome) && !engine.state().refusals.is_empty();
    if is_good && excuses.is_empty() && outcome != "updated" && !never_began {
        return Err(format!("a good version is `{outcome}`, with no reason for it"));
    }
    // Somebody took away the one just as the other had to go.
    let removed = excuses.iter().any(|why| why == "NewRemoved");
    if outcome == "needs-a-person" && removed && engine.state().containers.find("web").is_none() {
        return Ok(outcome);
    }
    let version = one_version(engine, before)?;
    // What `status` speaks of is the newest update.
    let another = excuses.iter().any(|why| why == "AnotherUpdate");
    let wanted: &[u32] = match outcome.as_str() {
        "updated" if another => &[2, 3],
        "updated" => &[2],
        "rolled-back" | "refused" | "untouched" if another => &[1, 2],
        "rolled-back" | "refused" | "untouched" => &[1],
        other => return Err(format!("it ends `{other}`")),
    };
    if !wanted.contains(&version) {
        return Err(format!("`status` says {outcome}, and web:{version} has the name"));
    }
    if version == 2 && before.ran && !is_good {
        return Err(format!("web:2 has taken over, and it is {fate:?}"));
    }

    // Nothing that is left blocks the next one.
    ask(engine, &["update", "web", "--image", "web:4", "--stable", "1s"]);
    quiet(engine, begun).await?;
    let version = one_version(engine, before)?;
    if version != 4 {
        return Err(format!("the next update leaves web:{version}"));
    }
    let names: Vec<String> =
        engine.state().containers.list.iter().map(|c| c.name.clone()).collect();
    if names != ["web"] {
        return Err(format!("left over at the end: {names:?}"));
    }
    Ok(outcome)
}

/// Where the engine has lost track of the app's port, `status` says so, and its restart is
/// all that a person has to do.
async fn restart_for_the_port(engine: &Arc<Engine>, begun: Instant) -> Result<(), String> {
    if !engine.state().containers.port_lost {
        return Ok(());
    }
    let is_waiting = |c: &Container| c.is_helper() && c.running;
    let waits = engine.state().containers.list.iter().any(is_waiting);
    let says = state_of(engine).await?;
    if waits && says != "needs-a-person" {
        return Err(format!("the helper waits for the port, and `status` says {says}"));
    }
    if !waits && says == "needs-a-person" {
        return Err("the helper doesn't wait for the port".to_owned());
    }
    engine.commit(Mischief::EngineTerminated(1000));
    quiet(engine, begun).await?;
    let says = state_of(engine).await?;
    if waits && says != "rolled-back" && says != "updated" {
        return Err(format!("the port is free again, and `status` says {says}"));
    }
    Ok(())
}

/// What `status` says.
async fn state_of(engine: &Arc<Engine>) -> Result<String, String> {
    let client = crate::engine::Engine::connect(engine.endpoint()).await;
    let client = client.map_err(|error| error.to_string())?;
    let found = cli::states_of(&client, Some("web")).await.map_err(|error| error.to_string())?;
    Ok(found.first().map_or("untouched", |state| state).to_owned())
}

/// Exactly one version has the app's name, with its data, its own policy, and running
/// if the app ran. Says which.
fn one_version(engine: &Arc<Engine>, before: &Before) -> Result<u32, String> {
    // An engine that was killed leaves down what ran under `unless-stopped`, a version
    // that nobody is to restart may be down after any restart, and the engine may stand in
    // its own way: Docker's own doing, and nobody's to mend once the helper has gone.
    let left_down = {
        let state = engine.state();
        let web = state.containers.find("web").filter(|web| !web.running && before.ran);
        web.is_some_and(|web| state.boots > 0 && (!web.comes_back(true) || web.was_stuck()))
    };
    if left_down {
        engine.state().tell("left down by the engine".into());
        engine.start("web");
    }
    let state = engine.state();
    let versions = state.containers.list.iter().filter(|c| c.image != HELPER);
    let (named, others): (Vec<_>, Vec<_>) = versions.partition(|c| c.name == "web");
    let [web] = named.as_slice() else {
        return Err("nobody has the app's name".to_owned());
    };
    let started = ["OldStarted", "AppRestarted"];
    let started = state.excuses.iter().any(|why| started.contains(&why.as_str()));
    if web.running != before.ran && !(web.running && started) {
        return Err(format!("the app {}", if web.running { "runs" } else { "does not run" }));
    }
    if web.in_disorder {
        return Err("the app runs on none of its networks, or again and again".to_owned());
    }
    if web.policy != before.policy {
        return Err(format!("its policy is {} instead of {}", web.policy, before.policy));
    }
    for (path, volume) in [("/data", &before.data), ("/cache", &before.cache)] {
        let mounted = web.mounts.iter().any(|(at, what, _)| at == path && what == volume);
        if !mounted || !state.containers.volumes.contains(volume) {
            return Err(format!("its volume {volume} is not at {path}: {:?}", web.mounts));
        }
    }
    for other in others {
        if other.running || other.policy != "no" || other.name == "web.old" {
            return Err(format!("{} is left, {} {}", other.name, other.policy, other.running));
        }
    }
    Ok(web.image)
}
