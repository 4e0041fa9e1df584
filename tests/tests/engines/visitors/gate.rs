//! Which version may serve, and which is sent back.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use changeover_tests::lab::EngineKind;
use changeover_tests::load::Story;
use changeover_tests::world::{World, program, web};
use serde_json::json;

use super::{
    a_few_visitors, assert_evidence, assert_order, assert_story, case, from_host, image,
    image_with, let_some_more_come, publishing, update, verdict,
};
use crate::Case;

const HEALTHCHECK: &str = r#"HEALTHCHECK CMD ["/sample-app","healthcheck"]"#;
/// Asked by the engine as often as it can.
const QUICK_HEALTHCHECK: &str =
    r#"HEALTHCHECK --interval=100ms --retries=1 CMD ["/sample-app","healthcheck"]"#;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(a_health_check_is_asked_before_its_interval_is_over),
        case!(an_app_that_is_unhealthy_for_a_while_gets_its_time),
        case!(an_app_that_stays_unhealthy_is_rolled_back),
        case!(the_path_port_and_status_that_were_asked_for_decide),
        case!(an_app_that_exits_at_once_is_rolled_back),
        case!(an_app_that_crashes_while_it_boots_is_rolled_back),
        case!(an_app_that_answers_once_and_crashes_is_rolled_back),
        case!(an_app_without_ports_is_updated_if_it_keeps_running),
        case!(an_app_that_speaks_no_http_is_updated),
        case!(an_app_that_speaks_no_http_and_never_listens_is_rolled_back),
        case!(an_app_that_has_errors_before_may_have_them_after),
        case!(a_published_port_without_anybody_behind_it_holds_nothing_up),
        case!(an_app_that_crashes_again_and_again_is_healed_by_an_update),
        case!(an_app_that_no_longer_speaks_http_is_rolled_back),
        case!(a_stopped_app_is_updated_and_left_stopped),
    ]
}

fn a_health_check_is_asked_before_its_interval_is_over(kind: EngineKind) {
    let world = World::start(kind);
    image_with(&world, 1, &[], &[HEALTHCHECK]);
    image_with(&world, 2, &[("UNHEALTHY_MS", "0-500")], &[HEALTHCHECK]);
    world.run_web("app:1");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    let status = world.inspect("web").expect("web is there")["State"]["Health"]["Status"].clone();
    assert_eq!(status, "starting", "the engine itself hasn't asked yet");
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
}

fn an_app_that_is_unhealthy_for_a_while_gets_its_time(kind: EngineKind) {
    let world = World::start(kind);
    image_with(&world, 1, &[], &[QUICK_HEALTHCHECK]);
    image_with(&world, 2, &[("UNHEALTHY_MS", "0-2500")], &[QUICK_HEALTHCHECK]);
    world.run_web("app:1");
    let seen_unhealthy = || {
        let new = world.inspect("web").filter(|web| web["Config"]["Image"] == "app:2");
        new.is_some_and(|web| web["State"]["Health"]["Status"] == "unhealthy")
    };
    let running = super::spawn_update(&world, 2, &[]);
    world.wait("the engine's verdict `unhealthy`", seen_unhealthy);
    let done = running.finish().expect(0);
    assert!(done.event("condemned").is_none());
    world.assert_settled("2", false);
}

fn an_app_that_stays_unhealthy_is_rolled_back(kind: EngineKind) {
    let world = World::start(kind);
    image_with(&world, 1, &[], &[HEALTHCHECK]);
    image_with(&world, 2, &[("UNHEALTHY_MS", "always")], &[QUICK_HEALTHCHECK]);
    world.run_web("app:1");
    let done = update(&world, 2, &["--health-timeout", "2s"]).expect(20);
    assert!(verdict(&done).contains("within 2 s"), "{}", verdict(&done));
    assert!(verdict(&done).contains("health check"), "{}", verdict(&done));
    world.assert_settled("1", true);
    assert_evidence(&world);
}

