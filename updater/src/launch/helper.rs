//! The helper container: made from this very binary, if nobody names an image.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::image::stored_credentials;
use super::{LaunchError, Surroundings};
use crate::backup::errand;
use crate::engine::{Engine, EngineError};
use crate::history::FOLDER;
use crate::notify;
use crate::place::Place;
use crate::plan::{HandoverMode, Plan, Store, labels};
use crate::swap::observe::observe;
use crate::swap::{Ending, is_owed};

/// Where the helper finds the socket.
const SOCKET: &str = "/var/run/docker.sock";
/// Where the helper finds a page of the operator's own.
pub(crate) const PAGE_FOLDER: &str = "/page";
/// Where the helper finds a certificate that lies on the host…
pub(crate) const CERTIFICATE: &str = "/tls/certificate";
/// … and its key.
pub(crate) const KEY: &str = "/tls/key";
/// Repository of the images that we make ourselves.
const OWN_REPOSITORY: &str = "changeover-helper";
/// How often a start is repeated whose answer was lost, and after what pause each:
/// long enough for an engine that is just being restarted.
const START_TRIES: u32 = 60;
const START_PAUSE: Duration = Duration::from_millis(250);
/// Whatever is in a volume is read, and made again with its owners, modes, attributes and
/// devices.
pub(super) const FOR_DATA: [&str; 6] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "MKNOD", "SETFCAP"];
/// CAP_SYS_RESOURCE in the kernel's bit mask.
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// Settings of the helper that are not the plan's.
#[derive(Debug, Clone, Default)]
pub struct HelperOptions {
    /// A published image of ours; otherwise one is made from this binary.
    pub image: Option<String>,
    /// The socket's path on the host, where it can't be found out.
    pub socket: Option<PathBuf>,
    /// Docker's own auto-remove instead of surviving a crash of the engine.
    pub auto_remove: bool,
}

/// Whether a helper that has come to an end leaves nothing to do, by its exit code. One that
/// called for a person does, and perhaps one that was killed with its last words.
pub fn is_settled(helper: &Value) -> bool {
    let ending = helper["State"]["ExitCode"].as_i64().and_then(Ending::of_code);
    ending.is_some_and(|ending| ending != Ending::NeedsAPerson)
}

/// Whether a helper that doesn't run has come to an end. It says so by giving up
/// its restart policy; one that was killed keeps it.
pub fn is_finished(helper: &Value) -> bool {
    let policy = helper["HostConfig"]["RestartPolicy"]["Name"].as_str().unwrap_or_default();
    matches!(policy, "" | "no") && helper["HostConfig"]["AutoRemove"] != true
}

/// Whether the engine is about to remove it: by its own wish at the end, or somebody's.
/// It won't come back, so what its update owes is told by the other containers.
pub(crate) fn is_leaving(helper: &Value) -> bool {
    matches!(helper["State"]["Status"].as_str(), Some("removing" | "dead"))
}

