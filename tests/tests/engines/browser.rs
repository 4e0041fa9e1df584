//! A person in front of a real browser, through a whole update and a whole rollback.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use changeover_tests::browser;
use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::Case;
use super::data::{FILLS, image};

/// With a query and a place within the page, since both must survive.
const DEEP_LINK: &str = "/slow?ms=1&of=it#part";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a_browser_goes_through_an_update_and_ends_at_the_new_version",
            alone: false,
            run: a_browser_goes_through_an_update_and_ends_at_the_new_version,
        },
        Case {
            name: "a_browser_goes_through_a_rollback_and_ends_at_the_old_version",
            alone: false,
            run: a_browser_goes_through_a_rollback_and_ends_at_the_old_version,
        },
    ]
}

fn a_browser_goes_through_an_update_and_ends_at_the_new_version(kind: EngineKind) {
    let world = world(kind);
    world.image("app:2", &[("VERSION", "2"), ("BOOT_MS", "2500")], &[]);
    let seen = visit(&world, &["update", "web", "--image", "app:2"], 0);
    assert_eq!(seen["version"], "2", "{seen:#}");
    assert_eq!(seen["text"], "version 2");
    assert_eq!(seen["phases"][0], "updating", "{seen:#}");
    assert!(words(&seen["phases"]).iter().all(|phase| !phase.contains("roll")), "{seen:#}");
    assert!(words(&seen["steps"]).len() >= 2, "{seen:#}");
    assert!(words(&seen["announced"]).iter().all(|said| !said.contains(" so far")), "{seen:#}");
}

/// Migrates what version 1 has left, and doesn't get well.
const MIGRATES: &str = r#"
/busybox head -c 60000000 /dev/urandom > /data/last-words
export BROKEN_MS=always
exec /sample-app
"#;

/// The data goes back as well, and it is seen how far it is.
fn a_browser_goes_through_a_rollback_and_ends_at_the_old_version(kind: EngineKind) {
    let world = start(kind);
    image(&world, "app:1", "1", FILLS, &[]);
    image(&world, "app:2", "2", MIGRATES, &[]);
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let args = ["update", "web", "--image", "app:2", "--health-timeout", "4s", "--backup"];
    let seen = visit(&world, &args, 20);
    assert_eq!(seen["version"], "1", "{seen:#}");
    assert_eq!(seen["text"], "version 1");
    assert!(words(&seen["phases"]).contains(&"rolled-back"), "{seen:#}");
    for step in ["Back up the data: ", "Put the data back: "] {
        let part = |said: &str| -> Option<(u8, bool)> {
            let (percent, bytes) = said.strip_prefix(step)?.split_once("% (")?;
            Some((percent.parse().ok()?, bytes.ends_with("\u{a0}MB)") && bytes.contains(" of ")))
        };
        let mut parts = words(&seen["steps"]).into_iter().filter_map(part);
        assert!(parts.next().is_some_and(|(first, bytes)| first < 100 && bytes), "{step} {seen:#}");
    }
    // Not said aloud: that would be a word every tenth of a second.
    assert!(words(&seen["announced"]).iter().all(|said| !said.contains('%')), "{seen:#}");
}

fn start(kind: EngineKind) -> World {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    World::start(kind)
}

fn world(kind: EngineKind) -> World {
    let world = start(kind);
    world.images(&[1]);
    world.run_web("app:1");
    world
}

/// Runs our program under the eyes of a visitor; says what they saw.
fn visit(world: &World, args: &[&str], code: i32) -> Value {
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page-shots");
    std::fs::create_dir_all(&shots).expect("a folder below the target");
    let mut visitor = world
        .lab
        .host_command("node")
        .arg(browser::script("visit.mjs"))
        .args(["http://127.0.0.1:8080", DEEP_LINK])
        .arg(shots)
        .stdout(Stdio::piped())
        .spawn()
        .expect("node starts");
    let mut lines = BufReader::new(visitor.stdout.take().expect("a pipe")).lines();
    let ready = lines.next().expect("the app is open").expect("a line");
    assert_eq!(ready, "ready");
    let args: Vec<&str> = args.iter().copied().chain(["--pull", "never"]).collect();
    world.changeover(&args).expect(code);
    let seen = lines.next().expect("the visitor says something").expect("a line");
    visitor.wait().expect("it ends");
    let seen: Value = serde_json::from_str(&seen).expect("JSON");
    assert_eq!(seen["wrong"], serde_json::json!([]), "{seen:#}");
    assert_eq!(seen["url"], format!("http://127.0.0.1:8080{DEEP_LINK}"), "{seen:#}");
    assert_eq!(seen["page"], false, "{seen:#}");
    seen
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
