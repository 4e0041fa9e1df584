//! What is new, by a real registry. Feeds and registries that misbehave need no engine:
//! `tests/available.rs` has those.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::lab::{EngineKind, Login};
use changeover_tests::world::{Done, Running};
use serde_json::{Value, json};

use super::pulls::{push, world_with_registry};
use super::refusals::load_image_for;
use super::{case, update};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![case("a_real_registry_tells_what_is_new_and_for_whom", a_real_registry_tells)]
}

fn a_real_registry_tells(kind: EngineKind) {
    let login = Login { user: "robot-7".into(), password: "correct-horse".into() };
    let (world, registry, second) = world_with_registry(kind, Some(login.clone()));
    let config = world.lab.dir().join("docker-config");
    fs::create_dir_all(&config).expect("the lab's directory is writable");
    let auth = STANDARD.encode(format!("{}:{}", login.user, login.password));
    let auths = json!({ "auths": { registry.address(): { "auth": auth } } });
    fs::write(config.join("config.json"), auths.to_string()).expect("it is writable");
    let run = |args: &[&str], config: &str| {
        let mut command = world.command(args);
        Running::start(command.arg("--json").env("DOCKER_CONFIG", config)).finish()
    };
    let config = config.to_str().expect("a path");
    let available = |code: i32| -> Value {
        let Done { events, .. } = run(&["available", "web"], config).expect(code);
        assert_eq!(events.len(), 1, "{events:#?}");
        events[0].clone()
    };
    // An app that was made here, from no registry's image.
    assert_eq!(run(&["available", "web"], config).code, 21);

    run(&["update", "web", "--image", &second, "--stable", "0s"], config).expect(0);
    let none = available(10);
    assert_eq!((&none["newer"], &none["ready"]), (&json!(false), &json!(false)), "{none:#}");

    let third = push(&world, &registry, "3", "web:3");
    let found = available(0);
    assert_eq!(found["newest"]["tag"], "3", "{found:#}");
    assert_eq!((&found["newer"], &found["ready"]), (&json!(true), &json!(true)), "{found:#}");
    assert_eq!(found["image"]["reference"], third.as_str());
    assert_eq!(found["image"]["platforms"], json!(["linux/amd64"]));
    let denied = run(&["available", "web"], "/nowhere").expect(21);
    assert_eq!(denied.event("error").expect("an error")["code"], "source-refused");
    denied.says("docker login");
    // What it says is what an update takes, and what the update brings has its digest.
    let image = found["image"]["reference"].as_str().expect("an image").to_owned();
    run(&["update", "web", "--image", &image, "--stable", "0s"], config).expect(0);
    world.assert_settled("3", false);
    assert_eq!(available(10)["current"]["digests"], json!([found["image"]["digest"]]));

    // The next one is out, but not for us yet.
    load_image_for(&world, "app:foreign", "s390x");
    registry.push(&world.lab, "app:foreign", "web:4");
    let early = available(10);
    assert_eq!((&early["newer"], &early["ready"]), (&json!(true), &json!(false)), "{early:#}");
    assert_eq!(early["image"]["platforms"], json!(["linux/s390x"]));

    // A tag that moves is followed by its digest.
    let latest = push(&world, &registry, "5", "web:latest");
    run(&["update", "web", "--image", &latest, "--stable", "0s"], config).expect(0);
    assert_eq!(available(10)["newer"], false);
    push(&world, &registry, "6", "web:latest");
    let moved = available(0);
    assert_eq!((&moved["newest"]["tag"], &moved["ready"]), (&json!("latest"), &json!(true)));
    assert_eq!(update(&world, "app:1").code, 0);
}
