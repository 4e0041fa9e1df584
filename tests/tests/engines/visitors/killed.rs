//! Somebody is killed in the middle while visitors come.

use std::cell::Cell;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use changeover_tests::lab::{EngineKind, Registry};
use changeover_tests::load::{Class, Load, Options, Story};
use changeover_tests::world::World;
use serde_json::Value;

use super::{
    a_few_visitors, assert_order, assert_story, assert_undisturbed, beside_a_neighbour, case,
    from_host, image, let_some_more_come, spawn_update,
};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(alone a_helper_killed_at_its_start_costs_no_request),
        case!(alone a_helper_killed_just_before_the_stop_costs_no_request),
        case!(alone a_helper_killed_with_the_page_up_is_back_at_once),
        case!(a_command_killed_during_its_pull_has_touched_nothing),
    ]
}

fn a_helper_killed_at_its_start_costs_no_request(kind: EngineKind) {
    killed_while_old_runs(kind, |event| event["event"] == "launched");
}

fn a_helper_killed_just_before_the_stop_costs_no_request(kind: EngineKind) {
    killed_while_old_runs(kind, |event| event["key"] == "create-new");
}

/// Kills the helper at an event. Where the old version is already on its way out
/// when the signal arrives, that was another case than this one: try again.
fn killed_while_old_runs(kind: EngineKind, at: fn(&Value) -> bool) {
    for _ in 0..5 {
        let early = Cell::new(false);
        beside_a_neighbour(kind, |world| {
            world.images(&[2]);
            world.run_web("app:1");
            let load = Load::start(Options::new(world.targets(8080))).expect("the load starts");
            let_some_more_come(world, &load);
            let mut running = spawn_update(world, 2, &[]);
            running.wait_for("the moment", at);
            world.lab.crash_container("web.changeover");
            let done = running.finish().expect(0);
            world.assert_settled("2", false);
            // The page comes just before the stop, once for each helper that gets so far.
            let shown = |e: &&Value| e["event"] == "page" && e["shown"] == true;
            early.set(done.events.iter().filter(shown).count() == 1);
            if early.get() {
                assert_story(world, load, Story::Update);
            }
        });
        if early.get() {
            return;
        }
    }
    panic!("the helper was never killed early enough");
}

/// While no helper lives and neither version listens there is nobody to answer.
/// That must be over once the engine has restarted the helper.
fn a_helper_killed_with_the_page_up_is_back_at_once(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "2500")]);
    world.run_web("app:1");
    let load = Load::start(Options::new(world.targets(8080))).expect("the load starts");
    let_some_more_come(&world, &load);
    let mut running = spawn_update(&world, 2, &[]);
    running.wait_for_step("start-new");
    world.lab.crash_container("web.changeover");
    running.finish().expect(0);
    let report = assert_order(&world, load, Story::Update);
    world.assert_settled("2", false);
    for (target, label) in report.targets.iter().enumerate() {
        let mut records: Vec<_> =
            report.records.iter().filter(|record| record.target == target).collect();
        records.sort_by_key(|record| record.started);
        let mut gap = records.into_iter().skip_while(|record| !record.class.is_failure());
        let mut pages = 0;
        let failed = gap.by_ref().take_while(|record| {
            pages += usize::from(record.class == Class::Page);
            pages < 20
        });
        let failed: Vec<_> = failed.filter(|record| record.class.is_failure()).collect();
        if let (Some(first), Some(last)) = (failed.first(), failed.last()) {
            let length = last.started - first.started;
            println!("{kind}, {label}: {} failed within {length:?}", failed.len());
        }
        let strays = gap.filter(|record| record.class.is_failure()).count();
        assert_eq!(strays, 0, "{label}: some failed with the page back\n{report}");
    }
}

fn a_command_killed_during_its_pull_has_touched_nothing(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let registry = Registry::start(&world.lab);
    let pushed = registry.push(&world.lab, "app:2", "app:2");
    world.lab.forget_image(&pushed);
    world.lab.forget_image("app:2");
    let line = SlowLine::to(&world, &registry.address());
    let reference = format!("{}/app:2", line.address);
    let old = world.run_web("app:1");
    let images = world.image_references();
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);

    let mut running = world.spawn(&["update", "web", "--image", &reference]);
    world.wait("the engine asks the registry", || line.has_been_called());
    running.kill();
    assert_eq!(running.finish().code, -1);
    assert_undisturbed(&world, load);
    assert_eq!(world.containers(), ["web"]);
    let web = world.inspect("web").expect("web is there");
    assert_eq!((web["Id"].as_str(), &web["RestartCount"]), (Some(old.as_str()), &0.into()));
    assert_eq!(world.image_references(), images);

    line.open();
    world.changeover(&["update", "web", "--image", &reference, "--stable", "0s"]).expect(0);
    world.assert_settled("2", false);
}

/// A way to the registry on which nothing moves until it is opened.
struct SlowLine {
    address: String,
    calls: Arc<AtomicUsize>,
    opened: Arc<AtomicBool>,
}

impl SlowLine {
    fn to(world: &World, registry: &str) -> SlowLine {
        let netns = world.lab.host_netns();
        let listener = netns.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it listens").to_string();
        let line = SlowLine { address, calls: Arc::default(), opened: Arc::default() };
        let (calls, opened) = (line.calls.clone(), line.opened.clone());
        let registry = registry.to_owned();
        thread::spawn(move || {
            netns.enter();
            for caller in listener.incoming().map_while(Result::ok) {
                calls.fetch_add(1, Ordering::Relaxed);
                let (opened, registry, netns) = (opened.clone(), registry.clone(), netns.clone());
                thread::spawn(move || {
                    netns.enter();
                    while !opened.load(Ordering::Relaxed) {
                        thread::sleep(Duration::from_millis(10));
                    }
                    // Who hung up meanwhile is no longer interested.
                    let _ = TcpStream::connect(registry).and_then(|other| join(caller, other));
                });
            }
        });
        line
    }

    fn has_been_called(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0
    }

    fn open(&self) {
        self.opened.store(true, Ordering::Relaxed);
    }
}

fn join(one: TcpStream, other: TcpStream) -> io::Result<()> {
    let (mut from, mut to) = (one.try_clone()?, other.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to));
    let (mut from, mut to) = (other, one);
    io::copy(&mut from, &mut to).map(drop)
}
