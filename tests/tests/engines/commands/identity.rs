//! Who am I? Asked from inside containers of every kind.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, program};
use serde_json::{Map, Value, json};

use super::{case, docker, world_with_web};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a_container_knows_itself_in_every_mode", in_every_mode),
        case("an_app_updates_itself_with_one_call", an_app_updates_itself),
    ]
}

/// What the asker finds out: the name of a container, or why there is none.
fn asked_from_inside(world: &World, name: &str, config: Value, host_config: &Value) -> String {
    let socket = world.lab.socket().display().to_string();
    let mut body = json!({
        "Image": "asker:1",
        "Cmd": ["check", "self", "--image", "app:2", "--pull", "never", "--json"],
        "HostConfig": { "Binds": [format!("{socket}:/var/run/docker.sock")] },
    });
    merge(&mut body, config);
    merge(&mut body["HostConfig"], host_config.clone());
    world.run(name, &body);
    docker(world, "POST", &format!("/containers/{name}/wait"));
    let said = world.log(name);
    docker(world, "DELETE", &format!("/containers/{name}"));
    let events = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.get(line.find('{')?..)?).ok());
    let found = |event: Value| {
        let app = event["plan"]["app"].as_str();
        app.or(event["error"].as_str()).map(str::to_owned)
    };
    events.filter_map(found).next_back().unwrap_or_else(|| panic!("{name} said: {said}"))
}

fn merge(into: &mut Value, more: Value) {
    let more: Map<String, Value> = serde_json::from_value(more).expect("an object");
    into.as_object_mut().expect("an object").extend(more);
}

pub(crate) fn in_every_mode(kind: EngineKind) {
    let world = world_with_web(kind);
    let binary = program("changeover");
    let files = [("changeover", binary.as_path(), 0o755)];
    world.lab.import_image("asker:1", &files, &[r#"ENTRYPOINT ["/changeover"]"#]);
    let web = world.inspect("web").expect("the app");
    let web = web["Id"].as_str().expect("an id");

    // Podman's is for root alone; an operator who lets others in gives it to a group, too.
    std::fs::set_permissions(world.lab.socket(), std::fs::Permissions::from_mode(0o660))
        .expect("it is ours");
    let group = std::fs::metadata(world.lab.socket()).expect("a socket").gid();
    let modes = [
        ("plain", json!({}), json!({})),
        ("named", json!({ "Hostname": "front" }), json!({})),
        // Somebody else's id for a host name.
        ("impostor", json!({ "Hostname": web[..12] }), json!({})),
        ("host", json!({}), json!({ "NetworkMode": "host" })),
        ("guest", json!({}), json!({ "NetworkMode": "container:web" })),
        ("alone", json!({}), json!({ "NetworkMode": "none" })),
        ("seeing", json!({}), json!({ "PidMode": "host", "IpcMode": "host" })),
        ("joined", json!({}), json!({ "PidMode": "container:web" })),
        ("private", json!({}), json!({ "CgroupnsMode": "private" })),
        ("shared", json!({}), json!({ "CgroupnsMode": "host" })),
        ("sealed", json!({}), json!({ "ReadonlyRootfs": true })),
        (
            "sealed-guest",
            json!({}),
            json!({ "ReadonlyRootfs": true, "NetworkMode": "container:web" }),
        ),
        ("scratch", json!({}), json!({ "Tmpfs": { "/tmp": "", "/run": "" } })),
        ("nobody", json!({ "User": format!("65534:{group}") }), json!({})),
    ];
    let is_it = |found: String, name: &str| {
        // A Podman that is too old for updates refuses this one, by its name.
        let refused = found.starts_with(&format!("`{name}` cannot be updated: Podman"));
        assert!(found == name || (refused && kind == EngineKind::Podman4), "{name}: {found}");
    };
    for (name, config, host_config) in modes {
        is_it(asked_from_inside(&world, name, config, &host_config), name);
    }
    // Who starts us beside itself proves itself by a file that nobody else has.
    let proof = |path| json!({ "Env": [format!("CHANGEOVER_PROOF={path}")] });
    is_it(asked_from_inside(&world, "beside", proof("/sample-app"), &json!({})), "web");
    let twin = json!({ "Image": "app:1" });
    world.run("twin", &twin);
    for (path, count) in [("/sample-app", 2), ("/nobody/has/it", 0)] {
        let refused = asked_from_inside(&world, "stranger", proof(path), &json!({}));
        assert!(refused.contains(&format!("{count} have that file")), "{refused}");
    }
    // A person who knows better is believed, and told when that is wrong.
    let told = |name| json!({ "Env": [format!("CHANGEOVER_CONTAINER={name}")] });
    is_it(asked_from_inside(&world, "told", told("web"), &json!({})), "web");
    let wrong = asked_from_inside(&world, "misled", told("nobody"), &json!({}));
    assert!(wrong.contains("`nobody`") && wrong.contains("no such container"), "{wrong}");
    // Nobody's container is no answer.
    let outside = world.changeover(&["check", "self", "--image", "app:2"]).expect(21);
    super::assert_words(&outside, &["`self`", "runs in none"]);
}

/// What an app does: one call, by itself, with nothing but an image reference.
fn an_app_updates_itself(kind: EngineKind) {
    let world = World::start(kind);
    let (sample, binary) = (program("sample-app"), program("changeover"));
    let files = [("sample-app", sample.as_path(), 0o755), ("changeover", binary.as_path(), 0o755)];
    for version in ["1", "2"] {
        let lines =
            [r#"ENTRYPOINT ["/sample-app"]"#, "EXPOSE 80", &format!("ENV VERSION={version}")];
        world.lab.import_image(&format!("own:{version}"), &files, &lines);
    }
    let mut web = changeover_tests::world::web("own:1");
    web["Hostname"] = json!("wiki");
    web["HostConfig"]["Binds"] =
        json!([format!("{}:/var/run/docker.sock", world.lab.socket().display())]);
    world.run("web", &web);
    world.wait_for_http(8080);

    let ask = ["/changeover", "update", "self", "--image", "own:2", "--pull", "never", "--detach"];
    exec(&world, &ask);
    world.wait("the update has ended", || {
        !world.containers().iter().any(|name| name == "web.changeover")
    });
    world.assert_settled("2", false);
    // The new version can tell its user how it came in.
    let status = exec(&world, &["/changeover", "status", "self", "--json"]);
    assert!(status.contains(r#""state":"updated""#) && status.contains("own:1"), "{status}");
}

/// `docker exec web …`; returns what it printed.
pub(super) fn exec(world: &World, command: &[&str]) -> String {
    let body = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true });
    let (status, made) = world.lab.api("POST", "/containers/web/exec", Some(&body));
    assert_eq!(status, 201, "{made}");
    let id = made["Id"].as_str().expect("an id");
    let start = json!({ "Detach": false, "Tty": false }).to_string();
    let headers = [("Content-Type", "application/json".to_owned())];
    let path = format!("/exec/{id}/start");
    let said = world.lab.api_raw("POST", &path, &headers, start.as_bytes()).1;
    let said = String::from_utf8_lossy(&said).into_owned();
    let (_, end) = world.lab.api("GET", &format!("/exec/{id}/json"), None);
    assert_eq!(end["ExitCode"], 0, "{command:?}: {said}");
    said
}
