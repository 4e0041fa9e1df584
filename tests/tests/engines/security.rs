//! What strangers can do to an update, and what an update needs of the engine.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use changeover_tests::lab::EngineKind;
use changeover_tests::wire::Proxy;
use changeover_tests::world::{Running, World, web};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "the_calls_that_the_docs_list_are_enough_and_touch_nobody_else",
            alone: false,
            run: the_calls_that_the_docs_list_are_enough_and_touch_nobody_else,
        },
        Case {
            name: "an_update_ends_as_if_nobody_had_abused_the_page",
            alone: true,
            run: an_update_ends_as_if_nobody_had_abused_the_page,
        },
    ]
}

/// The allow-list in the docs, as method and path.
fn listed() -> Vec<(String, String)> {
    let page = include_str!("../../../docs/security.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let calls = rows.filter_map(|(call, _)| call.split_once(' '));
    let calls: Vec<_> = calls
        .filter(|(_, path)| path.starts_with('/'))
        .map(|(method, path)| (method.to_owned(), path.to_owned()))
        .collect();
    assert!(calls.len() > 15, "the docs list too few calls: {calls:?}");
    calls
}

fn the_calls_that_the_docs_list_are_enough_and_touch_nobody_else(kind: EngineKind) {
    let world = World::start(kind);
    let check = r#"HEALTHCHECK CMD ["/sample-app","healthcheck"]"#;
    world.image("app:1", &[("VERSION", "1")], &[check]);
    world.image("app:2", &[("VERSION", "2")], &[check]);
    world.image("app:exits", &[("VERSION", "9"), ("EXIT_MS", "0")], &[]);
    let (status, answer) =
        world.lab.api("POST", "/networks/create", Some(&json!({ "Name": "inner" })));
    assert_eq!(status, 201, "{answer}");
    let old = world.run("web", &web("app:1"));
    // A second network: engines before 25 get it by a call of its own.
    let connect = json!({ "Container": old });
    world.lab.api("POST", "/networks/inner/connect", Some(&connect));
    world.wait_for_http(8080);
    let bystander = world.run("bystander", &json!({ "Image": "app:1" }));
    let before = world.inspect("bystander").expect("the bystander is there");

    let proxy = Proxy::listen(world.lab.dir().join("filter.sock"), world.lab.socket());
    proxy.allow_only(listed());
    let socket = proxy.path().to_string_lossy().into_owned();
    let run = |args: &[&str]| {
        let mut command = world.command(args);
        command.arg("--json").env("DOCKER_HOST", format!("unix://{socket}"));
        Running::start(&mut command).finish()
    };
    let update = |image: &str| {
        run(&["update", "web", "--image", image, "--stable", "0s", "--socket", &socket])
    };
    update("app:exits").expect(20);
    update("app:2").expect(0);
    assert_eq!(world.visit(8080), "2");
    assert_eq!(world.containers(), ["bystander", "web"]);
    run(&["rollback", "web", "--stable", "0s", "--socket", &socket]).expect(0);
    run(&["status"]).expect(0);
    run(&["gc"]).expect(0);
    assert_eq!(world.visit(8080), "1");
    assert_eq!(proxy.refused(), Vec::<String>::new(), "calls that the docs don't list");

    // Nobody but the app's containers and our own was written to.
    let touched = proxy.touched();
    assert!(touched.contains(&old) && !touched.contains(&bystander), "{touched:?}");
    assert_eq!(world.inspect("bystander").expect("it is still there"), before);
    let listed: BTreeSet<String> =
        listed().into_iter().map(|(method, path)| format!("{method} {path}")).collect();
    let unused: Vec<String> = listed.difference(&proxy.used()).cloned().collect();
    let conditional = [
        "archive",
        "/networks/",
        "/images/create",
        "DELETE /images",
        "/changes",
        "/exec",
        "/tag",
        // Only where the engine has died in the middle of a start.
        "/restart",
    ];
    let needless: Vec<&String> =
        unused.iter().filter(|call| !conditional.iter().any(|part| call.contains(part))).collect();
    assert!(needless.is_empty(), "listed, and never needed: {needless:?}");
}

/// Opens many files in this process.
fn make_room_for_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.or(Some(65_536));
    let _ = setrlimit(Resource::Nofile, limit);
}

