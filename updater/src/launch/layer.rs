//! The writable layer: what the old container has written beside its volumes. It goes
//! with the container, so whatever exists nowhere else is told, carried over, or refuses
//! the update.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::text;
use crate::engine::{Engine, EngineError};
use crate::plan::Plan;

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layer {
    /// Files that exist nowhere else.
    pub(super) lost: Vec<String>,
    /// Empty ones among them: markers of the app's, or mount points of a runtime's.
    pub(super) empty: Vec<String>,
    /// Files and folders that are carried over, sorted.
    pub(super) carried: Vec<String>,
    /// Files of the image that were changed.
    pub(super) changed: Vec<String>,
    /// Files of the image that were deleted.
    pub(super) deleted: Vec<String>,
}

/// Nobody keeps anything here that is to outlive a container.
const THROWN_AWAY: [&str; 13] = [
    "/tmp",
    "/var/tmp",
    "/run",
    "/var/run",
    "/var/lock",
    "/var/cache",
    "/var/log",
    "/dev",
    "/proc",
    "/sys",
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
];
/// Files of the engine's own.
const ENGINES: [&str; 4] = ["/.dockerenv", "/.dockerinit", "/sbin/docker-init", "/etc/mtab"];
/// Files that Podman adds for a user whom the image doesn't list.
const PODMANS: [&str; 2] = ["/etc/passwd", "/etc/group"];
/// Folders of caches, wherever they are.
const CACHES: [&str; 2] = [".cache", "__pycache__"];
/// Names of files that mean nothing to another process.
const FLEETING: [&str; 4] = [".pid", ".pyc", ".sock", ".lock"];
/// Where Compose puts secrets that have no file on the host.
const SECRETS: [&str; 2] = ["/run/secrets", "/var/run/secrets"];
/// How many files are looked at; what lies beyond counts as a file.
const LOOKED_AT: usize = 200;

/// Looks at the layer of `old`. `asked` are the paths that are to be carried over.
pub(super) async fn look(
    engine: &Engine,
    old: &Value,
    asked: &[String],
) -> Result<Layer, EngineError> {
    let id = text(old, "/Id");
    let changes = engine.changes(id).await?;
    let mut asked: Vec<String> = asked.iter().map(|path| clean(path).to_owned()).collect();
    // What was carried into it is carried on.
    for path in carried_before(old) {
        if engine.path_stat(id, &path).await?.is_some() {
            asked.push(path);
        }
    }
    let mut layer = sort(&changes, &mounted(old), &asked);
    if engine.podman().is_some() {
        layer.lost.retain(|path| !PODMANS.contains(&path.as_str()));
    }
    let is_composes = old["Config"]["Labels"]["com.docker.compose.project"].is_string();
    let (mut lost, mut empty, mut carried) = (Vec::new(), Vec::new(), Vec::new());
    for (n, path) in std::mem::take(&mut layer.lost).into_iter().enumerate() {
        let is_secret = SECRETS.iter().any(|folder| is_below(&path, folder));
        if is_secret && !is_composes {
            continue;
        }
        if n >= LOOKED_AT {
            lost.push(path);
            continue;
        }
        let stat = match engine.path_stat(id, &path).await {
            Ok(stat) => stat,
            // An engine that can't look (28.5.2, at mounts below absolute links) doesn't say
            // that it is nothing.
            Err(error) if error.is_refusal() => {
                lost.push(path);
                continue;
            }
            Err(error) => return Err(error),
        };
        match stat {
            Some(stat) if !stat.is_file() => {}
            Some(stat) if is_composes && (is_secret || came_with(old, stat.written)) => {
                carried.push(path);
            }
            // Gone in the meantime.
            None => {}
            Some(_) if is_secret => {}
            // No data, and nothing to refuse for: a runtime's mount point, as a GPU's, looks
            // like a marker of the app's.
            Some(stat) if stat.is_empty() => empty.push(path),
            Some(_) => lost.push(path),
        }
    }
    layer.lost = lost;
    layer.empty = empty;
    layer.carried = carried;
    layer.carried.extend(asked);
    layer.carried.sort();
    layer.carried.dedup();
    Ok(layer)
}

/// Sorts changes, as `docker diff` lists them, by what they mean. What is added is told
/// by its ends: a folder only if nothing in it is listed.
fn sort(changes: &[Value], mounted: &[String], asked: &[String]) -> Layer {
    let path = |change: &Value| clean(change["Path"].as_str().unwrap_or_default()).to_owned();
    let all: BTreeSet<String> = changes.iter().map(path).collect();
    let mut layer = Layer::default();
    for change in changes {
        let path = path(change);
        let inside = format!("{path}/");
        let has_more = all.range(inside.clone()..).next().is_some_and(|p| p.starts_with(&inside));
        let below =
            |folders: &[String]| folders.iter().any(|folder| is_below(&path, clean(folder)));
        if has_more || below(mounted) || below(asked) || is_thrown_away(&path) {
            continue;
        }
        match change["Kind"].as_u64() {
            Some(0) => layer.changed.push(path),
            Some(1) => layer.lost.push(path),
            _ => layer.deleted.push(path),
        }
    }
    for list in [&mut layer.lost, &mut layer.changed, &mut layer.deleted] {
        list.sort();
    }
    layer
}

