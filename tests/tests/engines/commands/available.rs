//! What is new, by a real registry. Feeds and registries that misbehave need no engine:
//! `tests/available.rs` has those.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::forge::{Asked, Forge, Reply};
use changeover_tests::lab::{EngineKind, Login, Registry};
use changeover_tests::world::{Done, Running, World, program, web};
use serde_json::{Value, json};

use super::identity::exec;
use super::pulls::{push, world_with_registry};
use super::refusals::load_image_for;
use super::{case, docker, update};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a_real_registry_tells_what_is_new_and_for_whom", a_real_registry_tells),
        case("an_app_asks_with_one_call_what_is_new_for_it", an_app_asks),
    ]
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

/// From inside, and with nothing but `available self`: image, version, platform and source
/// are the app's own.
fn an_app_asks(kind: EngineKind) {
    let world = World::start(kind);
    let registry = Registry::start(&world.lab);
    let releases = json!([{ "tag_name": "v1.10.0", "body": "faster" }]).to_string();
    let answers = move |_: &_, _| Reply::ok(releases.clone());
    let forge = world.lab.host_netns().run(|| Forge::start("127.0.0.1", None, answers));
    let label = format!("LABEL io.changeover.source=gitea:http://{}/acme/own", forge.address());
    let (sample, binary) = (program("sample-app"), program("changeover"));
    let token = world.lab.dir().join("token");
    fs::write(&token, "s3cret").expect("the lab's directory is writable");
    let files = [
        ("sample-app", sample.as_path(), 0o755),
        ("changeover", binary.as_path(), 0o755),
        ("token", token.as_path(), 0o644),
    ];
    let run = |tag: &str, lines: &[&str]| {
        let image = format!("{}/own:{tag}", registry.address());
        let lines = [&[r#"ENTRYPOINT ["/sample-app"]"#, "EXPOSE 80"], lines].concat();
        world.lab.import_image(&image, &files, &lines);
        let mut web = web(&image);
        web["HostConfig"]["NetworkMode"] = "host".into();
        web["HostConfig"]["Binds"] =
            json!([format!("{}:/var/run/docker.sock", world.lab.socket().display())]);
        world.run("web", &web);
    };
    let ask = || -> Value {
        let call = ["/changeover", "available", "self", "--json", "--token-file", "/token"];
        let said = exec(&world, &call);
        let said = said.get(said.find('{').unwrap_or_default()..).unwrap_or_default();
        serde_json::from_str(said.trim()).unwrap_or_else(|error| panic!("{error}: {said}"))
    };
    world.images(&[2]);
    let newest = registry.push(&world.lab, "app:2", "own:1.10.0");
    for labels in [&[label.as_str()][..], &[]] {
        run("1.9.0", labels);
        let found = ask();
        let source = found["source"].as_str().unwrap_or_default();
        let is_forges = source == format!("http://{}/acme/own", forge.address());
        assert_eq!(is_forges, !labels.is_empty(), "{found:#}");
        assert_eq!(found["newest"]["notes"].as_str(), is_forges.then_some("faster"), "{found:#}");
        assert_eq!((&found["name"], &found["ready"]), (&json!("web"), &json!(true)), "{found:#}");
        assert_eq!(found["current"]["version"], "1.9.0", "{found:#}");
        assert_eq!(found["image"]["reference"], newest.as_str(), "{found:#}");
        docker(&world, "DELETE", "/containers/web?force=1");
    }
    // Whoever makes an image could have it sent anywhere.
    let told = |asked: &Asked| asked.headers.contains_key("authorization");
    assert!(!forge.seen().is_empty() && !forge.seen().iter().any(told), "a label got the token");
}
