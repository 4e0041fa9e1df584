//! What happens when something dies in the middle: nothing is lost.
//!
//! Most cases are a part of a matrix of faults and places. `CHANGEOVER_TORTURE=1` runs all
//! of it, and nothing else; otherwise a sample is drawn, by `CHANGEOVER_SEED` if it is to be
//! another one. What was run is printed as tables at the end.

mod by_hand;
mod engine;
mod helper;
mod launch;
mod matrix;
mod wire;

use std::time::Duration;

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::wire::Proxy;
use changeover_tests::world::{Done, Running, World};
use serde_json::Value;

use super::Case;
pub(crate) use matrix::torture;

/// The sheet of the faults that strike after a step.
const AFTER_A_STEP: &str = "right after a step";

/// A row of that sheet.
fn place(way: Way, moment: &str) -> String {
    format!("{}: {moment}", way.words())
}

/// The tables of what was run.
pub(crate) fn tables() -> String {
    matrix::tables()
}

/// On the newest engine alone.
pub(crate) fn on_newest() -> Vec<Case> {
    wire::on_newest()
}

pub(crate) fn cases() -> Vec<Case> {
    [wire::cases(), launch::cases(), helper::cases(), engine::cases(), by_hand::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// How long an update may take that something died in.
const LIMIT: Duration = Duration::from_secs(60);

/// What a cell says in which a killed engine had lost track of the app's port.
const PORT_LOST: &str = "port lost";

/// Whether a person was called since the engine, killed in the middle of a start, has lost
/// track of the app's port. Then it has to be true what is said about it: visitors have the
/// page, and the engine's restart is all that it takes.
pub(crate) fn restarted_for_the_port(world: &mut World, done: &Done) -> bool {
    let reason = done.event("finished").map(|end| end["reason"].to_string()).unwrap_or_default();
    if done.code != 30 || !reason.contains("systemctl restart docker") {
        return false;
    }
    let lost = |world: &World| {
        let (status, answer) = world.lab.api("POST", "/containers/web/start", None);
        assert_eq!(status, 500, "nobody can be started: {answer}");
        answer.to_string()
    };
    assert!(lost(world).contains("port is already allocated"), "{}", lost(world));
    assert_eq!(world.visit(8080), "page");
    let status = world.changeover(&["status", "web"]).expect(0);
    assert_eq!(status.events[0]["state"], "needs-a-person", "{:#?}", status.events);
    assert!(status.events[0]["reason"].to_string().contains("systemctl restart docker"));
    world.lab.stop();
    world.lab.start_again();
    world.wait_for_the_helpers_end();
    true
}

/// What the new version is like, and with that which way the swap goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It works.
    Update,
    /// It exits at once.
    ExitsAtOnce,
    /// It runs, but answers with errors until its time is up.
    NeverReady,
    /// It answers, and then exits while it is watched.
    FallsOver,
}

impl Way {
    const ROLLBACKS: [Way; 3] = [Way::ExitsAtOnce, Way::NeverReady, Way::FallsOver];

    fn code(self) -> i32 {
        if self == Way::Update { 0 } else { 20 }
    }

    fn words(self) -> &'static str {
        match self {
            Way::Update => "an update",
            Way::ExitsAtOnce => "a rollback from a version that exits",
            Way::NeverReady => "a rollback from a version that has errors",
            Way::FallsOver => "a rollback from a version that falls over",
        }
    }

    /// Moments in the middle of a call that takes its time.
    fn amid(self) -> &'static [&'static str] {
        match self {
            Way::Update => &["in create-new", "in stop-old", "in start-new", "in remove-old"],
            _ => &["in undo-start-new", "in undo-stop-old"],
        }
    }

    /// Moments of this way, by the events that mark them.
    fn moments(self) -> &'static [&'static str] {
        match self {
            Way::Update => &[
                "started",
                "create-new",
                "arm-old",
                "stop-old",
                "park-old",
                "promote-new",
                "disarm-old",
                "start-new",
                "arm-new",
                "remove-old",
            ],
            _ => &[
                "create-new",
                "stop-old",
                "promote-new",
                "start-new",
                "condemned",
                "undo-start-new",
                "undo-disarm-old",
                "undo-park-old",
                "undo-stop-old",
                "undo-arm-old",
            ],
        }
    }
}

