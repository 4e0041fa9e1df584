//! What an engine does with containers, in as few lines as are honest: names, states,
//! restart policies, volumes and boots, as measured on real engines.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clock;
use crate::plan::labels;

/// An answer: status and body.
pub(super) type Answer = (u16, Value);

/// What a version does once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its health command succeeds from so many milliseconds after the start.
    Good { boot: u64 },
    /// It runs, and its health command never succeeds.
    NeverHealthy,
    /// It is healthy at once and exits after so many milliseconds.
    Exits { after: u64 },
    /// The engine cannot start it.
    StartRefused,
    /// The engine does not even create it.
    CreateRefused,
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) id: String,
    pub(super) name: String,
    /// The create request, without what is kept below.
    config: Value,
    host: Value,
    pub(super) policy: String,
    /// Destination and volume; whether the volume has no name of the user's.
    pub(super) mounts: Vec<(String, String, bool)>,
    pub(super) image: u32,
    pub(super) running: bool,
    /// Counts starts: what belongs to an earlier run comes too late.
    pub(super) run: u64,
    pub(super) started: Option<tokio::time::Instant>,
    started_at: String,
    pub(super) exit_code: i64,
    error: String,
    /// Stopped by somebody through the engine, as opposed to having ended.
    pub(super) by_hand: bool,
    restarts: u32,
    /// How often the engine has started it again since it was started by somebody, or
    /// since the engine itself was.
    restart_count: u32,
    pub(super) log: Vec<String>,
    /// Starts fail until then: what a killed engine has left behind is in the way.
    pub(super) stuck_until: Option<tokio::time::Instant>,
    /// A killed engine has left the process of a start behind, and knows nothing of it.
    pub(super) left_behind: bool,
    /// It was started since: under the policy `no` it runs without a network, under others
    /// it is ended and started again and again.
    pub(super) in_disorder: bool,
}

/// All that an engine keeps.
#[derive(Debug, Default)]
pub(super) struct Containers {
    pub(super) list: Vec<Container>,
    pub(super) volumes: BTreeSet<String>,
    /// The engine takes the app's port for allocated, and no container has it.
    pub(super) port_lost: bool,
    made: u64,
}

const STUCK: &str = "mkdir /run/containerd/…: file exists";
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Container {
    pub(super) fn is_helper(&self) -> bool {
        self.config["Labels"][labels::ROLE] == "helper"
    }

    /// Whether its last start failed on what a killed engine had left behind.
    pub(super) fn was_stuck(&self) -> bool {
        self.error == STUCK
    }

    /// The engine itself was restarted.
    pub(super) fn counts_anew(&mut self) {
        self.restart_count = 0;
    }

    /// Whether it would be started at a boot. `killed`: the engine died by SIGKILL
    /// while this one ran.
    pub(super) fn comes_back(&self, killed: bool) -> bool {
        match self.policy.as_str() {
            _ if self.started.is_none() => false,
            "always" => true,
            "unless-stopped" => !(self.by_hand || killed && self.running),
            "on-failure" => self.running && !killed,
            _ => false,
        }
    }

    pub(super) fn inspect(&self) -> Value {
        let again_and_again = self.running && self.in_disorder && self.policy != "no";
        let connected = self.running && !self.in_disorder;
        let endpoint = if connected { "e1" } else { "" };
        let status = match (self.running, self.started.is_some()) {
            (true, _) => "running",
            (false, true) => "exited",
            (false, false) => "created",
        };
        let mut config = self.config.clone();
        config["Hostname"] = self.id[..12].into();
        if config["Healthcheck"].is_null() && !self.is_helper() {
            config["Healthcheck"] = health();
        }
        config["Volumes"] = json!({ "/data": {}, "/cache": {} });
        let mut host = self.host.clone();
        host["RestartPolicy"] = json!({ "Name": self.policy, "MaximumRetryCount": 0 });
        host["NetworkMode"] = host["NetworkMode"].as_str().unwrap_or("bridge").into();
        let mounts: Vec<Value> = self
            .mounts
            .iter()
            .map(|(destination, volume, _)| {
                json!({ "Type": "volume", "Name": volume, "Destination": destination,
                    "Source": format!("/volumes/{volume}"), "Driver": "local", "Mode": "", "RW": true })
            })
            .collect();
        json!({
            "Id": self.id,
            "Name": format!("/{}", self.name),
            "Image": image_id(self.image),
            "RestartCount": self.restart_count,
            "Config": config,
            "HostConfig": host,
            "Mounts": mounts,
            "NetworkSettings": { "Ports": {}, "Networks": { "bridge": { "EndpointID": endpoint, "IPAddress": "" } } },
            "State": {
                "Status": status, "Running": self.running, "Paused": false,
                "Restarting": again_and_again,
                "ExitCode": if again_and_again { 137 } else { self.exit_code }, "Error": self.error, "StartedAt": self.started_at,
            },
        })
    }

    pub(super) fn summary(&self) -> Value {
        json!({ "Id": self.id, "Names": [format!("/{}", self.name)], "Labels": self.config["Labels"] })
    }

    pub(super) fn has_label(&self, label: &str) -> bool {
        let (key, value) = label.split_once('=').unwrap_or((label, ""));
        match self.config["Labels"][key].as_str() {
            Some(found) => !label.contains('=') || found == value,
            None => false,
        }
    }

    /// Whether its health command succeeds now.
    pub(super) fn is_healthy(&self, fate: Fate) -> bool {
        let up = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        self.running
            && !self.in_disorder
            && match fate {
                Fate::Good { boot } => up >= Duration::from_millis(boot),
                Fate::Exits { .. } => true,
                _ => false,
            }
    }
}