pub(super) async fn start(
    engine: &Engine,
    mut plan: Plan,
    here: &Surroundings,
    options: &HelperOptions,
) -> Result<(Plan, String), LaunchError> {
    let app = plan.app.clone();
    let failed = |why: &str, source: EngineError| LaunchError::Helper {
        app: app.clone(),
        why: why.to_owned(),
        source: Some(source),
    };
    let image = match &options.image {
        Some(image) => image.clone(),
        None => {
            let image = own_image(engine, &app).await?;
            plan.own_helper_image = Some(image.clone());
            image
        }
    };
    let mut body = create_body(engine, &plan, &image, here, options);
    let name = plan.helper_name();
    let created = match create(engine, &name, &body).await {
        Err(error) if error.status() == Some(404) => {
            // A published image that isn't here yet; or an update that has just ended
            // has cleared our own away.
            match &options.image {
                Some(image) => fetch(engine, image, &app).await?,
                None => drop(own_image(engine, &app).await?),
            }
            create(engine, &name, &body).await
        }
        created => created,
    };
    let id = match created {
        Ok(id) => id,
        Err(error) if error.status() == Some(409) => {
            return Err(LaunchError::AlreadyUnderWay { app });
        }
        Err(error) if is_about(&error, plan.page.face.folder.as_deref()) => {
            return Err(failed(
                "the folder of --page-dir is not there on the engine's host",
                error,
            ));
        }
        Err(error) if on_host(&plan).any(|(file, _)| is_about(&error, Some(file))) => {
            return Err(failed(
                "a file of --tls-cert, --tls-key or --notify-key-file is not there on the engine's host\nhint: for one in the app's container, write app:/path",
                error,
            ));
        }
        Err(error)
            if is_about(&error, plan.history.as_ref().map(|h| Path::new(h.mount.parts().1))) =>
        {
            return Err(failed("the folder of --history is not there on the engine's host", error));
        }
        Err(error) if backup_paths(&plan).any(|path| is_about(&error, Some(path))) => {
            return Err(failed(
                "the folder of --backup-to, or the file of --backup-key-file, is not there on the engine's host",
                error,
            ));
        }
        Err(error) if error.to_string().contains("bind source path does not exist") => {
            return Err(failed(
                "the engine's socket is somewhere else on its host\nhint: say where with --socket /path/on/the/host/docker.sock",
                error,
            ));
        }
        Err(error) => return Err(failed("it cannot be created", error)),
    };
    // From here on nobody else starts an update of this app. Fetching an image takes
    // its time, and another one may have come and gone since we looked.
    if has_changed(engine, &plan).await? {
        let _ = engine.remove(&id).await;
        return Err(LaunchError::ChangedMeanwhile { app });
    }
    let Err(error) = start_created(engine, &id).await else { return Ok((plan, id)) };
    // It may run all the same, now or when the engine is back.
    let out_of_sight = |source| LaunchError::OutOfSight { app: app.clone(), source };
    if !error.is_refusal() {
        return Err(out_of_sight(error));
    }
    engine.remove(&id).await.map_err(out_of_sight)?;
    let again = |error| {
        failed(
            "it cannot be started\nhint: the engine's log says more (journalctl -u docker)",
            error,
        )
    };
    // Some hosts may not lower anybody's OOM score, and not all of them say that it
    // is this. Then it goes without.
    if body["HostConfig"]["OomScoreAdj"] == 0 {
        return Err(again(error));
    }
    body["HostConfig"]["OomScoreAdj"] = 0.into();
    let id = create(engine, &name, &body).await.map_err(again)?;
    if let Err(error) = start_created(engine, &id).await {
        let _ = engine.remove(&id).await;
        return Err(again(error));
    }
    Ok((plan, id))
}

/// What has to be on the host for the backups.
fn backup_paths(plan: &Plan) -> impl Iterator<Item = &Path> {
    plan.backup.iter().flat_map(|backup| {
        let folder = match &backup.to {
            Store::Host(folder) => Some(folder.as_path()),
            Store::Volume(_) => None,
        };
        folder.into_iter().chain(backup.key_file.as_deref())
    })
}

/// The files that the helper reads on the host, and where it finds them.
fn on_host(plan: &Plan) -> impl Iterator<Item = (&Path, &'static str)> {
    let places = plan.page.certificate.iter().flat_map(|certificate| {
        let same = certificate.certificate == certificate.key;
        [(&certificate.certificate, CERTIFICATE), (&certificate.key, KEY)]
            .into_iter()
            .take(if same { 1 } else { 2 })
    });
    let notify = plan.notify.iter().map(|notify| (&notify.key, notify::KEY));
    places.chain(notify).filter_map(|(place, target)| match place {
        Place::Host(path) => Some((path.as_path(), target)),
        Place::App(_) => None,
    })
}

fn is_about(error: &EngineError, folder: Option<&Path>) -> bool {
    let text = error.to_string();
    text.contains("bind source path does not exist")
        && folder.is_some_and(|folder| text.trim_end().ends_with(&*folder.to_string_lossy()))
}

/// Creates the helper. A create whose answer was lost may have happened: then its
/// name leads to a container with this very plan.
async fn create(engine: &Engine, name: &str, body: &Value) -> Result<String, EngineError> {
    let lost = match engine.create(name, None, body).await {
        Err(error) if !error.is_refusal() => error,
        done => return done,
    };
    let is_ours =
        |found: &Value| found["Config"]["Labels"][labels::PLAN] == body["Labels"][labels::PLAN];
    match engine.container(name).await {
        Ok(Some(found)) if is_ours(&found) => Ok(super::text(&found, "/Id").to_owned()),
        Ok(_) => engine.create(name, None, body).await,
        Err(_) => Err(lost),
    }
}

/// Starts the helper. A start whose answer was lost is repeated, since to say that
/// nothing was touched while the helper runs would be the worst answer of all.
async fn start_created(engine: &Engine, id: &str) -> Result<(), EngineError> {
    let mut done = engine.start(id).await;
    for _ in 0..START_TRIES {
        match done {
            Err(error) if !error.is_refusal() => {
                tokio::time::sleep(START_PAUSE).await;
                done = match engine.start(id).await {
                    // It was started, has done its work and is gone.
                    Err(error) if error.status() == Some(404) => Ok(()),
                    again => again,
                };
            }
            known => return known,
        }
    }
    done
}

