//! A person in front of a real browser, through a whole update and a whole rollback.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use changeover_tests::browser;
use changeover_tests::lab::EngineKind;
use changeover_tests::world::World;
use serde_json::Value;

use super::Case;

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

fn a_browser_goes_through_a_rollback_and_ends_at_the_old_version(kind: EngineKind) {
    let world = world(kind);
    world.image("app:2", &[("VERSION", "2"), ("BROKEN_MS", "always")], &[]);
    let args = ["update", "web", "--image", "app:2", "--health-timeout", "4s"];
    let seen = visit(&world, &args, 20);
    assert_eq!(seen["version"], "1", "{seen:#}");
    assert_eq!(seen["text"], "version 1");
    assert!(words(&seen["phases"]).contains(&"rolled-back"), "{seen:#}");
}

fn world(kind: EngineKind) -> World {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let world = World::start(kind);
    world.images(&[1]);
    world.run_web("app:1");
    world
}

/// Runs our program under the eyes of a visitor; says what they saw.
fn visit(world: &World, args: &[&str], code: i32) -> Value {
    let mut visitor = world
        .lab
        .host_command("node")
        .arg(browser::script("visit.mjs"))
        .args(["http://127.0.0.1:8080", DEEP_LINK])
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
