//! A real database that is written to until the stop: what it has acknowledged is there
//! after a rollback, and nothing of a migration.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use changeover_tests::lab::{EngineKind, busybox};
use changeover_tests::sqlite::sqlite;
use changeover_tests::world::{World, web};
use serde_json::json;

/// Each row is acknowledged in the log as soon as SQLite says that it is on the disk.
const VERSION_1: &str = r#"
db() { /sqlite3 -cmd '.timeout 5000' /data/app.db "$1"; }
[ "$(db 'PRAGMA user_version')" = 0 ] || exit 3
db 'PRAGMA journal_mode=WAL; CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, t TEXT)'
while :; do
    db "INSERT INTO rows (t) VALUES (hex(randomblob(3000))); SELECT 'ack ' || last_insert_rowid();"
done &
exec /sample-app
"#;
/// It comes up, takes the data over, and fails.
const VERSION_2: &str = r#"
db() { /sqlite3 -cmd '.timeout 5000' /data/app.db "$1"; }
db "ALTER TABLE rows ADD COLUMN checked TEXT; UPDATE rows SET t = 'migrated', checked = 'yes';
    PRAGMA user_version = 2; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)"
export EXIT_MS=700
exec /sample-app
"#;
/// What is asked of it afterwards.
const LOOK: &str = r#"
db() { /sqlite3 /data/app.db "$1"; }
echo "integrity $(db 'PRAGMA integrity_check')"
echo "version $(db 'PRAGMA user_version')"
echo "columns $(db "SELECT group_concat(name) FROM pragma_table_info('rows')")"
echo "migrated $(db "SELECT count(*) FROM rows WHERE t = 'migrated'")"
db "SELECT 'row ' || n FROM rows"
"#;

fn image(world: &World, reference: &str, version: &str, script: &str) {
    let folder = std::env::temp_dir().join(format!("{reference}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let start = folder.join("start");
    fs::write(&start, script).expect("a file");
    let (shell, mut files) = (busybox(world.lab.kind()), sqlite());
    files.push(("busybox".into(), shell));
    files.push(("start".into(), start));
    let files: Vec<(&str, &Path, u32)> =
        files.iter().map(|(at, path)| (at.as_str(), path.as_path(), 0o755)).collect();
    let start = [r#"ENTRYPOINT ["/busybox","sh","/start"]"#];
    world.image_with_files(reference, &files, &[("VERSION", version)], &start);
    fs::remove_dir_all(&folder).expect("ours");
}

pub(super) fn keeps_each_row(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, "db:1", "1", VERSION_1);
    image(&world, "db:2", "2", VERSION_2);
    image(&world, "look:1", "0", LOOK);
    let mut body = web("db:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let acknowledged = || -> BTreeSet<u64> {
        let log = world.log("web");
        log.lines().filter_map(|l| l.strip_prefix("ack ")?.trim().parse().ok()).collect()
    };
    world.wait("some rows", || acknowledged().len() > 30);

    world.changeover(&["update", "web", "--image", "db:2", "--backup"]).expect(20);
    // Version 1 doesn't start on what version 2 has migrated.
    world.wait("version 1", || world.visit(8080) == "1");
    let back = acknowledged().len();
    world.wait("it goes on writing", || acknowledged().len() > back + 10);
    let (status, _) = world.lab.api("POST", "/containers/web/stop?t=1", None);
    assert_eq!(status, 204);

    let mut look = json!({ "Image": "look:1" });
    look["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("look", &look);
    world.wait("an answer", || {
        world.inspect("look").is_some_and(|look| look["State"]["Status"] == "exited")
    });
    let said = world.log("look");
    let fact = |what: &str| said.lines().find_map(|line| line.strip_prefix(what)).map(str::trim);
    assert_eq!(fact("integrity"), Some("ok"), "{said:.400}");
    assert_eq!(fact("version"), Some("0"), "{said:.400}");
    assert_eq!(fact("columns"), Some("n,t"), "{said:.400}");
    assert_eq!(fact("migrated"), Some("0"), "{said:.400}");
    let rows: BTreeSet<u64> =
        said.lines().filter_map(|l| l.strip_prefix("row ")?.trim().parse().ok()).collect();
    let lost: Vec<_> = acknowledged().difference(&rows).copied().collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

/// What the app writes at its very stop, when the first pass is over.
const FILLS: &str = r#"
trap 'head -c 60000000 /dev/urandom > /data/last-words; kill $app; exit 0' TERM
/sample-app & app=$!
while :; do wait; done
"#;

pub(super) fn out_of_room(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, "fills:1", "1", FILLS);
    world.images(&[2]);
    let small = "mkdir -p /srv/small && mount -t tmpfs -o size=120m,mode=700 tmpfs /srv/small";
    assert!(world.machine(&["sh", "-c", small]));
    let mut body = web("fills:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let update = ["update", "web", "--image", "app:2", "--backup", "--backup-to", "/srv/small"];
    let done = world.changeover(&update).expect(20);
    let reason = done.event("condemned").expect("a verdict")["reason"].to_string();
    assert!(reason.contains("cannot back up the data") && reason.contains("make room"), "{reason}");
    world.wait("version 1", || world.visit(8080) == "1");
    let steps = done.events.iter().filter(|event| event["event"] == "step");
    assert!(!steps.clone().any(|step| step["key"] == "start-new"), "new has seen the data");
    // What is written at a stop stays, and so does the place for the backups.
    let size = super::in_volume(&world, "data", "stat -c %s last-words");
    assert_eq!(size.trim(), "60000000");
    let list = ["backup", "list", "web", "--backup-to", "/srv/small"];
    let listed = world.changeover(&list).expect(0).events;
    assert!(listed.iter().all(|one| one["unfinished"] == true), "{listed:?}");
}
