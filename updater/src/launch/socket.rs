//! Whether we run in a container of this engine, and where its socket then is on
//! the host: the helper mounts it from there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::text;
use crate::engine::Engine;

/// Our own container, if this engine runs us. A machine may look like a container
/// (many are made from images) without being one of this engine's.
pub(super) async fn own_container(engine: &Engine) -> Option<Value> {
    if !Path::new("/.dockerenv").exists() && !Path::new("/run/.containerenv").exists() {
        return None;
    }
    let socket = engine.endpoint().socket();
    for candidate in own_ids() {
        let Ok(Some(container)) = engine.container(&candidate).await else { continue };
        // In `container:` mode the mounts show somebody else's id. Only one that has
        // this very socket mounted is believed to be us.
        let plausible = text(&container, "/Id").starts_with(&candidate)
            && container["State"]["Running"] == true
            && socket.is_none_or(|socket| source_of(&container, socket).is_some());
        if plausible {
            return Some(container);
        }
    }
    None
}

/// Maps the socket's path from our own container to the host.
pub(super) fn on_host(own: Option<&Value>, socket: &Path) -> PathBuf {
    own.and_then(|own| source_of(own, socket)).unwrap_or_else(|| socket.to_owned())
}

fn source_of(container: &Value, socket: &Path) -> Option<PathBuf> {
    let socket = socket.canonicalize().unwrap_or_else(|_| socket.to_owned());
    for mount in container["Mounts"].as_array()? {
        let destination = Path::new(text(mount, "/Destination"));
        // /var/run is a link to /run in most images.
        let resolved = destination.canonicalize().unwrap_or_else(|_| destination.to_owned());
        if let Ok(rest) = socket.strip_prefix(&resolved) {
            let source = Path::new(text(mount, "/Source"));
            return Some(match rest.as_os_str().is_empty() {
                true => source.to_owned(),
                false => source.join(rest),
            });
        }
    }
    None
}

/// Ids that may be ours, the most trustworthy first.
fn own_ids() -> Vec<String> {
    let mut ids = Vec::new();
    for file in ["/proc/self/cgroup", "/proc/self/mountinfo"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        ids.extend(
            text.split(|c: char| !c.is_ascii_hexdigit())
                .filter(|word| word.len() == 64)
                .map(str::to_owned),
        );
    }
    if let Ok(hostname) = std::fs::read_to_string("/etc/hostname") {
        ids.push(hostname.trim().to_owned());
    }
    ids.dedup();
    ids.retain(|id| !id.is_empty());
    ids.truncate(16);
    ids
}