fn the_path_port_and_status_that_were_asked_for_decide(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BROKEN_MS", "always")]);
    image(&world, 3, &[("PORT", "80,81")]);
    world.run_web("app:1");
    // `/` has errors, but nobody was told to ask there.
    update(&world, 2, &["--health-path", "/health", "--health-status", "200"]).expect(0);
    world.assert_settled("2", false);
    let done = update(
        &world,
        3,
        &["--health-path", "/nowhere", "--health-status", "204", "--health-timeout", "1s"],
    )
    .expect(20);
    assert!(verdict(&done).contains("status 404"), "{}", verdict(&done));
    world.assert_settled("2", true);
    let there = ["--health-port", "81", "--health-path", "/nowhere", "--health-status", "404"];
    update(&world, 3, &there).expect(0);
    world.assert_settled("3", false);
}

fn an_app_that_exits_at_once_is_rolled_back(kind: EngineKind) {
    ends_with(kind, &[("EXIT_MS", "0"), ("EXIT_CODE", "7")], "exited with code 7");
}

fn an_app_that_crashes_while_it_boots_is_rolled_back(kind: EngineKind) {
    let vices = [("BOOT_MS", "60000"), ("EXIT_MS", "400"), ("EXIT_CODE", "9")];
    ends_with(kind, &vices, "exited with code 9");
}

/// Nobody waits for the time limit, which is two minutes here.
fn ends_with(kind: EngineKind, vices: &[(&str, &str)], why: &str) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, vices);
    world.run_web("app:1");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    let done = update(&world, 2, &[]).expect(20);
    assert!(verdict(&done).contains(why), "{}", verdict(&done));
    assert_story(&world, load, Story::Rollback);
    world.assert_settled("1", true);
    assert_evidence(&world);
}

fn an_app_that_answers_once_and_crashes_is_rolled_back(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("EXIT_MS", "700"), ("EXIT_CODE", "5")]);
    world.run_web("app:1");
    let done = update(&world, 2, &["--stable", "3s"]).expect(20);
    assert!(verdict(&done).contains("exited with code 5"), "{}", verdict(&done));
    let position =
        |wanted: &dyn Fn(&serde_json::Value) -> bool| done.events.iter().position(wanted);
    let served = position(&|e| e["event"] == "page" && e["shown"] == false);
    let given_up = position(&|e| e["event"] == "condemned");
    assert!(served.is_some() && served < given_up, "it served for a moment: {done:#?}");
    world.assert_settled("1", true);
}

fn an_app_without_ports_is_updated_if_it_keeps_running(kind: EngineKind) {
    let world = World::start(kind);
    let sample = program("sample-app");
    let portless = |version: u32, vice: &str| {
        let lines = [r#"ENTRYPOINT ["/sample-app"]"#, &format!("ENV VERSION={version}"), vice];
        let files = [("sample-app", sample.as_path(), 0o755)];
        world.lab.import_image(&format!("app:{version}"), &files, &lines)
    };
    portless(1, "ENV BOOT_MS=0");
    let second = portless(2, "ENV BOOT_MS=0");
    portless(3, "ENV EXIT_MS=500");
    let body = json!({
        "Image": "app:1",
        "HostConfig": { "RestartPolicy": { "Name": "unless-stopped" } },
    });
    world.run("web", &body);
    let assert_second_runs = || {
        let web = world.inspect("web").expect("web is there");
        assert_eq!((&web["State"]["Running"], &web["Image"]), (&true.into(), &json!(second)));
    };
    update(&world, 2, &["--stable", "1s"]).expect(0);
    assert_second_runs();
    let done = update(&world, 3, &["--stable", "2s"]).expect(20);
    assert!(verdict(&done).contains("exited with code 1"), "{}", verdict(&done));
    assert_second_runs();
}

fn an_app_that_speaks_no_http_is_updated(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("SPEAKS", "lines")]);
    image(&world, 2, &[("SPEAKS", "lines"), ("BOOT_MS", "500")]);
    world.run("web", &web("app:1"));
    world.wait("it answers", || say(&world, "VERSION").as_deref() == Some("+1"));
    update(&world, 2, &[]).expect(0);
    assert_eq!(say(&world, "VERSION").as_deref(), Some("+2"), "at once, not some time later");
}

