//! Helper, engine or the whole machine dies anywhere in a backup or a restore, or a disk
//! is full: the data is whole in the end.
//!
//! Where, is drawn by `CHANGEOVER_SEED`: which of it happens, in which step, and after which
//! part of the time that this step takes on this machine. A failure names the draw.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::Child;
use std::time::{Duration, Instant};

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Done, World, web};
use serde_json::{Value, json};

use super::database::image;
use super::{folder_of, in_folder};
use crate::crashes::{restarted_for_the_port, torture};

pub(super) const CUT_OFF: &str = "data_is_whole_wherever_backup_or_restore_is_cut_off";
pub(super) const FULL: &str = "data_is_whole_wherever_backup_or_restore_find_a_full_disk";

/// Drawn in `make torture` on each engine, and in `make test`: each of the deaths once, and
/// the step in which a full disk matters most.
const MANY: u64 = 60;
const DEATHS: u64 = 3;
const FULL_DISKS: u64 = 1;
/// How long an update may take that something died in.
const LIMIT: Duration = Duration::from_secs(120);
/// For so long a disk stays full while data is put back.
const FULL_FOR: Duration = Duration::from_millis(1500);
/// What is struck in, by the key under which it begins. The last one reaches from the commit
/// to the helper's end, which clears older backups away.
const PARTS: [&str; 4] = ["undo-put-back", "first-pass", "back-up", "remove-old"];

/// At each stop it leaves much that no pass has seen before, under a name that says what it is.
const STEADY: &str = r#"
cd /data
trap '
    /busybox head -c 12000000 /dev/urandom > new
    sum=$(/busybox sha256sum new); sum=${sum%% *}
    /busybox mv new words-$sum && echo "last words $sum"
    for old in words-*; do [ $old = words-$sum ] || /busybox rm $old; done
    kill $app; exit 0' TERM
