//! Which of the app's data is kept, before anything is touched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::errand::errand_name;
use super::preflight::Found;
use super::{LaunchError, Remark, Request, text};
use crate::engine::Engine;
use crate::plan::{BackupPlan, Kept, Store};

/// What of the app's data is to be kept.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// Paths in the container; all that it may write to, if there are none.
    pub paths: Vec<String>,
    /// Where to.
    pub to: Store,
    /// What of it is left out.
    pub exclude: Vec<String>,
    /// How many backups stay.
    pub keep: usize,
    /// A file on the engine's host that holds the key.
    pub key_file: Option<PathBuf>,
}

/// The plan's part, or a word about what a rollback won't bring back.
pub(super) fn choose(
    request: &Request,
    found: &Found,
    remarks: &mut Vec<Remark>,
) -> Result<Option<BackupPlan>, LaunchError> {
    let containers = || std::iter::once(&found.old).chain(&found.dependants);
    let Some(asked) = &request.backup else {
        for container in containers() {
            let paths: Vec<String> = mounts(container)
                .filter(|mount| mount["RW"] == true)
                .map(|mount| text(mount, "/Destination").to_owned())
                .collect();
            if !paths.is_empty() {
                let container = name_of(container);
                remarks.push(Remark::DataStays { container, paths });
            }
        }
        return Ok(None);
    };
    let no = |why: String, hint: &str| {
        Err(LaunchError::Unsuitable { app: found.app.clone(), why, hint: hint.to_owned() })
    };
    let (mut sources, mut seen) = (Vec::new(), HashSet::new());
    for container in containers() {
        for mount in mounts(container) {
            let path = text(mount, "/Destination");
            let wanted = match asked.paths.is_empty() {
                true => mount["RW"] == true,
                false => asked.paths.iter().any(|asked| asked == path),
            };
            if !wanted || !seen.insert(text(mount, "/Source").to_owned()) {
                continue;
            }
            if overlaps(&asked.to, mount) {
                return no(
                    format!(
                        "{} and the place for the backups, {}, are in each other",
                        path, asked.to
                    ),
                    "name a volume or a folder of its own with --backup-to",
                );
            }
            sources.push(Kept {
                name: name_in_backup(container, path),
                path: path.to_owned(),
                mount: mount_for_helper(container, mount),
            });
        }
    }
    let kept = |asked: &&String| sources.iter().any(|kept: &Kept| kept.path == **asked);
    if let Some(missing) = asked.paths.iter().find(|asked| !kept(asked)) {
        return no(
            format!("nothing is mounted at {missing}, so it can't be backed up by itself"),
            "name a path at which a volume or a folder of the host is mounted",
        );
    }
    if sources.is_empty() {
        return no(
            "it has no volume that it may write to, so there is nothing to back up".to_owned(),
            "leave --backup out",
        );
    }
    // Two paths may have made one name.
    for n in 1..sources.len() {
        while sources[..n].iter().any(|earlier| earlier.name == sources[n].name) {
            sources[n].name.push('~');
        }
    }
    Ok(Some(BackupPlan {
        to: asked.to.clone(),
        keep: asked.keep,
        exclude: asked.exclude.clone(),
        key_file: asked.key_file.clone(),
        sources,
    }))
}

/// Volumes and folders of the host: what outlives a container.
pub(super) fn mounts(container: &Value) -> impl Iterator<Item = &Value> {
    let mounts = container["Mounts"].as_array().into_iter().flatten();
    mounts.filter(|mount| {
        // What ends in .sock is a way to talk to somebody, and no data.
        matches!(mount["Type"].as_str(), Some("volume" | "bind"))
            && !text(mount, "/Source").ends_with(".sock")
    })
}

/// What is mounted at a path of a container is called so in its backups.
pub(super) fn name_in_backup(container: &Value, path: &str) -> String {
    format!("{}{}", name_of(container), path.replace('/', "-"))
}

/// Refuses while another command is at the backups.
pub(super) async fn nobody_at_them(
    engine: &Engine,
    request: &Request,
    app: &str,
) -> Result<(), LaunchError> {
    if request.backup.is_none() {
        return Ok(());
    }
    let name = errand_name(app);
    let other = engine.container(&name).await.map_err(LaunchError::engine)?;
    match other.is_some_and(|other| other["State"]["Running"] == true) {
        true => Err(LaunchError::Unsuitable {
            app: app.to_owned(),
            why: format!("another command is at its backups, in the container `{name}`"),
            hint: "wait until it has ended".to_owned(),
        }),
        false => Ok(()),
    }
}

fn name_of(container: &Value) -> String {
    text(container, "/Name").trim_start_matches('/').to_owned()
}

/// Whether backups would be kept in what is backed up, or the other way round.
fn overlaps(to: &Store, mount: &Value) -> bool {
    match to {
        Store::Volume(name) => mount["Type"] == "volume" && text(mount, "/Name") == name,
        Store::Host(folder) => {
            let source = Path::new(text(mount, "/Source"));
            folder.starts_with(source) || source.starts_with(folder)
        }
    }
}

/// The same mount for the helper, which also writes: on the way back.
pub(super) fn mount_for_helper(container: &Value, mount: &Value) -> Value {
    if mount["Type"] == "bind" {
        return json!({ "Type": "bind", "Source": text(mount, "/Source") });
    }
    let mut options = json!({ "NoCopy": true });
    let asked = container["HostConfig"]["Mounts"].as_array().into_iter().flatten();
    let is_it = |asked: &&Value| text(asked, "/Target") == text(mount, "/Destination");
    let subpath = asked.filter(is_it).find_map(|asked| asked["VolumeOptions"]["Subpath"].as_str());
    if let Some(subpath) = subpath.filter(|subpath| !subpath.is_empty()) {
        options["Subpath"] = subpath.into();
    }
    json!({ "Type": "volume", "Source": text(mount, "/Name"), "VolumeOptions": options })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backups_are_never_kept_in_what_is_backed_up() {
        let bind = json!({ "Type": "bind", "Source": "/srv/app" });
        let volume = json!({ "Type": "volume", "Name": "data", "Source": "/var/lib/docker/volumes/data/_data" });
        let to = |text: &str| text.parse::<Store>().expect("a store");
        for inside in ["/srv/app", "/srv/app/backups", "/srv", "/srv/app/"] {
            assert!(overlaps(&to(inside), &bind), "{inside}");
        }
        assert!(!overlaps(&to("/srv/app-backups"), &bind));
        assert!(!overlaps(&to("/srv/backups"), &bind));
        assert!(overlaps(&to("data"), &volume));
        assert!(overlaps(&to("/var/lib/docker/volumes/data/_data/x"), &volume));
        assert!(!overlaps(&to("backups"), &volume));
    }

    #[test]
    fn the_helper_gets_the_same_part_of_a_volume() {
        let mount = json!({ "Type": "volume", "Name": "data", "Destination": "/data" });
        let asked = json!({ "Target": "/data", "VolumeOptions": { "Subpath": "a/b" } });
        let container = json!({ "HostConfig": { "Mounts": [asked] } });
        let options = json!({ "NoCopy": true, "Subpath": "a/b" });
        assert_eq!(mount_for_helper(&container, &mount)["VolumeOptions"], options);
        assert_eq!(
            mount_for_helper(&json!({}), &mount)["VolumeOptions"],
            json!({ "NoCopy": true })
        );
    }
}