fn is_thrown_away(path: &str) -> bool {
    if SECRETS.iter().any(|folder| is_below(path, folder)) {
        return false;
    }
    THROWN_AWAY.iter().any(|folder| is_below(path, folder))
        || ENGINES.contains(&path)
        || path.split('/').any(|part| CACHES.contains(&part))
        || FLEETING.iter().any(|end| path.ends_with(end))
}

/// Whether Compose copied this file in: it does so between create and start, through a
/// tar whose times are whole seconds. What an app writes has a finer time.
fn came_with(old: &Value, written: Option<Timestamp>) -> bool {
    const SOON: SignedDuration = SignedDuration::from_secs(10);
    let (Some(written), Ok(created)) = (written, text(old, "/Created").parse::<Timestamp>()) else {
        return false;
    };
    let since = written.duration_since(created);
    written.subsec_nanosecond() == 0 && since > SignedDuration::from_secs(-2) && since < SOON
}

/// What the update carried over that made this container.
fn carried_before(old: &Value) -> Vec<String> {
    let name = text(old, "/Name").trim_start_matches('/');
    let record = Plan::recorded_in(&old["Config"]["Labels"]);
    let members = record.map(|record| record.members).unwrap_or_default();
    members.into_iter().find(|member| member.name == name).map(|m| m.carry).unwrap_or_default()
}

/// Where something is mounted: that isn't the layer's, whatever `docker diff` says.
fn mounted(old: &Value) -> Vec<String> {
    let points = old["Mounts"].as_array().into_iter().flatten();
    let points = points.filter_map(|point| point["Destination"].as_str()).map(str::to_owned);
    let tmpfs = old["HostConfig"]["Tmpfs"].as_object().into_iter().flatten();
    points.chain(tmpfs.map(|(path, _)| path.clone())).collect()
}

fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn clean(path: &str) -> &str {
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn added(paths: &[&str]) -> Vec<Value> {
        paths.iter().map(|path| json!({ "Path": path, "Kind": 1 })).collect()
    }

    fn lost(paths: &[&str], mounted: &[&str], asked: &[&str]) -> Vec<String> {
        let own = |list: &[&str]| list.iter().map(|&path| path.to_owned()).collect::<Vec<_>>();
        sort(&added(paths), &own(mounted), &own(asked)).lost
    }

    #[test]
    fn what_an_app_has_stored_beside_its_volumes_is_found() {
        let paths = ["/app", "/app/uploads", "/app/uploads/a.png", "/app/uploads/b.png", "/x.db"];
        let expected = ["/app/uploads/a.png", "/app/uploads/b.png", "/x.db"];
        assert_eq!(lost(&paths, &[], &[]), expected);
        assert_eq!(lost(&paths, &[], &["/app/uploads/"]), ["/x.db"]);
        assert_eq!(lost(&paths, &["/app"], &[]), ["/x.db"]);
    }

    #[test]
    fn what_every_container_leaves_is_no_loss() {
        let paths = [
            "/tmp/session",
            "/run/app.sock",
            "/var/cache/nginx/x",
            "/var/log/app.log",
            "/app/app.pid",
            "/app/__pycache__/m.cpython.pyc",
            "/root/.cache/pip/x",
            "/.dockerenv",
            "/sbin/docker-init",
            "/etc/hosts",
            "/dev/console",
            "/srv",
            "/srv/files",
        ];
        assert!(lost(&paths, &["/srv/files"], &[]).is_empty());
        // A name that only begins alike is another one.
        assert_eq!(lost(&["/tmpfiles/a", "/runtime"], &[], &[]), ["/runtime", "/tmpfiles/a"]);
    }

    #[test]
    fn a_changed_or_deleted_file_of_the_image_is_told_apart() {
        let changes = [
            json!({ "Path": "/etc", "Kind": 0 }),
            json!({ "Path": "/etc/app.conf", "Kind": 0 }),
            json!({ "Path": "/etc/default.conf", "Kind": 2 }),
        ];
        let layer = sort(&changes, &[], &[]);
        assert_eq!(
            (layer.changed, layer.deleted),
            (vec!["/etc/app.conf".to_owned()], vec!["/etc/default.conf".to_owned()])
        );
        assert!(layer.lost.is_empty());
    }

    #[test]
    fn a_file_of_composes_is_known_by_when_it_was_written() {
        let old = json!({ "Created": "2026-01-02T03:04:05.6Z" });
        let written = |time: &str| came_with(&old, time.parse().ok());
        assert!(written("2026-01-02T03:04:06Z"));
        assert!(!written("2026-01-02T03:04:06.25Z"), "the app's own, at its start");
        assert!(!written("2026-01-02T04:00:00Z"), "much later");
        assert!(!written("2025-01-01T00:00:00Z"), "out of an archive");
    }
}