DATA=/data/db /sample-app & app=$!
while kill -0 $app 2>/dev/null; do wait $app; done
"#;
/// It writes over what it finds, takes away and adds, and then fails.
const SPOILS: &str = r#"
cd /data
/busybox dd if=/dev/urandom of=large bs=1M seek=2 count=12 conv=notrunc
/busybox rm -rf many/*b
for n in many/*c words-*; do echo spoilt > "$n"; done
/busybox mkdir added && /busybox cp large added/
echo schema 2 > db
export EXIT_MS=0
exec /sample-app
"#;
/// What nobody but version 2 changes.
const STEADY_PART: &str =
    "set -- $(ls -d [!w]*); find \"$@\" -printf '%P %y %m %U:%G %s %T@ %n %l\\n' | sort
    find \"$@\" -type f -exec sha256sum {} + | sort -k 2";
/// Whether each of the last words is what its name says.
const WORDS: &str = "for f in words-*; do [ -e $f ] || continue
    sum=$(sha256sum $f); [ words-${sum%% *} = $f ] && echo ${f#words-} || echo spoilt $f; done";

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Helper,
    Engine,
    PowerCut,
    FullDisk,
}

/// What is done to whom, and when.
struct Draw {
    seed: String,
    number: u64,
    fault: Fault,
    part: &'static str,
    per_mille: u64,
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Draw { seed, number, fault, part, per_mille } = self;
        write!(f, "CHANGEOVER_SEED={seed} number {number}: {fault:?} in {part} at {per_mille} ‰")
    }
}

impl Draw {
    /// Each fault as often; and each part as often for each fault, from one that is drawn.
    fn new(number: u64, faults: &[Fault]) -> Draw {
        let seed = std::env::var("CHANGEOVER_SEED").unwrap_or_default();
        let dice = |what: &str, number: u64, sides: u64| {
            let mut hasher = DefaultHasher::new();
            (&seed, number, what).hash(&mut hasher);
            hasher.finish() % sides
        };
        let round = number / faults.len() as u64;
        let fault = faults[(number % faults.len() as u64) as usize];
        let first = match fault {
            Fault::FullDisk => 0,
            died => dice("part", died as u64, PARTS.len() as u64),
        };
        Draw {
            number,
            fault,
            part: PARTS[((first + round) % PARTS.len() as u64) as usize],
            per_mille: dice("when", number, 1000),
            seed: seed.clone(),
        }
    }
}

pub(super) fn cut_off(kind: EngineKind) {
    let world = World::start(kind);
    let (status, made) = world.lab.api("POST", "/volumes/create", Some(&json!({ "Name": "data" })));
    assert_eq!(status, 201, "{made}");
    let data = folder_of(&world, "data");
    let mut stage = Stage::new(world, "data:/data", data, "changeover-backups");
    stage.play(&[Fault::Helper, Fault::Engine, Fault::PowerCut], DEATHS);
}

pub(super) fn full(kind: EngineKind) {
    let world = World::start(kind);
    for (part, size) in [("data", 150), ("backups", 250)] {
        let options = format!("size={size}m,mode=700");
        let script =
            format!("mkdir -p /srv/{part} && mount -t tmpfs -o {options} tmpfs /srv/{part}");
        assert!(world.machine(&["sh", "-c", &script]));
    }
    assert!(world.machine(&["mkdir", "/srv/data/app", "/srv/backups/ours"]));
    let mut stage =
        Stage::new(world, "/srv/data/app:/data", "/srv/data/app".into(), "/srv/backups/ours");
    stage.play(&[Fault::FullDisk], FULL_DISKS);
}

/// The app with its data.
struct Stage {
    world: World,
    /// The folder of the data, on the machine.
    data: String,
    to: &'static str,
    before: String,
    /// How long each part takes when nobody dies.
    took: HashMap<&'static str, Duration>,
}

impl Stage {
    fn new(world: World, bind: &str, data: String, to: &'static str) -> Stage {
        // Two that are the same to who visits them.
        image(&world, "app:1", "1", STEADY, &[]);
        image(&world, "app:one", "1", &format!("{STEADY}# Another one."), &[]);
        image(&world, "app:spoils", "2", SPOILS, &[]);
        let mut body = web("app:1");
        body["HostConfig"]["Binds"] = json!([bind]);
        world.run("web", &body);
        world.wait_for_http(8080);
        let fill = "mkdir many && head -c 3000000 /dev/urandom | split -a 3 -b 2000 - many/
             head -c 16000000 /dev/urandom > large && ln large linked && chmod 640 many/*a";
        in_folder(&world, &data, fill);
        let before = in_folder(&world, &data, STEADY_PART);
        Stage { world, data, to, before, took: HashMap::new() }
    }

    /// The update that a part is a part of: all but the commit is seen in one that fails.
    fn update(&self, part: &str) -> Vec<&'static str> {
        let now = self.world.inspect("web").expect("it is there")["Config"]["Image"].clone();
        let image = match part {
            "remove-old" if now == "app:1" => "app:one",
            "remove-old" => "app:1",
            _ => "app:spoils",
        };
        let keep = ["--backup", "--backup-to", self.to, "--keep-backups", "1", "--stable", "0s"];
        [&["update", "web", "--image", image][..], &keep].concat()
    }

    fn play(&mut self, faults: &[Fault], some: u64) {
        self.rehearse();
        for number in 0..if torture() { MANY } else { some } {
            let draw = Draw::new(number, faults);
            // A first pass that finds nothing new is over at once.
            if draw.part == "first-pass" {
                let backups = match self.to.starts_with('/') {
                    true => self.to.to_owned(),
                    false => folder_of(&self.world, self.to),
                };
                in_folder(&self.world, &backups, "rm -rf web");
            }
            let done = self.strike(&draw);
            let codes: &[i32] = match draw.part {
                // Before anything was touched, it may be given up instead.
                "first-pass" => &[20, 21],
                // Until old is removed there is a way back, and it may be taken.
                "remove-old" => &[0, 20],
                _ => &[20],
            };
            let lost = restarted_for_the_port(&mut self.world, &done);
            let code = if lost { 20 } else { done.code };
            let said = format!("{:#?}\n{}", done.events, done.stderr);
            assert!(codes.contains(&code), "{draw}: exit code {code} {said}");
            let down = |web: Value| web["State"]["Running"] == false;
            if self.world.inspect("web").is_some_and(down) && draw.fault == Fault::Engine {
                // A killed engine leaves it so, with or without us.
                self.world.lab.api("POST", "/containers/web/start", None);
            }
            self.assert_whole(&draw.to_string());
            // One that came back with the engine may be clearing away yet.
            self.world.wait_for_the_helpers_end();
            // What was cut off is not taken for a backup.
            let verify = ["backup", "verify", "web", "--backup-to", self.to];
            let verified = self.world.changeover(&verify);
            let none = code == 21 && verified.stderr.contains("there are no backups");
            assert!(verified.code == 0 || none, "{draw}: {}\n{said}", verified.stderr);
            let lost = if lost { ", the port lost" } else { "" };
            println!("{}: {draw}: exit code {code}{lost}", self.world.lab.kind());
        }
    }

    /// How long each part takes when nobody dies.
    fn rehearse(&mut self) {
        for last in ["undo-put-back", "remove-old"] {
            let mut running = self.world.spawn(&self.update(last));
            running.wait_for(last, |event| event["event"] == "begun" && event["key"] == last);
            let begun = Instant::now();
            let done = running.finish().expect(if last == "remove-old" { 0 } else { 20 });
            self.assert_whole("undisturbed");
            let told = |part: &str| {
                let step = done.events.iter().find(|e| e["event"] == "step" && e["key"] == part);
                step.and_then(|step| step["milliseconds"].as_u64()).map(Duration::from_millis)
            };
            for part in PARTS {
                self.took.extend(told(part).map(|took| (part, took)));
            }
            self.took.insert(
                last,
                told(last).filter(|_| last != "remove-old").unwrap_or(begun.elapsed()),
            );
        }
        println!("{}: {:?}", self.world.lab.kind(), self.took);
    }

    fn strike(&mut self, draw: &Draw) -> Done {
        let mut running = self.world.spawn(&self.update(draw.part));
        let begun = running.saw(|event| event["event"] == "begun" && event["key"] == draw.part);
        if !begun {
            let Done { code, events, stderr } = running.finish();
            panic!("{draw}: it was never begun: {code} {events:#?}\n{stderr}");
        }
        std::thread::sleep(self.took[draw.part] * draw.per_mille as u32 / 1000);
        let lab = &mut self.world.lab;
        match draw.fault {
            Fault::Helper => {
                let helper = self.world.inspect("web.changeover");
                // One that has ended already is beyond our reach.
                if helper.is_some_and(|helper| helper["State"]["Running"] == true) {
                    self.world.lab.crash_container("web.changeover");
                }
            }
            Fault::Engine => {
                lab.kill();
                lab.start_again();
            }
            Fault::PowerCut => {
                lab.power_cut();
                lab.start_again();
            }
            Fault::FullDisk => {
                let back = draw.part == "undo-put-back";
                let disk = if back { "/srv/data" } else { "/srv/backups" };
                let filler = Filler::start(&self.world, disk);
                if back {
                    // It is tried again until there is room.
                    std::thread::sleep(FULL_FOR);
                    drop(filler);
                } else {
                    let done = running.finish_within(LIMIT);
                    drop(filler);
                    return done;
                }
            }
        }
        running.finish_within(LIMIT)
    }

    fn assert_whole(&self, when: &str) {
        self.world.wait(&format!("version 1 after {when}"), || self.world.visit(8080) == "1");
        assert_eq!(in_folder(&self.world, &self.data, STEADY_PART), self.before, "{when}");
        let words = in_folder(&self.world, &self.data, WORDS);
        assert!(!words.contains("spoilt"), "{when}: {words}");
        // What it has said to have written at its last stop is there.
        let log = self.world.log("web");
        if let Some(said) = log.lines().rev().find_map(|line| line.strip_prefix("last words ")) {
            assert!(words.contains(said), "{when}: said {said}, there is {words}");
        }
    }
}

/// Takes each byte of a disk that is free or gets free, for as long as it lives.
struct Filler<'a> {
    world: &'a World,
    disk: &'static str,
    work: Child,
}

impl Filler<'_> {
    fn start<'a>(world: &'a World, disk: &'static str) -> Filler<'a> {
        // Before it begins, or it might begin after its end.
        world.machine(&["touch", &format!("{disk}/goes-on")]);
        let script = format!(
            "cd {disk}; while [ -e goes-on ]; do dd if=/dev/zero bs=64k >> filler; done 2>/dev/null"
        );
        let work = world.lab.machine_command("sh").args(["-c", &script]).spawn().expect("a shell");
        Filler { world, disk, work }
    }
}

impl Drop for Filler<'_> {
    fn drop(&mut self) {
        let files = ["goes-on", "filler"].map(|name| format!("{}/{name}", self.disk));
        self.world.machine(&["rm", "-f", &files[0]]);
        let _ = self.work.wait();
        self.world.machine(&["rm", "-f", &files[1]]);
    }
}
