//! Visitors who come from an address and a port from which somebody came before, of whom
//! the kernel still knows: what it remembers of those must not decide where these go.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use changeover_tests::lab::{EngineKind, Netns};
use changeover_tests::load::Target;
use changeover_tests::world::World;
use socket2::{Domain, Socket, Type};

use super::{case, image, spawn_update};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![case!(a_connection_long_gone_leads_nobody_past_the_page)]
}

/// Below those that the kernel gives to who doesn't ask for one.
const FROM: u16 = 20_000;

fn a_connection_long_gone_leads_nobody_past_the_page(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "2500")]);
    world.run_web("app:1");
    let targets = world.targets(8080);
    for target in &targets {
        remember(&world, target);
    }
    let see = |target: &Target| {
        let (netns, source) = whence(&world, target);
        netns.run(|| who_answers((source, FROM).into(), target.addr))
    };
    let mut running = spawn_update(&world, 2, &[]);
    running.wait_for("the page", |event| event["event"] == "page" && event["shown"] == true);
    for target in &targets {
        assert_eq!(see(target), "page", "{}", target.label);
    }
    running.finish().expect(0);
    for target in &targets {
        assert_eq!(see(target), "2", "{}", target.label);
    }
    world.assert_settled("2", false);
}

/// Has the host's kernel remember a connection that came by this way, to the host itself.
/// That is what stays of one whose end it didn't see.
fn remember(world: &World, target: &Target) {
    let (_, source) = whence(world, target);
    let (source, to) = (source.to_string(), target.addr.ip().to_string());
    let mut command = world.lab.host_netns().command("conntrack");
    command.args(["--create", "--proto", "tcp", "--timeout", "600", "--state", "ESTABLISHED"]);
    command.args(["--src", &source, "--dst", &to, "--status", "SEEN_REPLY,ASSURED"]);
    command.args(["--sport", &FROM.to_string(), "--dport", "8080"]);
    let done = command.output().expect("conntrack can be run");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// In which network somebody is who comes by this way, and with which address.
fn whence(world: &World, target: &Target) -> (Netns, IpAddr) {
    let (v4, v6) = (world.lab.host_v4(), world.lab.host_v6());
    let outside = world.lab.outside_netns();
    match (target.label.as_str(), target.addr.ip()) {
        // The cable has one address at each end: .1 and .2.
        ("outside IPv4", _) => (outside, IpAddr::from((u32::from(v4) + 1).to_be_bytes())),
        ("outside IPv6", _) => (outside, Ipv6Addr::from(u128::from(v6) + 1).into()),
        (_, ip) => (world.lab.host_netns(), ip),
    }
}

/// Who answers somebody from there: a version, the page, or what went wrong.
fn who_answers(from: SocketAddr, at: SocketAddr) -> String {
    let ask = || -> std::io::Result<String> {
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        // Not to be kept waiting by who came before: no farewell on our side.
        socket.set_linger(Some(Duration::ZERO))?;
        socket.bind(&from.into())?;
        let limit = Duration::from_secs(5);
        socket.connect_timeout(&at.into(), limit)?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.to_lowercase())
    };
    match ask() {
        Ok(answer) if answer.contains("\r\nx-changeover:") => "page".to_owned(),
        Ok(answer) => match answer.split_once("\r\nx-app-version: ") {
            Some((_, rest)) => rest.split('\r').next().unwrap_or_default().to_owned(),
            None => answer,
        },
        Err(error) => error.to_string(),
    }
}
