//! The page as it reaches visitors through the app's own port.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Story, open_page};
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::{
    a_few_visitors, assert_story, case, from_host, image, let_some_more_come, spawn_update, update,
};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(machines_can_tell_the_page_from_the_app),
        case!(the_page_tells_strangers_nothing_of_the_host_nor_of_errors),
        case!(an_open_page_goes_to_the_new_version_when_that_answers),
        case!(an_open_page_goes_back_to_the_old_version_after_a_rollback),
        case!(a_page_of_ones_own_is_shown_in_a_real_update),
        case!(the_page_stays_while_only_the_engines_proxy_listens),
    ]
}

fn machines_can_tell_the_page_from_the_app(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "4000")]);
    world.run_web("app:1");
    let mut running = spawn_update(&world, 2, &[]);
    let update = running.wait_for_event("planned")["update"].clone();
    running.wait_for_step("start-new");

    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        for path in ["/", "/deep/link.js?x=1", "/health"] {
            let answer = Answer::to(&world, method, path, "");
            answer.assert_unavailable();
            assert!(!answer.body.is_empty(), "{method} {path}");
        }
    }
    let head = Answer::to(&world, "HEAD", "/", "Accept: text/html\r\n");
    head.assert_unavailable();
    assert_eq!(head.body, "", "HEAD has no body");
    let person = Answer::to(&world, "GET", "/", "Accept: text/html,*/*;q=0.8\r\n");
    person.assert_unavailable();
    assert!(person.header("content-type").starts_with("text/html"), "{}", person.head);
    let script = Answer::to(&world, "POST", "/api", "Accept: application/json\r\n");
    script.assert_unavailable();
    assert_eq!(script.header("content-type"), "application/problem+json");
    let problem: Value = serde_json::from_str(&script.body).expect("it is JSON");
    assert_eq!(problem["status"], 503, "{problem}");
    let socket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    Answer::to(&world, "GET", "/ws", socket).assert_unavailable();

    let status = Answer::to(&world, "GET", "/.changeover/status", "");
    assert_eq!((status.status, status.header("cache-control")), (200, "no-store"));
    let status: Value = serde_json::from_str(&status.body).expect("it is JSON");
    assert_eq!(status["update"], update);
    assert_eq!((&status["phase"], &status["from"]), (&"updating".into(), &"1".into()));
    let state = |key: &str| {
        let steps = status["steps"].as_array().cloned().unwrap_or_default();
        let step = steps.iter().find(|step| step["key"] == key).cloned();
        step.unwrap_or_else(|| panic!("no {key}: {status}"))["state"].clone()
    };
    assert_eq!((state("stop-old"), state("gate")), ("done".into(), "active".into()), "{status}");
    let events = Answer::to(&world, "GET", "/.changeover/events", "Accept: text/event-stream\r\n");
    assert_eq!((events.status, events.header("content-type")), (200, "text/event-stream"));
    assert!(events.body.contains(r#""phase":"updating""#), "{}", events.body);

    running.finish().expect(0);
    world.assert_settled("2", false);
}

/// In whatever form it is asked for, forth and back.
fn the_page_tells_strangers_nothing_of_the_host_nor_of_errors(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("BOOT_MS", "1500")]);
    image(&world, 2, &[("BROKEN_MS", "always")]);
    let folder = world.lab.dir().join("folder-of-the-host");
    std::fs::create_dir(&folder).expect("the lab's directory is writable");
    let mut body = web("app:1");
    body["Env"] = json!(["TOKEN=open-sesame"]);
    body["Labels"] = json!({ "internal": "word-of-a-label" });
    body["HostConfig"]["Binds"] = json!([format!("{}:/srv/inside", folder.display())]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let mut running = spawn_update(&world, 2, &["--health-timeout", "3s"]);
    running.wait_for_step("start-new");
    let mut secrets = ["open-sesame", "TOKEN", "word-of-a-label", "folder-of-the-host", "inside"]
        .map(str::to_owned)
        .to_vec();
    for name in ["web", "web.old", "web.changeover"] {
        let inspect = world.inspect(name).unwrap_or_else(|| panic!("there is no {name}"));
        let short =
            |id: &Value| id.as_str().expect("an id").replace("sha256:", "")[..12].to_owned();
        secrets.extend([short(&inspect["Id"]), short(&inspect["Image"])]);
    }
    // What it fails by, how the engine is reached, and where the app is.
    secrets.extend(
        ["status 500", "not ready", "docker.sock", "10.214.", "web.changeover"].map(str::to_owned),
    );
    let mut seen = String::new();
    while world.visit(8080) == "page" {
        for accept in ["text/html", "application/json", "text/plain", "application/grpc"] {
            let answer = Answer::to(
                &world,
                "GET",
                "/",
                &format!("Accept: {accept}\r\nConnection: close\r\n"),
            );
            seen += &(answer.head + &answer.body);
        }
        seen += &Answer::to(&world, "GET", "/.changeover/status", "Connection: close\r\n").body;
    }
    running.finish().expect(20);
    assert!(seen.contains(r#""phase":"rolling-back""#), "nobody looked on the way back");
    for secret in secrets {
        assert!(!seen.contains(&secret), "strangers read {secret}");
    }
    world.assert_settled("1", true);
}

fn an_open_page_goes_to_the_new_version_when_that_answers(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "500")]);
    world.run_web("app:1");
    let here = from_host(&world, Ipv4Addr::LOCALHOST, 8080);
    let outside = world.targets(8080).into_iter().last().expect("there are five");
    let open = [here, outside].map(|from| open_page(&from, Duration::from_secs(60)));
    update(&world, 2, &[]).expect(0);
    for open in open {
        let page = open.join().expect("no panic").expect("the namespace is there");
        let phases: Vec<&str> = page.phases.iter().map(|(_, phase)| phase.as_str()).collect();
        assert_eq!(phases, ["updating", "updated"]);
        assert_eq!(page.shown.as_ref().map(|(_, version)| version.as_str()), Some("2"));
        assert_eq!(page.looks, 1, "told of the end when it was true");
    }
}