/// Fetches a published helper image.
async fn fetch(engine: &Engine, image: &str, app: &str) -> Result<(), LaunchError> {
    let credentials = stored_credentials(image);
    engine.pull(image, None, credentials.as_ref(), |_| {}).await.map_err(|source| {
        LaunchError::Helper {
            app: app.to_owned(),
            why: format!(
                "cannot get its image `{image}`\nhint: leave --helper-image out and it is made from this program"
            ),
            source: Some(source),
        }
    })
}

/// Whether the containers of the plan are no longer the ones that were looked at.
/// Not whether they are displaced: that is what a resumed update begins with.
async fn has_changed(engine: &Engine, plan: &Plan) -> Result<bool, LaunchError> {
    let seen = observe(engine, plan).await.map_err(LaunchError::engine)?;
    let fresh = seen.new.iter().all(Option::is_none);
    Ok(fresh && (seen.old.iter().any(Option::is_none) || is_owed(plan, &seen.facts)))
}

/// The create request. Short: everything that the helper does is in the plan.
fn create_body(
    engine: &Engine,
    plan: &Plan,
    image: &str,
    here: &Surroundings,
    options: &HelperOptions,
) -> Value {
    let socket = options.socket.as_ref().or(here.socket.as_ref());
    let policy = if options.auto_remove { "no" } else { "always" };
    let mut capabilities = vec!["NET_BIND_SERVICE"];
    if plan.handover.mode == HandoverMode::Redirect {
        capabilities.push("NET_ADMIN");
    }
    if plan.keeps_data() {
        capabilities.extend(FOR_DATA);
    } else if on_host(plan).next().is_some() || plan.history.is_some() {
        // Keys and volumes belong to whom the app runs as, and root without this is anybody.
        capabilities.push("DAC_OVERRIDE");
    }
    let host = match socket {
        Some(_) => format!("unix://{SOCKET}"),
        None => engine.endpoint().to_string(),
    };
    let socket = socket.map(|source| json!({ "Type": "bind", "Source": source, "Target": SOCKET }));
    let folder = plan.page.face.folder.as_deref().map(|folder| (folder, PAGE_FOLDER));
    let to_read = folder.into_iter().chain(on_host(plan)).map(|(source, target)| {
        json!({ "Type": "bind", "Source": source, "Target": target, "ReadOnly": true })
    });
    let history = plan.history.as_ref().map(|history| {
        let (kind, source) = history.mount.parts();
        json!({ "Type": kind, "Source": source, "Target": FOLDER })
    });
    let mounts: Vec<Value> =
        socket.into_iter().chain(to_read).chain(history).chain(data_mounts(plan)).collect();
    json!({
        "Image": image,
        "Entrypoint": ["/changeover"],
        "Cmd": ["run", "--helper", plan.helper_name()],
        "Env": [format!("DOCKER_HOST={host}")],
        "User": "0:0",
        "Healthcheck": { "Test": ["NONE"] },
        "Labels": {
            labels::ROLE: "helper",
            labels::APP: plan.app,
            labels::PLAN: json!(plan).to_string(),
            // Other updaters leave us alone.
            "com.centurylinklabs.watchtower.enable": "false",
            "wud.watch": "false",
            "diun.enable": "false",
            "dockhand.update": "false",
            "dd.watch": "false",
        },
        "HostConfig": {
            "NetworkMode": "host",
            // As a mount, since a bind of a path that isn't there would make it a folder.
            "Mounts": mounts,
            "RestartPolicy": { "Name": policy, "MaximumRetryCount": 0 },
            "AutoRemove": options.auto_remove,
            "ReadonlyRootfs": true,
            "CapDrop": ["ALL"],
            "CapAdd": capabilities,
            // The socket would be out of reach under SELinux otherwise.
            "SecurityOpt": ["no-new-privileges", "label=disable"],
            "OomScoreAdj": if may_lower_oom_score(here) { -900 } else { 0 },
            "PidsLimit": 64,
            // Whatever the engine's default is: the one who follows reads it.
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
        },
    })
}

