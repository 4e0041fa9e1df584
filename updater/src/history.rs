//! The history: accounts of an app's updates, one JSON line each, in a file that the app
//! or its operator names.
//!
//! The helper writes it, since it alone knows the end. It mounts the volume or folder on
//! which the file lies and appends; the app, which owns the volume, can't lead it
//! elsewhere, because no link is followed. Where nobody has named a file, what Docker
//! still knows is the history.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::account::Account;
use crate::place::Place;

/// The file may become so large; the archive calls of the engine read no larger one.
const MOST: usize = 250_000;
/// Where the helper finds the folder or volume.
pub(crate) const FOLDER: &str = "/history";

/// Where the history is kept, and how the helper gets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The file, as it was asked for.
    pub place: Place,
    /// What the helper mounts.
    pub mount: Mount,
    /// The file's place in there, without a slash at its start.
    pub file: String,
}

/// What holds the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Mount {
    /// A volume, by name.
    Volume(String),
    /// A folder of the host.
    Bind(String),
}

impl Mount {
    /// Its type and its source, as a create request has them.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Mount::Volume(name) => ("volume", name),
            Mount::Bind(path) => ("bind", path),
        }
    }
}

impl Keep {
    /// Finds out how the helper gets at the file; `app` is inspect of the container.
    pub fn at(place: &Place, app: &Value) -> Result<Keep, String> {
        let text = place.to_string();
        if text.split('/').any(|part| matches!(part, "." | "..")) || text.ends_with('/') {
            return Err(format!("`{text}` is no plain path of a file"));
        }
        let path = match place {
            Place::App(path) => path.as_str(),
            Place::Host(path) => {
                let (folder, file) = (path.parent(), path.file_name());
                let (Some(folder), Some(file)) = (folder, file) else {
                    return Err(format!("`{text}` is no file"));
                };
                let mount = Mount::Bind(folder.display().to_string());
                let file = file.to_string_lossy().into_owned();
                return Ok(Keep { place: place.clone(), mount, file });
            }
        };
        let inside = |mount: &&Value| {
            let target = mount["Destination"].as_str().unwrap_or("/");
            path.strip_prefix(target).is_some_and(|rest| rest.starts_with('/'))
        };
        let mounts = app["Mounts"].as_array().into_iter().flatten().filter(inside);
        let Some(mount) = mounts.max_by_key(|m| m["Destination"].as_str().map(str::len)) else {
            return Err(format!(
                "{path} lies in the container itself and would go with it; name a file in one of its volumes"
            ));
        };
        if mount["RW"] == false {
            return Err(format!("{path} lies on a volume that is mounted read-only"));
        }
        let part = |name: &str| mount[name].as_str().unwrap_or_default().to_owned();
        let kind = part("Type");
        let of = match kind.as_str() {
            "volume" if !is_part_of_a_volume(app, &part("Destination")) => {
                Mount::Volume(part("Name"))
            }
            "bind" => Mount::Bind(part("Source")),
            _ => return Err(format!("{path} lies on a mount ({kind}) that can't be shared")),
        };
        let file = path[part("Destination").len()..].trim_start_matches('/').to_owned();
        Ok(Keep { place: place.clone(), mount: of, file })
    }

    /// Adds an account, unless it is there already. `folder` is where the mount is.
    pub fn add(&self, folder: &Path, account: &Account) -> io::Result<()> {
        let plain = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut dir = openat(CWD, folder, OFlags::DIRECTORY | plain, Mode::empty())?;
        let (folders, name) = self.file.rsplit_once('/').unwrap_or(("", &self.file));
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            dir = openat(&dir, part, OFlags::DIRECTORY | plain, Mode::empty())?;
        }
        // Whoever put a pipe in its place shall not make us wait.
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK | plain;
        let mode = Mode::from_raw_mode(0o644);
        let mut file = std::fs::File::from(openat(&dir, name, flags, mode)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut before = Vec::new();
        Read::by_ref(&mut file).take(2 * MOST as u64).read_to_end(&mut before)?;
        let last = read(&before).pop();
        if last.is_some_and(|l| l.update == account.update && l.outcome == account.outcome) {
            return Ok(());
        }
        let mut line = serde_json::to_vec(account)?;
        line.push(b'\n');
        // The end of a line that was cut off by a power failure.
        if before.last().is_some_and(|last| *last != b'\n') {
            line.insert(0, b'\n');
        }
        if before.len() + line.len() <= MOST {
            file.write_all(&line)?;
            return file.sync_data();
        }
        let start = before.len().saturating_sub(MOST / 2);
        let start =
            before[start..].iter().position(|b| *b == b'\n').map_or(start, |n| start + n + 1);
        let short = format!("{name}.new");
        let create = OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NONBLOCK | plain;
        let mut new = std::fs::File::from(openat(&dir, short.as_str(), create, mode)?);
        new.write_all(&before[start..])?;
        new.write_all(&line)?;
        new.sync_data()?;
        renameat(&dir, short.as_str(), &dir, name).map_err(|error: Errno| error.into())
    }
}

/// Whether only a folder of the volume is mounted there: by name, we'd get all of it.
fn is_part_of_a_volume(app: &Value, target: &str) -> bool {
    let mounts = app["HostConfig"]["Mounts"].as_array().into_iter().flatten();
    let mut there = mounts.filter(|mount| mount["Target"] == target);
    there.any(|mount| mount["VolumeOptions"]["Subpath"].as_str().is_some_and(|sub| !sub.is_empty()))
}

