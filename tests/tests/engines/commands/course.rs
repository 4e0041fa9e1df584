//! An update in the middle of its course: watched, left alone, interrupted, turned back.

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Running, World, web};
use serde_json::{Value, json};

use super::{assert_words, case, docker, refused, snapshot, update, world_with_web};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("detach_returns_while_the_helper_goes_on", detach_returns),
        case("a_helper_is_locked_down_and_gone_at_the_end", a_helper_is_locked_down),
        case("an_update_without_its_helper_is_resumed", an_update_without_its_helper_is_resumed),
        case("an_update_whose_helper_was_stopped_is_resumed", a_stopped_helper_is_resumed),
        case("an_update_that_was_cut_off_early_is_not_forgotten", cut_off_early),
        case("a_rollback_in_the_middle_brings_the_old_version_back", a_rollback_in_the_middle),
        case("a_rollback_without_the_helper_brings_the_old_version_back", a_rollback_alone),
        case("with_auto_remove_nothing_is_left", with_auto_remove_nothing_is_left),
    ]
}

/// An engine with `web` on `app:1`, and `app:slow` (version 2) that takes its time.
fn world_with_slow_version(kind: EngineKind) -> World {
    let world = world_with_web(kind);
    world.image("app:slow", &[("VERSION", "2"), ("BOOT_MS", "3000")], &[]);
    world
}

/// Starts an update to the slow version and waits until it boots: the old one is
/// stopped and parked, and nothing changes for a while.
fn update_in_the_middle(world: &World) -> Running {
    let mut update = world.spawn(&["update", "web", "--image", "app:slow", "--stable", "0s"]);
    update.wait_for_step("start-new");
    update
}

/// The only line of `status NAME`.
fn status(world: &World, name: &str) -> Value {
    let done = world.changeover(&["status", name]).expect(0);
    assert_eq!(done.events.len(), 1, "{:#?}", done.events);
    done.events[0].clone()
}

fn detach_returns(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let args = ["update", "web", "--image", "app:slow", "--stable", "0s", "--detach"];
    let done = world.changeover(&args).expect(0);
    assert!(done.event("launched").is_some() && done.event("finished").is_none(), "{done:#?}");
    world.wait("the page", || world.visit(8080) == "page");
    let now = status(&world, "web");
    assert_eq!(
        (&now["state"], &now["from"], &now["to"]),
        (&json!("updating"), &json!("app:1"), &json!("app:slow"))
    );
    assert_eq!(world.changeover(&["status"]).expect(0).events.len(), 1);
    // Whoever comes later follows it to the end.
    world.changeover(&["resume", "web"]).expect(0);
    world.assert_settled("2", false);
    let after = status(&world, "web");
    assert_eq!((&after["state"], &after["to"]), (&json!("updated"), &json!("app:slow")));
    assert_eq!(after.get("hint"), None);
    // Nobody waited to clear the helper's image away.
    world.changeover(&["gc"]).expect(0);
    let images = world.image_references();
    assert!(!images.iter().any(|image| image.contains("changeover")), "{images:?}");
}

fn a_helper_is_locked_down(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let running = update_in_the_middle(&world);
    let helper = world.inspect("web.changeover").expect("the helper runs");
    let host = &helper["HostConfig"];
    assert_eq!(host["ReadonlyRootfs"], true);
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["RestartPolicy"]["Name"], "always");
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    let added = host["CapAdd"].as_array().expect("a list").iter();
    let mut added: Vec<&str> =
        added.filter_map(Value::as_str).map(|c| c.trim_start_matches("CAP_")).collect();
    added.sort_unstable();
    assert_eq!(added, ["NET_ADMIN", "NET_BIND_SERVICE"]);
    let options = host["SecurityOpt"].as_array().expect("a list");
    assert!(options.iter().any(|option| option == "no-new-privileges"), "{options:?}");
    let mounts = helper["Mounts"].as_array().expect("a list");
    assert_eq!(mounts.len(), 1, "more than the socket: {mounts:?}");
    assert_eq!(mounts[0]["Destination"], "/var/run/docker.sock");
    let labels = &helper["Config"]["Labels"];
    for (label, value) in [
        ("io.changeover.role", "helper"),
        ("io.changeover.app", "web"),
        ("com.centurylinklabs.watchtower.enable", "false"),
        ("wud.watch", "false"),
        ("diun.enable", "false"),
        ("dockhand.update", "false"),
        ("dd.watch", "false"),
    ] {
        assert_eq!(labels[label], value, "label {label}");
    }
    let done = running.finish().expect(0);
    assert_eq!(done.event("finished").expect("an end")["outcome"], "updated");
    world.assert_settled("2", false);
    let images = world.image_references();
    assert!(!images.iter().any(|image| image.contains("changeover")), "left: {images:?}");
}

