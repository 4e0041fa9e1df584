//! Where the engine is: by TLS, by Docker's contexts, and what counts before what.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::tls::Authority;
use changeover_tests::world::{Done, Running, World, program};
use serde_json::Value;

use super::{assert_words, case, snapshot};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("an_engine_elsewhere_is_updated_over_tls", updated_over_tls),
        case("who_cannot_prove_who_they_are_is_refused_over_tls", refused_over_tls),
        case("the_engine_is_the_one_that_docker_would_use", as_docker_would),
    ]
}

/// An engine that speaks TLS, with `web` on it, and somebody on another machine.
struct Elsewhere {
    world: World,
}

impl Elsewhere {
    fn start(kind: EngineKind) -> Elsewhere {
        let world = World::start_with(kind, Options { tls: true, ..Options::default() });
        world.images(&[1, 2]);
        world.run_web("app:1");
        Elsewhere { world }
    }

    fn host(&self) -> String {
        format!("tcp://{}:2376", self.world.lab.host_v4())
    }

    /// What the engine has given out for its clients.
    fn certificates(&self) -> PathBuf {
        self.world.lab.dir().join("tls/client")
    }

    /// A folder of Docker's client, which has no context at first.
    fn docker(&self) -> PathBuf {
        self.world.lab.dir().join("docker")
    }

    /// The program, in the network outside, with nothing that names an engine.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.world.lab.outside_command(program("changeover"));
        for name in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        command.args(args).arg("--json").env("DOCKER_CONFIG", self.docker());
        command
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Done {
        Running::start(self.command(args).envs(environment.iter().copied())).finish()
    }

    /// With `DOCKER_HOST` and these certificates.
    fn by_tls(&self, args: &[&str], certificates: &Path) -> Done {
        let certificates = certificates.to_str().expect("a path");
        let host = self.host();
        let tls = [
            ("DOCKER_HOST", host.as_str()),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", certificates),
        ];
        self.run(args, &tls)
    }
}

/// What doctor says about a topic.
fn finding(done: &Done, topic: &str) -> Option<String> {
    let found = done.events.iter().find(|finding| finding["topic"] == topic)?;
    found["text"].as_str().map(str::to_owned)
}

fn updated_over_tls(kind: EngineKind) {
    let there = Elsewhere::start(kind);
    let (world, certificates) = (&there.world, there.certificates());
    let doctor = there.by_tls(&["doctor"], &certificates).expect(0);
    let engine = finding(&doctor, "engine").expect("it is looked at");
    let place = format!("at {} over TLS (by DOCKER_HOST)", there.host());
    assert!(engine.contains(&place), "{engine}");
    // This machine's kernel and disk say nothing of that one's.
    assert_eq!(finding(&doctor, "redirect"), None);
    assert!(finding(&doctor, "disk").is_some_and(|disk| disk.ends_with("is not ours to see")));

    let update = ["update", "web", "--image", "app:2", "--stable", "0s"];
    there.by_tls(&update, &certificates).expect(0);
    world.assert_settled("2", false);

    // The helper is at home: it has the socket, and neither our certificates nor their place.
    world.image("app:bad", &[("VERSION", "9"), ("EXIT_MS", "0")], &[]);
    there.by_tls(&["update", "web", "--image", "app:bad"], &certificates).expect(20);
    world.assert_settled("2", true);
    let helper = world.inspect("web.changeover").expect("it stays");
    let mounts = helper["HostConfig"]["Mounts"].as_array().expect("a list");
    let sources: Vec<&Value> = mounts.iter().map(|mount| &mount["Source"]).collect();
    assert_eq!(sources, ["/var/run/docker.sock"]);
    let said = helper["Config"].to_string();
    assert!(said.contains("DOCKER_HOST=unix:///var/run/docker.sock"), "{said}");
    assert!(!said.contains("tls/client"), "{said}");
    assert_eq!(there.by_tls(&["status", "web"], &certificates).events[0]["state"], "rolled-back");

    // Where its socket is elsewhere at home, it is said how to say where.
    let astray = ["--socket", "/nowhere/docker.sock"];
    let again = ["update", "web", "--image", "app:1"];
    let done = there.by_tls(&[&again[..], &astray].concat(), &certificates).expect(21);
    assert_words(&done, &["somewhere else on its host", "--socket"]);
    let own = world.lab.socket();
    let own = ["--stable", "0s", "--socket", own.to_str().expect("a path")];
    there.by_tls(&[&again[..], &own].concat(), &certificates).expect(0);
    world.assert_settled("1", false);
}

