//! Images from a real registry.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::fake::Gatekeeper;
use changeover_tests::lab::{EngineKind, Login, Registry};
use changeover_tests::world::{Running, World, program};
use serde_json::{Value, json};

use super::{assert_words, case, docker, noise, refused, update, world_with_web};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("an_image_is_pulled_by_tag_and_by_digest", by_tag_and_by_digest),
        case("a_tag_that_moved_is_an_update", a_tag_that_moved_is_an_update),
        case("an_image_that_cannot_be_had_is_refused", an_image_that_cannot_be_had_is_refused),
        case("a_login_opens_the_registry_and_shows_up_nowhere", a_login_opens_the_registry),
        case("an_app_that_changes_during_the_pull_is_left_alone", changed_during_the_pull),
        case("the_helper_can_come_from_a_published_image", a_published_helper_image),
    ]
}

/// `web` on version 1 of a repository of the registry, with the second one pushed
/// and only there.
pub(super) fn world_with_registry(
    kind: EngineKind,
    login: Option<Login>,
) -> (World, Registry, String) {
    let world = World::start(kind);
    world.images(&[1]);
    // Both would be found without the registry otherwise.
    let registry = match login {
        Some(login) => Registry::start_with_login(&world.lab, login),
        None => Registry::start(&world.lab),
    };
    world.run_web("app:1");
    let second = push(&world, &registry, "2", "web:2");
    (world, registry, second)
}

/// Pushes version `version` under a name and makes the engine forget it.
pub(super) fn push(world: &World, registry: &Registry, version: &str, name: &str) -> String {
    make(world, &[("VERSION", version)]);
    let reference = registry.push(&world.lab, "made:here", name);
    world.lab.forget_image(&reference);
    world.lab.forget_image("made:here");
    reference
}

