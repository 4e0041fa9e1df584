//! How the app is reached: through which ports, what it answers there, and how the
//! page can be put in its place.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;

use super::preflight::Found;
use super::{HealthRequest, LaunchError, Remark, Request, text};
use crate::engine::Engine;
use crate::gate::address::{addresses, lender, on_host_network};
use crate::gate::probe::{self, Heard};
use crate::gate::visitors_probe;
use crate::handover::{Redirect, port_is_free};
use crate::plan::{ExpectedStatus, HandoverMode, HandoverPlan, HostAddress, Probe, Published};

/// How long the old version is listened to before it counts as one that speaks
/// something else than HTTP.
const LISTEN_LIMIT: Duration = Duration::from_secs(2);

/// Where visitors reach the app over TCP: its published ports with the host ports
/// in use now, or the page ports of an app on the host network.
pub(super) fn published(old: &Value, page_ports: &[u16], member: usize) -> Vec<Published> {
    if on_host_network(old) {
        let port = |port: &u16| Published {
            host: HostAddress::Any,
            port: *port,
            container_port: *port,
            member,
            answers: false,
            only: None,
            lent: false,
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
        let asked = bindings.and_then(|b| b.get(key)?.as_array()).filter(|list| !list.is_empty());
        let fixed = asked.is_some_and(|list| {
            list.iter().all(|b| !matches!(b["HostPort"].as_str(), None | Some("" | "0")))
        });
        let source = match fixed {
            true => asked,
            false => live.and_then(|live| live.get(key)?.as_array()),
        };
        for binding in source.into_iter().flatten() {
            let host = HostAddress::from_host_ip(binding["HostIp"].as_str().unwrap_or_default());
            let number = binding["HostPort"].as_str().unwrap_or_default().parse();
            if let (Ok(host), Ok(number)) = (host, number) {
                found.push(Published {
                    host,
                    port: number,
                    container_port: port,
                    member,
                    answers: false,
                    only: None,
                    lent: false,
                });
            }
        }
    }
    found
}

/// The ports of the container in whose network the app lives, as far as they lead to the
/// app: it exposes them and the other's image doesn't, or the operator says so.
pub(super) async fn lent(
    engine: &Engine,
    request: &Request,
    app: &Value,
) -> Result<Vec<Published>, LaunchError> {
    let Some(lender) = lender(engine, app).await.map_err(LaunchError::engine)? else {
        return Ok(Vec::new());
    };
    let mut ports = published(&lender, &request.page_ports, 0);
    if on_host_network(&lender) {
        return Ok(ports);
    }
    let image = engine.image(text(&lender, "/Image")).await.map_err(LaunchError::engine)?;
    let exposes = |document: &Value, port: u16| {
        document["Config"]["ExposedPorts"].get(format!("{port}/tcp")).is_some()
    };
    ports.retain(|port| {
        let port = port.container_port;
        let is_lenders = image.as_ref().is_none_or(|image| exposes(image, port));
        request.health.port == Some(port) || exposes(app, port) && !is_lenders
    });
    ports.iter_mut().for_each(|port| port.lent = true);
    Ok(ports)
}

/// The new version must answer as well as the old one does, so the old one is
/// asked: which port, what kind of answer, and through which published ports.
pub(super) async fn choose_probe(
    engine: &Engine,
    asked: &HealthRequest,
    old: &Value,
    published: &mut [Published],
) -> Probe {
    let probe = probe_of(engine, asked, old, published).await;
    listen_in(published, |_| &probe).await;
    probe
}

async fn probe_of(
    engine: &Engine,
    asked: &HealthRequest,
    old: &Value,
    published: &[Published],
) -> Probe {
    let ports = candidate_ports(old, published);
    if asked.path.is_some() || asked.port.is_some() || asked.status.is_some() {
        let port = asked.port.or(ports.first().copied());
        if let Some(port) = port {
            let path = asked.path.clone().unwrap_or_else(|| "/".to_owned());
            return Probe::Http { port, path, expect: asked.expect() };
        }
    }
    // Who has no network answers nobody, whatever ports were asked for.
    if text(old, "/HostConfig/NetworkMode") == "none" {
        return Probe::Running;
    }
    let addresses = addresses(engine, old).await;
    let mut refused = !ports.is_empty() && !addresses.is_empty();
    for port in &ports {
        for ip in &addresses {
            let expect = match probe::ask_within(LISTEN_LIMIT, SocketAddr::new(*ip, *port), "/")
                .await
            {
                Heard::Http { status, .. } if status < 500 => ExpectedStatus::Below500,
                Heard::Http { .. } => ExpectedStatus::Any,
                Heard::Other | Heard::Silence | Heard::Closed => return Probe::Tcp { port: *port },
                Heard::Refused => continue,
                Heard::Nothing(_) => {
                    refused = false;
                    continue;
                }
            };
            return Probe::Http { port: *port, path: "/".to_owned(), expect };
        }
    }
    // One that is up and listens nowhere has nothing to be asked. Otherwise it is
    // broken, or can't be reached from here.
    let crashes = old["RestartCount"].as_u64().is_some_and(|count| count > 0);
    if refused && !crashes {
        return Probe::Running;
    }
    match published.first() {
        Some(first) => Probe::Auto { port: first.container_port },
        None => Probe::Running,
    }
}

/// Finds out through which ports the old version answers what the gate will ask the new
/// one there, all at the same time; each member has its probe. Where HTTP is asked for, it
/// isn't enough to accept a connection: Podman holds ports on `[::1]` that lead nowhere.
pub(crate) async fn listen_in<'a>(
    published: &mut [Published],
    probe_of: impl Fn(usize) -> &'a Probe,
) {
    let visits = published.iter().map(|port| {
        let probe = visitors_probe(port, probe_of(port.member));
        join_all(port.host.as_seen_locally().into_iter().map(move |ip| {
            let probe = probe.clone();
            async move { (ip, answers(&probe, SocketAddr::new(ip, port.port)).await) }
        }))
    });
    let heard = join_all(visits).await;
    for (port, heard) in published.iter_mut().zip(heard) {
        let first = heard.iter().find(|(_, answers)| *answers).map(|(ip, _)| *ip);
        port.answers = first.is_some();
        port.only = first.filter(|_| heard.iter().any(|(_, answers)| !answers));
    }
}

