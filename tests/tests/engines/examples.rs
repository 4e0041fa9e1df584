//! The complete small apps in `examples/`: a person presses "Update now" in a real browser.

use std::process::Stdio;
use std::thread;

use changeover_tests::browser;
use changeover_tests::examples::{EXAMPLES, Ingredients};
use changeover_tests::lab::EngineKind;
use changeover_tests::world::World;
use serde_json::{Value, json};

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        name: "each_example_updates_itself_when_its_button_is_pressed",
        alone: false,
        run: each_example_updates_itself_when_its_button_is_pressed,
    }]
}

/// On which engines. They make a Debian of their own and start four browsers, which is much for
/// every change: `make examples` does it.
pub(crate) fn engines() -> Vec<EngineKind> {
    match std::env::var_os("CHANGEOVER_EXAMPLES") {
        Some(_) => EngineKind::ALL.to_vec(),
        None => Vec::new(),
    }
}

fn each_example_updates_itself_when_its_button_is_pressed(kind: EngineKind) {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let ingredients = Ingredients::install().unwrap_or_else(|error| panic!("{error}"));
    let world = World::start(kind);
    ingredients.build(&world);
    for (example, port) in EXAMPLES.into_iter().zip(8081..) {
        let body = json!({
            "Image": format!("acme-{example}:1"),
            "HostConfig": {
                "Binds": ["/var/run/docker.sock:/var/run/docker.sock"],
                "PortBindings": { "80/tcp": [{ "HostPort": port.to_string() }] },
                "RestartPolicy": { "Name": "unless-stopped" },
            },
        });
        world.run(example, &body);
        world.wait_for_http(port);
    }
    thread::scope(|people| {
        for (example, port) in EXAMPLES.into_iter().zip(8081_u16..) {
            let world = &world;
            people.spawn(move || press(world, example, port));
        }
    });
    // An app may have been stopped just before it had removed the container that asked.
    world.changeover(&["gc"]).expect(0);
    let mut expected = EXAMPLES;
    expected.sort_unstable();
    assert_eq!(world.containers(), expected, "nobody but the apps");
}

fn press(world: &World, example: &str, port: u16) {
    let done = world
        .lab
        .host_command("node")
        .arg(browser::script("example.mjs"))
        .arg(format!("http://127.0.0.1:{port}"))
        .stderr(Stdio::inherit())
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let seen: Value = serde_json::from_str(&said).unwrap_or_else(|_| {
        panic!("{example}: no JSON: {said}\nwhat the app said: {}", world.log(example))
    });
    assert_eq!(seen["wrong"], json!([]), "{example}: {seen:#}");
    let phases = seen["phases"].as_array().cloned().unwrap_or_default();
    assert_eq!(phases.last(), Some(&json!("updated")), "{example}: {seen:#}");
    assert_eq!(seen["after"]["version"], "2", "{example}: {seen:#}");
    let image = world.inspect(example).expect("the app")["Config"]["Image"].clone();
    assert_eq!(image, format!("acme-{example}:2"));
    // What is refused says why: there is no third version.
    assert_eq!(seen["refused"]["status"], 422, "{example}: {seen:#}");
    let reason = seen["refused"]["text"].as_str().unwrap_or_default();
    assert!(reason.contains(&format!("acme-{example}:3")), "{example}: {seen:#}");
}