impl Containers {
    pub(super) fn find(&self, name_or_id: &str) -> Option<&Container> {
        self.list.iter().find(|c| c.id == name_or_id || c.name == name_or_id)
    }

    pub(super) fn find_mut(&mut self, name_or_id: &str) -> Option<&mut Container> {
        self.list.iter_mut().find(|c| c.id == name_or_id || c.name == name_or_id)
    }

    /// The versions of the app that run.
    pub(super) fn running_versions(&self) -> Vec<&Container> {
        self.list.iter().filter(|c| c.running && !c.is_helper()).collect()
    }

    pub(super) fn create(&mut self, name: &str, body: &Value) -> Answer {
        if self.find(name).is_some() {
            return no(409, &format!("Conflict. The container name \"/{name}\" is already in use"));
        }
        let Some(image) = body["Image"].as_str().and_then(image_of) else {
            return no(404, "No such image");
        };
        self.made += 1;
        let id = format!("{:064x}", 0xc0de_0000_u64 + self.made);
        let mut config = body.clone();
        let host = config["HostConfig"].take();
        if let Some(config) = config.as_object_mut() {
            config.remove("NetworkingConfig");
            config.remove("HostConfig");
        }
        let mut mounts = Vec::new();
        let given = host["Mounts"].as_array().into_iter().flatten();
        for mount in given.filter(|mount| mount["Type"] == "volume") {
            let text = |key: &str| mount[key].as_str().unwrap_or_default().to_owned();
            mounts.push((text("Target"), text("Source"), false));
        }
        for bind in host["Binds"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let mut parts = bind.split(':').map(str::to_owned);
            let (source, target) = (parts.next(), parts.next());
            mounts.push((target.unwrap_or_default(), source.unwrap_or_default(), false));
        }
        // The image declares these; whoever names no volume for them gets a new one.
        for path in if image == HELPER { &[][..] } else { &["/data", "/cache"] } {
            if !mounts.iter().any(|(target, _, _)| target == path) {
                mounts.push(((*path).to_owned(), format!("anonymous{}{path}", self.made), true));
            }
        }
        self.volumes.extend(mounts.iter().map(|(_, volume, _)| volume.clone()));
        let policy = host["RestartPolicy"]["Name"].as_str().unwrap_or_default();
        let policy = if policy.is_empty() { "no" } else { policy }.to_owned();
        self.list.push(Container {
            id: id.clone(),
            name: name.to_owned(),
            config,
            host,
            policy,
            mounts,
            image,
            running: false,
            run: 0,
            started: None,
            started_at: NEVER.to_owned(),
            exit_code: 0,
            error: String::new(),
            by_hand: false,
            restarts: 0,
            restart_count: 0,
            log: Vec::new(),
            stuck_until: None,
            left_behind: false,
            in_disorder: false,
        });
        (201, json!({ "Id": id }))
    }

