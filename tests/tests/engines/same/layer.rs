//! What a container has written into itself.

use changeover_tests::lab::EngineKind;
use changeover_tests::world::World;

use super::{case, content};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(files_in_the_container_refuse_the_update_or_come_along),
        case!(files_come_along_when_the_helper_dies_in_the_middle),
    ]
}

fn files_in_the_container_refuse_the_update_or_come_along(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let before = world.run_web("app:1");
    let update = |version: &str, more: &[&str]| {
        let args = [&["update", "web", "--image", version, "--stable", "0s"], more].concat();
        world.changeover(&args)
    };
    // What is thrown away anyway refuses nothing.
    put(&world, "tmp", "rubbish");
    put(&world, "web.pid", "7");
    put(&world, ".installed", "");
    put(&world, "data.txt", "precious");
    let refused = update("app:2", &[]).expect(21).says("/data.txt").says("--allow writable-layer");
    assert!(!refused.stderr.contains("web.pid"), "{}", refused.stderr);
    assert_eq!(world.inspect("web").expect("the app")["Id"], before.as_str());
    let check = world.changeover(&["check", "web", "--image", "app:2"]).expect(21);
    let shown = check.event("check").expect("it is shown");
    assert_eq!(shown["losses"][0]["code"], "writable-layer", "{shown}");
    let remarks = shown["remarks"].to_string();
    assert!(remarks.contains("1 empty file in itself"), "{remarks}");
    assert!(remarks.contains("(/.installed)") && !remarks.contains(".dockerenv"), "{remarks}");
    update("app:2", &["--carry", "/nothing"]).expect(21).says("there is no /nothing");
    update("app:2", &["--carry", "nothing"]).expect(2);

    update("app:2", &["--carry", "/data.txt"]).expect(0);
    assert_eq!(get(&world, "data.txt").as_deref(), Some("precious"));
    // From now on it is known, and what comes new is not.
    put(&world, "more.txt", "new");
    update("app:1", &[]).expect(21).says("/more.txt");
    update("app:1", &["--allow", "writable-layer"]).expect(0);
    assert_eq!(get(&world, "data.txt").as_deref(), Some("precious"));
    assert_eq!(get(&world, "more.txt"), None);
    put(&world, "data.txt", "grown");
    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    assert_eq!(get(&world, "data.txt").as_deref(), Some("grown"));
    world.assert_settled("2", false);
}

fn files_come_along_when_the_helper_dies_in_the_middle(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    put(&world, "data.txt", "precious");
    for (moment, version) in [("create-new", "2"), ("stop-old", "1"), ("carry-files", "2")] {
        let image = format!("app:{version}");
        let args = ["update", "web", "--image", &image, "--stable", "0s", "--carry", "/data.txt"];
        let mut update = world.spawn(&args);
        update.wait_for_step(moment);
        world.lab.crash_container("web.changeover");
        update.finish().expect(0);
        assert_eq!(get(&world, "data.txt").as_deref(), Some("precious"), "after {moment}");
        world.assert_settled(version, false);
    }
}

/// `docker cp` into the root of the app's container.
fn put(world: &World, name: &str, content: &str) {
    let file = world.lab.dir().join("file");
    std::fs::write(&file, content).expect("the lab's directory is writable");
    let copied = world.machine(&["docker", "cp", &file.to_string_lossy(), &format!("web:/{name}")]);
    assert!(copied, "docker cp to /{name}");
}

fn get(world: &World, name: &str) -> Option<String> {
    content(world, "web", &format!("/{name}"))
}
