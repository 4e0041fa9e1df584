//! Data goes back too: after a rollback the volumes are what they were.

mod database;
mod interrupted;
mod postgres;

use changeover_tests::lab::{EngineKind, busybox};
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

pub(crate) use database::{FILLS, image};

use super::Case;

/// On each engine: what engines might do otherwise.
pub(crate) fn cases() -> Vec<Case> {
    [
        ("a_rollback_puts_the_data_back_exactly", puts_back as fn(EngineKind)),
        ("a_helper_killed_while_data_is_kept_or_put_back_ends_it", killed),
    ]
    .map(case)
    .to_vec()
}

/// On the newest one: what is our own doing.
pub(crate) fn on_newest() -> Vec<Case> {
    [
        ("only_the_newest_backups_stay", keeps_the_newest as fn(EngineKind)),
        ("data_that_cannot_be_kept_refuses_the_update", refusals),
        ("no_room_for_the_backup_leaves_the_old_version_with_its_data", database::out_of_room),
        (database::NAME, database::keeps_each_row),
        (postgres::NAME, postgres::is_as_it_was),
        ("the_app_is_made_ready_for_its_backup_or_stays_as_it_is", before_backup),
        ("labels_of_the_app_switch_its_backup_on", labelled),
        (interrupted::CUT_OFF, interrupted::cut_off),
        (interrupted::FULL, interrupted::full),
        ("backups_are_listed_verified_put_back_and_cleared_away", by_hand),
    ]
    .map(case)
    .to_vec()
}

/// Where everything is tried, on each engine.
pub(crate) fn torture() -> Vec<Case> {
    [
        (interrupted::CUT_OFF, interrupted::cut_off as fn(EngineKind)),
        (interrupted::FULL, interrupted::full),
        (database::NAME, database::keeps_each_row),
        (postgres::NAME, postgres::is_as_it_was),
    ]
    .map(case)
    .to_vec()
}

