//! What would be possible here: the preflight without an app.
//!
//! Nothing is started or changed. What only a helper can know, in the host's own
//! network and with its rights, is said to be unknown rather than guessed.

use std::fmt;
use std::fs;

use serde::Serialize;
use serde_json::Value;

use super::helper::{needs_a_loader, own_program};
use super::preflight::{ROOM_MB, room};
use super::reach::is_rootless;
use super::text;
use crate::engine::{Chosen, Endpoint, Engine, EngineError};
use crate::handover::Redirect;
use crate::identity::{Own, own_container};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Finding {
    /// What it is about, a stable word: `engine`, `network`, `redirect`, `firewall`,
    /// `disk`, `program`, `identity`, `swarm`.
    pub topic: &'static str,
    /// How it is.
    pub health: Health,
    /// In words.
    pub text: String,
    /// What to do about it, if something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Good,
    /// Updates work, with a limit.
    Limited,
    /// An update would be refused.
    Bad,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.health {
            Health::Good => "good",
            Health::Limited => "limited",
            Health::Bad => "bad",
        };
        write!(f, "{word:<8} {:<9} {}", self.topic, self.text)?;
        match &self.hint {
            Some(hint) => write!(f, "\n{:<18} hint: {hint}", ""),
            None => Ok(()),
        }
    }
}

/// Looks at engine, kernel, firewall, disk and ourselves.
pub async fn examine(engine: &Engine, chosen: &Chosen) -> Result<Vec<Finding>, EngineError> {
    let info = engine.info().await?;
    let own = own_container(engine).await?;
    let in_container = !matches!(own, Own::None);
    let on_host = !in_container && engine.endpoint().is_here();
    let mut findings = vec![of_engine(engine, chosen, &info), of_network(&info)];
    if on_host {
        // A rootless engine's network has rules of its own, which can't be seen from here.
        findings.extend((!is_rootless(&info)).then(redirect));
        findings.extend(firewall());
    }
    findings.push(disk(&info, room(&info, in_container, on_host)));
    findings.push(program());
    findings.push(identity(&own));
    findings.extend(swarm(&info));
    Ok(findings)
}

fn good(topic: &'static str, text: String) -> Finding {
    Finding { topic, health: Health::Good, text, hint: None }
}

fn limited(topic: &'static str, text: String, hint: &str) -> Finding {
    Finding { topic, health: Health::Limited, text, hint: Some(hint.to_owned()) }
}

fn bad(topic: &'static str, text: String, hint: &str) -> Finding {
    Finding { topic, health: Health::Bad, text, hint: Some(hint.to_owned()) }
}

fn of_engine(engine: &Engine, chosen: &Chosen, info: &Value) -> Finding {
    let version = text(info, "/ServerVersion");
    let (system, kernel) = (text(info, "/OperatingSystem"), text(info, "/KernelVersion"));
    let (at, api, why) = (engine.endpoint(), engine.api(), &chosen.because);
    let tls = if matches!(at, Endpoint::Tls { .. }) { " over TLS" } else { "" };
    good(
        "engine",
        format!("{version} at {at}{tls} (by {why}), API {api}; {system}, Linux {kernel}"),
    )
}

/// Whether the helper's network is the one by which visitors come in.
fn of_network(info: &Value) -> Finding {
    if is_rootless(info) {
        return limited(
            "network",
            "the engine is rootless: its host network isn't the one that visitors come in by"
                .into(),
            "with Docker, updates work; visitors see the page while a version stops or starts up, and are refused in the moment between, about half a second. With Podman, nobody has tried",
        );
    }
    if text(info, "/OperatingSystem").contains("Docker Desktop") {
        return limited(
            "network",
            "Docker Desktop: its host network is that of a virtual machine".into(),
            "updates work, without a page unless host networking is enabled in its settings",
        );
    }
    good("network", "the engine's host network is the host's".to_owned())
}

