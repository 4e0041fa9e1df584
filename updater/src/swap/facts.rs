//! What the engine reports, reduced to what the swap decides by.

use serde_json::Value;

use crate::plan::Plan;

/// The exit code of what was ended by SIGKILL.
pub(super) const KILLED: i64 = 137;

/// One look at the engine, for every member of the plan.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    /// In the order of the plan's members.
    pub members: Vec<MemberFacts>,
    /// A forward step that the engine refused, in words. An observation like any
    /// other: a restarted helper asks again and is refused again.
    pub refusal: Option<String>,
    /// How far the data of all members together is kept, or put back.
    pub data: DataFacts,
}

/// What this helper has done for the data. One that was restarted does it again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct DataFacts {
    /// The first pass is over.
    pub passed: bool,
    /// The snapshot was taken since the old version was stopped.
    pub kept: bool,
    /// What the snapshot holds was put back.
    pub put_back: bool,
}

/// The two containers of one member.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MemberFacts {
    /// The old container, unless it is gone.
    pub old: Option<Container>,
    /// The new container, if there is one.
    pub new: Option<Container>,
    /// Whether the new container was found to be the same as the old one.
    pub sameness: Sameness,
    /// Whether the plan's files were copied since the old container was stopped.
    pub carried: bool,
    /// What the gate says of the new container.
    pub gate: Verdict,
    /// Whether the plan's reference means the new image.
    pub tagged: bool,
    /// Whether the restored old container answers, or has had its time to.
    pub old_answers: bool,
    /// Whether the new container is down because the engine went down: that says
    /// nothing about the version.
    pub fell_with_engine: bool,
    /// Whether somebody has started the old container since we have stopped it.
    pub taken_back: bool,
    /// Whether the old container has come up in disorder and has to be started anew.
    pub old_in_disorder: bool,
    /// The same of the new one.
    pub new_in_disorder: bool,
}

/// What the comparison of the new container with the old one says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sameness {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Whatever differs is explained.
    Same,
    /// Something isn't: what, in words.
    Differs(String),
}

/// What the gate says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    #[default]
    Pending,
    /// The new version answers: visitors may go to it.
    Answers,
    /// It has kept answering for a while.
    Passed,
    /// It doesn't and won't.
    Failed(String),
}

/// A container as inspect shows it, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Container {
    /// Full id.
    pub id: String,
    /// Name without a slash.
    pub name: String,
    /// Whether its main process runs. True for a paused one, and between two restarts.
    pub running: bool,
    /// Whether the engine is about to start it again, as its restart policy says.
    pub restarting: bool,
    /// How often the engine has done so since it was started, or since the engine was.
    pub restarts: i64,
    /// Whether it runs on none of its networks.
    pub adrift: bool,
    /// Restart policy as inspect shows it.
    pub policy: Value,
    /// When it was last started, RFC 3339; the year 1 if never.
    pub started_at: String,
    /// Exit code of its last run.
    pub exit_code: i64,
    /// Whether its last run was killed, and not for want of memory.
    pub killed: bool,
    /// The engine's words about a failed start.
    pub error: String,
    /// Id of the image it was made from.
    pub image: String,
    /// Names of its networks.
    pub networks: Vec<String>,
}

impl Verdict {
    /// Whether visitors are better off with the new version than with the page.
    pub fn answers(&self) -> bool {
        matches!(self, Verdict::Answers | Verdict::Passed)
    }
}

impl Container {
    /// Reads an inspect document.
    pub fn from_inspect(inspect: &Value) -> Container {
        let text = |pointer: &str| {
            inspect.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Container {
            id: text("/Id"),
            name: text("/Name").trim_start_matches('/').to_owned(),
            running: inspect["State"]["Running"].as_bool().unwrap_or(false),
            restarting: inspect["State"]["Restarting"].as_bool().unwrap_or(false),
            restarts: inspect["RestartCount"].as_i64().unwrap_or(0),
            adrift: is_adrift(inspect),
            policy: inspect["HostConfig"]["RestartPolicy"].clone(),
            started_at: text("/State/StartedAt"),
            exit_code: inspect["State"]["ExitCode"].as_i64().unwrap_or(0),
            killed: inspect["State"]["ExitCode"] == KILLED && inspect["State"]["OOMKilled"] != true,
            error: text("/State/Error"),
            image: text("/Image"),
            networks: inspect["NetworkSettings"]["Networks"]
                .as_object()
                .map(|networks| networks.keys().cloned().collect())
                .unwrap_or_default(),
        }
    }

    /// Whether it has ever been started.
    pub fn was_started(&self) -> bool {
        !self.started_at.is_empty() && !self.started_at.starts_with("0001-")
    }

    /// Whether its restart policy is this one. The engine writes `no` as an empty
    /// name, too, and a count only means something for `on-failure`.
    pub fn policy_is(&self, wanted: &Value) -> bool {
        policy_key(&self.policy) == policy_key(wanted)
    }
}

/// Whether a container runs on none of the networks that it is connected to. Which of the
/// signs of a connection an engine shows differs (Podman knows no endpoints), so it takes
/// that all of them are missing.
fn is_adrift(inspect: &Value) -> bool {
    let state = &inspect["State"];
    let mode = inspect["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    let has_none = matches!(mode, "host" | "none") || mode.starts_with("container:");
    if state["Running"] != true || state["Restarting"] == true || has_none {
        return false;
    }
    let settings = &inspect["NetworkSettings"];
    let is_empty = |value: &Value| value.as_str().is_none_or(str::is_empty);
    let signs = ["EndpointID", "IPAddress", "GlobalIPv6Address", "MacAddress"];
    let Some(networks) = settings["Networks"].as_object() else { return false };
    !networks.is_empty()
        && is_empty(&settings["SandboxKey"])
        && networks.values().all(|network| signs.iter().all(|sign| is_empty(&network[sign])))
}

fn policy_key(policy: &Value) -> (&str, i64) {
    let name = policy["Name"].as_str().unwrap_or_default();
    let count = policy["MaximumRetryCount"].as_i64().unwrap_or(0);
    (if name.is_empty() { "no" } else { name }, if name == "on-failure" { count } else { 0 })
}

impl Facts {
    /// Why the new version has no future, if it has none.
    pub fn doom(&self, plan: &Plan) -> Option<String> {
        for (member, facts) in plan.members.iter().zip(&self.members) {
            if let Verdict::Failed(reason) = &facts.gate {
                return Some(reason.clone());
            }
            if let Sameness::Differs(what) = &facts.sameness {
                return Some(format!(
                    "the new container would not be the same as the old one: {what}"
                ));
            }
            let Some(new) = &facts.new else { continue };
            if facts.taken_back && self.members.first().is_some_and(|lead| lead.old.is_some()) {
                return Some(format!(
                    "somebody has started the old container of `{}` again, so it stays\nhint: run the update again to go on with the new version",
                    member.name
                ));
            }
            if new.image != member.image.id {
                return Some(format!(
                    "the new container runs image {} instead of {}",
                    new.image, member.image.id
                ));
            }
            let excused = facts.fell_with_engine || facts.new_in_disorder;
            let fell = new.was_started() && !new.running && !excused;
            if member.old.running && fell {
                return Some(match new.error.as_str() {
                    "" => format!("the new container exited with code {}", new.exit_code),
                    error => format!("the new container could not be started: {error}"),
                });
            }
        }
        self.refusal.clone()
    }
}