/// The accounts in a file, oldest first. What can't be read is left out: a torn line, or
/// somebody else's.
pub fn read(file: &[u8]) -> Vec<Account> {
    let lines = file.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Puts accounts from several places together, newest first. Of one update, the first
/// account that knows when it ended.
pub fn merge(accounts: impl IntoIterator<Item = Account>) -> Vec<Account> {
    let mut known: BTreeMap<String, Account> = BTreeMap::new();
    for account in accounts {
        match known.get(&account.update) {
            Some(other) if other.finished_at.is_some() || account.finished_at.is_none() => {}
            _ => drop(known.insert(account.update.clone(), account)),
        }
    }
    // Ids sort by time.
    known.into_values().rev().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::account::SCHEMA;
    use crate::swap::Ending;

    fn account(update: &str) -> Account {
        Account {
            schema: SCHEMA,
            update: update.to_owned(),
            app: "web".into(),
            outcome: Ending::Updated,
            reason: None,
            from: "web:1".into(),
            to: "web:2".into(),
            asked_at: "2026-01-02T03:04:05Z".into(),
            finished_at: Some("2026-01-02T03:04:15Z".into()),
            seconds: Some(10.0),
            page_milliseconds: None,
            goes_back: false,
            left_stopped: false,
            steps: Vec::new(),
            log: Vec::new(),
        }
    }

    fn keep(file: &str) -> Keep {
        let place = Place::App(format!("/data/{file}"));
        Keep { place, mount: Mount::Volume("data".into()), file: file.into() }
    }

    fn folder(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("changeover-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("sub")).expect("a folder");
        dir
    }

    #[test]
    fn it_grows_line_by_line_and_not_for_ever() {
        let dir = folder("grows");
        let keep = keep("sub/history.jsonl");
        let file = dir.join("sub/history.jsonl");
        keep.add(&dir, &account("01")).expect("written");
        keep.add(&dir, &account("01")).expect("known already");
        std::fs::OpenOptions::new()
            .append(true)
            .open(&file)
            .and_then(|mut file| file.write_all(br#"{"schema":1,"upd"#))
            .expect("a torn line");
        keep.add(&dir, &account("02")).expect("written");
        let ids = |file: &Path| {
            let accounts = read(&std::fs::read(file).expect("it is there"));
            accounts.into_iter().map(|account| account.update).collect::<Vec<_>>()
        };
        assert_eq!(ids(&file), ["01", "02"]);
        // Each line goes to the disk, so few and long ones.
        for n in 3..200 {
            let long =
                Account { reason: Some("long ".repeat(1000)), ..account(&format!("{n:04}")) };
            keep.add(&dir, &long).expect("written");
        }
        let size = std::fs::metadata(&file).expect("it is there").len() as usize;
        assert!(size <= MOST && size > MOST / 3, "{size}");
        assert_eq!(ids(&file).last().map(String::as_str), Some("0199"));
        std::fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn a_link_or_a_pipe_leads_nowhere() {
        let dir = folder("link");
        let outside = folder("outside");
        let target = outside.join("precious");
        std::fs::write(&target, "as it was").expect("a file");
        std::os::unix::fs::symlink(&target, dir.join("history")).expect("a link");
        std::os::unix::fs::symlink(&outside, dir.join("away")).expect("a link");
        rustix::fs::mknodat(CWD, dir.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .expect("a pipe");
        for file in ["history", "away/precious", "pipe", "missing/history"] {
            assert!(keep(file).add(&dir, &account("01")).is_err(), "{file}");
        }
        assert_eq!(std::fs::read_to_string(&target).expect("it is there"), "as it was");
        std::fs::remove_dir_all(&dir)
            .and_then(|()| std::fs::remove_dir_all(&outside))
            .expect("ours");
    }

    #[test]
    fn a_file_is_found_by_the_volume_on_which_it_lies() {
        let mounts = json!({ "Mounts": [
            { "Type": "volume", "Name": "v1", "Destination": "/data", "RW": true },
            { "Type": "bind", "Source": "/srv/logs", "Destination": "/data/logs", "RW": true },
            { "Type": "bind", "Source": "/srv/ro", "Destination": "/ro", "RW": false },
            { "Type": "tmpfs", "Destination": "/tmp", "RW": true },
            { "Type": "volume", "Name": "v2", "Destination": "/part", "RW": true },
        ], "HostConfig": { "Mounts": [
            { "Target": "/part", "VolumeOptions": { "Subpath": "inner" } },
        ] } });
        let at = |path: &str| Keep::at(&path.parse().expect("a place"), &mounts);
        let found = |path: &str| at(path).map(|keep| (keep.mount, keep.file));
        assert_eq!(found("app:/data/h"), Ok((Mount::Volume("v1".into()), "h".into())));
        assert_eq!(
            found("app:/data/logs/a/h"),
            Ok((Mount::Bind("/srv/logs".into()), "a/h".into()))
        );
        assert_eq!(found("/var/log/web/h"), Ok((Mount::Bind("/var/log/web".into()), "h".into())));
        for wrong in [
            "app:/h",
            "app:/database/h",
            "app:/ro/h",
            "app:/tmp/h",
            "app:/part/h",
            "app:/data/../h",
            "/",
        ] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn of_one_update_the_fuller_account_is_told() {
        let thin = Account { finished_at: None, seconds: None, ..account("02") };
        let merged = merge([thin.clone(), account("01"), account("02"), thin]);
        assert_eq!(merged, [account("02"), account("01")]);
    }
}
