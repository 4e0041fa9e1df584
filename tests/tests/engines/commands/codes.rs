//! Each error code that is published comes of something: here is, of what.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use changeover_tests::fake;
use changeover_tests::forge::{Asked, Forge, Reply};
use changeover_tests::lab::EngineKind;
use changeover_tests::tls::Pair;
use changeover_tests::wire::Proxy;
use changeover_tests::world::{Done, Running, World};
use serde_json::{Value, json};

use super::refusals::{load_image_for, somebody_else};
use super::{case, docker, world_with_web};
use crate::Case;

/// Commands that fail, and the codes that they failed with.
struct Failures {
    world: World,
    seen: BTreeSet<String>,
    others: Vec<String>,
}

impl Failures {
    fn note(&mut self, code: &str, done: &Done) {
        let last = done.events.last().unwrap_or(&Value::Null);
        match last["event"] == "error" && last["code"] == code {
            true => drop(self.seen.insert(code.to_owned())),
            false => self.others.push(format!("{code}: {done:#?}")),
        }
    }

    fn of(&mut self, code: &str, args: &[&str]) {
        let done = self.world.changeover(args);
        self.note(code, &done);
    }

    /// The same, from a command that was made ready.
    fn of_command(&mut self, code: &str, mut command: Command) {
        let done = Running::start(command.arg("--json")).finish();
        self.note(code, &done);
    }