fn an_app_that_speaks_no_http_and_never_listens_is_rolled_back(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("SPEAKS", "lines")]);
    image(&world, 2, &[("SPEAKS", "lines"), ("BOOT_MS", "60000")]);
    world.run("web", &web("app:1"));
    world.wait("it answers", || say(&world, "VERSION").as_deref() == Some("+1"));
    update(&world, 2, &["--health-timeout", "2s"]).expect(20);
    assert_eq!(say(&world, "VERSION").as_deref(), Some("+1"));
}

/// The answer to a line.
fn say(world: &World, line: &str) -> Option<String> {
    world.lab.host_netns().run(|| {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).ok()?;
        stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).ok()?;
        Some(answer.trim_end().to_owned())
    })
}

fn an_app_that_has_errors_before_may_have_them_after(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("BROKEN_MS", "always")]);
    image(&world, 2, &[("BROKEN_MS", "always")]);
    world.run_web("app:1");
    update(&world, 2, &["--health-timeout", "10s"]).expect(0);
    world.assert_settled("2", false);
}

fn a_published_port_without_anybody_behind_it_holds_nothing_up(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run("web", &publishing("app:1", &[(7, "", "8007"), (80, "", "8080"), (99, "", "8099")]));
    world.wait_for_http(8080);
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    update(&world, 2, &["--health-timeout", "10s"]).expect(0);
    assert_order(&world, load, Story::Update);
    world.assert_settled("2", false);
}

fn an_app_that_crashes_again_and_again_is_healed_by_an_update(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("EXIT_MS", "0")]);
    image(&world, 2, &[]);
    world.run("web", &web("app:1"));
    world.wait("a few restarts", || {
        world.inspect("web").is_some_and(|web| web["RestartCount"].as_u64() > Some(1))
    });
    update(&world, 2, &["--stable", "0s"]).expect(0);
    world.assert_settled("2", false);
}

fn an_app_that_no_longer_speaks_http_is_rolled_back(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("SPEAKS", "lines")]);
    world.run_web("app:1");
    let done = update(&world, 2, &["--health-timeout", "1s"]).expect(20);
    let condemned = done.event("condemned").expect("a reason").to_string();
    assert!(condemned.contains("no answer over HTTP"), "{condemned}");
    world.assert_settled("1", true);
}

fn a_stopped_app_is_updated_and_left_stopped(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let old = world.run_web("app:1");
    world.lab.api("POST", "/containers/web/stop", None);
    let stopped = world.inspect("web").expect("web is there");
    let check = world.command(&["check", "web", "--image", "app:2"]).output().expect("it runs");
    let check = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.contains("gate: none, as it isn't started"), "{check}");
    let done = update(&world, 2, &[]).expect(0);
    let warning = done.event("warning").expect("a word of it")["text"].clone();
    let says = |what: &str| warning.as_str().is_some_and(|text| text.contains(what));
    assert!(says("isn't started") && says("`docker start web` tries it"), "{warning}");
    for command in ["status", "history"] {
        let told = world.changeover(&[command, "web"]).expect(0).events;
        assert_eq!(told[0]["left_stopped"], true, "{command}: {told:#?}");
    }
    let web = world.inspect("web").expect("web is there");
    assert_ne!(web["Id"], json!(old));
    assert_eq!(web["Config"]["Image"], "app:2");
    assert_eq!(web["State"]["Running"], false);
    let started = web["State"]["StartedAt"].as_str().unwrap_or_default();
    assert!(started.starts_with("0001-"), "never started: {started}");
    assert_eq!(web["HostConfig"]["RestartPolicy"], stopped["HostConfig"]["RestartPolicy"]);
    assert_eq!(world.containers(), ["web"]);
}
