//! The plan: from what was found and what is asked for, to what will be done.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::Value;
use tracing::warn;

use super::image::canonical;
use super::preflight::Found;
use super::{LaunchError, Prepared, Request, Surroundings, text};
use crate::engine::{Engine, split_reference};
use crate::face::{Face, title_from_labels};
use crate::gate::probe::{self, Heard};
use crate::gate::{addresses, on_host_network};
use crate::handover::{Redirect, port_is_free};
use crate::plan::{
    ExpectedStatus, GatePlan, HandoverMode, HandoverPlan, HostAddress, Image, Member, Old,
    PageSettings, Plan, Probe, Published, SCHEMA,
};
use crate::successor::{Inputs, differences, successor};

/// What the engine waits for between the stop signal and SIGKILL, if nobody said.
const STOP_SECONDS: u64 = 10;

pub(super) async fn plan(
    engine: &Engine,
    request: &Request,
    found: Found,
    new_image: Value,
) -> Result<Prepared, LaunchError> {
    let platform = format!("linux/{}", canonical(text(&found.info, "/Architecture")));
    let made = successor(&Inputs {
        old: &found.old,
        old_image: found.old_image.as_ref(),
        new_image: &new_image,
        reference: &request.image,
        api: engine.api(),
        engine_name: text(&found.info, "/Name"),
        engine_platform: &platform,
        donor_gone: false,
    })
    .map_err(|error| LaunchError::Unsuitable {
        app: found.app.clone(),
        why: error.to_string(),
        hint: "does this engine speak Docker's API?".into(),
    })?;
    let running = found.old["State"]["Running"] == true;
    let mut published = published(&found.old, &request.page_ports);
    if !running {
        refuse_held_port(&found, request, &published)?;
    }
    let probe = match running {
        true => choose_probe(request, &found.old, &mut published).await,
        false => Probe::Running,
    };
    let member = Member {
        name: found.app.clone(),
        old: Old {
            id: text(&found.old, "/Id").to_owned(),
            image: Image {
                reference: text(&found.old, "/Config/Image").to_owned(),
                id: text(&found.old, "/Image").to_owned(),
                digest: found.old_image.as_ref().and_then(|image| digest_of(image, "")),
            },
            running,
            policy: found.old["HostConfig"]["RestartPolicy"].clone(),
            started_at: text(&found.old, "/State/StartedAt").to_owned(),
            stop_seconds: found.old["Config"]["StopTimeout"].as_u64().unwrap_or(STOP_SECONDS),
        },
        image: Image {
            reference: request.image.clone(),
            id: text(&new_image, "/Id").to_owned(),
            digest: digest_of(&new_image, &request.image),
        },
        create: Some(made.create.clone()),
        platform: request.platform.clone().or(made.platform.clone()),
        connect: made.connect.clone(),
        expected: made.expected.clone(),
        probe,
    };
    let plan = Plan {
        schema: SCHEMA,
        update: new_id(),
        app: found.app.clone(),
        asked_at: Timestamp::now().to_string(),
        handover: choose_handover(&found, request, published)?,
        gate: GatePlan {
            timeout_seconds: request.health_timeout.as_secs(),
            stable_seconds: request.stable.as_secs(),
        },
        page: PageSettings {
            title: request
                .title
                .clone()
                .or_else(|| title_from_labels(&found.old["Config"]["Labels"]))
                .unwrap_or_else(|| found.app.clone()),
            face: face(request, &found.old["Config"]["Labels"]),
            from: version_of(&member.old.image.reference),
            to: version_of(&request.image),
        },
        members: vec![member],
        own_helper_image: None,
    };
    let differences = differences(&found.old, found.old_image.as_ref(), &new_image, &made.create);
    let surroundings = Surroundings::of(engine, found.own.as_ref());
    Ok(Prepared {
        plan,
        differences,
        losses: made.losses,
        leftovers: found.leftovers,
        surroundings,
    })
}

/// The app's face: as asked for, or else as its labels have it. A label that is
/// wrong costs the app its colour, not its update.
fn face(request: &Request, labels: &Value) -> Face {
    let (face, complaints) = Face::from_labels(labels);
    for complaint in complaints {
        warn!("{complaint}");
    }
    request.face.clone().or(face)
}