/// `made:here`: the sample app with a layer of its own, so that there is something to
/// fetch.
fn make(world: &World, environment: &[(&str, &str)]) {
    let (app, extra) = (program("sample-app"), world.lab.dir().join("extra"));
    fs::write(&extra, noise(3 << 20)).expect("the lab's directory is writable");
    let mut lines = vec![r#"ENTRYPOINT ["/sample-app"]"#.to_owned(), "EXPOSE 80".to_owned()];
    lines.extend(environment.iter().map(|(key, value)| format!("ENV {key}={value}")));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let files = [("sample-app", app.as_path(), 0o755), ("extra", extra.as_path(), 0o644)];
    world.lab.import_image("made:here", &files, &lines);
}

fn image(world: &World, reference: &str) -> Value {
    let (status, image) = world.lab.api("GET", &format!("/images/{reference}/json"), None);
    assert_eq!(status, 200, "{image}");
    image
}

fn by_tag_and_by_digest(kind: EngineKind) {
    let (world, registry, second) = world_with_registry(kind, None);
    let done = update(&world, &second).expect(0);
    let pull = done.event("pull").expect("progress of the pull");
    assert_eq!(pull["image"], second.as_str());
    let bytes = |event: &&Value| {
        event["event"] == "pull" && event["total_bytes"].as_u64().is_some_and(|n| n > 100_000)
    };
    assert!(done.events.iter().any(|event| bytes(&event)), "no bytes told: {:#?}", done.events);
    world.assert_settled("2", false);
    assert_eq!(world.inspect("web").expect("web is there")["Config"]["Image"], second.as_str());

    let third = push(&world, &registry, "3", "web:3");
    registry.pull(&world.lab, &third);
    let digest = image(&world, &third)["RepoDigests"][0].as_str().expect("a digest").to_owned();
    world.lab.forget_image(&third);
    world.lab.forget_image(&digest);
    update(&world, &digest).expect(0);
    world.assert_settled("3", false);
    assert_eq!(world.inspect("web").expect("web is there")["Config"]["Image"], digest.as_str());
    update(&world, &digest).expect(10);
    // Back by tag, which the engine still has.
    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    world.assert_settled("2", false);
}

fn a_tag_that_moved_is_an_update(kind: EngineKind) {
    let (world, registry, _) = world_with_registry(kind, None);
    let latest = push(&world, &registry, "5", "web:latest");
    update(&world, &latest).expect(0);
    world.assert_settled("5", false);
    update(&world, &latest).expect(10);

    // Pushed from elsewhere, so that this engine still knows the tag as it was.
    let before = image(&world, &latest)["Id"].as_str().expect("an id").to_owned();
    push(&world, &registry, "6", "web:latest");
    docker(
        &world,
        "POST",
        &format!("/images/{before}/tag?repo={}/web&tag=latest", registry.address()),
    );
    let args = ["update", "web", "--image", &latest, "--stable", "0s", "--pull"];
    let with = |pull: &str| world.changeover(&[args.as_slice(), &[pull]].concat());
    with("missing").expect(10);
    with("never").expect(10);
    with("always").expect(0);
    world.assert_settled("6", false);
    // The image of before has no name any more, and is gone back to all the same.
    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    world.assert_settled("5", false);
    assert_eq!(world.inspect("web").expect("web is there")["Image"], before.as_str());
}

fn an_image_that_cannot_be_had_is_refused(kind: EngineKind) {
    let (world, mut registry, second) = world_with_registry(kind, None);
    let ask = |image: &str, more: &[&str], words: &[&str]| {
        let args = ["update", "web", "--image", image];
        refused(&world, &[&args, more].concat(), words);
    };
    let missing = format!("{}/web:9", registry.address());
    ask(&missing, &[], &[&missing, "`web` keeps running", "is the tag published yet"]);
    // Where one of the images that are here is meant, it is named.
    ask("app:10", &[], &["`app:10`", "of this name the engine has app:1"]);
    let elsewhere = format!("{}/other:1", registry.address());
    ask(&elsewhere, &[], &[&elsewhere, "`web` keeps running", "is the tag published yet"]);
    ask(&second, &["--pull", "never"], &[&second, "--pull never was given"]);
    ask("App:2", &[], &["`App:2`", "`web` keeps running", "lowercase"]);
    ask("app 2", &[], &["`app 2`"]);
    ask("nobody.invalid/app:2", &[], &["nobody.invalid/app:2", "registry reachable"]);
    registry.stop();
    ask(&second, &[], &[&second, "`web` keeps running", "is the registry reachable"]);
    world.assert_settled("1", false);
    registry.start_again(&world.lab);
    update(&world, &second).expect(0);
    world.assert_settled("2", false);
}

fn a_login_opens_the_registry(kind: EngineKind) {
    const PASSWORD: &str = "correct-horse-battery";
    let login = Login { user: "robot-7".into(), password: PASSWORD.into() };
    let (world, registry, second) = world_with_registry(kind, Some(login));
    let slow = {
        make(&world, &[("VERSION", "3"), ("BOOT_MS", "1500")]);
        let reference = registry.push(&world.lab, "made:here", "web:3");
        world.lab.forget_image(&reference);
        world.lab.forget_image("made:here");
        reference
    };
    refused(
        &world,
        &["update", "web", "--image", &second],
        &[&second, "`web` keeps running", "docker login", "--registry-password-file"],
    );
    let file = |name: &str, text: &str| {
        let path = world.lab.dir().join(name);
        fs::write(&path, text).expect("the lab's directory is writable");
        path.display().to_string()
    };
    let wrong = file("wrong", "battery-staple");
    let with = ["update", "web", "--image", &second, "--registry-user", "robot-7"];
    let with_file =
        |file: &str| [&with[..], &["--registry-password-file", file]].concat().join(" ");
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let refuse = |args: &str, said: &[&str]| {
        let args = words(args);
        refused(&world, &args.iter().map(String::as_str).collect::<Vec<_>>(), said);
    };
    refuse(&with_file(&wrong), &[&second, "docker login", "`web` keeps running"]);
    refuse(&with_file("/nowhere/password"), &["/nowhere/password"]);

    // By file, with the newline that editors leave.
    let right = file("right", &format!("{PASSWORD}\n"));
    let args = words(&with_file(&right));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    world.changeover(&args).expect(0);
    world.assert_settled("2", false);

    // By what `docker login` leaves; watched for the secret all the way.
    let config = world.lab.dir().join("docker-config");
    fs::create_dir_all(&config).expect("the lab's directory is writable");
    let auth = STANDARD.encode(format!("robot-7:{PASSWORD}"));
    let auths = json!({ "auths": { registry.address(): { "auth": auth } } });
    fs::write(config.join("config.json"), auths.to_string()).expect("it is writable");
    let mut command =
        world.command(&["update", "web", "--image", &slow, "--stable", "0s", "--json"]);
    let mut running = Running::start(command.arg("-vv").env("DOCKER_CONFIG", &config));
    running.wait_for_step("start-new");
    let mut seen = String::new();
    for name in ["web", "web.old", "web.changeover"] {
        seen += &world.inspect(name).unwrap_or_else(|| panic!("no {name}")).to_string();
        let path = format!("/containers/{name}/logs?stdout=1&stderr=1");
        seen += &String::from_utf8_lossy(&world.lab.api_raw("GET", &path, &[], &[]).1);
    }
    let done = running.finish().expect(0);
    assert!(seen.contains("io.changeover.plan") && seen.contains("start-new"), "nothing was seen");
    seen += &format!("{:?}{}", done.events, done.stderr);
    seen += &world.inspect("web").expect("web is there").to_string();
    for secret in [PASSWORD, &auth, "robot-7"] {
        assert!(!seen.contains(secret), "{secret} shows up");
    }
    world.assert_settled("3", false);
}

/// Two are asked for, and one takes so long to fetch that the other is over by then:
/// the late one must not act on what it saw before.
fn changed_during_the_pull(kind: EngineKind) {
    let (world, registry, second) = world_with_registry(kind, None);
    world.image("app:3", &[("VERSION", "3")], &[]);
    let gate = world.lab.host_netns().run(|| Gatekeeper::start(&registry.address()));
    let slow = second.replace(&registry.address(), &gate.address());
    let late = world.spawn(&["update", "web", "--image", &slow, "--stable", "0s"]);
    world.wait("the late one's pull", || gate.waiting() > 0);
    update(&world, "app:3").expect(0);
    gate.open();
    let done = late.finish().expect(21);
    assert_words(&done, &["`web`", "changed"]);
    world.assert_settled("3", false);
}

fn a_published_helper_image(kind: EngineKind) {
    let world = world_with_web(kind);
    let binary: PathBuf = program("changeover");
    let files = [("changeover", binary.as_path(), 0o755)];
    world.lab.import_image("helper:1", &files, &[r#"ENTRYPOINT ["/changeover"]"#]);
    let args = ["update", "web", "--image", "app:2", "--stable", "0s", "--helper-image"];
    let with = |image: &str| world.changeover(&[args.as_slice(), &[image]].concat());
    with("helper:1").expect(0);
    world.assert_settled("2", false);
    let images = world.image_references();
    assert!(images.contains(&"helper:1".to_owned()), "it is not ours to remove: {images:?}");
    assert!(!images.iter().any(|image| image.contains("changeover")), "{images:?}");

    // One that isn't here is fetched; one that isn't anywhere is refused.
    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    let registry = Registry::start(&world.lab);
    let published = registry.push(&world.lab, "helper:1", "changeover:1");
    world.lab.forget_image(&published);
    world.lab.forget_image("helper:1");
    with(&published).expect(0);
    world.assert_settled("2", false);
    let missing = format!("{}/changeover:9", registry.address());
    let mut refused_args = args.to_vec();
    refused_args[3] = "app:1";
    refused_args.push(&missing);
    refused(&world, &refused_args, &[&missing, "`web`", "keeps running"]);
}
