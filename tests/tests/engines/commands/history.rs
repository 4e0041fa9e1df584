//! One update after the other: ways back, leftovers, and what mustn't pile up.

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::{case, docker, refused, update, world_with_web};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a_version_is_gone_back_to_after_the_commit", back_after_the_commit),
        case("a_failed_update_tells_why_and_blocks_nothing", a_failed_update_blocks_nothing),
        case("gc_clears_what_is_ours_and_nothing_else", gc_clears_what_is_ours),
        case("ten_updates_leave_a_container_as_it_was", ten_updates_leave_it_as_it_was),
        case("labels_of_compose_stay_true", labels_of_compose_stay_true),
    ]
}

fn back_after_the_commit(kind: EngineKind) {
    let world = world_with_web(kind);
    update(&world, "app:2").expect(0);
    let rollback = || world.changeover(&["rollback", "web", "--stable", "0s"]);
    // To the version before, and from there to the one before that.
    for version in ["1", "2", "1"] {
        rollback().expect(0);
        world.assert_settled(version, false);
        let image = world.inspect("web").expect("web is there")["Config"]["Image"].clone();
        assert_eq!(image, format!("app:{version}"), "by the name that the user knows");
    }
    // A tag that moved means another image now; the one before has an id only.
    let first = world.inspect("web").expect("web is there")["Image"].clone();
    world.image("app:1", &[("VERSION", "3")], &[]);
    update(&world, "app:1").expect(0);
    world.assert_settled("3", false);
    let done = world.command(&["rollback", "web", "--stable", "0s"]).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    let id = first.as_str().expect("an id");
    assert!(said.lines().last().is_some_and(|end| end.starts_with("gone back after ")), "{said}");
    for command in ["status", "history"] {
        let told = world.command(&[command, "web"]).output().expect("it runs").stdout;
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.contains("gone back, app:1 → sha256:"), "{command}: {told}");
    }
    world.assert_settled("1", false);
    assert_eq!(world.inspect("web").expect("web is there")["Image"], first);
    // An image that is gone can't be gone back to.
    update(&world, "app:2").expect(0);
    docker(&world, "DELETE", &format!("/images/{id}?force=true"));
    refused(&world, &["rollback", "web"], &["web", "its image is gone"]);
}

fn a_failed_update_blocks_nothing(kind: EngineKind) {
    let world = world_with_web(kind);
    world.image("app:bad", &[("VERSION", "9"), ("EXIT_MS", "0"), ("EXIT_CODE", "7")], &[]);
    for _ in 0..3 {
        let done = world.changeover(&["update", "web", "--image", "app:bad"]).expect(20);
        let reason = done.event("condemned").expect("a verdict")["reason"].clone();
        assert!(reason.as_str().is_some_and(|r| r.contains("code 7")), "{reason}");
        // The same names each time, never nested.
        world.assert_settled("1", true);
        let status = world.changeover(&["status", "web"]).expect(0);
        assert_eq!(status.events[0]["state"], "rolled-back", "{:#?}", status.events);
        let told = status.events[0]["reason"].as_str().unwrap_or_default();
        assert!(told.contains("code 7"), "{:#?}", status.events);
        assert_eq!(world.inspect("web.failed").expect("evidence")["State"]["ExitCode"], 7);
        assert_eq!(world.inspect("web.changeover").expect("evidence")["State"]["ExitCode"], 20);
    }
    let check = world.changeover(&["check", "web", "--image", "app:2"]).expect(0);
    let leftovers = &check.event("check").expect("a check")["leftovers"];
    assert_eq!(leftovers, &json!(["web.changeover", "web.failed"]));
    update(&world, "app:2").expect(0);
    world.assert_settled("2", false);
}