/// Whether an event marks this moment: a step that is done, one that has begun (`in …`),
/// or an event's name.
fn marks(moment: &str, event: &Value) -> bool {
    match moment.strip_prefix("in ") {
        Some(step) => event["event"] == "begun" && event["key"] == step,
        None => event["event"] == moment || (event["event"] == "step" && event["key"] == moment),
    }
}

/// One engine with the usual app, used for one fault after the other.
struct Bench {
    kind: EngineKind,
    options: Options,
    world: World,
    proxy: Proxy,
    /// The version that serves.
    version: u32,
}

impl Bench {
    fn start(kind: EngineKind, options: Options) -> Bench {
        Bench::furnish(World::start_with(kind, options.clone()), kind, options)
    }

    fn furnish(world: World, kind: EngineKind, options: Options) -> Bench {
        world.images(&[1, 2]);
        world.image("app:exits", &[("VERSION", "9"), ("EXIT_MS", "0")], &[]);
        world.image("app:errors", &[("VERSION", "9"), ("BROKEN_MS", "always")], &[]);
        world.image("app:falls", &[("VERSION", "9"), ("EXIT_MS", "400")], &[]);
        world.run_web("app:1");
        let proxy = Proxy::listen(world.lab.dir().join("wire.sock"), world.lab.socket());
        Bench { kind, options, world, proxy, version: 1 }
    }

    /// A fresh engine, after a failure has left the one before in an unknown state.
    fn anew(&mut self) {
        *self = Bench::start(self.kind, self.options.clone());
    }

    fn other_version(&self) -> u32 {
        3 - self.version
    }

    /// Starts an update to the other version, or to one that fails; the helper
    /// reaches the engine by `socket`.
    fn spawn(&self, way: Way, socket: &std::path::Path) -> Running {
        let image = match way {
            Way::Update => format!("app:{}", self.other_version()),
            Way::ExitsAtOnce => "app:exits".to_owned(),
            Way::NeverReady => "app:errors".to_owned(),
            Way::FallsOver => "app:falls".to_owned(),
        };
        let stable = if way == Way::FallsOver { "20s" } else { "0s" };
        let timeout = if way == Way::NeverReady { "1s" } else { "30s" };
        let socket = socket.to_string_lossy();
        let mut args = vec!["update", "web", "--image", &image, "--socket", &socket];
        args.extend(["--stable", stable, "--health-timeout", timeout]);
        self.world.spawn(&args)
    }

    fn over_the_wire(&self, way: Way) -> Running {
        self.spawn(way, self.proxy.path())
    }

    fn directly(&self, way: Way) -> Running {
        self.spawn(way, &self.world.lab.socket())
    }

    /// Asserts that it ended as it had to, whole, and that everybody says the same about
    /// it. Returns the outcome in a word.
    fn settled(&mut self, way: Way, done: Done) -> String {
        let done = done.expect(way.code());
        let outcome = match done.code {
            0 if way == Way::Update => {
                self.version = self.other_version();
                "updated"
            }
            20 => "rolled-back",
            code => panic!("exit code {code}: {}", done.stderr),
        };
        self.is_whole(outcome);
        outcome.to_owned()
    }

    /// The last moment may be missed: a helper that has ended takes its log with it.
    fn over_before(&mut self, way: Way, moment: &str, done: Done) -> String {
        let last = way.moments().last() == Some(&moment);
        assert!(last, "{moment} was not reached: {:#?}\n{}", done.events, done.stderr);
        self.settled(way, done) + ", over before"
    }

    fn is_whole(&self, outcome: &str) {
        self.world.assert_settled(&self.version.to_string(), outcome == "rolled-back");
        let status = self.world.changeover(&["status", "web"]).expect(0);
        let newest = status.events.first().unwrap_or(&Value::Null);
        assert_eq!(newest["state"], outcome, "what `status` says: {newest}");
    }

    /// What is there after a failure: containers, and who listens on the host.
    fn remains(&self) -> String {
        let run = |program: &str, args: &[&str]| {
            let output = self.world.lab.machine_command(program).args(args).output();
            output.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default()
        };
        [run("docker", &["ps", "--all"]), run("busybox", &["netstat", "-ltnp"])].join("\n")
    }

    /// Kills the helper's process as a crash would; `false` if there is none.
    fn crash_helper(&self) -> bool {
        let helper = self.world.inspect("web.changeover");
        let runs = helper.is_some_and(|helper| helper["State"]["Running"] == true);
        if runs {
            self.world.lab.crash_container("web.changeover");
        }
        runs
    }
}
