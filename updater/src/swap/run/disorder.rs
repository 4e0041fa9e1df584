//! What comes of a start in which the engine has died.
//!
//! Docker 28, killed in the middle of a container's start, knows nothing of the process that
//! it leaves behind. The next start ends that one, and a moment later the engine takes this
//! end for that of the process which it has started since. Then the container runs on none
//! of its networks, or counts as killed while it runs. Where its restart policy starts it
//! again, that ends the next process in the same way, and so on for ever. Started anew under
//! the policy `no` it is well, whatever its policy is afterwards. (All of this measured.)

use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::super::facts::{Container, MemberFacts};
use super::super::no;
use super::Runner;
use crate::engine::{Engine, EngineError};

/// So long after a start the engine may still take it for over. Measured: 2.1 s.
const UNCERTAIN: Duration = Duration::from_secs(3);
/// One start may do for what was left behind, and another for itself.
const STARTS: u32 = 4;

/// What is known of the starts of one member's containers.
#[derive(Clone, Default)]
pub(super) struct Disorder {
    /// The engine may have died in a start of the new container: the time of the last one
    /// that is known to be over.
    suspected: Option<String>,
    /// What was started anew is left to itself.
    mended: Vec<String>,
    /// The old container's run, by the time of its start, and since when it has been seen.
    run: Option<(String, Instant)>,
}

impl Disorder {
    /// The engine may have died while it started the new container.
    pub(super) fn suspect(&mut self, new: Option<&Container>) {
        self.suspected = new.map(|new| new.started_at.clone());
    }

    /// Whether the old container is in disorder.
    pub(super) fn is_of_old(&self, old: Option<&Container>) -> bool {
        old.is_some_and(|old| self.is_of(old))
    }

    /// Whether the new container is. Before it is armed nothing starts it again by itself,
    /// and one that is killed may have deserved it, unless the engine has died.
    pub(super) fn is_of_new(&self, new: Option<&Container>) -> bool {
        let was_killed = |new: &Container| {
            let later = self.suspected.as_ref().is_some_and(|known| *known != new.started_at);
            later && new.was_started() && !new.running && new.killed
        };
        new.is_some_and(|new| self.is_of(new) || was_killed(new) && !self.is_mended(new))
    }

    fn is_of(&self, container: &Container) -> bool {
        let killed_again = container.restarting && container.killed;
        (container.adrift || killed_again) && !self.is_mended(container)
    }

    fn is_mended(&self, container: &Container) -> bool {
        self.mended.contains(&container.id)
    }

    /// Whether the old container goes on running. One that the engine has started again by
    /// itself is watched for a moment.
    pub(super) fn is_steady(&mut self, old: &Container) -> bool {
        if old.restarts == 0 && !old.restarting {
            return true;
        }
        match &self.run {
            Some((run, since)) if *run == old.started_at && !old.restarting => {
                since.elapsed() >= UNCERTAIN
            }
            _ => {
                self.run = Some((old.started_at.clone(), Instant::now()));
                false
            }
        }
    }
}

impl Runner<'_> {
    /// Starts a container until it runs as it should, with a restart policy that stays out
    /// of it. A helper that dies in between leaves one that runs, or is down and to be
    /// armed and started, as on any way back.
    pub(super) async fn start_anew(
        &mut self,
        member: usize,
        id: &str,
        facts: &MemberFacts,
    ) -> Result<(), EngineError> {
        let mut both = [&facts.old, &facts.new].into_iter().flatten();
        let armed = both.find(|one| one.id == id && !one.policy_is(&no()));
        if armed.is_some() {
            self.engine.set_policy(id, &no()).await?;
        }
        let grace = Duration::from_secs(self.plan.members[member].old.stop_seconds);
        for start in 1..=STARTS {
            if stays_well(self.engine, id).await? {
                break;
            }
            info!(start, "started anew, since it has come up in disorder");
            self.engine.restart(id, grace).await?;
        }
        self.seen.disorder[member].mended.push(id.to_owned());
        match armed {
            Some(armed) => self.engine.set_policy(id, &armed.policy).await,
            None => Ok(()),
        }
    }
}