/// The app's data, and where it is kept.
fn data_mounts(plan: &Plan) -> Vec<Value> {
    let Some(backup) = plan.backup.as_ref().filter(|_| plan.keeps_data()) else {
        return Vec::new();
    };
    let mut mounts: Vec<Value> = Vec::new();
    for (n, kept) in backup.sources.iter().enumerate() {
        let mut mount = kept.mount.clone();
        mount["Target"] = errand::source(n).into();
        mounts.push(mount);
    }
    mounts.extend(store_mounts(&backup.to, backup.key_file.as_deref()));
    mounts
}

/// Where the backups are, and what opens them.
pub(super) fn store_mounts(to: &Store, key_file: Option<&Path>) -> impl Iterator<Item = Value> {
    let to = match to {
        Store::Volume(name) => json!({ "Type": "volume", "Source": name, "Target": errand::STORE }),
        Store::Host(folder) => json!({ "Type": "bind", "Source": folder, "Target": errand::STORE }),
    };
    let key = key_file.map(
        |file| json!({ "Type": "bind", "Source": file, "Target": errand::KEY, "ReadOnly": true }),
    );
    std::iter::once(to).chain(key)
}

/// This very program.
pub(super) fn own_program() -> std::io::Result<Vec<u8>> {
    std::fs::read("/proc/self/exe")
}

/// Makes the helper's image from the running binary, unless it is there already.
pub(super) async fn own_image(engine: &Engine, app: &str) -> Result<String, LaunchError> {
    let failed = |why: String| LaunchError::Helper { app: app.to_owned(), why, source: None };
    let binary = own_program()
        .map_err(|error| failed(format!("this program cannot read itself ({error})")))?;
    if needs_a_loader(&binary) {
        return Err(failed(
            "this program is dynamically linked, and its image would have no libraries\nhint: build it as the README says, or name a published image with --helper-image".into(),
        ));
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&binary);
    let version = env!("CARGO_PKG_VERSION");
    let reference = format!("{OWN_REPOSITORY}:{version}-{:016x}", hasher.finish());
    if engine.image(&reference).await.map_err(LaunchError::engine)?.is_some() {
        return Ok(reference);
    }
    let files = tar_of(&binary).map_err(|error| failed(error.to_string()))?;
    let changes = [
        r#"ENTRYPOINT ["/changeover"]"#.to_owned(),
        format!("LABEL {}=helper-image", labels::ROLE),
    ];
    match engine.import_image(&reference, files, &changes).await {
        Ok(()) => Ok(reference),
        Err(source) => Err(LaunchError::Helper {
            app: app.to_owned(),
            why: "its image cannot be made".into(),
            source: Some(source),
        }),
    }
}

fn tar_of(binary: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(binary.len() + 4096));
    let mut header = tar::Header::new_ustar();
    header.set_size(binary.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "changeover", binary)?;
    archive.into_inner()
}

/// Whether an ELF file asks for a dynamic loader: it has a PT_INTERP segment.
pub(super) fn needs_a_loader(elf: &[u8]) -> bool {
    const PT_INTERP: u32 = 3;
    let u16_at = |at: usize| {
        elf.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, u16::from_le_bytes) as usize
    };
    let u64_at = |at: usize| {
        elf.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes) as usize
    };
    let (table, size, count) = (u64_at(32), u16_at(54), u16_at(56));
    (0..count).any(|n| {
        let at = table + n * size;
        elf.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes)
            == Some(PT_INTERP)
    })
}

/// Only whoever holds CAP_SYS_RESOURCE may lower an OOM score; asking in vain costs
/// a failed start. In a container, or elsewhere, we can't know and try.
fn may_lower_oom_score(here: &Surroundings) -> bool {
    if !here.on_host {
        return true;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounding = bounding.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    bounding.is_none_or(|mask| mask & CAP_SYS_RESOURCE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 64-bit ELF file with nothing but program headers of these types.
    fn elf(types: &[u32]) -> Vec<u8> {
        let mut file = vec![0; 64];
        file[..4].copy_from_slice(b"\x7fELF");
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..56].copy_from_slice(&56_u16.to_le_bytes());
        file[56..58].copy_from_slice(&(types.len() as u16).to_le_bytes());
        for kind in types {
            file.extend(kind.to_le_bytes());
            file.extend([0; 52]);
        }
        file
    }

    #[test]
    fn a_dynamic_program_cannot_be_its_own_image() {
        assert!(needs_a_loader(&elf(&[6, 3, 1])));
        assert!(!needs_a_loader(&elf(&[6, 1, 2])));
        // What breaks off is no reason to panic.
        assert!(!needs_a_loader(&elf(&[6, 3, 1])[..100]));
        assert!(!needs_a_loader(b"#!/bin/sh"));
    }
}
