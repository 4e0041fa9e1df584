//! Which of the app's data is kept, before anything is touched.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde_json::{Value, json};

use super::errand::errand_name;
use super::preflight::Found;
use super::{LaunchError, Remark, text};
use crate::backup::hook::Hook;
use crate::engine::Engine;
use crate::place::inner_path;
use crate::plan::{BackupPlan, BeforeBackup, Kept, Store, labels};

/// What of the app's data is to be kept.
#[derive(Debug, Clone)]
pub struct BackupRequest {
    /// What; the app's labels decide where nobody says.
    pub what: Option<Wanted>,
    /// Where to.
    pub to: Store,
    /// What of it is left out.
    pub exclude: Vec<String>,
    /// How many backups stay.
    pub keep: usize,
    /// A file on the engine's host that holds the key.
    pub key_file: Option<PathBuf>,
    /// What the app is made to do before; its labels decide where nobody says.
    pub before: Option<Hook>,
    /// How long that may take.
    pub before_limit: Duration,
}

/// What is asked of where nobody says more.
impl Default for BackupRequest {
    fn default() -> BackupRequest {
        BackupRequest {
            what: None,
            to: Store::Volume("changeover-backups".into()),
            exclude: Vec::new(),
            keep: 3,
            key_file: None,
            before: None,
            before_limit: Duration::from_secs(60),
        }
    }
}

/// Which data: `all`, `none`, or `/data,/more`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// None.
    Nothing,
    /// All that the app may write to.
    All,
    /// What is mounted at these paths in the container.
    At(Vec<String>),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Wanted, String> {
        match text {
            "all" | "1" | "true" => Ok(Wanted::All),
            "none" | "0" | "false" => Ok(Wanted::Nothing),
            _ => text.split(',').map(inner_path).collect::<Result<_, _>>().map(Wanted::At),
        }
    }
}

impl BackupRequest {
    /// Completed by the app's labels. Whoever makes an image may say which of its data is
    /// kept and what it does before, in its own container; where it is kept, for how long
    /// and by which key is not for it to say, nor whom the host calls.
    fn with_labels(&self, labels_of: &Value) -> Result<BackupRequest, String> {
        let label = |name: &str| labels_of[name].as_str();
        let wrong = |name, why| format!("its label {name} can't be used: {why}");
        let mut all = self.clone();
        if let (None, Some(text)) = (&all.what, label(labels::BACKUP)) {
            all.what = Some(text.parse().map_err(|why| wrong(labels::BACKUP, why))?);
        }
        if let (true, Some(text)) = (all.exclude.is_empty(), label(labels::BACKUP_EXCLUDE)) {
            all.exclude = text.split(',').map(str::to_owned).collect();
        }
        if let (None, Some(text)) = (&all.before, label(labels::BEFORE_BACKUP)) {
            let hook = Hook::in_app(text).map_err(|why| wrong(labels::BEFORE_BACKUP, why))?;
            all.before = Some(hook);
        }
        Ok(all)
    }

    /// Paths in the container; all that it may write to, if there are none.
    fn paths(&self) -> Vec<String> {
        match &self.what {
            Some(Wanted::At(paths)) => paths.clone(),
            _ => Vec::new(),
        }
    }
}

/// The plan's part, or a word about what a rollback won't bring back.
pub(super) fn choose(
    request: &BackupRequest,
    found: &Found,
    remarks: &mut Vec<Remark>,
) -> Result<Option<BackupPlan>, LaunchError> {
    let no = |why: String, hint: &str| {
        Err(LaunchError::Unsuitable { app: found.app.clone(), why, hint: hint.to_owned() })
    };
    let labels_of = &found.old["Config"]["Labels"];
    let asked = match request.what {
        Some(Wanted::Nothing) => request.clone(),
        // A typing error must not cost the backup that somebody counts on.
        _ => match request.with_labels(labels_of) {
            Ok(asked) => asked,
            Err(why) => {
                return no(why, "mend the label, or leave the backup out with --backup=none");
            }
        },
    };
    let containers = || std::iter::once(&found.old).chain(&found.dependants);
    let (Some(Wanted::All | Wanted::At(_)), paths) = (&asked.what, asked.paths()) else {
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
    let (mut sources, mut seen) = (Vec::new(), HashSet::new());
    for container in containers() {
        for mount in mounts(container) {
            let path = text(mount, "/Destination");
            let wanted = match paths.is_empty() {
                true => mount["RW"] == true,
                false => paths.iter().any(|asked| asked == path),
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
    if let Some(missing) = paths.iter().find(|asked| !kept(asked)) {
        return no(
            format!("nothing is mounted at {missing}, so it can't be backed up by itself"),
            "name a path at which a volume or a folder of the host is mounted",
        );
    }
    if sources.is_empty() && request.what.is_none() {
        // The image's label knows nothing of how it is run.
        return Ok(None);
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
        to: asked.to,
        keep: asked.keep,
        exclude: asked.exclude,
        key_file: asked.key_file,
        before: asked
            .before
            .map(|what| BeforeBackup { what, limit_seconds: asked.before_limit.as_secs().max(1) }),
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
pub(super) async fn nobody_at_them(engine: &Engine, app: &str) -> Result<(), LaunchError> {
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
    fn labels_complete_what_is_asked_and_never_reach_beyond_the_app() {
        let labels = json!({
            labels::BACKUP: "/data,/more",
            labels::BACKUP_EXCLUDE: "*.tmp",
            labels::BEFORE_BACKUP: "flush",
        });
        let nobody = BackupRequest::default();
        let all = nobody.with_labels(&labels).expect("good ones");
        assert_eq!(all.what, Some(Wanted::At(vec!["/data".into(), "/more".into()])));
        assert_eq!(
            (all.exclude, all.before.map(|hook| hook.to_string())),
            (vec!["*.tmp".into()], Some("flush".into()))
        );
        // Who says something himself knows better.
        let person = BackupRequest {
            what: Some(Wanted::All),
            exclude: vec!["*.log".into()],
            before: Some("sync".parse().expect("a command")),
            ..nobody.clone()
        };
        let all = person.with_labels(&labels).expect("good ones");
        assert_eq!(format!("{all:?}"), format!("{person:?}"));
        assert_eq!(nobody.with_labels(&Value::Null).expect("none").what, None);
        for (label, text) in [
            (labels::BACKUP, "data"),
            (labels::BACKUP, ""),
            (labels::BEFORE_BACKUP, "http://169.254.169.254/"),
            (labels::BEFORE_BACKUP, ""),
        ] {
            let wrong = nobody.with_labels(&json!({ label: text })).expect_err(text);
            assert!(wrong.contains(label), "{wrong}");
        }
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