fn gc_clears_what_is_ours(kind: EngineKind) {
    let world = world_with_web(kind);
    world.image("app:bad", &[("VERSION", "9"), ("EXIT_MS", "0")], &[]);
    for name in ["web2.failed", "web2.next", "web2.changeover", "web.changeover.1", "failed"] {
        world.create(name, &json!({ "Image": "app:1" }));
    }
    let theirs = world.containers();
    world.changeover(&["update", "web", "--image", "app:bad"]).expect(20);
    let ours = ["web.changeover", "web.failed"];
    let cleared = |args: &[&str]| {
        let done = world.changeover(args).expect(0);
        let names = done.events.iter().filter(|event| event["cleared"] == "container");
        names.filter_map(|event| event["name"].as_str()).map(str::to_owned).collect::<Vec<_>>()
    };
    // Two were made at the same time, and the second took the first one's name.
    for content in ["Cargo.toml", "Cargo.lock"] {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(content);
        let files = [("file", file.as_path(), 0o644)];
        let label = "LABEL io.changeover.role=helper-image";
        world.lab.import_image("changeover-helper:twice", &files, &[label]);
    }
    let before = (world.containers(), world.image_references());
    assert_eq!(cleared(&["gc", "--dry-run"]), ours);
    assert_eq!((world.containers(), world.image_references()), before, "a dry run clears");
    assert_eq!(cleared(&["gc"]), ours);
    assert_eq!(world.containers(), theirs);
    let images = world.image_references();
    assert!(!images.iter().any(|image| image.contains("changeover")), "left: {images:?}");
    let of_helpers = "/images/json?filters=%7B%22label%22%3A%5B%22io.changeover.role%22%5D%7D";
    assert_eq!(world.lab.api("GET", of_helpers, None).1, json!([]), "nameless ones are left");
    assert!(images.contains(&"app:bad".to_owned()), "{images:?}");
    assert!(cleared(&["gc"]).is_empty());
    assert_eq!(world.visit(8080), "1");
    update(&world, "app:2").expect(0);
    assert!(cleared(&["gc"]).is_empty(), "a version that serves is no leftover");
    assert_eq!(world.visit(8080), "2");
}

fn ten_updates_leave_it_as_it_was(kind: EngineKind) {
    let world = world_with_web(kind);
    docker(&world, "DELETE", "/containers/web?force=1");
    let network = json!({ "Name": "inner", "IPAM": { "Config": [{ "Subnet": "10.217.9.0/24" }] } });
    let (status, answer) = world.lab.api("POST", "/networks/create", Some(&network));
    assert_eq!(status, 201, "{answer}");
    let mut body = web("app:1");
    body["Labels"] = json!({ "mine": "yes" });
    body["Env"] = json!(["MINE=yes"]);
    body["Volumes"] = json!({ "/anonymous": {} });
    body["MacAddress"] = MAC.into();
    body["HostConfig"]["NetworkMode"] = "inner".into();
    body["HostConfig"]["PortBindings"]["80/tcp"] =
        json!([{ "HostPort": "8080" }, { "HostPort": "" }]);
    body["NetworkingConfig"] = json!({ "EndpointsConfig": { "inner": {
        "Aliases": ["site"], "IPAMConfig": { "IPv4Address": ADDRESS },
    } } });
    world.run("web", &body);
    world.wait_for_http(8080);
    let volume = volume_of(&world.inspect("web").expect("web is there"));
    let write = format!("echo written > /var/lib/docker/volumes/{volume}/_data/file");
    assert!(world.machine(&["sh", "-c", &write]));
    let asked_for = what_stays(&world);
    let mut first = Value::Null;
    for round in 1..=10 {
        update(&world, if round % 2 == 0 { "app:1" } else { "app:2" }).expect(0);
        assert_eq!(what_stays(&world), asked_for, "after {round} updates");
        // The first one pins what was free, the second is the first with a version before.
        if round == 3 {
            first = shape(&world);
        }
    }
    update(&world, "app:1").expect(10);
    update(&world, "app:2").expect(0);
    assert_eq!(shape(&world), first, "something grows from update to update");
    world.assert_settled("2", false);
    for version in ["1", "2", "1"] {
        world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
        assert_eq!(what_stays(&world), asked_for, "back on {version}");
        world.assert_settled(version, false);
    }
}

