//! The truth reaches the app, and the history keeps it.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::{assert_words, case, refused};
use crate::Case;
use crate::schema::assert_follows;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("the_app_is_told_how_it_ended_and_the_history_keeps_it", told_and_kept),
        case("a_helper_killed_before_it_has_told_tells_the_same", killed_before_it_has_told),
        case("an_app_that_does_not_listen_costs_nothing_but_a_warning", nobody_listens),
    ]
}

const KEY: &str = "a key that nobody else has";

/// `web` with a volume for its data and, in each image, the key.
fn world(kind: EngineKind, fails: &str) -> World {
    let world = World::start(kind);
    let key = world.lab.dir().join("key");
    fs::write(&key, format!("{KEY}\n")).expect("the lab's directory is writable");
    let versions: [(&str, &[(&str, &str)]); 3] = [
        ("1", &[("VERSION", "1"), ("HOOK_FAILS", fails)]),
        ("2", &[("VERSION", "2"), ("HOOK_FAILS", fails)]),
        ("bad", &[("VERSION", "3"), ("EXIT_MS", "0"), ("EXIT_CODE", "7")]),
    ];
    for (tag, environment) in versions {
        let files = [("etc/key", key.as_path(), 0o600)];
        world.image_with_files(&format!("app:{tag}"), &files, environment, &[]);
    }
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!(["web-data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    world
}

const TELL: [&str; 6] = [
    "--notify",
    "/hook",
    "--notify-key-file",
    "app:/etc/key",
    "--history",
    "app:/data/updates.jsonl",
];

fn update(image: &str) -> Vec<&str> {
    [&["update", "web", "--image", image, "--stable", "0s"], TELL.as_slice()].concat()
}

/// What the app that serves was told; nothing, where the page answers in its place.
fn hooks(world: &World) -> Vec<Value> {
    let at = ([127, 0, 0, 1], 8080).into();
    serde_json::from_str(&world.fetch(at, "/hooks")).unwrap_or_default()
}

/// The account in a message, once its signature has been checked.
#[track_caller]
fn account(hook: &Value) -> Value {
    let header = |name: &str| hook["headers"][name].as_str().unwrap_or_default().to_owned();
    let body = hook["body"].as_str().expect("a body");
    let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    let signature = header("webhook-signature");
    let signature = STANDARD.decode(signature.strip_prefix("v1,").expect("v1")).expect("base64");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, KEY.as_bytes());
    ring::hmac::verify(&key, signed.as_bytes(), &signature).expect("signed by us");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(body["type"], "update.finished");
    assert_eq!(body["data"]["update"], header("webhook-id").as_str());
    assert_follows(&body["data"], &["account"]);
    body["data"].clone()
}

fn told_and_kept(kind: EngineKind) {
    let world = world(kind, "2");
    let history = || world.changeover(&["history", "web"]).expect(0).events;
    assert!(history().is_empty());
    let done = world.changeover(&update("app:2")).expect(0);
    // It was slow of hearing twice.
    assert_eq!(done.event("told").expect("it was told")["tries"], 3, "{:#?}", done.events);
    let heard = hooks(&world);
    assert_eq!(heard.len(), 3);
    let first = account(&heard[2]);
    assert!(heard.iter().all(|hook| account(hook)["update"] == first["update"]));
    assert_eq!(first["outcome"], "updated");
    assert_eq!((&first["from"], &first["to"]), (&json!("app:1"), &json!("app:2")));
    assert!(first["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{first}");
    assert!(first["steps"].as_array().is_some_and(|steps| steps.len() > 8), "{first}");
    assert_eq!(first.get("reason"), None);

    let done = world.changeover(&update("app:bad")).expect(20);
    let reason = done.event("finished").expect("an end")["reason"].clone();
    let second = account(hooks(&world).last().expect("the old version was told"));
    assert_eq!((&second["outcome"], &second["reason"]), (&json!("rolled-back"), &reason));
    assert!(reason.as_str().is_some_and(|reason| reason.contains("code 7")), "{reason}");
    // The old one goes on from where it was: version 2 with what it has in memory is new.
    assert_eq!(second["from"], "app:2");

    assert_eq!(history(), [second.clone(), first.clone()], "the newest first");
    // The file alone knows it, too: nothing of ours is left here but that.
    world.changeover(&["gc"]).expect(0);
    assert_eq!(history(), [second.clone(), first]);
    for container in world.containers() {
        let all = world.inspect(&container).expect("it is there").to_string();
        assert!(!all.contains(KEY), "the key is in what `docker inspect {container}` shows");
    }
    assert!(!world.log("web").contains(KEY));
    // Without a file, what Docker knows.
    let lost = world.changeover(&["history", "web", "--history", "app:/nowhere"]).expect(0);
    assert!(lost.event("warning").is_some(), "{:#?}", lost.events);
    let known: Vec<&Value> = lost.events.iter().filter(|e| e["outcome"].is_string()).collect();
    assert_eq!(known.len(), 1, "{known:#?}");
    assert_eq!(known[0]["outcome"], "updated");

    refused(
        &world,
        &[&update("app:1")[..8], &["--notify-key-file", "app:/nowhere"]].concat(),
        &["/nowhere"],
    );
    // An unsigned word could be anybody's.
    let half = world.changeover(&["update", "web", "--image", "app:1", "--notify", "/hook"]);
    assert_words(&half.expect(2), &["--notify-key-file", "nothing was touched"]);
    refused(&world, &["update", "web", "--image", "app:1", "--history", "app:/x"], &["volumes"]);
}

fn killed_before_it_has_told(kind: EngineKind) {
    let world = world(kind, "4");
    let running = world.spawn(&update("app:bad"));
    world.wait("a first message", || world.visit(8080) == "1" && !hooks(&world).is_empty());
    world.lab.crash_container("web.changeover");
    let done = running.finish().expect(20);
    let heard = hooks(&world);
    let statuses: Vec<&Value> = heard.iter().map(|hook| &hook["status"]).collect();
    assert_eq!(statuses.last(), Some(&&json!(204)), "{statuses:?}");
    let (before, after) = (account(&heard[0]), account(&heard[heard.len() - 1]));
    assert_eq!(before["update"], after["update"]);
    for field in ["outcome", "reason", "log", "from", "to", "asked_at"] {
        assert_eq!(before[field], after[field], "{field}");
    }
    let steps = |account: &Value| account["steps"].as_array().expect("a list").clone();
    // The one that came back has looked once more whether the old version answers.
    assert!(steps(&after).starts_with(&steps(&before)), "{after}");
    assert!(after["reason"].as_str().is_some_and(|r| r.contains("code 7")), "{after}");
    assert!(done.event("told").is_some(), "{:#?}", done.events);
    let history = world.changeover(&["history", "web"]).expect(0).events;
    assert_eq!(history.len(), 1, "written once: {history:#?}");
}

fn nobody_listens(kind: EngineKind) {
    let world = world(kind, "0");
    let nowhere = ["--notify", ":81/hook", "--notify-key-file", "app:/etc/key"];
    let args =
        [&["update", "web", "--image", "app:2", "--stable", "0s"], nowhere.as_slice()].concat();
    let done = world.changeover(&args).expect(0);
    let warnings = done.events.iter().filter(|event| event["event"] == "warning");
    let said: Vec<&str> = warnings.filter_map(|event| event["text"].as_str()).collect();
    assert!(said.iter().any(|text| text.contains(":81/hook")), "{said:?}");
    world.assert_settled("2", false);
}
