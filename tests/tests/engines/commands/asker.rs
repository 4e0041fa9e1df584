//! Asked for from inside a container that has the socket.

use changeover_tests::fake;
use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Running, program};
use serde_json::{Value, json};

use super::{case, refused, world_with_web};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("an_update_is_asked_for_from_inside_a_container", from_inside_a_container),
        case("an_update_is_asked_for_over_tcp", over_tcp),
        case("a_helper_that_does_not_come_up_is_taken_back", a_helper_that_does_not_come_up),
    ]
}

fn from_inside_a_container(kind: EngineKind) {
    let world = world_with_web(kind);
    let binary = program("changeover");
    let files = [("changeover", binary.as_path(), 0o755)];
    world.lab.import_image("asker:1", &files, &[r#"ENTRYPOINT ["/changeover"]"#]);
    let socket = world.lab.socket().display().to_string();
    let dir = world.lab.dir().display().to_string();
    let ways = [
        // In its usual place, elsewhere, and with the folder around it.
        (format!("{socket}:/var/run/docker.sock"), None),
        (format!("{socket}:/engine.sock"), Some("unix:///engine.sock")),
        (format!("{dir}:/host"), Some("unix:///host/docker.sock")),
    ];
    for (n, (bind, host)) in ways.into_iter().enumerate() {
        let (version, other) = if n % 2 == 0 { ("2", "app:2") } else { ("1", "app:1") };
        let env: Vec<String> = host.iter().map(|host| format!("DOCKER_HOST={host}")).collect();
        world.run(
            "asker",
            &json!({
                "Image": "asker:1",
                "Cmd": ["update", "web", "--image", other, "--stable", "0s", "--json"],
                "Env": env,
                "HostConfig": { "Binds": [bind] },
            }),
        );
        let (_, end) = world.lab.api("POST", "/containers/asker/wait", None);
        let said = world.log("asker");
        assert_eq!(end["StatusCode"], 0, "{said}");
        assert!(said.contains(r#""outcome":"updated""#), "{said}");
        let (status, answer) = world.lab.api("DELETE", "/containers/asker", None);
        assert_eq!(status, 204, "{answer}");
        world.assert_settled(version, false);
        // From in there the published port cannot be reached. The helper can, and knew
        // that it had to visit it.
        let web = world.inspect("web").expect("the app");
        let record = web["Config"]["Labels"]["io.changeover.record"].as_str().expect("a record");
        let record: Value = serde_json::from_str(record).expect("JSON");
        assert_eq!(record["handover"]["published"][0]["answers"], true, "{record}");
    }
}

/// Without a socket the helper is told where the engine is.
fn over_tcp(kind: EngineKind) {
    let world = world_with_web(kind);
    // An engine that listens on TCP by itself takes 15 s for its warnings.
    let (host, socket) = (world.lab.host_netns(), world.lab.socket());
    let host = format!("tcp://{}", host.run(|| fake::tcp_in_front_of(&socket)));
    let args = ["--host", &host, "update", "web", "--image", "app:2", "--stable", "0s", "--json"];
    let mut command = world.lab.host_command(program("changeover"));
    Running::start(command.args(args).env_remove("DOCKER_HOST")).finish().expect(0);
    world.assert_settled("2", false);
}

/// The engine starts a helper that ends again and again; nobody should wait for that.
fn a_helper_that_does_not_come_up(kind: EngineKind) {
    let world = world_with_web(kind);
    let sample = program("sample-app");
    world.lab.import_image("helper:odd", &[("changeover", sample.as_path(), 0o755)], &[]);
    let missing = world.lab.dir().join("nowhere.sock").display().to_string();
    let args = ["update", "web", "--image", "app:2", "--stable", "0s"];
    let with = |more: &[&str], words: &[&str]| refused(&world, &[&args, more].concat(), words);
    with(&["--socket", &missing], &["`web`", "keeps running", "--socket"]);
    with(&["--helper-image", "helper:odd"], &["`web`", "does not come up", "no such flag"]);
    assert_eq!(world.containers(), ["web"]);
}
