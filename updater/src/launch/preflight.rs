//! The preflight: is this a container that can be updated, here and now?

use serde_json::Value;

use super::{LaunchError, Request, dependants, leftovers, podman, text};
use crate::engine::Engine;
use crate::identity::own_container;
use crate::plan::{helper_name, labels};

/// Fetching an image with less room than this would risk the app itself.
pub(super) const ROOM_MB: u64 = 200;

/// What the preflight looked at, for those who come after it.
pub(super) struct Found {
    /// The app's name, whatever it was asked by.
    pub(super) app: String,
    /// Inspect of the old container.
    pub(super) old: Value,
    /// Inspect of its image, unless somebody has pruned it.
    pub(super) old_image: Option<Value>,
    /// Inspect of those who depend on it, in the order of their start.
    pub(super) dependants: Vec<Value>,
    /// `GET /info`.
    pub(super) info: Value,
    /// Our own container, if we run in one of this engine's.
    pub(super) own: Option<Value>,
    /// Whether we see what the engine's host sees: we are there, and in no container.
    pub(super) on_host: bool,
    /// Ours, to be cleared away: name and id.
    pub(super) leftovers: Vec<(String, String)>,
}

pub(super) async fn look(engine: &Engine, request: &Request) -> Result<Found, LaunchError> {
    let Some(mut old) = engine.container(&request.app).await.map_err(LaunchError::engine)? else {
        return Err(no_such_container(engine, &request.app).await?);
    };
    let app = text(&old, "/Name").trim_start_matches('/').to_owned();
    refuse_unsuitable(&app, &old)?;
    podman::refuse_too_old(engine, &app)?;
    podman::complete(engine, &mut old).await?;
    let info = engine.info().await.map_err(LaunchError::engine)?;
    let mut leftovers = leftovers::find(engine, &app, &old).await?;
    let mut dependants = dependants::find(engine, &old).await?;
    for dependant in &mut dependants {
        podman::complete(engine, dependant).await?;
        let name = text(dependant, "/Name").trim_start_matches('/');
        leftovers.extend(leftovers::find(engine, name, dependant).await?);
    }
    let own = own_container(engine).await.map_err(LaunchError::engine)?.into_container();
    let on_host = own.is_none() && engine.endpoint().is_here();
    check_room(room(&info, own.is_some(), on_host), &info)?;
    let old_image = engine.image(text(&old, "/Image")).await.map_err(LaunchError::engine)?;
    Ok(Found { app, old, old_image, dependants, info, own, on_host, leftovers })
}

pub(super) fn refuse_unsuitable(app: &str, old: &Value) -> Result<(), LaunchError> {
    let no = |why: &str, hint: &str| {
        Err(LaunchError::Unsuitable { app: app.to_owned(), why: why.into(), hint: hint.into() })
    };
    let label = |key: &str| old["Config"]["Labels"][key].as_str();
    let state = text(old, "/State/Status");
    if label(labels::ROLE).is_some() {
        return no("it is a helper of ours", "name the app, not its helper");
    }
    if label("com.docker.swarm.service.id").is_some() {
        return no(
            "it belongs to a swarm service, which would replace it again",
            "use `docker service update --image …`",
        );
    }
    if old["HostConfig"]["AutoRemove"] == true {
        return no(
            "it was made with --rm, so it would be gone for good as soon as it is stopped, and with it the way back",
            "create it without --rm (with --restart unless-stopped, say), then update it",
        );
    }
    if old["State"]["Paused"] == true {
        return no("it is paused", "`docker unpause` it, or stop it, first");
    }
    if matches!(state, "removing" | "dead") {
        return no(&format!("it is {state}"), "remove it and create it anew");
    }
    Ok(())
}

/// Looks at the engine's disk, where it can be seen from here.
fn check_room(room: Option<u64>, info: &Value) -> Result<(), LaunchError> {
    match room {
        Some(free) if free < ROOM_MB => {
            let path = text(info, "/DockerRootDir").to_owned();
            Err(LaunchError::NoSpace { free, needed: ROOM_MB, path })
        }
        _ => Ok(()),
    }
}

/// Megabytes that are free where the engine keeps images, if that can be seen from here.
pub(super) fn room(info: &Value, in_container: bool, on_host: bool) -> Option<u64> {
    let path = match (in_container, on_host) {
        // The root of an overlay file system shows the disk that it lies on.
        (true, _) => "/",
        (false, true) => text(info, "/DockerRootDir"),
        (false, false) => return None,
    };
    let disk = rustix::fs::statvfs(path).ok()?;
    Some(disk.f_bavail * disk.f_frsize / 1_000_000)
}

async fn no_such_container(engine: &Engine, app: &str) -> Result<LaunchError, LaunchError> {
    if leftovers::name_is_owed(engine, app).await? {
        return Ok(
            match engine.container(&helper_name(app)).await.map_err(LaunchError::engine)? {
                Some(helper) if helper["State"]["Running"] == true => {
                    LaunchError::AlreadyUnderWay { app: app.to_owned() }
                }
                _ => LaunchError::Interrupted { app: app.to_owned() },
            },
        );
    }
    let mut like = Vec::new();
    for summary in engine.containers().await.map_err(LaunchError::engine)? {
        let name = text(&summary, "/Names/0").trim_start_matches('/').to_owned();
        if name.contains(app) || app.contains(&name) {
            like.push(format!("`{name}`"));
        }
    }
    let like = match like.is_empty() {
        true => String::new(),
        false => format!("; perhaps you mean {}", like.join(" or ")),
    };
    Ok(LaunchError::NoSuchContainer { app: app.to_owned(), like })
}
