//! What follows from a call that failed: another look, a refusal, or a person.

use std::time::Duration;

use serde_json::Value;
use tracing::{debug, warn};

use super::super::observe::Observed;
use super::super::{Direction, Outcome, REMOVE};
use super::doing::Doing;
use super::{PATIENCE, Runner};
use crate::engine::EngineError;
use crate::events::Event;

/// A server error may pass; it is believed after so many answers.
const SERVER_ERRORS: u32 = 3;
/// The same where the engine has just come back, and what it had left behind when it died
/// may be in its own way: some ten seconds.
const SERVER_ERRORS_AFTER_AN_OUTAGE: u32 = 15;
/// The longest pause between two tries. The app may be waiting for this one.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// The same while it is waited for the app's port. That may take days, or no more than the
/// engine's next restart.
const PORT_PAUSE: Duration = Duration::from_secs(2);
/// A call that the engine has left without an answer so often hangs.
const SILENCES: u32 = 2;

impl Runner<'_> {
    /// What follows from a call that failed; whether nothing else could still happen when it
    /// was made.
    pub(super) async fn take_no(
        &mut self,
        doing: Doing,
        was_settled: bool,
        observed: &Observed,
        error: &EngineError,
    ) -> Option<Outcome> {
        let name = doing.name();
        let for_the_port = wants_the_port(error);
        if self.seen.waits && error.is_refusal() && !for_the_port {
            // Something else by now, that may pass as well.
            (self.seen.waits, self.seen.failures.1) = (false, 0);
        }
        self.failed(name, error).await;
        let tries = self.seen.failures.1;
        let hangs = match error {
            EngineError::Silent { .. } => tries >= SILENCES,
            // The engine answers looks and nothing else: it was away, but not for so long.
            EngineError::Proxy { .. } => tries >= SERVER_ERRORS_AFTER_AN_OUTAGE,
            _ => false,
        };
        if !error.is_refusal() && !hangs {
            // It may have happened, or the engine is away. Looking again tells.
            return None;
        }
        let committed = observed.facts.members.first().is_some_and(|lead| lead.old.is_none());
        if for_the_port && (committed || doing.direction == Direction::Back) {
            if tries >= SERVER_ERRORS_AFTER_AN_OUTAGE && !self.seen.waits {
                let outcome = self.out_of_the_port(name, error).await;
                warn!(?outcome, "waiting for the port");
                self.progress.wait(&outcome);
                self.seen.waits = true;
            }
            return None;
        }
        let final_word = error.status().is_none_or(|s| (400..500).contains(&s) && s != 404);
        let past_the_gate = doing.step >= REMOVE;
        if doing.direction == Direction::Forward && !past_the_gate {
            // Where a call may have been under way that we have heard nothing of, a no can
            // mean that the step has been done: looking again tells.
            let enough = match self.seen.returned_with_engine {
                true => SERVER_ERRORS_AFTER_AN_OUTAGE,
                false => SERVER_ERRORS,
            };
            if final_word && was_settled || tries >= enough {
                self.seen.refusal = Some(format!("cannot {name}: {error}"));
            }
            return None;
        }
        // A tag is a comfort; nobody is kept waiting for it.
        let comfort = doing.step > REMOVE && (final_word || tries >= SERVER_ERRORS);
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

    pub(super) fn out_of_patience(&self, what: &str, error: &EngineError) -> Outcome {
        Outcome::NeedsAPerson {
            reason: format!(
                "cannot {what}: {error}\nhint: mend that, then run `changeover resume {}`",
                self.plan.app
            ),
        }
    }

    /// The only version that there is to start can't have the app's port.
    async fn out_of_the_port(&mut self, what: &str, error: &EngineError) -> Outcome {
        let published = &self.plan.handover.published;
        let ports: Vec<u64> = published.iter().map(|published| published.port.into()).collect();
        let containers = self.engine.containers().await.unwrap_or_default();
        let holder = containers.iter().find(|container| publishes(container, &ports));
        Outcome::NeedsAPerson { reason: no_port(what, &error.to_string(), holder.map(name_of)) }
    }

    /// Counts failures of the same thing in a row and waits longer each time.
    pub(super) async fn failed(&mut self, what: &str, error: &EngineError) {
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
        let pause = match self.seen.waits {
            true => PORT_PAUSE,
            false => LONGEST_PAUSE.min(Duration::from_millis(50 << tries.min(6))),
        };
        tokio::time::sleep(pause).await;
    }
}

