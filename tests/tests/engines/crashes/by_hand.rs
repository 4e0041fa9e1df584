//! Somebody else has a hand in it: takes the port, removes a container, a network
//! or an image, starts what we have stopped. It ends whole all the same, or says
//! what a person has to do.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::wire::Cut;
use changeover_tests::world::{Done, Running, World, web};
use serde_json::json;

use super::matrix::{sample, torture};
use super::{Bench, Case, LIMIT, Way};

pub(super) fn cases() -> Vec<Case> {
    macro_rules! cases {
        ($($name:ident),* $(,)?) => {
            vec![$(Case { name: stringify!($name), alone: false, run: $name }),*]
        };
    }
    let mut cases = cases![
        a_port_taken_in_between_goes_back_to_the_old_version,
        a_name_taken_in_between_goes_back_to_the_old_version,
        a_network_removed_and_made_again_in_between_is_joined_again,
        a_new_container_removed_by_hand_is_a_rollback,
        an_old_container_removed_by_hand_leaves_the_new_one,
        a_bad_version_whose_predecessor_was_removed_by_hand_calls_for_a_person,
        an_old_container_started_by_hand_stays,
        an_old_container_that_cannot_be_started_by_hand_is_no_obstacle,
        a_rename_by_hand_is_put_right,
        a_new_version_restarted_by_hand_is_checked_as_it_is,
        another_updater_that_replaces_the_app_ends_in_one_of_them,
        two_updates_at_once_are_one,
        a_full_disk_in_between_is_waited_for,
        an_image_pruned_in_between_is_refused_or_not_needed,
        a_command_killed_while_it_follows_leaves_the_update_alone,
    ];
    if torture() {
        cases.extend(cases![a_port_that_stays_taken_calls_for_a_person_and_is_waited_for]);
    }
    cases
}

impl Bench {
    /// Starts an update and pauses it right after this write; then `meanwhile`.
    fn interrupted_after<T>(
        &self,
        way: Way,
        write: &str,
        meanwhile: impl FnOnce(&Bench) -> T,
    ) -> (Running, T) {
        self.proxy.pause_after(write);
        let mut running = self.over_the_wire(way);
        let Some(held) = self.proxy.wait_for_cut(|| running.runs()) else {
            panic!("no {write} in {:?}: {:#?}", self.proxy.writes(), running.finish());
        };
        let done = meanwhile(self);
        drop(held);
        (running, done)
    }

    /// A process on the host that listens on the app's port.
    fn take_port(&self) -> TcpListener {
        let listen = || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080));
        self.world.lab.host_netns().run(listen).expect("the port is free")
    }

    fn api(&self, method: &str, path: &str) {
        let (status, answer) = self.world.lab.api(method, path, None);
        assert!(status < 400, "{method} {path}: {status} {answer}");
    }
}