const ADDRESS: &str = "10.217.9.77";
const MAC: &str = "92:d0:c6:0a:29:77";

/// What others rely on: addresses, and the data in the volume that nobody named.
fn what_stays(world: &World) -> Value {
    let web = world.inspect("web").expect("web is there");
    let endpoint = &web["NetworkSettings"]["Networks"]["inner"];
    assert_eq!((&endpoint["IPAddress"], &endpoint["MacAddress"]), (&ADDRESS.into(), &MAC.into()));
    let mut ports = web["NetworkSettings"]["Ports"].clone();
    let live = ports["80/tcp"].as_array_mut().expect("80 is published");
    // The engine starts on all bindings of a port at once.
    live.sort_by_key(Value::to_string);
    let chosen = |port: &Value| port["HostPort"] != "8080" && port["HostPort"] != "";
    assert!(live.iter().any(chosen), "a port of the engine's choice: {ports}");
    let volume = volume_of(&web);
    let file = format!("/var/lib/docker/volumes/{volume}/_data/file");
    assert!(world.machine(&["grep", "-q", "written", &file]), "the data is in {file}");
    json!({ "ports": ports, "volume": volume })
}

/// The name of the volume that nobody named.
fn volume_of(web: &Value) -> String {
    let points = web["Mounts"].as_array().expect("mounts");
    assert_eq!(points.len(), 1, "{points:?}");
    points[0]["Name"].as_str().expect("a volume").to_owned()
}

/// All that could grow: how much the container says of itself, without what is
/// different each time (ids, times, addresses).
fn shape(world: &World) -> Value {
    let web = world.inspect("web").expect("web is there");
    let labels = web["Config"]["Labels"].as_object().expect("labels");
    let short = web["Id"].as_str().expect("an id")[..12].to_owned();
    let named =
        |alias: &Value| if *alias == short.as_str() { json!("(id)") } else { alias.clone() };
    let endpoint = &web["NetworkSettings"]["Networks"]["inner"];
    let aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
    let mut host = web["HostConfig"].clone();
    host["ContainerIDFile"] = Value::Null;
    let mut env = web["Config"]["Env"].as_array().cloned().unwrap_or_default();
    env.sort_by_key(Value::to_string);
    json!({
        "labels": labels.keys().collect::<Vec<_>>(),
        "record": labels["io.changeover.record"].as_str().expect("a record").len() / 64,
        "mine": labels["mine"],
        "aliases": aliases.iter().map(named).collect::<Vec<_>>(),
        "networks": web["NetworkSettings"]["Networks"].as_object().expect("networks").len(),
        "env": env,
        "cmd": [&web["Config"]["Cmd"], &web["Config"]["Entrypoint"]],
        "host": host,
        "mounts": web["Mounts"],
        "names": world.containers(),
    })
}

fn labels_of_compose_stay_true(kind: EngineKind) {
    let world = World::start(kind);
    let first = world.image("app:1", &[("VERSION", "1")], &[]);
    let second = world.image("app:2", &[("VERSION", "2")], &[]);
    let mut body = web("app:1");
    body["Labels"] = json!({
        "com.docker.compose.project": "site",
        "com.docker.compose.service": "web",
        "com.docker.compose.config-hash": "0123",
        "com.docker.compose.container-number": "1",
        "com.docker.compose.image": first,
    });
    let before = body["Labels"].clone();
    world.run("web", &body);
    world.wait_for_http(8080);
    let check = world.changeover(&["check", "web", "--image", "app:2"]).expect(0);
    let differences = check.event("check").expect("a check")["differences"].to_string();
    assert!(differences.contains("com.docker.compose.image"), "{differences}");
    update(&world, "app:2").expect(0);
    let labels = world.inspect("web").expect("web is there")["Config"]["Labels"].clone();
    for (label, value) in before.as_object().expect("labels") {
        match label.as_str() {
            "com.docker.compose.image" => assert_eq!(labels[label], second.as_str()),
            _ => assert_eq!(&labels[label], value, "{label}"),
        }
    }
}
