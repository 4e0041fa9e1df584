//! A real database that is written to until the stop: what it has acknowledged is there
//! after a rollback, and nothing of a migration.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use changeover_tests::lab::{EngineKind, busybox};
use changeover_tests::sqlite::sqlite;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

pub(super) const NAME: &str = "each_row_that_was_acknowledged_is_there_after_a_rollback";

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

/// An image that runs a script, with these files in it.
pub(crate) fn image(
    world: &World,
    reference: &str,
    version: &str,
    script: &str,
    files: &[(String, PathBuf)],
) {
    // Others do the same at the same time, in labs of their own.
    let folder = std::env::temp_dir().join(format!("{reference}-{}", world.lab.name()));
    fs::create_dir_all(&folder).expect("a folder");
    let start = folder.join("start");
    fs::write(&start, script).expect("a file");
    let shell = busybox(world.lab.kind());
    let own = [("busybox", shell.as_path()), ("start", start.as_path())];
    let files = files.iter().map(|(at, path)| (at.as_str(), path.as_path()));
    let files: Vec<_> = files.chain(own).map(|(at, path)| (at, path, 0o755)).collect();
    let start = [r#"ENTRYPOINT ["/busybox","sh","/start"]"#];
    world.image_with_files(reference, &files, &[("VERSION", version)], &start);
    fs::remove_dir_all(&folder).expect("ours");
}

/// The rows that the database has said to be on the disk.
pub(super) fn acknowledged(world: &World) -> BTreeSet<u64> {
    numbers(&world.log("web"), "ack ")
}

/// The update to a version that migrates and fails; the old one must serve again and go
/// on writing. Then what the image `look:1` says of the data, without the rows.
pub(super) fn goes_back(world: &World, args: &[&str], body: &Value) -> String {
    world.wait("some rows", || acknowledged(world).len() > 30);
    world
        .changeover(&[&["update", "web", "--image", "db:2", "--backup"], args].concat())
        .expect(20);
    // Version 1 doesn't start on what version 2 has migrated.
    world.wait("version 1", || world.visit(8080) == "1");
    let back = acknowledged(world).len();
    world.wait("it goes on writing", || acknowledged(world).len() > back + 10);
    let (status, _) = world.lab.api("POST", "/containers/web/stop?t=1", None);
    assert_eq!(status, 204);

    let mut look = json!({ "Image": "look:1" });
    look["HostConfig"]["Binds"] = body["HostConfig"]["Binds"].clone();
    look["User"] = body["User"].clone();
    world.run("look", &look);
    world.wait("an answer", || {
        world.inspect("look").is_some_and(|look| look["State"]["Status"] == "exited")
    });
    let said = world.log("look");
    let rows = numbers(&said, "row ");
    let acknowledged = acknowledged(world);
    let lost: Vec<_> = acknowledged.difference(&rows).copied().collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    said.lines().filter(|line| !line.starts_with("row ")).map(|line| format!("{line}\n")).collect()
}

fn numbers(text: &str, prefix: &str) -> BTreeSet<u64> {
    text.lines().filter_map(|line| line.strip_prefix(prefix)?.trim().parse().ok()).collect()
}

pub(super) fn keeps_each_row(kind: EngineKind) {
    let world = World::start(kind);
    let sqlite = sqlite();
    image(&world, "db:1", "1", VERSION_1, &sqlite);
    image(&world, "db:2", "2", VERSION_2, &sqlite);
    image(&world, "look:1", "0", LOOK, &sqlite);
    let mut body = web("db:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    world.run("web", &body);
    world.wait_for_http(8080);
    let said = goes_back(&world, &[], &body);
    assert_eq!(said, "integrity ok\nversion 0\ncolumns n,t\nmigrated 0\n");
    println!("{kind}: {} rows, {}", acknowledged(&world).len(), said.replace('\n', "; "));
}

/// What the app writes at its very stop, when the first pass is over.
pub(crate) const FILLS: &str = r#"
trap 'head -c 60000000 /dev/urandom > /data/last-words; kill $app; exit 0' TERM
/sample-app & app=$!
while :; do wait; done
"#;

pub(super) fn out_of_room(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, "fills:1", "1", FILLS, &[]);
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
