//! Who is told how it ended, and where it is written down: found out before anything is
//! touched.

use std::path::Path;

use tracing::warn;

use super::preflight::Found;
use super::{LaunchError, Request, text};
use crate::engine::Engine;
use crate::helper::chain;
use crate::history::{Keep, Mount};
use crate::notify::{Notify, Target};
use crate::place::Place;
use crate::plan::{Probe, Published, labels};

/// Where the app is told. What was asked for and can't work is a refusal; a label that is
/// wrong costs the app its message, not its update.
pub(super) async fn notify(
    engine: &Engine,
    request: &Request,
    found: &Found,
    probe: &Probe,
    published: &[Published],
) -> Result<Option<Notify>, LaunchError> {
    let asked = request.notify.is_some();
    let labelled = || Notify::from_labels(&found.old["Config"]["Labels"]);
    let chosen = match &request.notify {
        Some(notify) => Ok(Some(notify.clone())),
        None => labelled(),
    };
    let mut notify = match chosen {
        Ok(Some(notify)) => notify,
        Ok(None) => return Ok(None),
        Err(complaint) => {
            warn!("{complaint}");
            return Ok(None);
        }
    };
    if let Target::App { port: port @ None, path } = &mut notify.to {
        *port = match probe {
            Probe::Http { port, .. } | Probe::Auto { port } | Probe::Tcp { port } => Some(*port),
            Probe::Running => published.first().map(|published| published.container_port),
        };
        if port.is_none() {
            return Err(LaunchError::Unsuitable {
                app: found.app.clone(),
                why: format!("nothing says on which port it listens, to be told at {path}"),
                hint: format!("name the port inside the container: --notify :8080{path}"),
            });
        }
    }
    // A key on the host is the helper's to find.
    if let Place::Host(_) = notify.key {
        return Ok(Some(notify));
    }
    match notify.read_key(engine, text(&found.old, "/Id"), Path::new("")).await {
        Ok(_) => Ok(Some(notify)),
        Err(source) if asked => {
            Err(LaunchError::Notify { app: found.app.clone(), source: Box::new(source) })
        }
        Err(error) => {
            warn!("the app won't be told: {}", chain(&error));
            Ok(None)
        }
    }
}

/// Where the history is kept.
pub(super) fn history(request: &Request, found: &Found) -> Result<Option<Keep>, LaunchError> {
    let (place, asked) = match &request.history {
        Some(place) => (place.clone(), true),
        None => {
            let label = found.old["Config"]["Labels"][labels::HISTORY].as_str();
            match label.map(Place::in_app) {
                None => return Ok(None),
                Some(Ok(place)) => (place, false),
                Some(Err(why)) => {
                    warn!("the label {} is not used: {why}", labels::HISTORY);
                    return Ok(None);
                }
            }
        }
    };
    match Keep::at(&place, &found.old) {
        // Whoever makes an image has no say in what is written on the host: the helper may
        // write where the app may not.
        Ok(Keep { mount: Mount::Bind(_), .. }) if !asked => {
            warn!("the label {} is not used: {place} is on the host; --history may name it", labels::HISTORY);
            Ok(None)
        }
        Ok(keep) => Ok(Some(keep)),
        Err(why) if asked => Err(LaunchError::Unsuitable {
            app: found.app.clone(),
            why: format!("its history can't be kept: {why}"),
            hint: "--history app:/data/updates.jsonl means a file on a volume of the app's, /path one on the engine's host".into(),
        }),
        Err(why) => {
            warn!("the label {} is not used: {why}", labels::HISTORY);
            Ok(None)
        }
    }
}