/// Where visitors reach the app over TCP: its published ports with the host ports
/// in use now, or the page ports of an app on the host network.
fn published(old: &Value, page_ports: &[u16]) -> Vec<Published> {
    if on_host_network(old) {
        let port = |port: &u16| Published {
            host: HostAddress::Any,
            port: *port,
            container_port: *port,
            answers: false,
        };
        return page_ports.iter().map(port).collect();
    }
    let mut found = Vec::new();
    let bindings = old["HostConfig"]["PortBindings"].as_object();
    let live = old["NetworkSettings"]["Ports"].as_object();
    // The bindings keep the user's host address, the live ports the numbers that
    // the engine chose.
    let keys = bindings.into_iter().flatten().chain(live.into_iter().flatten()).map(|(key, _)| key);
    let mut keys: Vec<&String> = keys.collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let Some(port) = key.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            continue;
        };
        let asked = bindings.and_then(|b| b[key].as_array()).filter(|list| !list.is_empty());
        let fixed = asked.is_some_and(|list| {
            list.iter().all(|b| !matches!(b["HostPort"].as_str(), None | Some("" | "0")))
        });
        let source = match fixed {
            true => asked,
            false => live.and_then(|live| live[key].as_array()),
        };
        for binding in source.into_iter().flatten() {
            let host = HostAddress::from_host_ip(binding["HostIp"].as_str().unwrap_or_default());
            let number = binding["HostPort"].as_str().unwrap_or_default().parse();
            if let (Ok(host), Ok(number)) = (host, number) {
                found.push(Published { host, port: number, container_port: port, answers: false });
            }
        }
    }
    found
}

/// The new version must answer as well as the old one does, so the old one is
/// asked: which port, what kind of answer, and through which published ports.
async fn choose_probe(request: &Request, old: &Value, published: &mut [Published]) -> Probe {
    let asked = &request.health;
    for port in published.iter_mut() {
        let mut heard = Vec::new();
        for ip in port.host.as_seen_locally() {
            heard.push(probe::ask(SocketAddr::new(ip, port.port), "/").await);
        }
        port.answers =
            heard.iter().all(|heard| !matches!(heard, Heard::Nothing(_) | Heard::Closed));
    }
    let ports = candidate_ports(old, published);
    if asked.path.is_some() || asked.port.is_some() || asked.status.is_some() {
        let port = asked.port.or(ports.first().copied());
        if let Some(port) = port {
            let path = asked.path.clone().unwrap_or_else(|| "/".to_owned());
            return Probe::Http { port, path, expect: asked.expect() };
        }
    }
    for port in &ports {
        for ip in addresses(old) {
            let expect = match probe::ask(SocketAddr::new(ip, *port), "/").await {
                Heard::Http { status, .. } if status < 500 => ExpectedStatus::Below500,
                Heard::Http { .. } => ExpectedStatus::Any,
                Heard::Other | Heard::Silence | Heard::Closed => return Probe::Tcp { port: *port },
                Heard::Nothing(_) => continue,
            };
            return Probe::Http { port: *port, path: "/".to_owned(), expect };
        }
    }
    // Nothing heard: the old version is broken, or can't be reached from here.
    match published.first() {
        Some(first) => Probe::Auto { port: first.container_port },
        None => Probe::Running,
    }
}

