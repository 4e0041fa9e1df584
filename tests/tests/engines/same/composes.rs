//! What Compose puts into a container comes along, and what its file says is known.

use changeover_tests::compose::Project;
use changeover_tests::lab::EngineKind;
use changeover_tests::wire::Proxy;
use changeover_tests::world::{Done, World};
use serde_json::{Value, json};

use super::{case, content};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(configs_and_secrets_of_composes_come_along),
        case!(a_file_that_would_undo_the_update_is_named_by_its_line),
        case!(a_tag_that_is_moved_keeps_compose_from_undoing_the_update),
        case!(a_tag_is_moved_even_if_the_helper_dies_before),
    ]
}

const STACK: &str = "\
name: shop
services:
  web:
    image: web:${TAG:-1}
    ports: [\"8080:80\"]
    restart: unless-stopped
    configs:
      - source: conf
        target: /etc/app/app.conf
    secrets: [token]
configs:
  conf:
    content: colour=blue
secrets:
  token:
    environment: TOKEN
";
const WEB: &str = "shop-web-1";
const CONFIG: &str = "/etc/app/app.conf";
const SECRET: &str = "/run/secrets/token";

/// The stack, up, with images `web:1` to `web:3`.
fn shop(kind: EngineKind) -> (World, Project) {
    let world = World::start(kind);
    for version in ["1", "2", "3"] {
        world.image(&format!("web:{version}"), &[("VERSION", version)], &[]);
    }
    let project = Project::new(&world.lab, "shop", STACK);
    project.write(".env", "TOKEN=hunter2\n");
    project.up();
    world.wait_for_http(8080);
    (world, project)
}

fn update(world: &World, image: &str, more: &[&str]) -> Done {
    let args = [&["update", WEB, "--image", image, "--stable", "0s"], more].concat();
    world.changeover(&args)
}

fn check_files(world: &World) {
    assert_eq!(content(world, WEB, CONFIG).as_deref(), Some("colour=blue"));
    assert_eq!(content(world, WEB, SECRET).as_deref(), Some("hunter2"));
}

/// Nothing is to be done for Compose, and this version serves.
#[track_caller]
fn is_settled(world: &World, project: &Project, version: &str) {
    let before = project.ids();
    let said = project.up();
    assert!(!said.contains("Recreate"), "{said}");
    assert_eq!(project.ids(), before, "{said}");
    world.wait(&format!("version {version}"), || world.visit(8080) == version);
}

fn configs_and_secrets_of_composes_come_along(kind: EngineKind) {
    let (world, _project) = shop(kind);
    check_files(&world);
    let check = world.changeover(&["check", WEB, "--image", "web:2"]).expect(0);
    let shown = check.event("check").expect("it is shown");
    assert_eq!(shown["plan"]["members"][0]["carry"], json!([CONFIG, SECRET]), "{shown}");
    assert_eq!(shown["losses"], json!([]), "{shown}");
    assert!(!shown.to_string().contains("hunter2"), "a secret in {shown}");
    // Also from one update to the next, when they are no longer as old as the container.
    for version in ["2", "3"] {
        let done = update(&world, &format!("web:{version}"), &[]).expect(0);
        assert!(!format!("{:?}", done.events).contains("hunter2"));
        world.wait("the new version", || world.visit(8080) == version);
        check_files(&world);
    }
    world.changeover(&["rollback", WEB, "--stable", "0s"]).expect(0);
    world.wait("the version before", || world.visit(8080) == "2");
    check_files(&world);
}

fn a_file_that_would_undo_the_update_is_named_by_its_line(kind: EngineKind) {
    let (world, project) = shop(kind);
    let file = project.dir().join("compose.yaml").display().to_string();
    let shown = |image: &str| {
        let check = world.changeover(&["check", WEB, "--image", image]).expect(0);
        let remarks = check.event("check").expect("it is shown")["remarks"].clone();
        remarks.as_array().into_iter().flatten().find(|one| one["code"] == "compose-pin").cloned()
    };
    let pin = shown("web:2").expect("the file names another tag");
    assert_eq!((&pin["file"], &pin["line"]), (&Value::from(file.as_str()), &json!(4)), "{pin}");
    assert!(pin["text"].as_str().is_some_and(|text| text.contains("TAG is set in no file")));
    project.write(".env", "TOKEN=hunter2\nTAG=2\n");
    assert_eq!(shown("web:2"), None, "the variable says so");
    assert_eq!(shown("docker.io/library/web:2"), None, "it means the same");
    project.write(".env", "TOKEN=hunter2\n");

    let done = update(&world, "web:2", &[]).expect(0);
    let warning = done.event("warning").expect("the result says it, too")["text"].to_string();
    assert!(warning.contains(&format!("{file} line 4")), "{warning}");
    // And that is true.
    let said = project.up();
    assert!(said.contains("Recreate"), "{said}");
    world.wait("the version of the file", || world.visit(8080) == "1");
}

fn a_tag_that_is_moved_keeps_compose_from_undoing_the_update(kind: EngineKind) {
    let (world, project) = shop(kind);
    let id = |reference: &str| {
        let (_, image) = world.lab.api("GET", &format!("/images/{reference}/json"), None);
        image["Id"].as_str().unwrap_or_default().to_owned()
    };
    let original = id("web:1");
    for version in ["2", "3"] {
        let image = format!("web:{version}");
        let done = update(&world, &image, &["--retag"]).expect(0);
        assert_eq!(done.event("warning"), None, "{:#?}", done.events);
        assert_eq!(id("web:1"), id(&image));
        is_settled(&world, &project, version);
        check_files(&world);
    }
    world.changeover(&["rollback", WEB, "--stable", "0s"]).expect(0);
    assert_eq!(id("web:1"), id("web:2"));
    is_settled(&world, &project, "2");
    // A version that doesn't come in moves nothing.
    world.image("web:broken", &[("VERSION", "4"), ("BROKEN_MS", "always")], &[]);
    update(&world, "web:broken", &["--retag", "--health-timeout", "1s"]).expect(20);
    assert_eq!(id("web:1"), id("web:2"));
    update(&world, &original, &["--retag"]).expect(0);
    assert_eq!(id("web:1"), original);
    is_settled(&world, &project, "1");

    // It is Compose's own in every other way, too.
    update(&world, "web:2", &["--retag"]).expect(0);
    assert_eq!(project.run(&["ps", "--services", "--status", "running"]).trim(), "web");
    let logs = project.run(&["logs", "--no-color", "web"]);
    assert!(logs.contains("version 2"), "{logs}");
    world.changeover(&["gc"]).expect(0);
    let said = project.try_run(&["down", "--volumes"]);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(world.containers(), [""; 0], "after `down`");
}

fn a_tag_is_moved_even_if_the_helper_dies_before(kind: EngineKind) {
    let (world, project) = shop(kind);
    let proxy = Proxy::listen(world.lab.dir().join("wire.sock"), world.lab.socket());
    proxy.pause_after("remove");
    let socket = proxy.path().to_string_lossy().into_owned();
    let mut running = world.spawn(&[
        "update", WEB, "--image", "web:2", "--stable", "0s", "--retag", "--socket", &socket,
    ]);
    let held = proxy.wait_for_cut(|| running.runs()).expect("old is removed");
    world.lab.crash_container(&format!("{WEB}.changeover"));
    drop(held);
    running.finish().expect(0);
    is_settled(&world, &project, "2");
}
