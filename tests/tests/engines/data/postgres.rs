//! PostgreSQL that is written to until the stop, by an app that then dies under it as in a
//! power cut: after a rollback the database comes up whole, with each row that it has
//! acknowledged, and with nothing of a migration.

use std::fs;

use changeover_tests::lab::EngineKind;
use changeover_tests::postgres::postgres;
use changeover_tests::world::{World, web};
use serde_json::json;

use super::database::{acknowledged, goes_back, image};
use super::in_volume;

pub(super) const NAME: &str = "postgresql_is_as_it_was_after_a_rollback";

/// Puts the programs in reach and starts the server on the volume. It runs as no root.
const SERVER: &str = r#"
export PATH=@bin@:/bin LC_ALL=C PGHOST=/dev/shm PGUSER=postgres PGDATABASE=postgres
sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
[ -e /data/db/PG_VERSION ] || initdb -D /data/db -U postgres -A trust -E UTF8 --no-locale -k -N
rm -f /data/db/postmaster.pid
postgres -D /data/db -k /dev/shm -h '' -c shared_buffers=16MB &
until sql -c 'SELECT 1' 2>&1; do /busybox sleep 0.05; done
"#;
/// It refuses what version 2 has migrated. Each row is acknowledged in the log as soon as
/// PostgreSQL has committed it.
const VERSION_1: &str = r#"
sql -c 'CREATE TABLE IF NOT EXISTS rows (n bigserial PRIMARY KEY, t text NOT NULL)'
sql -c "DO 'BEGIN IF EXISTS (SELECT FROM pg_attribute WHERE attname = ''checked'')
    THEN RAISE ''migrated''; END IF; END'" || exit 3
for writer in 1 2 3; do
    while :; do
        echo "INSERT INTO rows (t) VALUES (repeat(md5(random()::text), 30)) RETURNING 'ack ' || n;"
        /busybox sleep 0.01
    done | sql &
done
exec /sample-app
"#;
/// It migrates, comes up, and never gets well.
const VERSION_2: &str = r#"
sql -c "ALTER TABLE rows ADD COLUMN checked text" \
    -c "UPDATE rows SET t = 'migrated', checked = 'yes'" \
    -c "CREATE INDEX checked ON rows (checked)" -c "VACUUM FULL rows" -c CHECKPOINT
echo "has migrated $(sql -c "SELECT count(*) FROM rows WHERE t = 'migrated'") rows"
export BROKEN_MS=always
exec /sample-app
"#;
/// What is asked of it afterwards, by its own tools. In the end it is stopped, and
/// the checksum of each page is looked at.
const LOOK: &str = r#"
exec 2>&1
pg_amcheck --all --install-missing --heapallindexed --parent-check && echo amcheck ok
echo "columns $(sql -c "SELECT string_agg(column_name, ',' ORDER BY ordinal_position)
    FROM information_schema.columns WHERE table_name = 'rows'")"
echo "indexes $(sql -c "SELECT string_agg(indexname, ',') FROM pg_indexes WHERE tablename = 'rows'")"
echo "migrated $(sql -c "SELECT count(*) FROM rows WHERE t = 'migrated'")"
sql -c "SELECT 'row ' || n FROM rows"
pg_ctl stop -D /data/db -m fast -s && pg_checksums --check -D /data/db
"#;

pub(super) fn is_as_it_was(kind: EngineKind) {
    let world = World::start(kind);
    let (programs, mut files) = postgres();
    let folder = std::env::temp_dir().join(format!("postgres-users-{}", world.lab.name()));
    fs::write(&folder, "postgres:x:1000:1000::/:/bin/sh\n").expect("a file");
    files.push(("etc/passwd".into(), folder.clone()));
    files.push(("bin/sh".into(), changeover_tests::lab::busybox(kind)));
    for (reference, version, script) in
        [("db:1", "1", VERSION_1), ("db:2", "2", VERSION_2), ("look:1", "0", LOOK)]
    {
        let script = SERVER.replace("@bin@", &programs) + script;
        image(&world, reference, version, &script, &files);
    }
    fs::remove_file(folder).expect("ours");
    let mut body = web("db:1");
    body["HostConfig"]["Binds"] = json!(["data:/data"]);
    body["User"] = "1000:1000".into();
    let (status, made) = world.lab.api("POST", "/volumes/create", Some(&json!({ "Name": "data" })));
    assert_eq!(status, 201, "{made}");
    in_volume(&world, "data", "chown 1000:1000 .");
    world.run("web", &body);
    world.wait_for_http(8080);

    let ask = ["--health-timeout", "10s"];
    let said = goes_back(&world, &ask, &body);
    // It was really migrated.
    let failed = world.log("web.failed");
    let migrated =
        failed.lines().find_map(|line| line.strip_prefix("has migrated ")?.strip_suffix(" rows"));
    assert!(
        migrated.is_some_and(|rows| rows.parse().is_ok_and(|rows: usize| rows > 30)),
        "{failed}"
    );
    for words in
        ["amcheck ok", "columns n,t", "indexes rows_pkey", "migrated 0", "Bad checksums:  0"]
    {
        assert!(said.lines().any(|line| line == words), "no `{words}` in: {said}");
    }
    println!(
        "{kind}: {} rows, of which {migrated:?} were migrated; amcheck ok",
        acknowledged(&world).len()
    );
}
