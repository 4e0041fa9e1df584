//! The new image: fetched, looked at, fit for this engine.

use std::collections::BTreeMap;

use serde_json::Value;

use super::preflight::Found;
use super::{LaunchError, Request, text};
use crate::engine::{Credentials, Engine, EngineError, split_reference};
use crate::events::Event;
use crate::successor::some_of;

/// When the image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PullPolicy {
    /// Always ask the registry; an image that never came from one is taken as it is.
    Always,
    /// Only if it isn't there.
    Missing,
    /// Never.
    Never,
}

/// Makes sure that the image is there and can run here; returns its inspect document.
pub(super) async fn fetch(
    engine: &Engine,
    request: &Request,
    found: &Found,
    on_event: &mut impl FnMut(Event),
) -> Result<Value, LaunchError> {
    let local = match engine.image(&request.image).await {
        Err(source) if source.is_refusal() => {
            return Err(LaunchError::Pull {
                image: request.image.clone(),
                app: found.app.clone(),
                hint: "references look like web:2 or ghcr.io/acme/web:2".into(),
                source,
            });
        }
        looked => looked.map_err(LaunchError::engine)?,
    };
    let pull = match (request.pull, &local) {
        (PullPolicy::Always, Some(image)) => !is_home_made(image),
        (PullPolicy::Always, None) => true,
        (PullPolicy::Missing, local) => local.is_none(),
        (PullPolicy::Never, _) => false,
    };
    if pull && let Err(source) = pull_image(engine, request, on_event).await {
        let mut hint = way_out(&source).to_owned();
        if local.is_none()
            && let Some(here) = tags_here(engine, &request.image).await
        {
            hint.push_str(&format!("; of this name the engine has {here}"));
        }
        return Err(LaunchError::Pull {
            image: request.image.clone(),
            app: found.app.clone(),
            hint,
            source,
        });
    }
    // A pull may fail behind its success, so the image itself is the proof.
    let image = engine.image(&request.image).await.map_err(LaunchError::engine)?;
    let Some(image) = image else {
        return Err(LaunchError::Pull {
            image: request.image.clone(),
            app: found.app.clone(),
            hint: match request.pull {
                PullPolicy::Never => "--pull never was given; leave it out to fetch the image",
                _ => "is the tag published yet, and for this platform?",
            }
            .into(),
            source: EngineError::Reply { status: 404, message: "no such image".into() },
        });
    };
    refuse_wrong_architecture(request, found, &image)?;
    if text(&image, "/Id") == text(&found.old, "/Image") {
        return Err(LaunchError::NothingToDo {
            app: found.app.clone(),
            image: request.image.clone(),
        });
    }
    Ok(image)
}

/// Built or loaded here: no registry knows it. Podman gives such an image a digest too, but
/// `localhost` for a registry.
fn is_home_made(image: &Value) -> bool {
    let digests = image["RepoDigests"].as_array();
    digests.is_none_or(|digests| {
        digests.iter().all(|digest| digest.as_str().is_some_and(|d| d.starts_with("localhost/")))
    })
}

async fn pull_image(
    engine: &Engine,
    request: &Request,
    on_event: &mut impl FnMut(Event),
) -> Result<(), EngineError> {
    let stored = stored_credentials(&request.image);
    let credentials = request.credentials.as_ref().or(stored.as_ref());
    let mut layers: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    engine
        .pull(&request.image, request.platform.as_deref(), credentials, |progress| {
            if let Some(bytes) = progress.bytes.filter(|_| progress.status == "Downloading") {
                layers.insert(progress.layer.clone(), bytes);
            }
            let sum = |pick: fn(&(u64, u64)) -> u64| layers.values().map(pick).sum();
            on_event(Event::Pull {
                image: request.image.clone(),
                status: progress.status,
                done_bytes: sum(|(done, _)| *done),
                total_bytes: sum(|(_, total)| *total),
            });
        })
        .await
}

/// What helps where a registry doesn't give an image.
fn way_out(error: &EngineError) -> &'static str {
    let said = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["no space left"]) {
        "the engine's disk is full; `docker system df` shows what can be cleared"
    } else if has(&["unauthorized", "no basic auth", "denied", "authentication"]) {
        "`docker login` to the registry, or give --registry-user and --registry-password-file"
    } else if has(&["x509:", "certificate"]) {
        "the engine believes the authorities of its host, and for one registry those in /etc/docker/certs.d/HOST:PORT/ca.crt"
    } else if has(&["not found", "manifest unknown", "no such image", "does not exist"]) {
        "is the tag published yet, and for this platform?"
    } else {
        "is the registry reachable from the engine? with --pull missing an image that is already there is used"
    }
}

/// The tags of the same name that are here: one of them may be meant.
async fn tags_here(engine: &Engine, reference: &str) -> Option<String> {
    let (repository, _) = split_reference(reference);
    let here = engine.tags_of(repository).await.ok()?;
    (!here.is_empty()).then(|| some_of(&here))
}

/// What `docker login` has left for the registry of this image, and only for it.
pub(crate) fn stored_credentials(image: &str) -> Option<Credentials> {
    use docker_credential::DockerCredential;
    let (repository, _) = split_reference(image);
    let registry = match repository.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        // Docker Hub goes by this name in every docker config.
        _ => "https://index.docker.io/v1/",
    };
    match docker_credential::get_credential(registry).ok()? {
        DockerCredential::UsernamePassword(user, password) => {
            Some(Credentials::Password { user, password })
        }
        DockerCredential::IdentityToken(token) => Some(Credentials::IdentityToken(token)),
    }
}

fn refuse_wrong_architecture(
    request: &Request,
    found: &Found,
    image: &Value,
) -> Result<(), LaunchError> {
    let built_for = text(image, "/Architecture");
    let runs_on = canonical(text(&found.info, "/Architecture"));
    // Emulation may be set up; the old image then proves it.
    let runs_already = found.old_image.as_ref().map(|old| text(old, "/Architecture"));
    let asked_for = request.platform.as_deref().and_then(|platform| platform.split('/').nth(1));
    let fits = built_for.is_empty()
        || built_for == runs_on
        || Some(built_for) == runs_already
        || Some(built_for) == asked_for;
    match fits {
        true => Ok(()),
        false => Err(LaunchError::WrongArchitecture {
            image: request.image.clone(),
            app: found.app.clone(),
            found: built_for.to_owned(),
            wanted: runs_on.to_owned(),
        }),
    }
}

/// The kernel's name of an architecture as images write it.
pub(crate) fn canonical(machine: &str) -> &str {
    match machine {
        "x86_64" => "amd64",
        "aarch64" | "arm64" => "arm64",
        "armv7l" | "armv6l" | "armhf" => "arm",
        "i386" | "i686" => "386",
        other => other,
    }
}
