//! Exit codes, help, and output for programs.

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Done, World, web};
use serde_json::{Value, json};

use super::{case, docker, snapshot, update, world_with_web};
use crate::{Case, schema};

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("a_wrong_command_line_ends_with_2_and_help_has_examples", a_wrong_command_line),
        case("every_command_prints_json_as_it_is_published", every_command_prints_json),
        case("check_tells_the_differences_and_touches_nothing", check_touches_nothing),
        case("the_doctor_says_what_would_be_possible", the_doctor),
        case("nothing_to_do_ends_with_10", nothing_to_do_ends_with_10),
    ]
}

fn a_wrong_command_line(kind: EngineKind) {
    let world = World::start(kind);
    let output = |args: &[&str]| world.command(args).output().expect("it can be run");
    let usage: [&[&str]; 10] = [
        &[],
        &["upgrade"],
        &["update", "web"],
        &["update", "--image", "app:2"],
        &["update", "web", "--image", "app:2", "--health-timeout", "soon"],
        &["update", "web", "--image", "app:2", "--stable", "-3s"],
        &["update", "web", "--image", "app:2", "--handover", "magic"],
        &["update", "web", "--image", "app:2", "--health-path", "healthz"],
        &["update", "web", "--image", "app:2", "--registry-user", "me"],
        &["--host", "docker.sock", "status"],
    ];
    for args in usage {
        let done = output(args);
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!(!done.stderr.is_empty(), "{args:?} says nothing");
        assert!(done.stdout.is_empty(), "{args:?} writes to standard output");
    }
    // The engine is named in the environment here, which makes it nothing that has to be given.
    let said = String::from_utf8_lossy(&output(&["update", "web"]).stderr).into_owned();
    let usage = said.lines().find(|line| line.starts_with("Usage:")).unwrap_or_default();
    assert_eq!(usage, "Usage: changeover update [OPTIONS] --image <REF> <NAME>", "{said}");
    assert!(
        said.contains("tip: `changeover available NAME` says which versions there are"),
        "{said}"
    );
    for command in ["update", "check", "status", "doctor", "resume", "rollback", "gc"] {
        let done = output(&[command, "--help"]);
        let help = String::from_utf8_lossy(&done.stdout).into_owned();
        assert_eq!(done.status.code(), Some(0));
        assert!(help.contains("Example"), "{command} has no example: {help}");
        assert!(help.contains(&format!("  changeover {command}")), "not of {command}: {help}");
    }
    let help = String::from_utf8_lossy(&output(&["--help"]).stdout).into_owned();
    for code in ["0  updated", "2  ", "10  ", "20  ", "21  ", "30  "] {
        assert!(help.contains(code), "no exit code {code:?} in {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = String::from_utf8_lossy(&output(&["completions", shell]).stdout).into_owned();
        assert!(script.contains("health-timeout"), "{shell} completes no options");
    }
    let manuals = world.lab.dir().join("man");
    let done = output(&["man", "--dir", &manuals.display().to_string()]);
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    for page in ["changeover.1", "changeover-update.1", "changeover-status.1"] {
        let text = std::fs::read_to_string(manuals.join(page)).expect("a page for each command");
        assert!(text.contains("changeover update") || text.contains("Example"), "{page}: {text}");
    }
    assert_eq!(output(&["man", "--dir", "/proc/man"]).status.code(), Some(21));
    // The environment says the same as the flags, in the ways that people write it.
    for on in ["1", "true", "yes"] {
        let done = world.command(&["gc"]).env("CHANGEOVER_JSON", on).output().expect("it runs");
        assert_eq!(done.status.code(), Some(0), "CHANGEOVER_JSON={on}: {done:?}");
    }
}

fn the_doctor(kind: EngineKind) {
    let world = World::start(kind);
    let done = world.changeover(&["doctor"]).expect(0);
    let found = |done: &Done, topic: &str, health: &str| {
        let is_it = |event: &&Value| event["topic"] == topic;
        let event = done.events.iter().find(is_it).unwrap_or_else(|| panic!("no {topic}"));
        assert_eq!(event["health"], health, "{event}");
        event["text"].as_str().expect("words").to_owned()
    };
    assert!(found(&done, "engine", "good").contains(kind.version()));
    found(&done, "network", "good");
    found(&done, "redirect", "good");
    found(&done, "disk", "good");
    found(&done, "program", "good");
    assert!(found(&done, "identity", "good").contains("none of the engine's"));
    // A kernel that is not to be changed by us: the page is bound then.
    let world_says = world
        .lab
        .host_command("setpriv")
        .args(["--bounding-set", "-net_admin", "--inh-caps", "-net_admin"])
        .arg(changeover_tests::world::program("changeover"))
        .args(["doctor", "--json"])
        .env("DOCKER_HOST", world.lab.docker_host())
        .output()
        .expect("setpriv runs");
    let said = String::from_utf8_lossy(&world_says.stdout).into_owned();
    let redirect = said.lines().find(|line| line.contains(r#""redirect""#)).expect("a line");
    assert!(redirect.contains("limited") && redirect.contains("not possible"), "{redirect}");
}

/// A command line, its exit code, the events that are among its lines, and the code of its error.
type Said<'a> = (&'a [&'a str], i32, &'a [&'a str], Option<&'a str>);

fn every_command_prints_json(kind: EngineKind) {
    let world = world_with_web(kind);
    world.image("app:bad", &[("VERSION", "3"), ("EXIT_MS", "0")], &[]);
    let config = world.lab.dir().join("wrong.yml");
    std::fs::write(&config, "helth-path: /").expect("the lab's directory is writable");
    let config = config.to_str().expect("a path");
    let failed = &["error"];
    let commands: [Said<'_>; 18] = [
        (&["doctor"], 0, &[], None),
        (&["check", "web", "--image", "app:2"], 0, &["check"], None),
        (&["check", "wob", "--image", "app:2"], 21, failed, Some("no-such-container")),
        (&["update", "web", "--image", "app:0"], 21, failed, Some("image-unavailable")),
        (&["update", "self", "--image", "app:2"], 21, failed, Some("not-in-a-container")),
        (&["update", "web", "--image", "app:1"], 10, failed, Some("nothing-to-do")),
        (&["update", "web", "--image", "app:bad"], 20, &["planned", "condemned", "finished"], None),
        (&["status", "web"], 0, &[], None),
        (&["history", "web"], 0, &[], None),
        (&["gc", "--dry-run"], 0, &[], None),
        (&["gc"], 0, &[], None),
        (&["rollback", "web"], 21, failed, Some("nothing-to-roll-back")),
        (
            &["update", "web", "--image", "app:2", "--stable", "0s"],
            0,
            &["launched", "finished"],
            None,
        ),
        (&["resume", "web"], 10, failed, Some("nothing-to-resume")),
        (&["rollback", "web", "--stable", "0s"], 0, &["launched", "finished"], None),
        (&["update", "web", "--imago", "app:2"], 2, failed, Some("usage")),
        (&["status", "--config", config], 2, failed, Some("config-file")),
        (&["status", "--host", "unix:///nowhere"], 21, failed, Some("no-engine")),
    ];
    for (args, code, events, error) in commands {
        let done = world.command(args).arg("--json").output().expect("it can be run");
        assert_eq!(done.status.code(), Some(code), "{args:?}: {done:?}");
        let text = String::from_utf8(done.stdout).expect("it is UTF-8");
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}")))
            .collect();
        schema::judge(&args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>(), &lines);
        for event in events {
            let there = lines.iter().any(|line| line["event"] == *event);
            assert!(there, "{args:?} lacks the event {event}: {text}");
        }
        let last = lines.last().map(|line| (line["code"].as_str(), line["exit"].as_i64()));
        if let Some(error) = error {
            assert_eq!(last, Some((Some(error), Some(code.into()))), "{args:?}: {text}");
        }
        assert!(!lines.is_empty(), "{args:?} says nothing");
    }
    what_is_seen_in_between(&world);
    // For people it is words, and quiet is quiet.
    let plain = world.command(&["status", "web"]).output().expect("it can be run");
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(plain.starts_with("web: updated, app:1 → app:slow"), "{plain}");
    let quiet = world.command(&["status", "web", "--quiet"]).output().expect("it can be run");
    assert!(quiet.stderr.is_empty(), "{quiet:?}");
}

/// The plan on the helper, and what the page says.
fn what_is_seen_in_between(world: &World) {
    world.image("app:slow", &[("VERSION", "4"), ("BOOT_MS", "1500")], &[]);
    let mut update = world.spawn(&["update", "web", "--image", "app:slow"]);
    update.wait_for("the page", |event| event["event"] == "page" && event["shown"] == true);
    let page = world.fetch(([127, 0, 0, 1], 8080).into(), "/.changeover/status");
    schema::assert_follows(&serde_json::from_str(&page).expect("JSON"), &["page-status"]);
    let helper = world.inspect("web.changeover").expect("it runs");
    let plan = helper["Config"]["Labels"]["io.changeover.plan"].as_str().expect("a plan");
    schema::assert_follows(&serde_json::from_str(plan).expect("JSON"), &["plan"]);
    update.finish().expect(0);
}

fn check_touches_nothing(kind: EngineKind) {
    let world = World::start(kind);
    world.image(
        "app:1",
        &[("VERSION", "1"), ("GONE", "a")],
        &["LABEL edition=one", "WORKDIR /one"],
    );
    world.image("app:2", &[("VERSION", "2"), ("FRESH", "b")], &["LABEL edition=two"]);
    let mut body = web("app:1");
    body["Env"] = json!(["SECRET=hunter2"]);
    world.run("web", &body);
    world.wait_for_http(8080);

    let before = (snapshot(&world), world.image_references());
    let done = world.changeover(&["check", "web", "--image", "app:2"]).expect(0);
    let check = done.event("check").expect("a check event").clone();
    let side =
        |difference: &Value, side: &str| difference[side].as_str().unwrap_or("none").to_owned();
    let found: Vec<String> = check["differences"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|d| {
            let field = d["field"].as_str().unwrap_or_default();
            format!("{field}: {} → {}", side(d, "old"), side(d, "new"))
        })
        .collect();
    let expected = [
        "WorkingDir: /one → none",
        "Env FRESH: none → b",
        "Env GONE: a → none",
        "Env VERSION: 1 → 2",
        "Label edition: one → two",
    ];
    assert_eq!(found, expected);
    assert_eq!(check["plan"]["members"][0]["name"], "web");

    let plain = world.command(&["check", "web", "--image", "app:2"]).output().expect("it runs");
    let plain = String::from_utf8_lossy(&plain.stdout).into_owned();
    for line in expected {
        assert!(plain.contains(line), "no {line:?} in {plain}");
    }
    for line in ["app:1", "app:2", "hand-over by redirect", "port: *:8080 (answers now)"] {
        assert!(plain.contains(line), "no {line:?} in {plain}");
    }
    assert!(plain.contains("nothing was touched"), "{plain}");
    assert!(!plain.contains("hunter2"), "a secret is shown: {plain}");
    assert_eq!((snapshot(&world), world.image_references()), before, "check touched something");
    assert_eq!(world.visit(8080), "1");
}

fn nothing_to_do_ends_with_10(kind: EngineKind) {
    let world = world_with_web(kind);
    docker(&world, "POST", "/images/app:1/tag?repo=app&tag=same");
    for image in ["app:1", "app:same"] {
        let before = snapshot(&world);
        let done = update(&world, image).expect(10).says("nothing to do: `web` already runs");
        assert_eq!(done.event("error").expect("an event")["code"], "nothing-to-do");
        assert_eq!(snapshot(&world), before);
    }
    world.changeover(&["resume", "web"]).expect(10).says("nothing to resume");
    world.changeover(&["resume", "wob"]).expect(10);
    for (name, words) in [("web", "not been updated by Changeover"), ("wob", "no container `wob`")]
    {
        world.changeover(&["rollback", name]).expect(21).says(words);
    }
    world.changeover(&["status", "wob"]).expect(21).says("no container `wob`");
    let status = world.command(&["status"]).output().expect("it can be run");
    assert!(String::from_utf8_lossy(&status.stdout).contains("no update is under way"));
    world.changeover(&["gc"]).expect(0);
}