fn redirect() -> Finding {
    if !rustix::process::geteuid().is_root() {
        return good("redirect", "only root can tell; the helper will see".to_owned());
    }
    match Redirect::possible() {
        Ok(()) => good("redirect", "the kernel can send visitors to the page".to_owned()),
        Err(error) => limited(
            "redirect",
            format!("not possible: {error}"),
            "the page is shown by binding the port, and requests fail in the moments around",
        ),
    }
}

/// Firewalls that let visitors through to containers but not to the page.
fn firewall() -> Option<Finding> {
    let ufw = fs::read_to_string("/etc/ufw/ufw.conf").unwrap_or_default();
    ufw.lines().any(|line| line.trim().eq_ignore_ascii_case("enabled=yes")).then(|| {
        limited(
            "firewall",
            "ufw is on: it drops visitors of the page, which is on the host, unless it knows the port"
                .to_owned(),
            "`ufw allow PORT/tcp` for the app's published port",
        )
    })
}

fn disk(info: &Value, room: Option<u64>) -> Finding {
    let root = text(info, "/DockerRootDir");
    match room {
        None => good("disk", format!("{root} is not ours to see")),
        Some(free) if free < ROOM_MB => bad(
            "disk",
            format!("{free} MB are free below {root}, {ROOM_MB} MB are needed"),
            "`docker image prune` removes images that nothing uses",
        ),
        Some(free) => good("disk", format!("{} GB are free below {root}", free / 1000)),
    }
}

fn program() -> Finding {
    let hint = "give a published image by --helper-image, or use a static build";
    match own_program() {
        Ok(binary) if needs_a_loader(&binary) => bad(
            "program",
            "this program needs the system's libraries, so it can't be the helper's image".into(),
            hint,
        ),
        Ok(binary) => {
            good("program", format!("static, {:.1} MB: its own image", binary.len() as f64 / 1e6))
        }
        Err(error) => bad("program", format!("cannot read this program: {error}"), hint),
    }
}

fn identity(own: &Own) -> Finding {
    let name = |own: &Value| text(own, "/Name").trim_start_matches('/').to_owned();
    match own {
        Own::None => good("identity", "this runs in none of the engine's containers".to_owned()),
        Own::Proven(own) => good("identity", format!("this is the container `{}`", name(own))),
        Own::Likely(own) => limited(
            "identity",
            format!("this may be the container `{}`, which can't be proven", name(own)),
            "set CHANGEOVER_CONTAINER to its name, or name it instead of `self`",
        ),
        Own::Unknown => limited(
            "identity",
            "this is a container, and it can't be proven which".to_owned(),
            "set CHANGEOVER_CONTAINER to its name, or name it instead of `self`",
        ),
    }
}

fn swarm(info: &Value) -> Option<Finding> {
    (text(info, "/Swarm/LocalNodeState") == "active").then(|| {
        limited(
            "swarm",
            "this node is in a swarm, whose services have updates of their own".to_owned(),
            "`docker service update` for those; plain containers are updated as usual",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_engine_says_of_itself_is_put_into_words() {
        let rootless = json!({ "SecurityOptions": ["name=seccomp", "name=rootless"] });
        assert_eq!(of_network(&rootless).health, Health::Limited);
        let desktop = json!({ "OperatingSystem": "Docker Desktop" });
        assert_eq!(of_network(&desktop).health, Health::Limited);
        assert_eq!(of_network(&json!({ "SecurityOptions": null })).health, Health::Good);
        assert!(swarm(&json!({ "Swarm": { "LocalNodeState": "inactive" } })).is_none());
        let member = swarm(&json!({ "Swarm": { "LocalNodeState": "active" } }));
        assert!(member.is_some_and(|found| found.text.contains("swarm")));
    }

    #[test]
    fn a_finding_stands_in_a_column_with_its_way_out_below() {
        let said = bad("disk", "3 MB are free".to_owned(), "prune").to_string();
        assert_eq!(said, "bad      disk      3 MB are free\n                   hint: prune");
    }
}
