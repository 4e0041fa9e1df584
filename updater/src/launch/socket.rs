//! Where the engine's socket is on the host: the helper mounts it from there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::text;
use crate::engine::Engine;

/// Whether we run in a container ourselves.
pub(super) fn in_container() -> bool {
    Path::new("/.dockerenv").exists() || Path::new("/run/.containerenv").exists()
}

/// Maps our own socket path to the host's. In a container that takes our own
/// mounts; only a container that really has this socket mounted is believed to be us.
pub(super) async fn on_host(engine: &Engine, socket: &Path) -> Option<PathBuf> {
    if !in_container() {
        return Some(socket.to_owned());
    }
    let socket = socket.canonicalize().unwrap_or_else(|_| socket.to_owned());
    for candidate in own_ids() {
        let Ok(Some(container)) = engine.container(&candidate).await else { continue };
        if let Some(source) = source_of(&container, &socket) {
            return Some(source);
        }
    }
    None
}

fn source_of(container: &Value, socket: &Path) -> Option<PathBuf> {
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