/// Whether somebody else has the app's port, as far as we or the engine can tell.
fn wants_the_port(error: &EngineError) -> bool {
    const SAID: [&str; 3] =
        ["cannot listen on", "port is already allocated", "address already in use"];
    let EngineError::Reply { message, .. } = error else { return false };
    SAID.iter().any(|said| message.contains(said))
}

/// Whether a container, by its summary, has one of these ports now.
fn publishes(container: &Value, ports: &[u64]) -> bool {
    let published = container["Ports"].as_array().into_iter().flatten();
    let mut published = published.filter(|port| port["Type"] == "tcp");
    published.any(|port| port["PublicPort"].as_u64().is_some_and(|port| ports.contains(&port)))
}

fn name_of(container: &Value) -> &str {
    container["Names"][0].as_str().unwrap_or_default().trim_start_matches('/')
}

/// What a person can do about it. `holder` is the container that has the port, if one has.
fn no_port(what: &str, said: &str, holder: Option<&str>) -> String {
    let (said, shows) = said.split_once("\nhint: ").unwrap_or((said, ""));
    // Seen on 20.10 and 26.1: one that was killed while it started a container takes that
    // one's port for allocated when it is back, and holds it by a docker-proxy. Nothing that
    // it can be asked for changes that, be it the container's removal.
    let lost = "the engine has lost track of the port, and only its restart frees it: `systemctl restart docker`";
    let way_out = match (holder, shows) {
        (Some(holder), _) => format!("stop the container `{holder}`, which publishes the port"),
        (None, "") => lost.to_owned(),
        (None, shows) => format!("{shows}; if it is a docker-proxy, {lost}"),
    };
    format!(
        "cannot {what}: {said}\nhint: {way_out}; the helper waits for the port and goes on by itself"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_that_somebody_holds_has_a_way_out() {
        // What 20.10 said, and what we say.
        let lost = "driver failed programming external connectivity on endpoint web (0e1a): \
                    Bind for 0.0.0.0:8080 failed: port is already allocated";
        let held = "cannot listen on 0.0.0.0:8080\nhint: `ss -ltnp sport = 8080` shows who does";
        let message = |said: &str| EngineError::Reply { status: 500, message: said.to_owned() };
        for said in [lost, held] {
            assert!(wants_the_port(&message(said)), "{said}");
            let reason = no_port("start the old container", said, None);
            assert!(reason.contains("`systemctl restart docker`"), "{reason}");
            assert_eq!(reason.matches("hint: ").count(), 1, "{reason}");
            let reason = no_port("start the old container", said, Some("other"));
            assert!(reason.contains("`other`") && !reason.contains("systemctl"), "{reason}");
        }
        assert!(no_port("", held, None).contains("`ss -ltnp sport = 8080`"));
        assert!(!wants_the_port(&message("no space left on device")));
    }

    #[test]
    fn who_publishes_the_port_is_known_by_name() {
        let port = |public: u16| json!({ "PrivatePort": 80, "PublicPort": public, "Type": "tcp" });
        let container = |ports: Value| json!({ "Names": ["/other"], "Ports": ports });
        assert!(publishes(&container(json!([port(443), port(8080)])), &[8080]));
        assert_eq!(name_of(&container(json!([]))), "other");
        let exposed = json!({ "PrivatePort": 8080, "Type": "tcp" });
        let datagrams = json!({ "PrivatePort": 80, "PublicPort": 8080, "Type": "udp" });
        for other in [json!([]), json!([exposed]), json!([datagrams]), Value::Null] {
            assert!(!publishes(&container(other.clone()), &[8080]), "{other}");
        }
    }
}
