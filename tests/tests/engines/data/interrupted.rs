//! Helper, engine or the whole machine dies anywhere in a backup or a restore: the data is
//! whole in the end.
//!
//! Where, is drawn by `CHANGEOVER_SEED`: which of them dies, in which step, and after which
//! part of the time that this step takes on this machine. A failure names the draw.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Done, World, web};
use serde_json::json;

use super::database::image;
use super::{DESCRIBE, in_volume};
use crate::crashes::torture;

pub(super) const NAME: &str = "data_is_whole_wherever_backup_or_restore_is_cut_off";

/// Drawn in `make test`, and in `make torture` on each engine: each of the faults as often.
const SOME: u64 = 3;
const MANY: u64 = 45;
/// How long an update may take that something died in.
const LIMIT: Duration = Duration::from_secs(90);
/// The steps that are struck in, by the key under which they begin and end.
const STEPS: [&str; 3] = ["first-pass", "back-up", "undo-put-back"];

/// It writes over what it finds, takes away and adds, and then fails.
const SPOILS: &str = r#"
cd /data
/busybox dd if=/dev/urandom of=large bs=1M seek=2 count=12 conv=notrunc
/busybox rm -rf many/*b
for n in many/*c; do echo spoilt > "$n"; done
/busybox mkdir added && /busybox cp large added/
echo schema 2 > db
export EXIT_MS=0
exec /sample-app
"#;

#[derive(Debug, Clone, Copy)]
enum Fault {
    Helper,
    Engine,
    PowerCut,
}

/// What is done to whom, and when.
struct Draw {
    seed: String,
    number: u64,
    fault: Fault,
    step: &'static str,
    per_mille: u64,
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Draw { seed, number, fault, step, per_mille } = self;
        write!(f, "CHANGEOVER_SEED={seed} number {number}: {fault:?} in {step} at {per_mille} ‰")
    }
}

impl Draw {
    fn new(number: u64) -> Draw {
        let seed = std::env::var("CHANGEOVER_SEED").unwrap_or_default();
        let dice = |what: &str, sides: u64| {
            let mut hasher = DefaultHasher::new();
            (&seed, number, what).hash(&mut hasher);
            hasher.finish() % sides
        };
        Draw {
            number,
            fault: [Fault::Helper, Fault::Engine, Fault::PowerCut][(number % 3) as usize],
            step: STEPS[((number / 3 + dice("step", 3)) % 3) as usize],
            per_mille: dice("when", 1000),
            seed: seed.clone(),
        }
    }
}

pub(super) fn anywhere(kind: EngineKind) {
    let mut world = World::start(kind);
    world.image("app:1", &[("VERSION", "1"), ("DATA", "/data/db")], &[]);
    image(&world, "app:spoils", "2", SPOILS, &[]);
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    in_volume(
        &world,
        "data",
        "mkdir many && head -c 3000000 /dev/urandom | split -a 3 -b 2000 - many/
         head -c 16000000 /dev/urandom > large && ln large linked && chmod 640 many/*a",
    );
    let before = in_volume(&world, "data", DESCRIBE);
    let update = ["update", "web", "--image", "app:spoils", "--backup"];

    // How long each step takes when nobody dies.
    let undisturbed = world.changeover(&update).expect(20);
    assert_eq!(in_volume(&world, "data", DESCRIBE), before, "undisturbed");
    let took = |done: &Done| -> HashMap<String, u64> {
        let steps = done.events.iter().filter(|event| event["event"] == "step");
        let key = |step: &serde_json::Value| step["key"].as_str().map(str::to_owned);
        steps.filter_map(|step| Some((key(step)?, step["milliseconds"].as_u64()?))).collect()
    };
    let took = took(&undisturbed);

    for number in 0..if torture() { MANY } else { SOME } {
        let draw = Draw::new(number);
        // A first pass that finds nothing new is over at once.
        if draw.step == "first-pass" {
            in_volume(&world, "changeover-backups", "rm -rf web");
        }
        let mut running = world.spawn(&update);
        let begun = running.saw(|event| event["event"] == "begun" && event["key"] == draw.step);
        assert!(begun, "{draw}: it was never begun");
        let whole = took.get(draw.step).copied().unwrap_or_else(|| panic!("{draw}: {took:?}"));
        std::thread::sleep(Duration::from_micros(whole * draw.per_mille));
        match draw.fault {
            Fault::Helper => {
                let helper = world.inspect("web.changeover");
                // One that has ended already is beyond our reach.
                if helper.is_some_and(|helper| helper["State"]["Running"] == true) {
                    world.lab.crash_container("web.changeover");
                }
            }
            Fault::Engine => {
                world.lab.kill();
                world.lab.start_again();
            }
            Fault::PowerCut => {
                world.lab.power_cut();
                world.lab.start_again();
            }
        }
        let done = running.finish_within(LIMIT);
        // Before anything was touched, it may be given up instead.
        let codes: &[i32] = if draw.step == "first-pass" { &[20, 21] } else { &[20] };
        assert!(
            codes.contains(&done.code),
            "{draw}: {} {:#?}\n{}",
            done.code,
            done.events,
            done.stderr
        );
        let down = world.inspect("web").is_some_and(|web| web["State"]["Running"] == false);
        if down && draw.step == "first-pass" && matches!(draw.fault, Fault::Engine) {
            // A killed engine leaves it so, with or without us.
            world.lab.api("POST", "/containers/web/start", None);
        }
        world.wait(&format!("version 1 after {draw}"), || world.visit(8080) == "1");
        assert_eq!(in_volume(&world, "data", DESCRIBE), before, "{draw}");
        println!("{kind}: {draw}: exit code {}", done.code);
    }
    // What was cut off is not taken for a backup.
    world.changeover(&update).expect(20);
    assert_eq!(in_volume(&world, "data", DESCRIBE), before, "after all");
    world.changeover(&["backup", "verify", "web"]).expect(0);
}