fn refused_over_tls(kind: EngineKind) {
    let there = Elsewhere::start(kind);
    let before = snapshot(&there.world);
    let folder = |name: &str| there.world.lab.dir().join("tls").join(name);
    let copy = |name: &str, files: &[&str]| {
        let folder = folder(name);
        fs::create_dir_all(&folder).expect("it is writable");
        for file in files {
            fs::copy(there.certificates().join(file), folder.join(file)).expect("it is readable");
        }
        folder
    };
    let update = ["update", "web", "--image", "app:2"];
    let refused = |certificates: &Path, words: &[&str]| {
        let done = there.by_tls(&update, certificates).expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "engine-untrusted");
        assert_words(&done, words);
    };
    // Somebody else's authority: what it has signed proves nothing to either side.
    let stranger = Authority::new();
    stranger.write_for(&folder("stranger"), &[]);
    refused(&folder("stranger"), &["cannot prove to be the engine", "ca.pem"]);
    let unknown = copy("unknown", &[]);
    stranger.write_for(&unknown, &[]);
    fs::copy(there.certificates().join("ca.pem"), unknown.join("ca.pem")).expect("readable");
    refused(&unknown, &["wants to know by a certificate who asks", "cert.pem"]);
    refused(&copy("nobody", &["ca.pem"]), &["wants to know by a certificate who asks"]);

    refused(&folder("nowhere"), &["there is no such folder", "DOCKER_CERT_PATH"]);
    refused(&copy("keyless", &["ca.pem", "cert.pem"]), &["key.pem can't be used"]);
    let broken = copy("broken", &["cert.pem", "key.pem"]);
    fs::write(broken.join("ca.pem"), "not PEM").expect("it is writable");
    refused(&broken, &["ca.pem can't be used", "no certificate in PEM"]);

    // The right one, by a name that isn't its own.
    let mut misnamed = there.world.command(&update);
    misnamed.arg("--json").args(["--host", "tcp://localhost:2376"]);
    misnamed.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", there.certificates());
    let done = Running::start(&mut misnamed).finish().expect(21);
    assert_words(&done, &["cannot prove to be the engine", "host name"]);
    // Without TLS.
    let done = there.run(&update, &[("DOCKER_HOST", &there.host())]).expect(21);
    assert_words(&done, &["speaks TLS", "DOCKER_TLS_VERIFY=1"]);
    assert_eq!(snapshot(&there.world), before, "something was touched");
}

/// Contexts are made by the real `docker`.
fn as_docker_would(kind: EngineKind) {
    let there = Elsewhere::start(kind);
    let docker = |args: &[&str]| {
        let mut docker = there.world.lab.machine_command("docker");
        let done = docker.args(args).env("DOCKER_CONFIG", there.docker()).output();
        let done = done.expect("it can be run");
        assert!(done.status.success(), "docker {args:?}: {done:?}");
    };
    let file = |name: &str| there.certificates().join(name).display().to_string();
    let nas = ["ca.pem", "cert.pem", "key.pem"]
        .map(|name| format!("{}={}", &name[..name.len() - 4], file(name)));
    docker(&[
        "context",
        "create",
        "nas",
        "--docker",
        &format!("host={},{}", there.host(), nas.join(",")),
    ]);
    docker(&["context", "create", "far", "--docker", "host=ssh://me@far:2222"]);

    let chosen = |args: &[&str], environment: &[(&str, &str)]| {
        let doctor = there.run(&[&["doctor"], args].concat(), environment);
        let engine = finding(&doctor, "engine").unwrap_or_else(|| panic!("{doctor:?}"));
        let at = engine.split_once(" at ").map(|(_, at)| at.to_owned()).unwrap_or_default();
        at.split_once("), API").map(|(at, _)| at.to_owned()).unwrap_or_default()
    };
    let nas = format!("{} over TLS (by the context `nas`, by", there.host());
    let socket = there.world.lab.docker_host();
    let by_host = format!("{socket} (by DOCKER_HOST");
    assert_eq!(chosen(&["--context", "nas"], &[]), format!("{nas} --context"));
    assert_eq!(chosen(&[], &[("DOCKER_CONTEXT", "nas")]), format!("{nas} DOCKER_CONTEXT"));
    docker(&["context", "use", "nas"]);
    assert_eq!(chosen(&[], &[]), format!("{nas} `docker context use`"));
    assert_eq!(chosen(&[], &[("DOCKER_HOST", "")]), format!("{nas} `docker context use`"));
    assert_eq!(chosen(&[], &[("DOCKER_HOST", &socket)]), by_host);
    let both = [("DOCKER_HOST", socket.as_str()), ("DOCKER_CONTEXT", "nas")];
    assert_eq!(chosen(&[], &both), by_host);
    assert_eq!(chosen(&["--context", "nas"], &both), format!("{nas} --context"));
    assert_eq!(chosen(&["--host", &socket], &both), format!("{socket} (by --host"));

    let refused = |args: &[&str], words: &[&str]| {
        let done = there.run(&[&["status"], args].concat(), &[]).expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "no-such-context");
        assert_words(&done, words);
    };
    refused(&["--context", "far"], &["`far`", "--context", "`ssh -p 2222 me@far changeover …`"]);
    refused(&["--context", "attic"], &["`attic`", "docker context ls"]);
    refused(&["--context", "nas", "--host", &socket], &["--host is given as well"]);
    let ssh = there.run(&["status"], &[("DOCKER_HOST", "ssh://me@far")]).expect(2);
    assert!(ssh.stderr.contains("`ssh me@far changeover …`"), "{}", ssh.stderr);
}