/// Ports inside the container that may be asked, the published ones first.
fn candidate_ports(old: &Value, published: &[Published]) -> Vec<u16> {
    let exposed = old["Config"]["ExposedPorts"].as_object();
    let exposed = exposed.into_iter().flatten().filter_map(|(port, _)| port.strip_suffix("/tcp"));
    let mut ports: Vec<u16> = published.iter().map(|port| port.container_port).collect();
    for port in exposed.filter_map(|port| port.parse().ok()) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

fn choose_handover(
    found: &Found,
    request: &Request,
    published: Vec<Published>,
) -> Result<HandoverPlan, LaunchError> {
    let Found { app, old, .. } = found;
    let forced = request.handover;
    let refuse = |mode: HandoverMode, why: String, hint: &str| LaunchError::Handover {
        app: app.to_owned(),
        mode: format!("{mode:?}").to_lowercase(),
        why,
        hint: hint.to_owned(),
    };
    if published.is_empty() {
        let because = match on_host_network(old) {
            true => "the app is on the host network; --page-port says on which port the page goes",
            false => "the app publishes no TCP port",
        };
        if let Some(mode) = forced.filter(|mode| *mode != HandoverMode::None) {
            return Err(refuse(mode, because.into(), "leave --handover out, or name --page-port"));
        }
        return Ok(HandoverPlan {
            mode: HandoverMode::None,
            may_fall_back: false,
            because: because.into(),
            published,
        });
    }
    let (mode, because) = match (forced, possible_here(found.own.is_some())) {
        (Some(HandoverMode::Redirect), Err(why)) => {
            return Err(refuse(
                HandoverMode::Redirect,
                why,
                "leave --handover out to bind the port instead",
            ));
        }
        (Some(mode), _) => (mode, "as asked for".to_owned()),
        (None, Ok(())) => {
            (HandoverMode::Redirect, "the kernel redirects, the engine keeps the port".to_owned())
        }
        (None, Err(why)) => (HandoverMode::Bind, format!("a redirect is not possible: {why}")),
    };
    Ok(HandoverPlan { mode, may_fall_back: forced.is_none(), because, published })
}

/// Whether the redirect works here, as far as this process may find out. In a
/// container, or without the right, only the helper will know; it falls back then.
fn possible_here(in_container: bool) -> Result<(), String> {
    if in_container || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Redirect::possible().map_err(|error| error.to_string())
}

/// A stopped app could not be started again with its port in other hands.
fn refuse_held_port(
    found: &Found,
    request: &Request,
    published: &[Published],
) -> Result<(), LaunchError> {
    const CODE: &str = "port-held";
    if found.own.is_some() || request.allow.iter().any(|code| code == CODE) {
        return Ok(());
    }
    for port in published {
        if let Err(busy) = port_is_free(port) {
            return Err(LaunchError::Unsuitable {
                app: found.app.clone(),
                why: format!("it is stopped, and could not be started again: {busy}"),
                hint: format!("free the port, or accept that with --allow {CODE}"),
            });
        }
    }
    Ok(())
}

/// `repository@sha256:…` of an image, of this repository if it has several.
fn digest_of(image: &Value, reference: &str) -> Option<String> {
    let (repository, _) = split_reference(reference);
    let digests: Vec<&str> =
        image["RepoDigests"].as_array()?.iter().filter_map(Value::as_str).collect();
    let same = digests.iter().find(|digest| digest.split('@').next() == Some(repository));
    same.or(digests.first()).map(|digest| (*digest).to_owned())
}

/// The version for people: the tag, or the start of the digest.
fn version_of(reference: &str) -> String {
    match split_reference(reference) {
        (_, Some(digest)) if digest.starts_with("sha256:") => digest.chars().take(19).collect(),
        (_, Some(tag)) => tag.to_owned(),
        (name, None) if name.starts_with("sha256:") => name.chars().take(19).collect(),
        (_, None) => "latest".to_owned(),
    }
}

/// Sorts by time, and two asked for in the same microsecond still differ.
fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let noise = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
    format!("{:014x}{:06x}", since.as_micros(), noise & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_binding_is_seen_with_its_own_host_address() {
        let old = json!({
            "HostConfig": { "NetworkMode": "bridge", "PortBindings": {
                "80/tcp": [
                    { "HostIp": "127.0.0.1", "HostPort": "8080" },
                    { "HostIp": "", "HostPort": "8081" },
                ],
                "53/udp": [{ "HostIp": "", "HostPort": "53" }],
                "443/tcp": [{ "HostIp": "", "HostPort": "" }],
            }},
            "NetworkSettings": { "Ports": {
                "443/tcp": [
                    { "HostIp": "0.0.0.0", "HostPort": "32768" },
                    { "HostIp": "::", "HostPort": "32768" },
                ],
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }],
            }},
        });
        let seen: Vec<String> = published(&old, &[])
            .iter()
            .map(|p| format!("{}:{}->{}", p.host, p.port, p.container_port))
            .collect();
        let expected =
            ["0.0.0.0:32768->443", "[::]:32768->443", "127.0.0.1:8080->80", "*:8081->80"];
        assert_eq!(seen, expected);
    }

    #[test]
    fn people_read_the_tag() {
        assert_eq!(version_of("ghcr.io/acme/web:2.1"), "2.1");
        assert_eq!(version_of("host:5000/web"), "latest");
        assert_eq!(version_of("web@sha256:0123456789abcdef"), "sha256:0123456789ab");
    }
}
