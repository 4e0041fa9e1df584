//! The engine of a user without rights: RootlessKit, outside, holds the published ports.

use std::net::{Ipv4Addr, SocketAddr};

use changeover_tests::lab::rootless::{AS_USER, SOCKET};
use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::load::{self, Class, Load, Story};
use changeover_tests::world::{Done, Running, World, web};
use serde_json::json;

use super::Case;
use super::commands::program_in_the_lab;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, alone: false, run };
    vec![case("a_rootless_engines_apps_are_updated_and_go_back", updated_and_go_back)]
}

/// Our program, run by the user in a session, with nothing that names an engine.
fn as_user(world: &World, args: &[&str]) -> Done {
    let mut command = world.lab.machine_command("setpriv");
    command.args(AS_USER).arg(program_in_the_lab(world)).args(args).arg("--json");
    Running::start(&mut command).finish()
}

fn updated_and_go_back(kind: EngineKind) {
    let world = World::start_with(kind, Options { rootless: true, ..Options::default() });
    // Slow enough to stop and to start up that there is something to be seen.
    world.image("app:1", &[("VERSION", "1"), ("STOP_MS", "800")], &[]);
    let data = ("DATA", "/data/schema");
    world.image("app:2", &[("VERSION", "2"), ("BROKEN_MS", "0-1000"), data], &[]);
    world.image("app:broken", &[("VERSION", "3"), ("BROKEN_MS", "always"), data], &[]);
    world.image("app:4", &[("VERSION", "4")], &[]);
    let program = program_in_the_lab(&world);
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!([
        "data:/data",
        format!("{SOCKET}:/var/run/docker.sock"),
        format!("{}:/changeover:ro", program.display()),
    ]);
    world.run("web", &body);
    world.wait_for_http(8080);

    // The socket is found, and what can't be had is said before anything is touched.
    let doctor = as_user(&world, &["doctor"]).expect(0);
    let said = |topic: &str| {
        let found = doctor.events.iter().find(|finding| finding["topic"] == topic);
        found.map(ToString::to_string).unwrap_or_default()
    };
    assert!(said("engine").contains(SOCKET), "{}", said("engine"));
    assert!(said("network").contains("refused in the moment between"), "{}", said("network"));
    assert_eq!(said("redirect"), "", "this network's kernel rules say nothing of that one's");
    let update = |image| ["update", "web", "--image", image, "--pull", "missing", "--stable", "0s"];
    let check = as_user(&world, &["check", "web", "--image", "app:2", "--pull", "missing"]);
    let check = check.expect(0).event("check").expect("it is shown").clone();
    assert_eq!(check["remarks"][0]["code"], "page-gaps", "{check}");

    // There: by the user, with visitors on all ways.
    let load = Load::start(load::Options::new(world.targets(8080))).expect("the load starts");
    let visited = |by: Class| world.wait("visitors", || load.report().count(&by) > 100);
    visited(Class::Old);
    let done = as_user(&world, &update("app:2")).expect(0);
    let warning = done.events.iter().position(|event| event["event"] == "warning");
    let launched = done.events.iter().position(|event| event["event"] == "launched");
    assert!(warning.is_some() && warning < launched, "{:#?}", done.events);
    visited(Class::New);
    let report = load.stop();
    // The page is on both sides of the gap, and on every way to the port.
    report.check(Story::Update).unwrap_or_else(|wrong| panic!("{wrong}\n{report}"));
    let without: Vec<_> = report.failures().iter().map(|record| record.class.clone()).collect();
    assert!(without.contains(&Class::Refused), "there is no gap any more? {report}");
    world.assert_settled("2", false);

    // And back, with the data, which old couldn't read as the new version leaves it.
    let args = [&update("app:broken")[..], &["--backup=/data", "--health-timeout", "1s"]].concat();
    as_user(&world, &args).expect(20);
    world.assert_settled("2", true);
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
    // It starts up as slowly as before.
    world.wait("the old data", || {
        world.fetch(at, "/files?path=/data/schema").starts_with("schema 2")
    });
    let status = as_user(&world, &["status", "web"]).expect(0);
    assert_eq!(status.events[0]["state"], "rolled-back", "{:#?}", status.events);

    // By the app itself, which knows who it is.
    let args = ["/changeover", "update", "self", "--image", "app:4", "--pull", "missing"];
    assert_eq!(world.exec("web", &[&args[..], &["--detach", "--stable", "0s"]].concat()), 0);
    world.wait("version 4", || world.visit(8080) == "4");
    world.wait("the end", || world.containers() == ["web"]);
    world.assert_settled("4", false);
    as_user(&world, &["rollback", "web", "--stable", "0s"]).expect(0);
    world.assert_settled("2", false);
}
