//! The plan: everything an update needs to know, fixed before anything is touched.
//!
//! It travels in one label of the helper container. Docker fixes labels when a
//! container is created, so the plan is there whole or not at all, and nobody
//! can change it on the way. It holds no secrets: the new container's create
//! request repeats only what `docker inspect` of the old one shows anyway.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::backup::hook::Hook;
use crate::certificate::Certificate;
use crate::face::Face;
use crate::history::Keep;
use crate::notify::Notify;

/// The version of the plan's JSON. A helper refuses a plan it does not know.
pub const SCHEMA: u32 = 1;

/// One update of one app.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of this document, [`SCHEMA`].
    pub schema: u32,
    /// The update's id: hexadecimal, sorts by time.
    pub update: String,
    /// The app: the container name of the lead member, without a slash.
    pub app: String,
    /// When the update was asked for, RFC 3339.
    pub asked_at: String,
    /// The containers to replace, in the order in which they are started. The
    /// first one leads: its rename condemns the set, its removal commits it.
    pub members: Vec<Member>,
    /// Who answers visitors in the meantime, and how.
    pub handover: HandoverPlan,
    /// How the new version proves itself.
    pub gate: GatePlan,
    /// What the page says.
    pub page: PageSettings,
    /// Where the app is told how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
    /// Where it is written down how it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Keep>,
    /// What of the app's data is kept, and put back if the new version is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupPlan>,
    /// Whether it was asked for as the way back from an update that had ended: what comes is
    /// the version before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_back: bool,
    /// The image that an update made for its own helper, to be cleared away with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_helper_image: Option<String>,
}

/// One container of the set and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// The name under which the container is known, without a slash.
    pub name: String,
    /// The container that is replaced.
    pub old: Old,
    /// The image that the new container runs.
    pub image: Image,
    /// The body of the create request. Left out of the record that the new
    /// container carries: once that exists, nobody needs it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Value>,
    /// `?platform=` of the create request, where it is not the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Networks to connect after the create, for engines that take only one in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connect: Vec<Connect>,
    /// Files and folders in the old container itself that are copied to the new one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carry: Vec<String>,
    /// A reference that is to mean the new image as soon as the old container is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retag: Option<String>,
    /// What it was made with and the engine doesn't show: the next update finds it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Hidden>,
    /// What the new container must have once it runs.
    pub expected: Expected,
    /// How the gate talks to the new container.
    pub probe: Probe,
}

/// Settings of a container that Podman doesn't show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hidden {
    /// `HostConfig.Sysctls`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub sysctls: Map<String, Value>,
    /// `IPAMConfig` of its endpoints, by network.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub addresses: Map<String, Value>,
}

/// The old container as it was when the update was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Old {
    /// Full container id.
    pub id: String,
    /// The image it runs.
    pub image: Image,
    /// Whether it ran. One that was stopped is replaced and left stopped.
    pub running: bool,
    /// Its restart policy as inspect shows it: `{"Name": …, "MaximumRetryCount": …}`.
    pub policy: Value,
    /// Its `State.StartedAt`: differs from now on once anybody restarted it. Empty for
    /// one that the engine has had to restart, so that it may do so again.
    pub started_at: String,
    /// Seconds that the engine waits between the stop signal and SIGKILL.
    pub stop_seconds: u64,
}

/// An image, by the name that the user gave and by what the engine calls it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// The reference as the user wrote it, say `ghcr.io/acme/web:2`.
    pub reference: String,
    /// The engine's id of it. Comparable within one engine only.
    pub id: String,
    /// `repository@sha256:…`, if it came from a registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// A network that is connected after the create.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Connect {
    /// The network's name (or id, where the user gave one).
    pub network: String,
    /// The `EndpointConfig` of the request.
    pub endpoint: Value,
}

/// What is compared with reality before the commit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Names of the networks, sorted.
    pub networks: Vec<String>,
    /// Ports as published: container port with protocol (`80/tcp`) and where.
    pub ports: Vec<ExpectedPort>,
}

