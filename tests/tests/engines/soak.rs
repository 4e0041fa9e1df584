//! Over and over: updates and rollbacks in a row, under load, and nothing grows.
//!
//! `make soak` makes it two hundred; otherwise it is a handful.

use std::thread;
use std::time::{Duration, Instant};

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Class, Load, Options};
use changeover_tests::world::World;
use serde_json::Value;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        name: "updates_and_rollbacks_in_a_row_lose_no_request_and_leave_nothing",
        alone: true,
        run: updates_and_rollbacks_in_a_row_lose_no_request_and_leave_nothing,
    }]
}

/// How long open files may take to go back to what they were.
const PATIENCE: Duration = Duration::from_secs(60);

/// What could grow on an engine.
#[derive(Debug, Clone, PartialEq)]
struct Kept {
    containers: Vec<String>,
    images: Vec<String>,
    networks: usize,
    volumes: usize,
    tables: String,
}

/// What may go up and down, but not up for ever.
#[derive(Debug, Clone, Copy)]
struct Used {
    files: usize,
    megabytes: u64,
}

fn updates_and_rollbacks_in_a_row_lose_no_request_and_leave_nothing(kind: EngineKind) {
    let rounds = std::env::var("CHANGEOVER_SOAK").ok().and_then(|n| n.parse().ok());
    // One engine in the suite; the others when somebody asks.
    if rounds.is_none() && kind != EngineKind::V28_5 {
        return;
    }
    let rounds: usize = rounds.unwrap_or(10);
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.image("app:exits", &[("VERSION", "9"), ("EXIT_MS", "0")], &[]);
    world.run_web("app:1");
    let mut load = visitors(&world);
    let mut answers = 0;
    let mut version = 1;
    let mut first: Option<(Kept, Used)> = None;
    let begun = Instant::now();
    for round in 0..rounds {
        // Every fifth one fails. What it leaves as evidence goes with the next.
        let good = round % 5 != 3;
        let image = if good { format!("app:{}", 3 - version) } else { "app:exits".to_owned() };
        let args = ["update", "web", "--image", &image, "--pull", "never", "--stable", "0s"];
        world.changeover(&args).expect(if good { 0 } else { 20 });
        if good {
            version = 3 - version;
        }
        assert_eq!(world.visit(8080), version.to_string(), "after round {round}");
        let settled = good && (round + 1) % 5 == 0;
        if settled {
            // A load ends by itself after a while; another takes its place. In between
            // nobody has a connection open.
            answers += without_failure(load);
            let now = (kept(&world), used(&world));
            let seconds = begun.elapsed().as_secs();
            println!("{kind} round {:>3}, {seconds:>4} s: {:?}", round + 1, now.1);
            let (known, at_first) = first.get_or_insert_with(|| now.clone());
            assert_eq!(now.0, *known, "something is left after round {round}");
            let limit = at_first.files + 40;
            let patience = Instant::now() + PATIENCE;
            while used(&world).files > limit {
                assert!(Instant::now() < patience, "open files: {at_first:?}\n{}", holders(&world));
                thread::sleep(Duration::from_millis(100));
            }
            let limit = at_first.megabytes * 3 / 2 + 20;
            assert!(now.1.megabytes <= limit, "memory: {:?}, {at_first:?}", now.1);
            load = visitors(&world);
        }
    }
    let report = load.stop();
    assert!(report.failures().is_empty(), "{report}\n{:#?}", report.failures());
    answers += report.records.len();
    println!("{kind}: {rounds} updates and rollbacks, {answers} answers, none failed");
    world.assert_settled(&version.to_string(), rounds % 5 == 4);
}

fn visitors(world: &World) -> Load {
    let targets = world.targets(8080);
    let load = Load::start(Options { rate_per_second: 20, ..Options::new(targets) });
    load.expect("the load starts")
}

/// Ends the load; says how many had an answer.
fn without_failure(load: Load) -> usize {
    let report = load.stop();
    assert!(report.failures().is_empty(), "{report}\n{:#?}", report.failures());
    assert!(report.count(&Class::Page) > 0, "nobody has seen the page: {report}");
    report.records.len()
}

fn kept(world: &World) -> Kept {
    let count = |path: &str, key: &str| {
        let (_, answer) = world.lab.api("GET", path, None);
        let list = if key.is_empty() { &answer } else { &answer[key] };
        list.as_array().map_or(0, Vec::len)
    };
    let tables = world.lab.machine_command("nft").args(["list", "tables"]).output();
    Kept {
        containers: world.containers(),
        images: world.image_references(),
        networks: count("/networks", ""),
        volumes: count("/volumes", "Volumes"),
        tables: String::from_utf8_lossy(&tables.expect("nft runs").stdout).into_owned(),
    }
}

/// What each of them has open: how many of which kind.
fn holders(world: &World) -> String {
    let script = "for p in /proc/[0-9]*; do \
        case $(cat $p/comm 2>/dev/null) in dockerd|containerd*|docker-proxy) \
        echo $p $(tr '\\0' ' ' < $p/cmdline); \
        ls -l $p/fd | sed -n 's/.* -> //p' | sed 's/:.*//' | sort | uniq -c;; esac; done; \
        cat /proc/net/tcp /proc/net/tcp6";
    let said = world.lab.machine_command("sh").args(["-c", script]).output().expect("sh runs");
    String::from_utf8_lossy(&said.stdout).into_owned()
}

/// Open files and memory of the engine with its containerd and what they have started. Not
/// counted are pipes without a name: a docker-proxy keeps some by it, until its next
/// collection of garbage, to pass on what visitors send.
fn used(world: &World) -> Used {
    let script = "n=0; m=0; for p in /proc/[0-9]*; do \
        case $(cat $p/comm 2>/dev/null) in dockerd|containerd*|docker-proxy) \
        n=$((n + $(ls -l $p/fd 2>/dev/null | grep -vc pipe:))); \
        r=$(sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' $p/status 2>/dev/null); \
        m=$((m + ${r:-0}));; esac; done; echo \"[$n, $m]\"";
    let said = world.lab.machine_command("sh").args(["-c", script]).output().expect("sh runs");
    let said: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    let number = |n: usize| said[n].as_u64().unwrap_or_default();
    let used = Used { files: number(0) as usize, megabytes: number(1) / 1024 };
    assert!(used.files > 10 && used.megabytes > 10, "nothing to be seen of the engine: {said}");
    used
}