fn case((name, run): (&'static str, fn(EngineKind))) -> Case {
    Case { name, alone: false, run }
}

/// Everything that can be said of a tree by the tools that every system has.
const DESCRIBE: &str = "find . -printf '%P %y %m %U:%G %s %T@ %n %l\\n' | sort
    find . -type f -exec sha256sum {} + | sort -k 2";

/// `web` on `app:1`, with a volume of all sorts of things. Version 1 doesn't start on
/// what version 2 has migrated.
fn world_with_data(kind: EngineKind) -> World {
    let world = World::start(kind);
    let data = ("DATA", "/data/db");
    world.image("app:1", &[("VERSION", "1"), data], &[]);
    world.image("app:2", &[("VERSION", "2"), data], &[]);
    world.image("app:bad", &[("VERSION", "2"), data, ("EXIT_MS", "700")], &[]);
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!(["data:/data", "/etc:/host/etc:ro"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    in_volume(
        &world,
        "data",
        "mkdir -p a/b && head -c 3000000 /dev/urandom > a/b/random && cp a/b/random copy
         chown 1000:4000000000 copy && chmod 4750 copy && ln copy a/another && ln -s nowhere link
         mkfifo -m 600 fifo && mknod device c 1 3 && touch -d 1950-01-01T00:00:00.123456789 old
         truncate -s 50M sparse && echo end >> sparse && printf x > 'odd \\name' && chmod 000 db",
    );
    world
}

/// What a script says in the folder of a volume.
fn in_volume(world: &World, volume: &str, script: &str) -> String {
    in_folder(world, &folder_of(world, volume), script)
}

/// Where a volume is on the machine.
fn folder_of(world: &World, volume: &str) -> String {
    let (status, found) = world.lab.api("GET", &format!("/volumes/{volume}"), None);
    assert_eq!(status, 200, "{found}");
    found["Mountpoint"].as_str().expect("a folder").to_owned()
}

/// What a script says in a folder of the machine.
fn in_folder(world: &World, folder: &str, script: &str) -> String {
    let script = format!("set -e; cd {folder}; {script}");
    let done = world.lab.machine_command("sh").args(["-c", &script]).output().expect("a shell");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

fn puts_back(kind: EngineKind) {
    let world = world_with_data(kind);
    let before = in_volume(&world, "data", DESCRIBE);
    let done = world.changeover(&["update", "web", "--image", "app:bad", "--backup"]).expect(20);
    let steps = done.events.iter().filter(|event| event["event"] == "step");
    let keys: Vec<&str> = steps.filter_map(|step| step["key"].as_str()).collect();
    for key in ["first-pass", "back-up", "undo-put-back"] {
        assert!(keys.contains(&key), "no {key} in {keys:?}");
    }
    // It wouldn't serve on migrated data.
    world.assert_settled("1", true);
    assert_eq!(in_volume(&world, "data", DESCRIBE), before);
    // Whoever may not read the data may not read its backups.
    let modes = "find . -mindepth 1 -type d -printf '%m\\n' -o -printf '%m\\n' | sort -u";
    assert_eq!(in_volume(&world, "changeover-backups", modes), "600\n700\n");

    // The next update finds everything there and goes through.
    world.changeover(&["update", "web", "--image", "app:2", "--backup"]).expect(0);
    world.assert_settled("2", false);
    assert_eq!(in_volume(&world, "data", "cat db"), "schema 2\n");
}

fn killed(kind: EngineKind) {
    let world = world_with_data(kind);
    let before = in_volume(&world, "data", DESCRIBE);
    for (event, key) in [
        ("begun", "first-pass"),
        ("step", "stop-old"),
        ("begun", "back-up"),
        ("step", "start-new"),
        ("begun", "undo-put-back"),
        ("step", "undo-put-back"),
    ] {
        let mut update = world.spawn(&["update", "web", "--image", "app:bad", "--backup"]);
        update.wait_for(key, |e| e["event"] == event && e["key"] == key);
        world.lab.crash_container("web.changeover");
        update.finish().expect(20);
        world.assert_settled("1", true);
        assert_eq!(in_volume(&world, "data", DESCRIBE), before, "killed at {event} {key}");
    }
}

fn keeps_the_newest(kind: EngineKind) {
    let world = world_with_data(kind);
    for image in ["app:bad", "app:bad", "app:2"] {
        let args = ["update", "web", "--image", image, "--backup", "--keep-backups", "2"];
        world.changeover(&args).expect(if image == "app:2" { 0 } else { 20 });
    }
    assert_eq!(in_volume(&world, "changeover-backups", "ls web/snapshots | wc -l").trim(), "2");
    let packs = in_volume(&world, "changeover-backups", "du -sm web/data | cut -f 1");
    // Three megabytes of noise are kept once, by all of them together.
    assert!(packs.trim().parse::<u32>().expect("a size") < 8, "{packs}");
}

fn refusals(kind: EngineKind) {
    let world = world_with_data(kind);
    let small = "mkdir -p /srv/small && mount -t tmpfs -o size=1m,mode=700 tmpfs /srv/small";
    assert!(world.machine(&["sh", "-c", small]));
    for (args, words) in [
        (&["--backup", "--backup-to", "data"][..], "are in each other"),
        (&["--backup=/nowhere"], "nothing is mounted at /nowhere"),
        (&["--backup", "--backup-to", "/srv/nowhere"], "is not there on the engine's host"),
    ] {
        let command = [&["update", "web", "--image", "app:2"], args].concat();
        let done = world.changeover(&command).expect(21);
        assert!(done.stderr.contains(words), "{args:?}: {}", done.stderr);
        assert_eq!(world.containers(), ["web"], "{args:?}");
    }
    // This one only the helper can see.
    let args = ["update", "web", "--image", "app:2", "--backup", "--backup-to", "/srv/small"];
    let done = world.changeover(&args).expect(21);
    let finished = done.event("finished").expect("the helper says it");
    assert!(finished["reason"].to_string().contains("there is room for"), "{finished}");
    world.wait("version 1", || world.visit(8080) == "1");

    // Without being asked, it is said what a rollback would leave.
    let check = world.changeover(&["check", "web", "--image", "app:2"]).expect(0);
    let remarks = check.event("check").expect("it is shown")["remarks"].clone();
    let stays = remarks.as_array().into_iter().flatten().find(|one| one["code"] == "data-stays");
    let text = stays.expect("a word about the data")["text"].to_string();
    assert!(text.contains("/data") && !text.contains("/host/etc"), "{text}");
}

/// `web` on `app:1`, with a shell and a volume.
fn world_with_shell(kind: EngineKind, labels: Value) -> World {
    let world = World::start(kind);
    let shell = busybox(kind);
    let files = [("busybox", shell.as_path(), 0o755), ("bin/sh", shell.as_path(), 0o755)];
    let data = ("DATA", "/data/db");
    world.image_with_files("app:1", &files, &[("VERSION", "1"), data], &[]);
    world.image("app:bad", &[("VERSION", "2"), data, ("EXIT_MS", "700")], &[]);
    let mut body = web("app:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    body["Labels"] = labels;
    world.run("web", &body);
    world.wait_for_http(8080);
    world
}

fn before_backup(kind: EngineKind) {
    let world = world_with_shell(kind, json!({}));
    let started = world.inspect("web").expect("it runs")["State"]["StartedAt"].clone();
    let update = ["update", "web", "--image", "app:bad", "--backup", "--before-backup-timeout"];
    for (limit, hook, words) in [
        ("1m", "echo not now; exit 3", "ends with exit code 3, and says: not now"),
        ("1s", "/busybox sleep 60", "has not ended within 1 s"),
        ("1m", r#"["/nowhere"]"#, "/nowhere"),
        ("1m", ":80/nowhere", "status 404"),
        ("1m", "http://127.0.0.1:9/flush", "cannot connect to 127.0.0.1:9"),
    ] {
        let args = [&update[..], &[limit, "--before-backup", hook]].concat();
        let done = world.changeover(&args).expect(21);
        let reason = done.event("finished").expect("the helper says it")["reason"].to_string();
        assert!(reason.contains(words) && reason.contains("--before-backup says"), "{reason}");
        // Nothing was touched.
        assert_eq!(world.containers(), ["web", "web.changeover"], "{hook}");
        let now = world.inspect("web").expect("it runs")["State"]["StartedAt"].clone();
        assert_eq!(now, started, "{hook}");
    }
    // It is asked while it still serves, and what it writes then is in the backup.
    for hook in [":80/hook", "http://127.0.0.1:8080/hook", "echo flushed > /data/flushed"] {
        let args = [&update[..], &["1m", "--before-backup", hook]].concat();
        world.changeover(&args).expect(20);
        world.wait("version 1", || world.visit(8080) == "1");
    }
    let (stopped, _) = world.lab.api("POST", "/containers/web/stop", None);
    assert_eq!(stopped, 204);
    assert_eq!(in_volume(&world, "data", "cat flushed && rm flushed"), "flushed\n");
    world.changeover(&["backup", "restore", "web"]).expect(0);
    assert_eq!(in_volume(&world, "data", "cat flushed"), "flushed\n");
}

fn labelled(kind: EngineKind) {
    let labels = json!({
        "io.changeover.backup": "/data",
        "io.changeover.backup-exclude": "*.tmp",
        "io.changeover.before-backup": "echo flushed > /data/flushed",
    });
    let world = world_with_shell(kind, labels);
    let check = |more: &[&str]| {
        let done = world.changeover(&[&["check", "web", "--image", "app:bad"], more].concat());
        done.expect(0).event("check").expect("it is shown")["plan"]["backup"].clone()
    };
    let plan = check(&[]);
    assert_eq!(plan["sources"][0]["path"], "/data");
    assert_eq!(plan["exclude"], json!(["*.tmp"]));
    assert_eq!(plan["before"]["what"], "echo flushed > /data/flushed");
    // Who says something himself knows better.
    assert_eq!(check(&["--backup=none"]), Value::Null);
    assert_eq!(check(&["--before-backup", ":80/hook"])["before"]["what"], ":80/hook");

    in_volume(&world, "data", "echo kept > kept; echo left > left.tmp");
    world.changeover(&["update", "web", "--image", "app:bad"]).expect(20);
    world.assert_settled("1", true);
    assert_eq!(in_volume(&world, "data", "cat db flushed"), "schema 1\nflushed\n");

    // A typing error must not cost the backup that somebody counts on.
    let mut body = web("app:1");
    body["Labels"] = json!({ "io.changeover.backup": "data" });
    body["HostConfig"] = json!({ "Binds": ["data:/data"] });
    world.run("typo", &body);
    let done = world.changeover(&["update", "typo", "--image", "app:bad"]).expect(21);
    assert!(
        done.stderr.contains("its label io.changeover.backup can't be used"),
        "{}",
        done.stderr
    );
}

fn by_hand(kind: EngineKind) {
    let world = world_with_data(kind);
    let none = |command: &[&str]| {
        let done = world.changeover(&[&["backup"], command].concat()).expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "no-such-backup");
        done.says("there are no backups of `web` in ")
            .says("hint: `changeover update web --backup");
    };
    for command in ["list", "verify", "restore", "prune"] {
        none(&[command, "web"]);
    }
    std::fs::create_dir(world.lab.dir().join("empty")).expect("the lab's directory is writable");
    let empty = world.lab.dir().join("empty").display().to_string();
    none(&["verify", "web", "--backup-to", &empty]);

    let before = in_volume(&world, "data", DESCRIBE);
    for image in ["app:2", "app:1"] {
        if image == "app:1" {
            // Version 1 doesn't start on what version 2 has made of it.
            in_volume(&world, "data", "echo schema 1 > db");
        }
        world.changeover(&["update", "web", "--image", image, "--backup"]).expect(0);
    }
    let list = || {
        let done = world.changeover(&["backup", "list", "web"]).expect(0);
        let ids = done.events.iter().map(|one| one["id"].as_str().expect("an id").to_owned());
        ids.collect::<Vec<_>>()
    };
    let ids = list();
    assert_eq!(ids.len(), 2, "the newest first: {ids:?}");
    let verify = || world.changeover(&["backup", "verify", "web"]);
    assert_eq!(verify().expect(0).event("verified").expect("a result")["backups"], 2);

    // Not while the app is writing.
    let restore = ["backup", "restore", "web", "--snapshot", &ids[1][..12]];
    let refused = world.changeover(&restore).expect(21);
    assert!(refused.stderr.contains("it runs"), "{}", refused.stderr);
    let (stopped, _) = world.lab.api("POST", "/containers/web/stop", None);
    assert_eq!(stopped, 204);
    let done = world.changeover(&restore).expect(0);
    assert_eq!(done.event("restored").expect("a result")["left_out"], json!([]));
    assert_eq!(in_volume(&world, "data", DESCRIBE), before);
    let unknown = world.changeover(&["backup", "restore", "web", "--snapshot", "nix"]).expect(21);
    assert!(unknown.stderr.contains("backup list web"), "{}", unknown.stderr);

    let prune = ["backup", "prune", "web", "--keep-backups", "1"];
    assert_eq!(world.changeover(&prune).expect(0).event("pruned").expect("a result")["left"], 1);
    assert_eq!(list(), ids[..1]);
    // One byte anywhere in the largest file.
    let spoil =
        "f=$(find web/data -type f -printf '%s %p\\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
        printf X | dd of=$f bs=1 seek=5000 conv=notrunc status=none";
    in_volume(&world, "changeover-backups", spoil);
    let damaged = verify().expect(21);
    assert!(damaged.stderr.contains("the backups are damaged"), "{}", damaged.stderr);
    assert_eq!(world.containers(), ["web"]);
}