/// One published port of the new container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ExpectedPort {
    /// `80/tcp`, as inspect writes it.
    pub container: String,
    /// Host port.
    pub host: u16,
}

/// Who answers visitors while neither version can.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct HandoverPlan {
    /// The way chosen.
    pub mode: HandoverMode,
    /// Whether the helper may fall back to [`HandoverMode::Bind`] when the kernel
    /// refuses the redirect. Not when the operator forced the mode.
    pub may_fall_back: bool,
    /// Why this way, in words for the operator.
    pub because: String,
    /// Where the app is published over TCP.
    pub published: Vec<Published>,
}

/// The ways to put the page on the app's own port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HandoverMode {
    /// Redirect new connections to the page with nftables; the engine keeps the port.
    Redirect,
    /// Listen on the app's port while neither container holds it.
    Bind,
    /// No page.
    None,
}

/// One TCP port on the host on which the app is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The address it was published on.
    pub host: HostAddress,
    /// The port on the host.
    pub port: u16,
    /// The port inside the container; the same as `port` on the host network.
    pub container_port: u16,
    /// Which of the plan's members publishes it, by index.
    #[serde(default)]
    pub member: usize,
    /// Whether the old version answered here when the update was asked for. The
    /// new one must answer wherever the old one did, and need not elsewhere.
    pub answers: bool,
    /// The only address on this host on which it answered, if not on all that a
    /// visitor here has: an engine without its proxy publishes no IPv6, say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only: Option<IpAddr>,
    /// Whether another container holds it, in whose network the app lives: it is never
    /// free, so the page can't be bound to it, only put before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lent: bool,
}

impl Published {
    /// Where a visitor on this very host reaches the app.
    pub fn visited(&self) -> Vec<IpAddr> {
        let mut addresses = self.host.as_seen_locally();
        addresses.retain(|ip| self.only.is_none_or(|only| only == *ip));
        addresses
    }
}

/// The host side of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum HostAddress {
    /// Every address of both families: `-p 8080:80`.
    Any,
    /// Every IPv4 address: `-p 0.0.0.0:8080:80`.
    AnyV4,
    /// Every IPv6 address: `-p [::]:8080:80`.
    AnyV6,
    /// One address: `-p 127.0.0.1:8080:80`.
    One(IpAddr),
}

impl HostAddress {
    /// Reads a `HostIp` of the engine; an empty one means every address.
    pub fn from_host_ip(text: &str) -> Result<HostAddress, std::net::AddrParseError> {
        if text.is_empty() {
            return Ok(HostAddress::Any);
        }
        Ok(match text.trim_matches(['[', ']']).parse::<IpAddr>()? {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => HostAddress::AnyV4,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => HostAddress::AnyV6,
            one => HostAddress::One(one),
        })
    }

    /// The addresses under which a visitor on this very host reaches the port.
    pub fn as_seen_locally(self) -> Vec<IpAddr> {
        match self {
            HostAddress::Any => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            HostAddress::AnyV4 => vec![Ipv4Addr::LOCALHOST.into()],
            HostAddress::AnyV6 => vec![Ipv6Addr::LOCALHOST.into()],
            HostAddress::One(ip) => vec![ip],
        }
    }
}

impl fmt::Display for HostAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostAddress::Any => f.write_str("*"),
            HostAddress::AnyV4 => f.write_str("0.0.0.0"),
            HostAddress::AnyV6 => f.write_str("[::]"),
            HostAddress::One(IpAddr::V4(ip)) => write!(f, "{ip}"),
            HostAddress::One(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl From<HostAddress> for String {
    fn from(address: HostAddress) -> String {
        address.to_string()
    }
}

impl TryFrom<String> for HostAddress {
    type Error = std::net::AddrParseError;

    fn try_from(text: String) -> Result<HostAddress, Self::Error> {
        HostAddress::from_host_ip(if text == "*" { "" } else { &text })
    }
}

/// What of the app's data is kept, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BackupPlan {
    /// Where the backups are. Those of this app have a folder of its name in there.
    pub to: Store,
    /// So many backups stay.
    pub keep: usize,
    /// What is left out: paths in the container, or patterns for names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// A file on the engine's host that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// What the app is made to do before it is stopped for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<BeforeBackup>,
    /// What is kept.
    pub sources: Vec<Kept>,
}

