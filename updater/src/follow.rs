//! Following a helper from outside: its events, and how it ended.
//!
//! The helper's log is the stream of events. It may end early, since the helper
//! deletes itself or is killed; then the engine's facts say what is true.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::engine::{Engine, EngineError};
use crate::events::Event;
use crate::launch::{is_finished, is_leaving};
use crate::plan::Plan;
use crate::swap::observe::observe;
use crate::swap::{Ending, Next, Outcome, next};

/// How often the engine may have to start a helper before it is no helper at all.
const FALSE_STARTS: i64 = 4;
/// How often a helper may be seen `dead`, a tenth of a second apart, before it is gone for
/// us: an engine that is killed in the middle of a removal leaves it so for good.
const LAST_SIGHTS: u32 = 20;
/// The same for one that is `removing`: an engine at work, perhaps on a slow disk.
const LAST_SIGHTS_OF_A_REMOVAL: u32 = 100;
/// How often the engine may be out of reach, a tenth of a second apart, before we
/// stop following.
const PATIENCE: u32 = 600;

/// One that waits for a person has said so, and then nothing for so long: longer than it
/// takes to go on, once that is possible.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// How following ended.
#[derive(Debug)]
pub enum Followed {
    /// The update ended, like this; or its helper waits for a person, and goes on then.
    Ended(Outcome),
    /// The helper is gone, but the update has not ended.
    HelperGone,
    /// The helper ends again and again before it has touched anything: its last words.
    HelperFails(String),
    /// The helper was stopped, but the update has not ended.
    HelperStopped,
}

