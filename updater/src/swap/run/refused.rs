//! What follows from a call that failed: another look, a refusal, or a person.

use std::time::Duration;

use tracing::{debug, warn};

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
/// A call that the engine has left without an answer so often hangs.
const SILENCES: u32 = 2;

impl Runner<'_> {
    /// What follows from a call that failed; whether nothing else could still happen when it
    /// was made.
    pub(super) async fn take_no(
        &mut self,
        doing: Doing,
        was_settled: bool,
        error: &EngineError,
    ) -> Option<Outcome> {
        let name = doing.name();
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
        let said = error.to_string();
        let hint = way_out(&said);
        Outcome::NeedsAPerson {
            reason: format!(
                "cannot {what}: {said}\nhint: {hint}, then run `changeover resume {}`",
                self.plan.app
            ),
        }
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
        tokio::time::sleep(LONGEST_PAUSE.min(Duration::from_millis(50 << tries.min(6)))).await;
    }
}

/// What a person can do about it.
fn way_out(said: &str) -> &'static str {
    // Seen on 20.10 and 26.1: one that was killed while it started a container takes that
    // one's port for allocated when it is back, or holds it itself by a docker-proxy. Neither
    // a disconnection by force nor the container's removal changes that.
    match said.contains("port is already allocated") || said.contains("cannot listen on") {
        true => {
            "stop the container that publishes the port; if none does, the engine has lost track of it, and only its restart frees it"
        }
        false => "mend that",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_the_engine_has_lost_track_of_has_a_way_out() {
        // What 20.10 said.
        let lost = "driver failed programming external connectivity on endpoint web (0e1a): \
                    Bind for 0.0.0.0:8080 failed: port is already allocated";
        assert!(way_out(lost).contains("restart"));
        let held = "cannot listen on 0.0.0.0:8080\nhint: `ss -ltnp sport = 8080` shows who does";
        assert!(way_out(held).contains("restart"));
        assert_eq!(way_out("no space left on device"), "mend that");
    }
}