/// What the app is made to do before it is stopped for its backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct BeforeBackup {
    /// What.
    pub what: Hook,
    /// Seconds that it may take.
    pub limit_seconds: u64,
}

/// Where backups are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// A volume of the engine's.
    Volume(String),
    /// A folder on the engine's host.
    Host(PathBuf),
}

/// A volume or a folder that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// What it is called in the backup.
    pub name: String,
    /// Where it is in the app's container.
    pub path: String,
    /// The mount by which the helper gets it; without its target.
    pub mount: Value,
}

impl std::str::FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Store, String> {
        match text.starts_with('/') {
            true if text.trim_end_matches('/').is_empty() => Err("not the host's root".into()),
            true => Ok(Store::Host(text.into())),
            false if text.is_empty() || text.contains('/') => {
                Err("name a volume, or a folder on the engine's host by its whole path".into())
            }
            false => Ok(Store::Volume(text.to_owned())),
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Store::Volume(name) => write!(f, "the volume {name}"),
            Store::Host(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How the new version proves that it works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GatePlan {
    /// Seconds from the new container's start within which it must have passed.
    pub timeout_seconds: u64,
    /// Seconds for which it must then keep answering before the old version goes.
    pub stable_seconds: u64,
}

/// What the gate asks the new container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Probe {
    /// An HTTP request that must be answered with one of the wanted statuses.
    Http {
        /// Port inside the container.
        port: u16,
        /// Path and query.
        path: String,
        /// Which answers count.
        expect: ExpectedStatus,
    },
    /// Whatever the port speaks: an HTTP answer below 500, or a connection that
    /// something other than HTTP keeps. For when the old version could not be
    /// asked what to expect.
    Auto {
        /// Port inside the container.
        port: u16,
    },
    /// A TCP connection that is accepted and, through a published port, kept.
    Tcp {
        /// Port inside the container.
        port: u16,
    },
    /// Nothing to talk to: it must keep running.
    Running,
}

/// HTTP statuses that count as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ExpectedStatus {
    /// Exactly this one.
    Exactly(u16),
    /// Anything below 500: a log-in page or a redirect is an app that works.
    Below500,
    /// Any status at all: the old version answered with a server error here as well.
    Any,
}

impl ExpectedStatus {
    /// Whether an answer with this status counts.
    pub fn accepts(self, status: u16) -> bool {
        match self {
            ExpectedStatus::Exactly(wanted) => status == wanted,
            ExpectedStatus::Below500 => status < 500,
            ExpectedStatus::Any => true,
        }
    }
}

/// What visitors read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PageSettings {
    /// The app's name for people.
    pub title: String,
    /// The version that is replaced, for people: the tag of its image.
    pub from: String,
    /// The version that comes, for people.
    pub to: String,
    /// The app's own face.
    #[serde(default, skip_serializing_if = "Face::is_plain")]
    pub face: Face,
    /// With which it speaks TLS, where the app does so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
}

/// Where a container stands in the choreography is its name.
impl Member {
    /// The new container before it takes the app's name.
    pub fn next_name(&self) -> String {
        format!("{}.next", self.name)
    }

    /// The old container once the new one has its name.
    pub fn parked_name(&self) -> String {
        format!("{}.old", self.name)
    }

    /// The new container once it has been given up.
    pub fn failed_name(&self) -> String {
        format!("{}.failed", self.name)
    }
}

impl Plan {
    /// Whether the app's data is kept: only what runs writes any.
    pub fn keeps_data(&self) -> bool {
        self.backup.is_some() && self.members.iter().any(|member| member.old.running)
    }

    /// The helper's name. It is the lock: a second update gets a conflict.
    pub fn helper_name(&self) -> String {
        helper_name(&self.app)
    }