fn a_port_taken_in_between_goes_back_to_the_old_version(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (mut running, taken) = bench.interrupted_after(Way::Update, "stop", Bench::take_port);
    let condemned = running.wait_for_event("condemned");
    let reason = condemned["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("8080"), "the reason names the port: {reason}");
    running.wait_for_event("retrying");
    drop(taken);
    let done = running.finish_within(LIMIT);
    bench.settled(Way::ExitsAtOnce, done);
}

fn a_port_that_stays_taken_calls_for_a_person_and_is_waited_for(kind: EngineKind) {
    let bench = Bench::start(kind, Options::default());
    let (running, taken) = bench.interrupted_after(Way::Update, "stop", Bench::take_port);
    let done = running.finish_within(LIMIT).expect(30);
    let says_so = |done: &Done| {
        let end = done.event("finished").expect("an end");
        let reason = end["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("`ss -ltnp sport = 8080` shows who does"), "{reason}");
        assert_eq!(end["waits"], true);
    };
    says_so(&done);
    let status = bench.world.changeover(&["status", "web"]).expect(0);
    assert_eq!(status.events[0]["state"], "needs-a-person");
    // Nobody gets in its way meanwhile.
    let before = bench.world.containers();
    bench.world.changeover(&["gc"]).expect(0);
    let next = ["update", "web", "--image", "app:3", "--pull", "never"];
    bench.world.changeover(&next).expect(21).says("changeover status web");
    says_so(&bench.world.changeover(&["resume", "web"]).expect(30));
    assert_eq!(bench.world.containers(), before);
    assert!(bench.crash_helper(), "it waits");
    says_so(&bench.world.changeover(&["resume", "web"]).expect(30));
    drop(taken);
    bench.world.wait_for_the_helpers_end();
    bench.is_whole("rolled-back");
}

fn a_name_taken_in_between_goes_back_to_the_old_version(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (mut running, intruder) = bench.interrupted_after(Way::Update, "rename web.old", |bench| {
        bench.world.create("web", &json!({ "Image": "app:1" }))
    });
    running.wait_for_event("condemned");
    running.wait_for_event("retrying");
    bench.api("DELETE", &format!("/containers/{intruder}"));
    let done = running.finish_within(LIMIT);
    bench.settled(Way::ExitsAtOnce, done);
}

fn a_network_removed_and_made_again_in_between_is_joined_again(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let create_network = |bench: &Bench| {
        let body = json!({ "Name": "front", "CheckDuplicate": true });
        let (status, answer) = bench.world.lab.api("POST", "/networks/create", Some(&body));
        assert_eq!(status, 201, "{answer}");
    };
    create_network(&bench);
    bench.api("DELETE", "/containers/web?force=1");
    let mut body = web("app:1");
    body["HostConfig"]["NetworkMode"] = "front".into();
    body["NetworkingConfig"]["EndpointsConfig"]["front"]["Aliases"] = json!(["shop"]);
    bench.world.run("web", &body);
    bench.world.wait_for_http(8080);

    let (mut running, ()) = bench.interrupted_after(Way::Update, "stop", |bench| {
        bench.api("DELETE", "/networks/front");
    });
    running.wait_for_event("condemned");
    running.wait_for("a retry of old's start", |event| {
        event["event"] == "retrying" && event["what"] == "start the old container"
    });
    // The engine goes by the network's id, which is another one now.
    create_network(&bench);
    let done = running.finish_within(LIMIT);
    bench.settled(Way::ExitsAtOnce, done);
    let web = bench.world.inspect("web").expect("web is there");
    let aliases = &web["NetworkSettings"]["Networks"]["front"]["Aliases"];
    let aliases = aliases.as_array().cloned().unwrap_or_default();
    assert!(aliases.contains(&json!("shop")), "it is on its network as before: {web:#}");
}

fn a_new_container_removed_by_hand_is_a_rollback(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let all = [("stop", "web.next"), ("rename web", "web"), ("start", "web")];
    for (write, name) in sample(kind, "new removed", all, 1) {
        let (running, ()) = bench.interrupted_after(Way::Update, write, |bench| {
            bench.api("DELETE", &format!("/containers/{name}?force=1"));
        });
        running.finish_within(LIMIT).expect(20);
        bench.world.wait("the old version", || bench.world.visit(8080) == "1");
        assert_eq!(bench.world.containers(), ["web", "web.changeover"], "after {write}");
    }
    // Nothing had been touched yet, so it is simply created anew.
    let (running, ()) = bench.interrupted_after(Way::Update, "create web.next", |bench| {
        bench.api("DELETE", "/containers/web.next");
    });
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

fn an_old_container_removed_by_hand_leaves_the_new_one(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let all = [("stop", "web"), ("rename web", "web.old"), ("start", "web.old")];
    for (write, name) in sample(kind, "old removed", all, 1) {
        let (running, ()) = bench.interrupted_after(Way::Update, write, |bench| {
            bench.api("DELETE", &format!("/containers/{name}?force=1"));
        });
        let done = running.finish_within(LIMIT);
        bench.settled(Way::Update, done);
    }
}

fn a_bad_version_whose_predecessor_was_removed_by_hand_calls_for_a_person(kind: EngineKind) {
    for way in sample(kind, "no way back", [Way::ExitsAtOnce, Way::NeverReady], 1) {
        let bench = Bench::start(kind, Options::default());
        let (running, ()) = bench.interrupted_after(way, "stop", |bench| {
            bench.api("DELETE", "/containers/web?force=1");
        });
        let done = running.finish_within(LIMIT).expect(30);
        let reason = done.event("finished").expect("an end")["reason"].clone();
        assert!(reason.as_str().is_some_and(|reason| reason.contains("hint: ")), "{reason}");
        let status = bench.world.changeover(&["status", "web"]).expect(0);
        assert_eq!(status.events[0]["state"], "needs-a-person");
    }
}

/// Whoever starts it wants it.
fn an_old_container_started_by_hand_stays(kind: EngineKind) {
    let all = [("stop", "web"), ("rename web.old", "web.old"), ("rename web", "web.old")];
    let mut bench = Bench::start(kind, Options::default());
    for (write, name) in sample(kind, "old started", all, 1) {
        let (mut running, ()) = bench.interrupted_after(Way::Update, write, |bench| {
            bench.api("POST", &format!("/containers/{name}/start"));
        });
        let condemned = running.wait_for_event("condemned");
        let reason = condemned["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("started") && reason.contains("hint: "), "after {write}: {reason}");
        let done = running.finish_within(LIMIT);
        bench.settled(Way::ExitsAtOnce, done);
        let status = bench.world.changeover(&["status", "web"]).expect(0);
        assert_eq!(status.events[0]["reason"], condemned["reason"], "what `status` says");
        bench.world.changeover(&["resume", "web"]).expect(10);
    }
}

/// Beside a new one that runs, the port is taken.
fn an_old_container_that_cannot_be_started_by_hand_is_no_obstacle(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (running, status) = bench.interrupted_after(Way::Update, "start", |bench| {
        bench.world.lab.api("POST", "/containers/web.old/start", None).0
    });
    assert_eq!(status, 500, "two have the port");
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

fn a_rename_by_hand_is_put_right(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let all =
        [("stop", "web"), ("rename web.old", "web.old"), ("rename web", "web"), ("start", "web")];
    for (write, name) in sample(kind, "renamed", all, 2) {
        let (running, ()) = bench.interrupted_after(Way::Update, write, |bench| {
            bench.api("POST", &format!("/containers/{name}/rename?name=mine"));
        });
        let done = running.finish_within(LIMIT);
        bench.settled(Way::Update, done);
    }
}

fn a_new_version_restarted_by_hand_is_checked_as_it_is(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (running, ()) = bench.interrupted_after(Way::Update, "start", |bench| {
        bench.api("POST", "/containers/web/restart?t=1");
    });
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

/// What Watchtower and its kind do: stop, remove, create anew with the same name.
fn another_updater_that_replaces_the_app_ends_in_one_of_them(kind: EngineKind) {
    let bench = Bench::start(kind, Options::default());
    let (running, ()) = bench.interrupted_after(Way::Update, "create web.next", |bench| {
        bench.api("DELETE", "/containers/web?force=1");
        bench.world.run("web", &web("app:2"));
        bench.world.wait_for_http(8080);
    });
    let done = running.finish_within(LIMIT * 4).expect(30);
    let reason = done.event("finished").expect("an end")["reason"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("hint: ")), "{reason}");
    // Theirs serves on, as they made it.
    assert_eq!(bench.world.visit(8080), "2");
    let theirs = bench.world.inspect("web").expect("it has the name");
    assert_eq!(theirs["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
    let status = bench.world.changeover(&["status", "web"]).expect(0);
    assert_eq!(status.events[0]["state"], "needs-a-person");
}

fn two_updates_at_once_are_one(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (running, second) = bench.interrupted_after(Way::Update, "stop", |bench| {
        bench.world.changeover(&["update", "web", "--image", "app:1", "--pull", "never"])
    });
    second.expect(21).says("under way");
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
    // And from the start: one of them is it.
    let both: Vec<Running> = (0..2).map(|_| bench.directly(Way::Update)).collect();
    let mut codes: Vec<i32> = both.into_iter().map(|one| one.finish_within(LIMIT).code).collect();
    codes.sort_unstable();
    // The later one may find that it runs that image already.
    assert!(codes == [0, 21] || codes == [0, 10], "{codes:?}");
    bench.version = bench.other_version();
    bench.is_whole("updated");
}

/// The engine can neither start nor even rename a container, and our log is lost, until
/// there is room again.
fn a_full_disk_in_between_is_waited_for(kind: EngineKind) {
    const ROOT: &str = "/var/lib/small";
    let engine_args = vec![format!("--data-root={ROOT}")];
    let options = Options { engine_args, ..Options::default() };
    let mut world = World::start_with(kind, options.clone());
    // The engine made the folder; what it makes from now on is on a small disk.
    world.lab.stop();
    assert!(world.machine(&["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", ROOT]));
    world.lab.start_again();
    let mut bench = Bench::furnish(world, kind, options);
    let full = format!("{ROOT}/full");
    let (running, ()) = bench.interrupted_after(Way::Update, "update no", |bench| {
        bench.world.machine(&["sh", "-c", "cat /dev/zero > \"$0\"", &full]);
    });
    std::thread::sleep(Duration::from_secs(3));
    assert!(bench.world.machine(&["rm", &full]), "it was full");
    let done = running.finish_within(LIMIT);
    let way = if done.code == 0 { Way::Update } else { Way::ExitsAtOnce };
    bench.settled(way, done);
}

fn an_image_pruned_in_between_is_refused_or_not_needed(kind: EngineKind) {
    let bench = Bench::start(kind, Options::default());
    bench.proxy.cut(0, Cut::BeforeWrite);
    let mut running = bench.over_the_wire(Way::Update);
    let held = bench.proxy.wait_for_cut(|| running.runs());
    bench.api("DELETE", "/images/app:2?force=1");
    drop(held);
    running.finish_within(LIMIT).expect(21);
    assert_eq!(bench.world.visit(8080), "1");
    assert_eq!(bench.world.containers(), ["web", "web.changeover"]);

    for reference in sample(kind, "image pruned", ["app:2", "app:1"], 1) {
        let mut bench = Bench::start(kind, Options::default());
        let (running, ()) = bench.interrupted_after(Way::Update, "stop", |bench| {
            bench.api("DELETE", &format!("/images/{reference}?force=1"));
        });
        let done = running.finish_within(LIMIT);
        bench.settled(Way::Update, done);
    }
}

fn a_command_killed_while_it_follows_leaves_the_update_alone(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let (mut running, ()) = bench.interrupted_after(Way::Update, "stop", |_| ());
    running.kill();
    bench.world.wait("the new version", || bench.world.visit(8080) == "2");
    bench.world.wait("the helper's end", || bench.world.containers() == ["web"]);
    bench.version = 2;
    bench.is_whole("updated");
}
