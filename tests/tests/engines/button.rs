//! The app's own "Update now": asked for in a real browser, carried out by the app
//! itself, followed to the end. Each engine with another of the example front ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use changeover_tests::browser;
use changeover_tests::lab::EngineKind;
use changeover_tests::world::{World, program};
use serde_json::{Value, json};

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "the_apps_own_button_updates_it_once_though_the_browser_is_reloaded",
            alone: false,
            run: the_apps_own_button_updates_it_once_though_the_browser_is_reloaded,
        },
        Case {
            name: "the_apps_own_button_tells_the_truth_after_a_rollback",
            alone: false,
            run: the_apps_own_button_tells_the_truth_after_a_rollback,
        },
    ]
}

fn the_apps_own_button_updates_it_once_though_the_browser_is_reloaded(kind: EngineKind) {
    let seen = press(kind, &[("BOOT_MS", "2500")], "", &["reload"]);
    assert_eq!(seen["reloaded"], true, "into the page: {seen:#}");
    assert_eq!(last_phase(&seen), "updated", "{seen:#}");
    assert!(text(&seen["end"]).contains("Acme Wiki has been updated to 2"), "{seen:#}");
    assert_eq!(seen["after"]["phase"], "idle", "nothing newer is there: {seen:#}");
    assert_eq!(seen["after"]["from"], "2", "{seen:#}");
}

fn the_apps_own_button_tells_the_truth_after_a_rollback(kind: EngineKind) {
    let seen = press(kind, &[("BROKEN_MS", "always")], "4s", &[]);
    assert_eq!(last_phase(&seen), "rolled-back", "{seen:#}");
    let end = text(&seen["end"]);
    assert!(end.contains("Acme Wiki was not updated"), "{seen:#}");
    assert!(end.contains("500"), "the reason, as the app tells it: {seen:#}");
    let phases: Vec<&str> = seen["phases"].as_array().into_iter().flatten().map(text).collect();
    assert!(phases.contains(&"updating") && phases.contains(&"rolling-back"), "{seen:#}");
    assert!(!phases.contains(&"updated"), "{seen:#}");
    assert_eq!(seen["after"]["phase"], "available", "it can be asked for again: {seen:#}");
}

/// Presses the button of an app whose next version has these vices; says what was seen.
fn press(kind: EngineKind, vices: &[(&str, &str)], timeout: &str, more: &[&str]) -> Value {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let world = World::start(kind);
    let (front_end, page) = match kind {
        EngineKind::V20_10 => ("html", browser::html_example()),
        EngineKind::V26_1 => ("react", browser::built_example("react")),
        _ => ("vue", browser::built_example("vue")),
    };
    app(&world, 1, &page, timeout, &[("AVAILABLE", "2")]);
    app(&world, 2, &page, timeout, vices);
    let socket = format!("{}:/var/run/docker.sock", world.lab.socket().display());
    let mut body = changeover_tests::world::web("app:1");
    body["HostConfig"]["Binds"] = json!([socket]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let shots = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/page-shots/button")
        .join(format!("{front_end}-{}", if more.is_empty() { "rollback" } else { "update" }));
    let done = world
        .lab
        .host_command("node")
        .arg(browser::script("button.mjs"))
        .arg("http://127.0.0.1:8080/")
        .arg(shots)
        .args(more)
        .stderr(Stdio::inherit())
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let seen: Value = serde_json::from_str(&said).unwrap_or_else(|_| panic!("no JSON: {said}"));
    assert_eq!(seen["error"], Value::Null, "{seen:#}");
    assert_eq!((&seen["wrong"], &seen["problems"]), (&json!([]), &json!([])), "{seen:#}");
    assert_eq!(seen["afterNo"], 0, "a no sends nothing: {seen:#}");
    let posts = seen["posts"].as_array().cloned().unwrap_or_default();
    assert_eq!(posts.len(), 1, "a reload starts nothing: {seen:#}");
    assert!(text(&posts[0]).contains(r#""version":"1""#), "{seen:#}");
    assert!(text(&seen["question"]).contains("\u{2068}1\u{2069} → \u{2068}2\u{2069}"), "{seen:#}");
    assert!(text(&seen["question"]).contains("Faster <b>search</b>"), "text is text: {seen:#}");
    assert_eq!(seen["focused"], "title", "{seen:#}");
    assert_eq!(seen["kept"], json!([]), "{seen:#}");
    if front_end != "html" {
        assert_eq!(seen["shown"], last_phase(&seen), "the framework hears of it: {seen:#}");
    }
    seen
}

/// An image of the sample app with a front end and our program in it.
fn app(world: &World, version: u32, page: &[PathBuf], timeout: &str, more: &[(&str, &str)]) {
    let mut command =
        "/changeover update web --image app:2 --pull never --stable 1s --detach".to_owned();
    if !timeout.is_empty() {
        command.push_str(&format!(" --health-timeout {timeout}"));
    }
    let (version_text, command) = (version.to_string(), format!("\"{command}\""));
    let environment = [
        &[
            ("VERSION", version_text.as_str()),
            ("WWW", "/www"),
            ("UPDATE_COMMAND", command.as_str()),
            ("STATUS_COMMAND", "\"/changeover status web --json\""),
        ],
        more,
    ]
    .concat();
    let program = program("changeover");
    let names: Vec<String> = page
        .iter()
        .map(|file| format!("www/{}", file.file_name().expect("a name").to_string_lossy()))
        .collect();
    let mut files: Vec<(&str, &Path, u32)> = vec![("changeover", &program, 0o755)];
    files.extend(names.iter().zip(page).map(|(name, file)| (name.as_str(), file.as_path(), 0o644)));
    assert!(page.iter().all(|file| fs::metadata(file).is_ok()), "{page:?}");
    let title = "LABEL io.changeover.page.title=\"Acme Wiki\"";
    world.image_with_files(&format!("app:{version}"), &files, &environment, &[title]);
}

fn last_phase(seen: &Value) -> &str {
    seen["phases"].as_array().and_then(|phases| phases.last()).map_or("", text)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