    /// Whether the app was stopped: the version that comes isn't started, so nobody has seen
    /// whether it works.
    pub fn leaves_it_stopped(&self) -> bool {
        self.members.first().is_some_and(|lead| !lead.old.running)
    }

    /// References of the app's image: the one that is replaced, and the one that comes.
    pub fn images(&self) -> (&str, &str) {
        let lead = self.members.first();
        lead.map_or(("", ""), |lead| (&lead.old.image.reference, &lead.image.reference))
    }

    /// The record of the update that made a container, if its labels have one.
    pub fn recorded_in(labels_of: &Value) -> Option<Plan> {
        serde_json::from_str(labels_of[labels::RECORD].as_str()?).ok()
    }

    /// The plan without what only the create needs: the record that the new
    /// container carries, so that a lost helper can be replaced, a result read
    /// and a version gone back to, with no state outside the engine.
    pub fn record(&self) -> Plan {
        let mut record = self.clone();
        for member in &mut record.members {
            member.create = None;
        }
        record
    }
}

/// The name of the helper that updates `app`.
pub fn helper_name(app: &str) -> String {
    format!("{app}.changeover")
}

/// Labels of ours. `docker ps -a --filter label=io.changeover.role` lists all we own.
pub mod labels {
    /// `helper` on a helper container, `helper-image` on an image made for one.
    pub const ROLE: &str = "io.changeover.role";
    /// The name of the app that a helper works for.
    pub const APP: &str = "io.changeover.app";
    /// The plan, as JSON, on the helper.
    pub const PLAN: &str = "io.changeover.plan";
    /// The update's id, on the new container.
    pub const UPDATE: &str = "io.changeover.update";
    /// [`Plan::record`](super::Plan::record), as JSON, on the new container.
    pub const RECORD: &str = "io.changeover.record";
    /// What the labels start with by which an app gives the page its face.
    pub const PAGE: &str = "io.changeover.page.";
    /// Where the app wants to be told how an update ended: [`Target`](crate::notify::Target).
    pub const NOTIFY: &str = "io.changeover.notify";
    /// The file in the app's container with the key for that.
    pub const NOTIFY_KEY: &str = "io.changeover.notify-key-file";
    /// The file in which the history is kept: a path in the app's container.
    pub const HISTORY: &str = "io.changeover.history";
    /// What of the app's data is backed up: [`Wanted`](crate::launch::Wanted).
    pub const BACKUP: &str = "io.changeover.backup";
    /// What of that is left out, by commas.
    pub const BACKUP_EXCLUDE: &str = "io.changeover.backup-exclude";
    /// What the app is made to do before: [`Hook`](crate::backup::hook::Hook).
    pub const BEFORE_BACKUP: &str = "io.changeover.before-backup";
    /// Where it is looked for what is new: what `--source` of `available` takes.
    pub const SOURCE: &str = "io.changeover.source";
    /// Compose's own: of which service a container is one.
    pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
    /// What every label of ours starts with.
    pub const PREFIX: &str = "io.changeover.";

    /// Whether a label is our own note on a container, and not the user's word to us.
    pub fn is_ours(label: &str) -> bool {
        let users = [NOTIFY, NOTIFY_KEY, HISTORY, SOURCE, BACKUP, BACKUP_EXCLUDE, BEFORE_BACKUP]
            .contains(&label);
        label.starts_with(PREFIX) && !users && !label.starts_with(PAGE)
    }
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn what_a_label_of_the_users_says_stays_with_the_app() {
        for users in [
            labels::NOTIFY,
            labels::NOTIFY_KEY,
            labels::HISTORY,
            labels::SOURCE,
            labels::BACKUP,
            labels::BACKUP_EXCLUDE,
            labels::BEFORE_BACKUP,
            "io.changeover.page.title",
            "org.opencontainers.image.source",
        ] {
            assert!(!labels::is_ours(users), "{users}");
        }
        for ours in [labels::UPDATE, labels::RECORD, labels::ROLE, labels::PLAN] {
            assert!(labels::is_ours(ours), "{ours}");
        }
    }
}