async fn answers(probe: &Probe, at: SocketAddr) -> bool {
    match probe {
        Probe::Http { path, .. } => {
            let heard = probe::ask_within(LISTEN_LIMIT, at, path).await;
            matches!(heard, Heard::Http { .. })
        }
        _ => matches!(probe::knock(at).await, Heard::Silence | Heard::Other),
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

/// What is to be known where the app serves, and by no port of the host: its visitors come
/// by a proxy that knows it by its name, past the place where the page would be.
pub(super) async fn without_a_page(
    engine: &Engine,
    found: &Found,
    published: &[Published],
    probe: &Probe,
) -> Result<Option<Remark>, LaunchError> {
    let serves = !matches!(probe, Probe::Running);
    let networks = |container: &Value| -> Vec<String> {
        let networks = container["NetworkSettings"]["Networks"].as_object();
        networks.into_iter().flatten().map(|(name, _)| name.clone()).collect()
    };
    let own = networks(&found.old);
    if !serves || !published.is_empty() || on_host_network(&found.old) || own.is_empty() {
        return Ok(None);
    }
    let others = engine.containers().await.map_err(LaunchError::engine)?;
    let is_proxy = |other: &&Value| {
        let ports = other["Ports"].as_array().into_iter().flatten();
        let mut open = ports.filter(|port| port["Type"] == "tcp" && port["PublicPort"].is_u64());
        other["State"] == "running"
            && networks(other).iter().any(|network| own.contains(network))
            && open.next().is_some()
    };
    let name = |other: &Value| {
        let name = text(other, "/Names/0").trim_start_matches('/');
        format!("`{name}`")
    };
    Ok(Some(Remark::NoPage {
        container: found.app.clone(),
        proxies: others.iter().filter(is_proxy).map(name).collect(),
        networks: own,
    }))
}

/// What is to be known where the page can't be in the app's place all the time.
///
/// RootlessKit's process outside passes visitors on into the network inside, where our redirect
/// gets hold of them. It listens for as long as the engine publishes the port: as long as a
/// container that has it runs. With Podman, nobody has looked.
pub(super) fn with_gaps(engine: &Engine, found: &Found, published: &[Published]) -> Option<Remark> {
    let is_rootless = is_rootless(&found.info) && engine.podman().is_none();
    let has_gaps = is_rootless && !published.is_empty() && !on_host_network(&found.old);
    has_gaps.then(|| Remark::PageGaps { container: found.app.clone() })
}

/// Whether the engine is that of a user without rights, by what it says of itself.
pub(super) fn is_rootless(info: &Value) -> bool {
    let options = info["SecurityOptions"].as_array().into_iter().flatten();
    options.filter_map(Value::as_str).any(|option| option == "name=rootless")
}

pub(super) fn choose_handover(
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
        let shares = text(old, "/HostConfig/NetworkMode").starts_with("container:");
        let because = match (on_host_network(old), shares) {
            (true, _) => {
                "the app is on the host network; --page-port says on which port the page goes"
            }
            (_, true) => {
                "the app lives in another container's network, and no published port there is known to be the app's; --health-port says which one is"
            }
            _ => "the app publishes no TCP port",
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
    let never_free = published.iter().all(|port| port.lent);
    let (mode, because) = match (forced, possible_here(found.on_host)) {
        (Some(HandoverMode::Bind), _) if never_free => {
            return Err(refuse(
                HandoverMode::Bind,
                "the port stays with the container in whose network the app lives".into(),
                "leave --handover out",
            ));
        }
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
        (None, Err(why)) if never_free => {
            (HandoverMode::None, format!("a redirect is not possible: {why}"))
        }
        (None, Err(why)) => (HandoverMode::Bind, format!("a redirect is not possible: {why}")),
    };
    Ok(HandoverPlan { mode, may_fall_back: forced.is_none(), because, published })
}

/// Whether the redirect works here, as far as this process may find out. In a
/// container, elsewhere, or without the right, only the helper will know; it falls back then.
fn possible_here(on_host: bool) -> Result<(), String> {
    if !on_host || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Redirect::possible().map_err(|error| error.to_string())
}

/// A stopped app could not be started again with its port in other hands.
pub(super) fn refuse_held_port(
    found: &Found,
    request: &Request,
    published: &[Published],
) -> Result<(), LaunchError> {
    const CODE: &str = "port-held";
    if !found.on_host || request.allow.iter().any(|code| code == CODE) {
        return Ok(());
    }
    for port in published.iter().filter(|port| !port.lent) {
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
                "9000/tcp": null,
                "443/tcp": [
                    { "HostIp": "0.0.0.0", "HostPort": "32768" },
                    { "HostIp": "::", "HostPort": "32768" },
                ],
                "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "8080" }],
            }},
        });
        let seen: Vec<String> = published(&old, &[], 0)
            .iter()
            .map(|p| format!("{}:{}->{}", p.host, p.port, p.container_port))
            .collect();
        let expected =
            ["0.0.0.0:32768->443", "[::]:32768->443", "127.0.0.1:8080->80", "*:8081->80"];
        assert_eq!(seen, expected);
    }
    #[tokio::test]
    async fn a_port_that_leads_nowhere_need_not_answer_after_the_update() {
        use tokio::io::AsyncWriteExt;
        let sockets = [(); 2]
            .map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there"));
        let mut ports = sockets.each_ref().map(|socket| Published {
            host: HostAddress::from_host_ip("127.0.0.1").expect("loopback is there"),
            port: socket.local_addr().expect("loopback is there").port(),
            container_port: 80,
            member: 0,
            answers: false,
            only: None,
            lent: false,
        });
        // Connections to the other one are accepted by the kernel alone.
        let [app, _nobody] = sockets;
        app.set_nonblocking(true).expect("loopback is there");
        let app = tokio::net::TcpListener::from_std(app).expect("loopback is there");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = app.accept().await {
                let _ =
                    stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        let http = Probe::Http { port: 80, path: "/".to_owned(), expect: ExpectedStatus::Below500 };
        listen_in(&mut ports, |_| &http).await;
        assert_eq!(ports.each_ref().map(|port| port.answers), [true, false]);
        // Where nobody knows what is spoken, to accept is an answer.
        listen_in(&mut ports, |_| &Probe::Running).await;
        assert_eq!(ports.each_ref().map(|port| port.answers), [true, true]);
    }
}