fn an_open_page_goes_back_to_the_old_version_after_a_rollback(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "500"), ("BROKEN_MS", "always")]);
    world.run_web("app:1");
    let open = open_page(&from_host(&world, Ipv4Addr::LOCALHOST, 8080), Duration::from_secs(60));
    update(&world, 2, &["--health-timeout", "1s"]).expect(20);
    let page = open.join().expect("no panic").expect("the namespace is there");
    let phases: Vec<&str> = page.phases.iter().map(|(_, phase)| phase.as_str()).collect();
    assert_eq!(phases, ["updating", "rolling-back", "rolled-back"]);
    assert_eq!(page.shown.as_ref().map(|(_, version)| version.as_str()), Some("1"));
    assert_eq!(page.looks, 1, "told of the end when it was true");
}

fn a_page_of_ones_own_is_shown_in_a_real_update(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "4000")]);
    world.run_web("app:1");
    let done = update(&world, 2, &["--page-dir", "/srv/nowhere"]).expect(21);
    assert!(done.stderr.contains("--page-dir is not there on the engine's host"), "{done:?}");
    let own = "<!doctype html><html lang=\"{{lang}}\"><title>{{title}}</title>\
               <style>{{css}}</style><p>Ours. {{lead}}</p>";
    world.write_on_machine("/srv/page/index.html", own);
    world.write_on_machine("/srv/page/page.css", "p { color: #123456 }");
    world.write_on_machine("/srv/page/strings.de.json", r#"{ "lead.updating": "Gleich zurück." }"#);
    let mut running = spawn_update(&world, 2, &["--page-dir", "/srv/page"]);
    running.wait_for_step("start-new");
    let german = "Accept: text/html\r\nAccept-Language: de\r\n";
    let answer = Answer::to(&world, "GET", "/deep/link", german);
    answer.assert_unavailable();
    assert!(answer.body.contains("<p>Ours. Gleich zurück.</p>"), "{}", answer.body);
    assert!(answer.body.contains("<style>p { color: #123456 }</style>"), "{}", answer.body);
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("style-src 'sha256-"), "{policy}");
    running.finish().expect(0);
    world.assert_settled("2", false);
}

/// The engine's proxy accepts connections from the container's start on.
fn the_page_stays_while_only_the_engines_proxy_listens(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[("BOOT_MS", "3000")]);
    world.run_web("app:1");
    let mut ways = world.targets(8080);
    ways.truncate(2);
    let load = a_few_visitors(ways);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
}

/// An answer in its own words.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// Asks on the app's port; of a stream it reads the first event.
    fn to(world: &World, method: &str, path: &str, headers: &str) -> Answer {
        let text = world.lab.host_netns().run(|| {
            let mut stream =
                TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).expect("the page listens");
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: web\r\n{headers}\r\n")
                .expect("the page reads");
            let mut bytes = Vec::new();
            let mut some = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut some) {
                bytes.extend_from_slice(&some[..read]);
                if bytes.windows(6).any(|part| part == b"data: ") && bytes.ends_with(b"\n\n\r\n") {
                    break;
                }
            }
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer with a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.expect("a status"), head: head.to_owned(), body: body.to_owned() }
    }

    #[track_caller]
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        values.next().unwrap_or_else(|| panic!("no {name} in {}", self.head)).1
    }

    #[track_caller]
    fn assert_unavailable(&self) {
        assert_eq!(self.status, 503, "{}", self.head);
        assert!(self.header("retry-after").parse::<u32>().is_ok(), "{}", self.head);
        assert_eq!(self.header("cache-control"), "no-store");
        assert!(!self.header("x-changeover").is_empty());
        assert_eq!(self.header("connection"), "close");
    }
}