/// What hostile clients keep open.
struct Abuse(Vec<TcpStream>);

impl Abuse {
    fn of(at: SocketAddr) -> Abuse {
        make_room_for_files();
        let connect = || TcpStream::connect_timeout(&at, Duration::from_secs(10));
        let mut open = Vec::new();
        let mut send = |text: &[u8]| {
            if let Ok(mut stream) = connect() {
                let _ = stream.set_write_timeout(Some(Duration::from_secs(2)));
                // Some are cut before they have said everything, which is fine.
                let _ = stream.write_all(text);
                open.push(stream);
            }
        };
        for _ in 0..10_000 {
            send(b"");
        }
        let pipelined = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
        let huge = [b"GET / HTTP/1.1\r\nCookie: ".to_vec(), vec![b'x'; 1 << 20]].concat();
        for n in 0..200_u32 {
            send(b"GET / HTTP/1.1\r\nHost: slow\r\nX-Slo");
            // They never read what they have asked for.
            send(b"GET / HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n");
            send(
                b"GET /.changeover/events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
            );
            send(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\nffffffffffffffff\r\n");
            send(&n.wrapping_mul(0x9e37_79b9).to_le_bytes().repeat(100));
            if n % 10 == 0 {
                send(&pipelined);
                send(&huge);
            }
        }
        Abuse(open)
    }
}

fn an_update_ends_as_if_nobody_had_abused_the_page(kind: EngineKind) {
    // The page is the same program on every engine; one of them has to bear it.
    if kind != EngineKind::V28_5 {
        return;
    }
    let world = World::start(kind);
    world.image("app:1", &[("VERSION", "1")], &[]);
    world.image("app:2", &[("VERSION", "2"), ("BOOT_MS", "12000")], &[]);
    world.run_web("app:1");
    let args = ["update", "web", "--image", "app:2", "--stable", "0s", "--health-timeout", "2m"];
    let mut running = world.spawn(&args);
    running.wait_for_step("start-new");
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
    let abuse = world.lab.host_netns().run(|| Abuse::of(at));
    assert!(abuse.0.len() > 10_500, "only {} came through", abuse.0.len());
    let memory = memory_of_the_helper(&world);
    let mut pages = 0;
    for _ in 0..20 {
        match world.visit(8080).as_str() {
            "page" => pages += 1,
            // The machine may have been so slow that it is over.
            "2" => {}
            other => panic!("a visitor got `{other}` while others abused the page"),
        }
    }
    println!("{} hostile connections: {memory} KB, {pages} of 20 saw the page", abuse.0.len());
    assert!(pages > 0, "the page was gone before anybody could look");
    // 10,000 idle ones and a thousand that talk; the empty page takes about 5 MB.
    assert!(memory < 200_000, "the helper takes {memory} KB");
    let done = running.finish();
    done.expect(0);
    drop(abuse);
    world.assert_settled("2", false);
    // Whoever came late finds the app.
    let mut late = world.lab.host_netns().run(|| TcpStream::connect(at)).expect("the app listens");
    late.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    late.read_to_string(&mut answer).expect("it answers");
    assert!(answer.contains("200 OK"), "{answer}");
}

/// Resident memory of the helper's process, in KB.
fn memory_of_the_helper(world: &World) -> u64 {
    let helper = world.inspect("web.changeover").expect("the helper runs");
    let status = format!("/proc/{}/status", helper["State"]["Pid"]);
    let said = world.lab.machine_command("cat").arg(status).output().expect("cat runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let line = said.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no memory in {said}"))
}