/// Follows the helper `id` of `plan` until the update has ended.
pub async fn follow(
    engine: &Engine,
    plan: &Plan,
    id: &str,
    mut on_event: impl FnMut(Event),
) -> Result<Followed, EngineError> {
    let mut seen = 0;
    let mut failures = 0;
    let mut leaving = 0;
    let mut last_outcome = None;
    let mut started = false;
    let mut waits_since: Option<Instant> = None;
    loop {
        let looked = async {
            let mut lines = Box::pin(engine.output(id, true)?);
            // A helper that was restarted goes on in the same log.
            let mut line_number = 0;
            loop {
                let line = match waits_since {
                    None => lines.next().await,
                    Some(since) => match timeout_at(since + LAST_WORDS, lines.next()).await {
                        Ok(line) => line,
                        Err(_) => break,
                    },
                };
                let Some(Ok(line)) = line else { break };
                line_number += 1;
                if line_number <= seen {
                    continue;
                }
                seen = line_number;
                let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
                match &event {
                    // What was said before is over: it was resumed, or it goes on.
                    Event::Started { .. } | Event::Begun { .. } => {
                        (last_outcome, waits_since) = (None, None);
                    }
                    Event::Finished { outcome, reason, waits, .. } => {
                        last_outcome = outcome_of(outcome, reason.as_ref());
                        waits_since = waits.then(Instant::now);
                    }
                    _ => {}
                }
                started = true;
                on_event(event);
            }
            drop(lines);
            engine.container(id).await
        };
        let helper = looked.await;
        if waits_since.is_some_and(|since| since.elapsed() >= LAST_WORDS)
            && let Some(outcome) = last_outcome
        {
            return Ok(Followed::Ended(outcome));
        }
        if let Ok(Some(helper)) = &helper
            && is_leaving(helper)
        {
            let dead = helper["State"]["Status"] == "dead";
            leaving += if dead { LAST_SIGHTS_OF_A_REMOVAL / LAST_SIGHTS } else { 1 };
        }
        match helper.map(|helper| helper.filter(|_| leaving < LAST_SIGHTS_OF_A_REMOVAL)) {
            Ok(None) => {
                return match last_outcome {
                    Some(outcome) => Ok(Followed::Ended(outcome)),
                    None => judge(engine, plan).await,
                };
            }
            Ok(Some(helper)) => {
                failures = 0;
                let running = helper["State"]["Running"] == true;
                if !running && is_finished(&helper) {
                    return match last_outcome {
                        Some(outcome) => Ok(Followed::Ended(outcome)),
                        None => judge(engine, plan).await,
                    };
                }
                let false_starts = helper["RestartCount"].as_i64().unwrap_or(0);
                if !started && false_starts >= FALSE_STARTS && is_untouched(engine, plan).await {
                    let log = engine.log_tail(id, 1).await.unwrap_or_default();
                    return Ok(Followed::HelperFails(log.join(" ")));
                }
                // Stopped by hand: the engine won't start it again by itself.
                let stopped = helper["State"]["Status"] == "exited"
                    && helper["State"]["Restarting"] == false
                    && !running;
                if stopped && stays_stopped(engine, id).await {
                    return Ok(Followed::HelperStopped);
                }
            }
            Err(error) => {
                failures += 1;
                if failures > PATIENCE {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The engine restarts a killed helper within a second; one that was stopped by
/// hand stays down.
async fn stays_stopped(engine: &Engine, id: &str) -> bool {
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        match engine.container(id).await {
            Ok(Some(helper)) if helper["State"]["Status"] == "exited" => {}
            _ => return false,
        }
    }
    true
}

async fn is_untouched(engine: &Engine, plan: &Plan) -> bool {
    let seen = observe(engine, plan).await;
    seen.is_ok_and(|seen| seen.new.iter().all(Option::is_none))
}

/// What the engine's facts say of an update without a helper.
pub async fn judge(engine: &Engine, plan: &Plan) -> Result<Followed, EngineError> {
    let mut seen = observe(engine, plan).await?;
    // Nobody waits for the old version any more: it runs, or it doesn't.
    seen.facts.members.iter_mut().for_each(|member| member.old_answers = true);
    let committed = seen.old.iter().all(Option::is_none);
    let lead_new = seen.facts.members.first().and_then(|member| member.new.as_ref());
    // What the gate saw is lost with the helper, but a commit proves it.
    let named = lead_new.is_some_and(|new| new.name == plan.app);
    if committed && named {
        return Ok(Followed::Ended(Outcome::Updated));
    }
    match next(plan, &seen.facts) {
        Next::Finish(outcome) => Ok(Followed::Ended(outcome)),
        _ => Ok(Followed::HelperGone),
    }
}

/// What a helper has said so far, in all its runs.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// What it was doing last.
    pub(crate) step: Option<String>,
    /// How its last run ended, if it came to an end.
    pub(crate) ended: Option<Outcome>,
    /// Why it ended so.
    pub(crate) reason: Option<String>,
    /// Why it gave the new version up.
    pub(crate) condemned: Option<String>,
    /// All of it, in order.
    pub(crate) events: Vec<Event>,
}

impl Said {
    /// Reads a helper's log.
    pub(crate) async fn by(engine: &Engine, id: &str) -> Said {
        let mut said = Said::default();
        let lines = engine.log_tail(id, 500).await.unwrap_or_default();
        for event in lines.iter().filter_map(|line| serde_json::from_str(line).ok()) {
            match &event {
                // What the run before has said is over: it was resumed.
                Event::Started { .. } => (said.ended, said.reason) = (None, None),
                Event::Begun { name, .. } => {
                    // It goes on.
                    (said.ended, said.reason) = (None, None);
                    said.step = Some(name.clone());
                }
                Event::Condemned { reason, .. } => said.condemned = Some(reason.clone()),
                Event::Finished { outcome, reason, .. } => {
                    said.ended = outcome_of(outcome, reason.as_ref());
                    said.reason = reason.clone();
                }
                _ => {}
            }
            said.events.push(event);
        }
        said
    }
}

fn outcome_of(word: &str, reason: Option<&String>) -> Option<Outcome> {
    Some(Ending::of_word(word)?.with(reason.cloned().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::engine::Endpoint;

    /// An engine with one container: what it is, and what it has said.
    fn engine_with(container: serde_json::Value, line: &str) -> Endpoint {
        let id = container["Id"].as_str().unwrap_or_default();
        let name = format!("changeover-follow-{}-{id}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let length = u8::try_from(line.len() + 1).expect("a short line");
        let log = format!("\u{1}\0\0\0\0\0\0{}{line}\n", char::from(length));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a visitor");
                let mut asked = String::new();
                let mut lines = BufReader::new(stream.try_clone().expect("its other half"));
                lines.read_line(&mut asked).expect("a request");
                while lines.read_line(&mut String::new()).expect("a header") > 2 {}
                let body = match &asked {
                    asked if asked.contains("/logs") => log.clone(),
                    asked if asked.contains("/json") => container.to_string(),
                    _ => "OK".to_owned(),
                };
                let head = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nConnection: close\r\n";
                let length = body.len();
                // Whoever asked may have hung up.
                let _ = write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}");
            }
        });
        Endpoint::Unix(path)
    }

    /// How following a helper ends that is in this state and has said its last words.
    async fn followed(id: &str, status: &str, outcome: Ending, waits: bool) -> Followed {
        let helper = json!({
            "Id": id,
            "State": { "Status": status, "Running": status == "running" },
            "HostConfig": { "RestartPolicy": { "Name": "always" } },
        });
        let said = json!(Event::Finished {
            outcome: outcome.word().to_owned(),
            goes_back: false,
            seconds: 1.0,
            reason: Some("why".into()),
            waits,
        });
        let endpoint = engine_with(helper, &said.to_string());
        let engine = Engine::connect(endpoint).await.expect("an engine");
        let plan = serde_json::from_value(crate::fuzzed::plan()).expect("a plan");
        let followed = follow(&engine, &plan, id, |_| {});
        let limit = Duration::from_secs(60);
        let followed = tokio::time::timeout(limit, followed).await.expect("it comes to an end");
        followed.expect("followed")
    }

    #[tokio::test]
    async fn one_that_waits_for_a_person_is_followed_no_further() {
        let followed = followed("w", "running", Ending::NeedsAPerson, true).await;
        let ended = Outcome::NeedsAPerson { reason: "why".to_owned() };
        assert!(matches!(followed, Followed::Ended(outcome) if outcome == ended));
    }

    #[tokio::test]
    async fn a_helper_that_the_engine_never_gets_rid_of_is_not_waited_for() {
        let followed = followed("h", "dead", Ending::RolledBack, false).await;
        assert!(matches!(followed, Followed::Ended(Outcome::RolledBack)), "{followed:?}");
    }
}