fn an_update_without_its_helper_is_resumed(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let running = update_in_the_middle(&world);
    docker(&world, "DELETE", "/containers/web.changeover?force=1");
    let done = running.finish().expect(30);
    assert_words(&done, &["somebody removed the helper", "changeover resume web", "rollback web"]);
    let now = status(&world, "web");
    assert_eq!(
        (&now["state"], &now["hint"]),
        (&json!("interrupted"), &json!("changeover resume web"))
    );
    refused(
        &world,
        &["update", "web", "--image", "app:2"],
        &["interrupted", "changeover resume web"],
    );
    let before = snapshot(&world);
    world.changeover(&["gc"]).expect(0);
    assert_eq!(snapshot(&world), before, "gc touched an interrupted update");
    world.changeover(&["resume", "web"]).expect(0);
    world.assert_settled("2", false);
    world.changeover(&["resume", "web"]).expect(10);
}

fn a_stopped_helper_is_resumed(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let running = update_in_the_middle(&world);
    docker(&world, "POST", "/containers/web.changeover/stop");
    let done = running.finish().expect(30);
    assert_words(&done, &["somebody stopped the helper", "changeover resume web"]);
    assert_eq!(status(&world, "web")["state"], "interrupted");
    refused(
        &world,
        &["update", "web", "--image", "app:2"],
        &["interrupted", "changeover resume web"],
    );
    let before = snapshot(&world);
    world.changeover(&["gc"]).expect(0);
    assert_eq!(snapshot(&world), before, "gc touched an interrupted update");
    world.changeover(&["resume", "web"]).expect(0);
    world.assert_settled("2", false);
}

/// Cut off while the old version stops: its policy is ours and it doesn't run, but
/// the only trace in a name is a new container that was never started.
fn cut_off_early(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let mut body = web("app:1");
    body["Env"] = json!(["ON_TERM=ignore"]);
    body["StopTimeout"] = 3.into();
    world.run("web", &body);
    world.wait_for_http(8080);
    let mut running = world.spawn(&["update", "web", "--image", "app:2", "--stable", "0s"]);
    running.wait_for("the page", |event| event["event"] == "page" && event["shown"] == true);
    // Earlier, nothing would have been asked of the engine yet.
    world.wait("the old version hears the signal", || world.log("web").contains("SIGTERM"));
    docker(&world, "DELETE", "/containers/web.changeover?force=1");
    running.finish().expect(30);
    // The engine finishes what it was asked to do, whoever asked.
    world.wait("the old version's end", || {
        world.inspect("web").is_some_and(|web| web["State"]["Running"] == false)
    });
    refused(
        &world,
        &["update", "web", "--image", "app:2"],
        &["interrupted", "changeover resume web"],
    );
    let before = snapshot(&world);
    world.changeover(&["gc"]).expect(0);
    assert_eq!(snapshot(&world), before, "gc touched an interrupted update");
    world.changeover(&["resume", "web"]).expect(0);
    world.assert_settled("2", false);
}

fn a_rollback_in_the_middle(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let running = update_in_the_middle(&world);
    world.changeover(&["rollback", "web"]).expect(0);
    running.finish().expect(20);
    world.assert_settled("1", true);
    let now = status(&world, "web");
    assert_eq!(now["state"], "rolled-back");
    let reason = now["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("changeover rollback"), "why it was given up: {now}");
    // It stands in nobody's way.
    update(&world, "app:2").expect(0);
    world.assert_settled("2", false);
}

fn a_rollback_alone(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    for end in ["DELETE /containers/web.changeover?force=1", "POST /containers/web.changeover/stop"]
    {
        let running = update_in_the_middle(&world);
        let (method, path) = end.split_once(' ').expect("two words");
        docker(&world, method, path);
        running.finish().expect(30);
        world.changeover(&["rollback", "web"]).expect(0);
        world.assert_settled("1", true);
    }
}

fn with_auto_remove_nothing_is_left(kind: EngineKind) {
    let world = world_with_slow_version(kind);
    let args = ["update", "web", "--image", "app:slow", "--stable", "0s", "--auto-remove"];
    let mut running = world.spawn(&args);
    running.wait_for_step("start-new");
    let helper = world.inspect("web.changeover").expect("the helper runs");
    assert_eq!(helper["HostConfig"]["AutoRemove"], true);
    running.finish().expect(0);
    world.assert_settled("2", false);
    let images = world.image_references();
    assert!(!images.iter().any(|image| image.contains("changeover")), "left: {images:?}");
    // A failure leaves its evidence, but no helper.
    world.image("app:bad", &[("VERSION", "3"), ("EXIT_MS", "0")], &[]);
    world.changeover(&["update", "web", "--image", "app:bad", "--auto-remove"]).expect(20);
    world.wait("the helper's end", || world.containers() == ["web", "web.failed"]);
    assert_eq!(status(&world, "web")["state"], "rolled-back");
    update(&world, "app:1").expect(0);
    world.assert_settled("1", false);
}
