//! Containers that depend on each other go together.

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "whoever_depends_on_the_app_comes_along",
            alone: false,
            run: whoever_depends_on_the_app_comes_along,
        },
        Case { name: "a_set_goes_back_together", alone: false, run: a_set_goes_back_together },
    ]
}

/// A sidecar in the app's network, one in the sidecar's process space, one that is
/// linked to the app and published itself, one that takes its volumes, and one that
/// depends on it and is stopped.
const DEPENDANTS: [&str; 5] = ["side", "beside", "linked", "taker", "stopped"];

fn set(kind: EngineKind) -> World {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.image("app:broken", &[("VERSION", "3"), ("BROKEN_MS", "always")], &[]);
    let mut app = web("app:1");
    app["Volumes"] = json!({ "/data": {} });
    world.run("web", &app);
    world.wait_for_http(8080);
    let with = |host: Value, environment: &str| json!({ "Image": "app:1", "Env": [environment], "HostConfig": host });
    let always = json!({ "Name": "always" });
    world.run(
        "side",
        &with(json!({ "NetworkMode": "container:web", "RestartPolicy": always }), "PORT=81"),
    );
    world.run("beside", &with(json!({ "PidMode": "container:side" }), "PORT=80"));
    world.run(
        "linked",
        &with(
            json!({ "Links": ["web:w"], "PortBindings": { "80/tcp": [{ "HostPort": "8081" }] } }),
            "PORT=80",
        ),
    );
    world.run("taker", &with(json!({ "VolumesFrom": ["web:ro"] }), "PORT=80"));
    world.create("stopped", &with(json!({ "NetworkMode": "container:web" }), "PORT=82"));
    world.wait("the linked container", || world.visit(8081) == "1");
    world
}

fn whoever_depends_on_the_app_comes_along(kind: EngineKind) {
    let world = set(kind);
    let volumes = volumes_of(&world, "web");
    for image in ["app:2", "app:1"] {
        world.changeover(&["update", "web", "--image", image, "--stable", "0s"]).expect(0);
        let names = world.containers();
        assert_eq!(names, ["beside", "linked", "side", "stopped", "taker", "web"]);
        check_ties(&world);
        assert_eq!(volumes_of(&world, "web"), volumes, "the app's volumes");
        assert_eq!(volumes_of(&world, "taker"), volumes, "the taker's volumes");
        world.wait("the linked container", || world.visit(8081) == "1");
    }
}

fn a_set_goes_back_together(kind: EngineKind) {
    let world = set(kind);
    let ids =
        || ["web"].iter().chain(&DEPENDANTS).map(|name| id_of(&world, name)).collect::<Vec<_>>();
    let before = ids();
    let args = ["update", "web", "--image", "app:broken", "--health-timeout", "1s"];
    world.changeover(&args).expect(20);
    assert_eq!(ids(), before, "the same containers as before");
    check_ties(&world);
    world.wait("the app", || world.visit(8080) == "1");
    world.wait("the linked container", || world.visit(8081) == "1");
    // What was set aside is neither in the way nor taken for a part of the set.
    world.changeover(&["update", "web", "--image", "app:2", "--stable", "0s"]).expect(0);
    check_ties(&world);
    assert_eq!(world.containers(), ["beside", "linked", "side", "stopped", "taker", "web"]);
}

/// Everybody runs, or not, as before, and is tied to those who are there now.
fn check_ties(world: &World) {
    let inspect = |name: &str| world.inspect(name).unwrap_or_else(|| panic!("no `{name}`"));
    for name in DEPENDANTS {
        let running = inspect(name)["State"]["Running"] == true;
        assert_eq!(running, name != "stopped", "whether `{name}` runs");
    }
    let web = id_of(world, "web");
    assert_eq!(inspect("side")["HostConfig"]["NetworkMode"], format!("container:{web}"));
    assert_eq!(inspect("side")["HostConfig"]["RestartPolicy"]["Name"], "always");
    assert_eq!(inspect("stopped")["HostConfig"]["NetworkMode"], format!("container:{web}"));
    let side = id_of(world, "side");
    assert_eq!(inspect("beside")["HostConfig"]["PidMode"], format!("container:{side}"));
    assert_eq!(inspect("beside")["HostConfig"]["RestartPolicy"]["Name"], "no");
    assert_eq!(inspect("linked")["HostConfig"]["Links"], json!(["/web:/linked/w"]));
}

fn id_of(world: &World, name: &str) -> String {
    let found = world.inspect(name).unwrap_or_else(|| panic!("no `{name}`"));
    found["Id"].as_str().expect("an id").to_owned()
}

/// Names of the volumes of a container, sorted.
fn volumes_of(world: &World, name: &str) -> Vec<String> {
    let found = world.inspect(name).unwrap_or_else(|| panic!("no `{name}`"));
    let mounts = found["Mounts"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<String> =
        mounts.iter().filter_map(|mount| mount["Name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}