    /// The same, of an engine at this socket.
    fn of_engine(&mut self, code: &str, socket: &Path) {
        let host = format!("unix://{}", socket.display());
        self.of(code, &["status", "--host", &host]);
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![case(
        "each_error_code_that_is_published_comes_of_something",
        each_error_code_that_is_published_comes_of_something,
    )]
}

fn each_error_code_that_is_published_comes_of_something(kind: EngineKind) {
    let world = world_with_web(kind);
    let mut failures = Failures { world, seen: BTreeSet::new(), others: Vec::new() };
    of_the_command_line(&mut failures);
    of_engines(&mut failures);
    of_containers(&mut failures);
    of_images_and_data(&mut failures);
    of_sources(&mut failures);
    while_it_is_begun(&mut failures);
    in_the_middle(&mut failures);
    assert!(failures.others.is_empty(), "{}", failures.others.join("\n"));
    assert_eq!(failures.seen, published(), "each code that is published");
}

/// The codes of the schema.
fn published() -> BTreeSet<String> {
    let schema = include_str!("../../../../docs/schemas/error.json");
    let schema: Value = serde_json::from_str(schema).expect("JSON");
    let codes = schema["$defs"]["Code"]["oneOf"].as_array().expect("a list of codes");
    codes.iter().map(|code| code["const"].as_str().expect("a word").to_owned()).collect()
}

fn of_the_command_line(failures: &mut Failures) {
    failures.of("usage", &["update", "web", "--imago", "app:2"]);
    let config = failures.world.lab.dir().join("wrong.yml");
    fs::write(&config, "helth-path: /").expect("the lab's directory is writable");
    failures.of("config-file", &["status", "--config", config.to_str().expect("a path")]);
    failures.of("output", &["man", "--dir", "/proc/man"]);
    failures.of("bad-page", &["page", "--preview", "--page-dir", "/nowhere"]);
    let nowhere = ["--registry-user", "me", "--registry-password-file", "/nowhere"];
    let update = ["update", "web", "--image", "app:2"];
    failures.of("password-file", &[&update[..], &nowhere].concat());
}

fn of_engines(failures: &mut Failures) {
    let dir = failures.world.lab.dir().to_owned();
    failures.of_engine("no-engine", &dir.join("nowhere.sock"));
    drop(UnixListener::bind(dir.join("deaf.sock")).expect("the lab's directory is writable"));
    failures.of_engine("engine-unreachable", &dir.join("deaf.sock"));
    for (code, answer) in [
        ("engine-too-old", fake::TOO_OLD),
        ("not-an-engine", fake::NOT_AN_ENGINE),
        ("engine-garbled", fake::GARBLED),
    ] {
        let socket = dir.join(format!("{code}.sock"));
        fake::answer_always(&socket, answer);
        failures.of_engine(code, &socket);
    }
    let proxy = Proxy::listen(dir.join("strict.sock"), failures.world.lab.socket());
    proxy.allow_only(vec![("GET".into(), "/_ping".into())]);
    failures.of_engine("engine-refused", proxy.path());
    let mut elsewhere = failures.world.command(&["status", "--host", "tcp://127.0.0.1:1"]);
    elsewhere.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", "/nowhere");
    failures.of_command("engine-untrusted", elsewhere);
    failures.of("no-such-context", &["status", "--context", "attic"]);
    let somebody = somebody_else(&failures.world, &["status"]);
    failures.of_command("not-allowed", somebody);
}

fn of_containers(failures: &mut Failures) {
    failures.of("no-such-container", &["check", "wob", "--image", "app:2"]);
    failures.of("nothing-to-do", &["update", "web", "--image", "app:1"]);
    failures.of("nothing-to-resume", &["resume", "web"]);
    failures.of("nothing-to-roll-back", &["rollback", "web"]);
    failures.of("not-in-a-container", &["status", "self"]);
    let mut proof = failures.world.command(&["status", "self"]);
    proof.env("CHANGEOVER_PROOF", "/nobody/has/it");
    failures.of_command("identity-unproven", proof);

    let brief = json!({ "Image": "app:1", "HostConfig": { "AutoRemove": true } });
    failures.world.run("brief", &brief);
    failures.of("unsuitable", &["check", "brief", "--image", "app:2"]);
    failures.world.run("worker", &json!({ "Image": "app:1" }));
    let redirect = ["--handover", "redirect"];
    let check = ["check", "worker", "--image", "app:2"];
    failures.of("page-impossible", &[&check[..], &redirect].concat());
    let written = "echo precious > /tmp/kept && docker cp /tmp/kept worker:/kept";
    assert!(failures.world.machine(&["sh", "-c", written]));
    failures.of("would-lose", &["update", "worker", "--image", "app:2"]);

    failures.world.create("web.old", &json!({ "Image": "app:1" }));
    failures.of("name-taken", &["check", "web", "--image", "app:2"]);
    docker(&failures.world, "DELETE", "/containers/web.old");
    let labels = json!({
        "io.changeover.role": "helper", "io.changeover.app": "odd", "io.changeover.plan": "{}",
    });
    failures.world.create("odd.changeover", &json!({ "Image": "app:1", "Labels": labels }));
    failures.of("no-plan", &["resume", "odd"]);

    let check = ["check", "web", "--image", "app:2"];
    let with = |more: &[&'static str]| [&check[..], more].concat();
    failures.of("bad-certificate", &with(&["--tls-cert", "app:/nowhere"]));
    let notify = ["--notify", "/hook", "--notify-key-file", "app:/nowhere"];
    failures.of("bad-notify", &with(&notify));
}

fn of_images_and_data(failures: &mut Failures) {
    failures.of("image-unavailable", &["check", "web", "--image", "app:0", "--pull", "never"]);
    load_image_for(&failures.world, "app:foreign", "s390x");
    failures.of("wrong-architecture", &["check", "web", "--image", "app:foreign"]);
    // A disk that is small for this command alone.
    let (_, info) = failures.world.lab.api("GET", "/info", None);
    let root = info["DockerRootDir"].as_str().expect("a path").to_owned();
    let program = super::program_in_the_lab(&failures.world);
    let mut small = failures.world.lab.machine_command("unshare");
    let script = "mount -t tmpfs -o size=50m tmpfs \"$0\" && exec \"$@\"";
    small.args(["--mount", "sh", "-c", script, &root]).arg(program);
    small.args(["check", "web", "--image", "app:2"]);
    failures.of_command("no-space", small);

    failures.of("no-such-backup", &["backup", "restore", "web"]);
    let kept = json!({ "Image": "app:1", "HostConfig": { "Binds": ["kept:/data"] } });
    failures.world.run("kept", &kept);
    let update = ["update", "kept", "--image", "app:2", "--stable", "0s", "--backup"];
    failures.world.changeover(&update).expect(0);
    failures.of("no-such-backup", &["backup", "restore", "kept", "--snapshot", "none"]);
    failures.of("backup-failed", &["backup", "restore", "kept"]);
}

fn of_sources(failures: &mut Failures) {
    // A thread keeps the network of the one that started it.
    let host = failures.world.lab.host_netns();
    let http = |answer: fn(&Asked, SocketAddr) -> Reply| {
        host.run(|| format!("http://{}", Forge::start("127.0.0.1", None, answer).address()))
    };
    let stranger =
        || Forge::start("127.0.0.1", Some(&Pair::new()), |_, _| Reply::ok("[]")).address();
    let sources = [
        ("source-unreachable", "http://127.0.0.1:1".to_owned()),
        ("source-refused", http(|_, _| Reply::status(404))),
        ("source-garbled", http(|_, _| Reply::ok("<html>log in</html>"))),
        ("rate-limited", http(|_, _| Reply::status(429))),
        ("source-untrusted", format!("https://{}", host.run(stranger))),
    ];
    let cache = failures.world.lab.dir().join("cache");
    for (code, address) in sources {
        let source = format!("github:{address}/acme/web");
        let args = ["available", "--source", &source, "--cache", cache.to_str().expect("a path")];
        failures.of(code, &args);
    }
}

/// The helper is there, and doesn't run yet.
fn while_it_is_begun(failures: &mut Failures) {
    let update = ["update", "web", "--image", "app:2"];
    failures.of("helper-failed", &[&update[..], &["--socket", "/nowhere/docker.sock"]].concat());

    let (dir, socket) = (failures.world.lab.dir().to_owned(), failures.world.lab.socket());
    let proxy = Proxy::listen(dir.join("slow.sock"), socket.clone());
    let over = |world: &World, proxy: &Proxy| {
        let mut command = world.command(&update);
        command.arg("--json").args(["--socket", socket.to_str().expect("a path")]);
        command.env("DOCKER_HOST", format!("unix://{}", proxy.path().display()));
        Running::start(&mut command)
    };
    proxy.pause_after("create web.changeover");
    let mut late = over(&failures.world, &proxy);
    let held = proxy.wait_for_cut(|| late.runs()).expect("the helper is created");
    docker(&failures.world, "POST", "/containers/web/rename?name=renamed");
    drop(held);
    let done = late.finish();
    docker(&failures.world, "POST", "/containers/renamed/rename?name=web");
    failures.note("changed-meanwhile", &done);

    // Who may neither start it nor take it back knows nothing of it.
    let calls = [("GET", 1), ("GET", 2), ("GET", 3), ("GET", 4), ("POST", 2), ("DELETE", 3)];
    let path = |parts: usize| "/{id}".repeat(parts);
    let calls = calls.map(|(method, parts)| (method.to_owned(), path(parts)));
    let head = ("HEAD".to_owned(), path(3));
    proxy.allow_only([&calls[..], &[head]].concat());
    let done = over(&failures.world, &proxy).finish();
    failures.note("out-of-sight", &done);
    docker(&failures.world, "DELETE", "/containers/web.changeover");
}

/// The new version is watched, for longer than this takes.
fn in_the_middle(failures: &mut Failures) {
    let update = ["update", "web", "--image", "app:2", "--stable", "5m"];
    let mut running = failures.world.spawn(&update);
    running.wait_for_step("gate");
    failures.of("under-way", &["check", "web", "--image", "app:2"]);
    docker(&failures.world, "POST", "/containers/web.changeover/stop");
    let done = running.finish();
    failures.note("helper-stopped", &done);
    failures.of("interrupted", &["check", "web", "--image", "app:2"]);
    docker(&failures.world, "DELETE", "/containers/web.changeover");
    let mut running = failures.world.spawn(&["resume", "web"]);
    running.wait_for_event("started");
    docker(&failures.world, "DELETE", "/containers/web.changeover?force=1");
    let done = running.finish();
    failures.note("helper-gone", &done);
    failures.world.changeover(&["rollback", "web"]).expect(0);
    assert_eq!(failures.world.visit(8080), "1");
}