    /// Starts a container, but not what runs in it.
    pub(super) fn start(&mut self, name_or_id: &str, fate: impl Fn(u32) -> Fate) -> Answer {
        let others = self.running_versions();
        let port_taken = others.iter().any(|c| c.id != name_or_id && c.name != name_or_id);
        let port_taken = port_taken || self.port_lost;
        let Some(found) = self.find_mut(name_or_id) else { return no(404, "No such container") };
        if found.running {
            return (304, Value::Null);
        }
        let refused = if !found.is_helper() && port_taken {
            Some((500, "Bind for 0.0.0.0:8080 failed: port is already allocated"))
        } else if found.stuck_until.is_some_and(|until| until > tokio::time::Instant::now()) {
            Some((500, STUCK))
        } else if !found.is_helper() && fate(found.image) == Fate::StartRefused {
            Some((400, "exec: \"/app\": no such file or directory"))
        } else {
            None
        };
        if let Some((status, why)) = refused {
            (found.exit_code, found.error) = (128, why.to_owned());
            return no(status, why);
        }
        found.running = true;
        found.in_disorder = std::mem::take(&mut found.left_behind);
        found.run += 1;
        found.by_hand = false;
        found.error = String::new();
        found.started = Some(tokio::time::Instant::now());
        found.started_at = clock::wall().to_string();
        (204, Value::Null)
    }

    /// A container's process is gone; says whether the engine starts it again, and
    /// after how long.
    pub(super) fn ended(&mut self, id: &str, run: u64, code: i64) -> Option<Duration> {
        let found = self.find_mut(id).filter(|c| c.running && c.run == run)?;
        found.running = false;
        found.exit_code = code;
        let again = !found.by_hand
            && match found.policy.as_str() {
                "always" | "unless-stopped" => true,
                "on-failure" => code != 0,
                _ => false,
            };
        let up = found.started.map_or(Duration::ZERO, |started| started.elapsed());
        found.restarts = if up > Duration::from_secs(10) { 0 } else { found.restarts + 1 };
        found.restart_count += u32::from(again);
        again.then(|| Duration::from_millis(100 << found.restarts.min(9)))
    }

    pub(super) fn rename(&mut self, id: &str, to: &str) -> Answer {
        if let Some(holder) = self.find(to) {
            let status = if holder.id == id { 400 } else { 409 };
            return no(status, &format!("Error when allocating new name: \"/{to}\" is in use"));
        }
        match self.find_mut(id) {
            Some(found) => {
                found.name = to.to_owned();
                (204, Value::Null)
            }
            None => no(404, "No such container"),
        }
    }

    pub(super) fn set_policy(&mut self, id: &str, policy: &str) -> Answer {
        match self.find_mut(id) {
            Some(found) => {
                found.policy = policy.to_owned();
                (200, json!({ "Warnings": null }))
            }
            None => no(404, "No such container"),
        }
    }

    pub(super) fn remove(&mut self, id: &str, force: bool, with_volumes: bool) -> Answer {
        let Some(found) = self.find(id) else { return no(404, "No such container") };
        if found.running && !force {
            return no(409, "You cannot remove a running container");
        }
        let id = found.id.clone();
        let mounts = found.mounts.clone();
        self.list.retain(|c| c.id != id);
        for (_, volume, anonymous) in mounts {
            let used = self.list.iter().any(|c| c.mounts.iter().any(|(_, v, _)| *v == volume));
            if with_volumes && anonymous && !used {
                self.volumes.remove(&volume);
            }
        }
        (204, Value::Null)
    }
}

pub(super) fn no(status: u16, message: &str) -> Answer {
    (status, json!({ "message": message }))
}

/// The helper's image among those of the app: `web:1` is 1.
pub(super) const HELPER: u32 = 100;

pub(super) fn image_id(image: u32) -> String {
    format!("sha256:{image:064x}")
}

pub(super) fn image_of(reference: &str) -> Option<u32> {
    match reference {
        "helper:1" => Some(HELPER),
        _ => {
            let number = reference.strip_prefix("web:").map(str::parse);
            let by_id =
                reference.strip_prefix("sha256:").map(|id| u32::from_str_radix(id, 16).ok());
            number.and_then(Result::ok).or(by_id.flatten()).filter(|n| (1..=HELPER).contains(n))
        }
    }
}

pub(super) fn image(reference: &str) -> Answer {
    match image_of(reference) {
        Some(n) => {
            let tag = if n == HELPER { "helper:1".to_owned() } else { format!("web:{n}") };
            let config =
                json!({ "Healthcheck": health(), "Volumes": { "/data": {}, "/cache": {} } });
            (
                200,
                json!({ "Id": image_id(n), "RepoTags": [tag], "RepoDigests": [],
                "Architecture": "amd64", "Os": "linux", "Config": config }),
            )
        }
        None => no(404, "No such image"),
    }
}

fn health() -> Value {
    json!({ "Test": ["CMD", "/healthy"] })
}