/// Whether a container runs as it should for as long as that isn't certain.
async fn stays_well(engine: &Engine, id: &str) -> Result<bool, EngineError> {
    let begun = Instant::now();
    loop {
        let Some(inspect) = engine.container(id).await? else { return Ok(true) };
        let seen = Container::from_inspect(&inspect);
        if !seen.running || seen.restarting || seen.adrift {
            return Ok(false);
        }
        if begun.elapsed() >= UNCERTAIN {
            return Ok(true);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::advance;

    use super::*;

    /// As 28.5 showed them.
    fn inspect(run: &str, restarts: u32, state: &Value, sandbox: &str) -> Value {
        let mut document = json!({
            "Id": "a",
            "RestartCount": restarts,
            "HostConfig": { "NetworkMode": "bridge" },
            "State": { "Running": true, "StartedAt": format!("2026-01-0{run}T00:00:00Z") },
            "NetworkSettings": {
                "SandboxKey": sandbox,
                "Networks": { "bridge": { "EndpointID": "", "IPAddress": "" } },
            },
        });
        for (key, value) in state.as_object().into_iter().flatten() {
            document["State"][key] = value.clone();
        }
        document
    }

    fn container(run: &str, state: &Value, sandbox: &str) -> Container {
        Container::from_inspect(&inspect(run, 0, state, sandbox))
    }

    #[test]
    fn one_that_runs_on_none_of_its_networks_is_in_disorder_and_one_of_podmans_is_not() {
        let disorder = Disorder::default();
        let adrift = container("1", &json!({}), "");
        assert!(disorder.is_of_old(Some(&adrift)) && disorder.is_of_new(Some(&adrift)));
        // Podman names no endpoints, and a network may give no address.
        let podmans = container("1", &json!({}), "/run/netns/netns-1");
        assert!(!disorder.is_of_new(Some(&podmans)));
        let mut on_host = inspect("1", 0, &json!({}), "");
        on_host["HostConfig"]["NetworkMode"] = "host".into();
        assert!(!disorder.is_of_new(Some(&Container::from_inspect(&on_host))));
        let mended = Disorder { mended: vec!["a".to_owned()], ..Disorder::default() };
        assert!(!mended.is_of_old(Some(&adrift)), "again and again");
    }

    #[test]
    fn a_new_one_that_is_killed_has_another_try_only_if_the_engine_has_died_in_its_start() {
        let killed = json!({ "Running": false, "ExitCode": 137 });
        let mut disorder = Disorder::default();
        let first = container("1", &killed, "");
        assert!(!disorder.is_of_new(Some(&first)));
        disorder.suspect(Some(&first));
        assert!(!disorder.is_of_new(Some(&first)), "that run is known");
        assert!(disorder.is_of_new(Some(&container("2", &killed, ""))));
        let exited = json!({ "Running": false, "ExitCode": 1 });
        assert!(!disorder.is_of_new(Some(&container("2", &exited, ""))), "its own fault");
        let for_memory = json!({ "Running": false, "ExitCode": 137, "OOMKilled": true });
        assert!(!disorder.is_of_new(Some(&container("2", &for_memory, ""))), "its own fault");
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_one_that_the_engine_has_started_again_is_watched_for_a_moment() {
        let up = json!({});
        let between = json!({ "Restarting": true, "ExitCode": 137 });
        let seen = |run: &str, restarts, state: &Value, sandbox: &str| {
            Container::from_inspect(&inspect(run, restarts, state, sandbox))
        };
        let mut disorder = Disorder::default();
        assert!(disorder.is_steady(&seen("1", 0, &up, "/run/1")), "nobody but us started it");
        assert!(!disorder.is_steady(&seen("1", 1, &up, "/run/1")));
        advance(UNCERTAIN / 2).await;
        assert!(disorder.is_of_old(Some(&container("1", &between, ""))));
        assert!(!disorder.is_steady(&seen("1", 1, &between, "")));
        assert!(!disorder.is_steady(&seen("2", 2, &up, "/run/2")));
        advance(UNCERTAIN / 2).await;
        assert!(!disorder.is_steady(&seen("2", 2, &up, "/run/2")), "another run");
        advance(UNCERTAIN / 2).await;
        assert!(disorder.is_steady(&seen("2", 2, &up, "/run/2")));
    }
}
