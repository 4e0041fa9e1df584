//! What visitors see: no failed request, whatever happens, and no version that doesn't work.

mod gate;
mod killed;
mod load;
mod page;
mod ports;
mod proxied;
mod reused;
mod stopping;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Class, Load, Options, Report, Story, Target, netns};
use changeover_tests::world::{Done, Running, World};
use serde_json::{Value, json};

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    [load::cases(), killed::cases(), stopping::cases(), ports::cases(), reused::cases()].concat()
}

/// Those in which the engine has no say.
pub(crate) fn on_any() -> Vec<Case> {
    [gate::cases(), page::cases(), proxied::cases(), tls::cases()].concat()
}

/// A case named as its function.
macro_rules! case {
    ($name:ident) => {
        crate::Case { name: stringify!($name), alone: false, run: $name }
    };
    (alone $name:ident) => {
        crate::Case { name: stringify!($name), alone: true, run: $name }
    };
}
use case;

/// An image of the sample app, `app:N`, with vices.
fn image(world: &World, version: u32, vices: &[(&str, &str)]) {
    image_with(world, version, vices, &[]);
}

/// The same with further lines of a Dockerfile.
fn image_with(world: &World, version: u32, vices: &[(&str, &str)], changes: &[&str]) {
    let version_text = version.to_string();
    let environment: Vec<_> =
        [("VERSION", version_text.as_str())].into_iter().chain(vices.iter().copied()).collect();
    world.image(&format!("app:{version}"), &environment, changes);
}

/// `changeover update web --image app:N`, without the watch that follows the
/// gate: it is somebody else's subject, and it takes its time.
fn update(world: &World, version: u32, more: &[&str]) -> Done {
    spawn_update(world, version, more).finish()
}

/// The same, to be watched as it goes.
fn spawn_update(world: &World, version: u32, more: &[&str]) -> Running {
    let reference = format!("app:{version}");
    let mut args = vec!["update", "web", "--image", &reference, "--pull", "never"];
    if !more.contains(&"--stable") {
        args.extend(["--stable", "0s"]);
    }
    args.extend(more);
    world.spawn(&args)
}

/// A create request with these bindings: container port, host address, host port.
fn publishing(image: &str, bindings: &[(u16, &str, &str)]) -> Value {
    let (mut exposed, mut ports) = (json!({}), json!({}));
    for (inside, ip, outside) in bindings {
        let key = format!("{inside}/tcp");
        exposed[&key] = json!({});
        let list = ports[&key].as_array().cloned().unwrap_or_default();
        ports[&key] = [list, vec![json!({ "HostIp": ip, "HostPort": outside })]].concat().into();
    }
    json!({
        "Image": image,
        // The engine publishes nothing that isn't exposed; its own client takes care of that.
        "ExposedPorts": exposed,
        "HostConfig": {
            "PortBindings": ports,
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    })
}

/// Somebody on the engine's host who goes there.
fn from_host(world: &World, ip: impl Into<IpAddr>, port: u16) -> Target {
    let at = SocketAddr::new(ip.into(), port);
    Target::new(at.to_string(), at).from(netns(world.lab.host_netns().name()))
}

/// A few visitors: enough to see every phase, too few to disturb another case.
fn a_few_visitors(targets: Vec<Target>) -> Load {
    let load = Load::start(Options { rate_per_second: 50, ..Options::new(targets) });
    load.expect("the load starts")
}

/// Runs a case that counts every visitor of 1000 a second beside an app that nobody
/// touches. If that one's few visitors fail as well, it was the machine: then the case says
/// nothing about us, and is run once more, at most three times in all.
fn beside_a_neighbour(kind: EngineKind, case: impl Fn(&World)) {
    for further in (0..3).rev() {
        let world = World::start(kind);
        world.images(&[1]);
        world.run_neighbour("app:1");
        let neighbours = a_few_visitors(world.targets(8090));
        let ended = catch_unwind(AssertUnwindSafe(|| case(&world)));
        let starved = neighbours.stop();
        let Err(panic) = ended else { return };
        if starved.failures().is_empty() || further == 0 {
            resume_unwind(panic);
        }
        eprintln!("{kind}: nobody answered for the untouched app either, once more:\n{starved}");
    }
}

/// Waits until every target has had some more answers than now.
fn let_some_more_come(world: &World, load: &Load) {
    let count = |report: &Report, target| {
        report.records.iter().filter(|record| record.target == target).count()
    };
    let before = load.report();
    world.wait("more visitors", || {
        let now = load.report();
        (0..now.targets.len()).all(|target| count(&now, target) >= count(&before, target) + 20)
    });
}

/// Ends the load; nobody may have failed, and the answers came in order.
#[track_caller]
fn assert_story(world: &World, load: Load, story: Story) -> Report {
    let report = assert_order(world, load, story);
    assert!(report.failures().is_empty(), "{report}\n{:#?}", report.failures());
    report
}

/// Ends the load; the answers came in order.
#[track_caller]
fn assert_order(world: &World, load: Load, story: Story) -> Report {
    let_some_more_come(world, &load);
    let report = load.stop();
    report.check(story).unwrap_or_else(|wrong| panic!("{wrong}\n{report}"));
    report
}

/// Ends the load; all of it was answered by the version that was there from the start.
#[track_caller]
fn assert_undisturbed(world: &World, load: Load) {
    let_some_more_come(world, &load);
    let report = load.stop();
    assert_eq!(report.count(&Class::Old), report.records.len(), "{report}");
}

/// Why the new version was given up.
#[track_caller]
fn verdict(done: &Done) -> String {
    let condemned = done.event("condemned").unwrap_or_else(|| panic!("no verdict: {done:#?}"));
    condemned["reason"].as_str().unwrap_or_default().to_owned()
}

/// What a rollback leaves for whoever wants to know why: the failed container with
/// its log, and the helper with its exit code; neither comes back by itself.
fn assert_evidence(world: &World) {
    for (name, code) in [("web.failed", None), ("web.changeover", Some(20))] {
        let kept = world.inspect(name).unwrap_or_else(|| panic!("{name} is kept"));
        assert_eq!(kept["State"]["Running"], false, "{name}");
        assert_eq!(kept["HostConfig"]["RestartPolicy"]["Name"], "no", "{name}");
        if let Some(code) = code {
            assert_eq!(kept["State"]["ExitCode"], code, "{name}");
        }
        let logs = format!("/containers/{name}/logs?stdout=1&stderr=1");
        let (status, log) = world.lab.api_raw("GET", &logs, &[], &[]);
        assert_eq!(status, 200, "the log of {name} is kept");
        assert!(name == "web.failed" || !log.is_empty(), "the helper says why");
    }
}

/// The number of a step's runs among the events.
fn times(done: &Done, key: &str) -> usize {
    done.events.iter().filter(|e| e["event"] == "step" && e["key"] == key).count()
}
