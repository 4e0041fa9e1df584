//! What is new, by a real registry. Feeds and registries that misbehave need no engine:
//! `tests/available.rs` has those.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::forge::{Asked, Forge, Reply};
use changeover_tests::lab::{EngineKind, Login, Registry};
use changeover_tests::tls::Authority;
use changeover_tests::world::{Done, Running, World, program, web};
use serde_json::{Value, json};

use super::identity::exec;
use super::pulls::{push, world_with_registry};
use super::refusals::load_image_for;
use super::{assert_words, case, docker, program_in_the_lab, snapshot, update};
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

/// A registry of one's own: a name, a port, and a certificate of an authority that only this
/// house knows. The engine is told of it by `/etc/docker/certs.d`, we are by that or `SSL_CERT_FILE`.
pub(super) fn a_registry_by_name(kind: EngineKind) {
    const NAME: &str = "registry.test";
    let world = World::start(kind);
    world.images(&[1]);
    world.run_web("app:1");
    // On the loopback the engine would believe anybody.
    let hosts = format!("127.0.0.1 localhost\n{} {NAME}\n", world.lab.host_v4());
    world.write_on_machine("/etc/hosts", &hosts);
    let house = Authority::new();
    let mut registry = Registry::start_over_tls(&world.lab, NAME, house.sign(&[NAME]));
    let trusted = format!("/etc/docker/certs.d/{}/ca.crt", registry.address());
    world.write_on_machine(&trusted, house.certificate());
    let dir = world.lab.dir().to_owned();
    let bundle = |name: &str, authority: &Authority| {
        let file = dir.join(name);
        fs::write(&file, authority.certificate()).expect("the lab's directory is writable");
        file.display().to_string()
    };
    let (own, others) = (bundle("own.pem", &house), bundle("others.pem", &Authority::new()));
    let (inside, cache) = (program_in_the_lab(&world), dir.join("cache"));
    let run = |args: &[&str], bundle: &str| {
        let mut command = world.lab.machine_command(&inside.display().to_string());
        command.args(args).arg("--json").env("SSL_CERT_FILE", bundle);
        Running::start(command.env("CHANGEOVER_CACHE", &cache)).finish()
    };
    let available =
        |code: i32| -> Value { run(&["available", "web"], &own).expect(code).events[0].clone() };
    let update = |image: &str| {
        run(&["update", "web", "--image", image, "--stable", "0s"], &own).expect(0);
    };

    update(&push(&world, &registry, "2", "web:2"));
    world.assert_settled("2", false);
    assert_eq!(available(10)["newer"], false);
    let third = push(&world, &registry, "3", "web:3");
    let found = available(0);
    assert_eq!(
        (&found["newest"]["tag"], &found["ready"]),
        (&json!("3"), &json!(true)),
        "{found:#}"
    );
    assert_eq!(found["image"]["reference"], third.as_str());
    assert_eq!(found["image"]["platforms"], json!(["linux/amd64"]));
    let check = run(&["check", "web", "--image", &third], &own).expect(0);
    let digest =
        check.event("check").expect("it is shown")["plan"]["members"][0]["image"]["digest"].clone();
    let (_, digest) = digest.as_str().and_then(|text| text.split_once('@')).expect("a digest");
    assert_eq!(found["image"]["digest"], digest);
    // Out, but not for this processor.
    load_image_for(&world, "app:foreign", "s390x");
    registry.push(&world.lab, "app:foreign", "web:4");
    let early = available(10);
    assert_eq!((&early["newer"], &early["ready"]), (&json!(true), &json!(false)), "{early:#}");
    assert_eq!(early["image"]["platforms"], json!(["linux/s390x"]));
    // A tag that moves.
    update(&push(&world, &registry, "5", "web:latest"));
    assert_eq!(available(10)["newer"], false);
    push(&world, &registry, "6", "web:latest");
    assert_eq!(available(0)["ready"], true);

    // Who can't prove to be that registry is believed by neither of us.
    let before = snapshot(&world);
    let asks = |bundle: &str, words: &[&str]| {
        let done = run(&["available", "web"], bundle).expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "source-untrusted");
        assert_words(&done, &[words, &[NAME, "cannot prove who it is", "SSL_CERT_FILE"]].concat());
    };
    let pulls = |words: &[&str]| {
        let done = run(&["update", "web", "--image", &third], &own).expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "image-unavailable");
        assert_words(
            &done,
            &[words, &["`web` keeps running", "/etc/docker/certs.d", &third]].concat(),
        );
    };
    // By Docker's own folder alone.
    run(&["available", "web"], &others).expect(0);
    world.write_on_machine(&trusted, Authority::new().certificate());
    asks(&others, &["invalid peer certificate"]);
    pulls(&["unknown authority"]);
    world.write_on_machine(&trusted, house.certificate());
    registry.start_again_with(&world.lab, house.sign_until(2020, &[NAME]));
    asks(&own, &["expired"]);
    pulls(&["expired"]);
    registry.start_again_with(&world.lab, house.sign(&["elsewhere.test"]));
    asks(&own, &["not valid for name"]);
    pulls(&["elsewhere.test"]);
    assert_eq!(snapshot(&world), before, "something was touched");
    let kept = fs::read_dir(&cache).into_iter().flatten().count();
    assert_eq!(kept, 0, "something was cached");
}
