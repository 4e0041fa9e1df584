//! What is different where the engine is Podman: every volume is among the binds, by name,
//! and a port of its choice is where a port was asked for. So nothing but a volume's name
//! tells who named it.

use serde_json::{Value, json};

use super::{Compared, list, text};

/// The oracle's container with what is pinned on purpose, and the names of the pins.
pub(super) fn pin(compared: &Compared<'_>) -> (Value, Vec<String>) {
    let (mut oracle, from) = (compared.oracle.clone(), compared.from);
    let mut pinned = Vec::new();
    for point in list(&from["Mounts"]).iter().filter(|point| is_anonymous(point)) {
        let target = clean(text(&point["Destination"]));
        let mut points = list(&oracle["Mounts"]);
        points.retain(|there| clean(text(&there["Destination"])) != target);
        points.push(point.clone());
        oracle["Mounts"] = points.into();
        let mut binds = list(&oracle["HostConfig"]["Binds"]);
        binds.retain(|bind| target_of(bind) != target);
        let was = list(&from["HostConfig"]["Binds"]);
        binds.extend(was.into_iter().filter(|bind| target_of(bind) == target));
        oracle["HostConfig"]["Binds"] = binds.into();
        pinned.push(target.to_owned());
    }
    for port in compared.pins.split_whitespace().filter(|pin| !pin.starts_with('/')) {
        for place in ["/HostConfig/PortBindings", "/NetworkSettings/Ports"] {
            let was = from.pointer(place).map(|ports| ports[port].clone());
            if let (Some(was), Some(ports)) = (was, oracle.pointer_mut(place)) {
                ports[port] = was;
            }
        }
        pinned.push(port.to_owned());
    }
    pinned.sort_unstable();
    pinned.dedup();
    (oracle, pinned)
}

/// Takes out what is generated, or Podman's own note.
pub(super) fn comparable(inspect: &mut Value, compared: &Compared<'_>) {
    let known: Vec<String> = list(&compared.from["Mounts"])
        .iter()
        .map(|point| text(&point["Name"]).to_owned())
        .collect();
    let is_new = |point: &&Value| {
        is_anonymous(point) && !known.iter().any(|name| *name == text(&point["Name"]))
    };
    let new: Vec<String> = list(&inspect["Mounts"])
        .iter()
        .filter(is_new)
        .map(|point| text(&point["Name"]).to_owned())
        .collect();
    let words: Vec<_> = new.iter().map(|name| (name.as_str(), "(generated)")).collect();
    *inspect = super::replaced(inspect, &words);
    if let Some(Value::Array(binds)) = inspect.pointer_mut("/HostConfig/Binds") {
        for bind in binds.iter_mut() {
            // The order of options means nothing.
            let mut parts: Vec<String> = text(bind).split(':').map(str::to_owned).collect();
            if let Some(options) = parts.get_mut(2) {
                let mut sorted: Vec<&str> = options.split(',').collect();
                sorted.sort_unstable();
                *options = sorted.join(",");
            }
            *bind = parts.join(":").into();
        }
        binds.sort_by_key(Value::to_string);
    }
    if let Some(notes) = inspect["HostConfig"]["Annotations"].as_object_mut() {
        // How it is stopped, and what its own command line was given, once more.
        let is_podmans = |name: &str| {
            name.starts_with("org.")
                || name.starts_with("io.podman.annotations.")
                || name == "io.container.manager"
        };
        notes.retain(|name, _| !is_podmans(name));
    }
    if inspect["HostConfig"]["Annotations"] == json!({}) {
        inspect["HostConfig"]["Annotations"] = Value::Null;
    }
    // Two ways to have none.
    if let Some(host_config) = inspect["HostConfig"].as_object_mut() {
        for (_, list) in host_config
            .iter_mut()
            .filter(|(name, list)| name.starts_with("Blkio") && **list == json!([]))
        {
            *list = Value::Null;
        }
    }
    // An image is mounted from a directory of the container's own, with an order of its own.
    let images: Vec<String> = list(&inspect["Mounts"])
        .iter()
        .filter(|point| point["Type"] == "image")
        .map(|point| text(&point["Destination"]).to_owned())
        .collect();
    let is_unpacked = |target: &str| images.iter().any(|image| image == target);
    if let Some(Value::Array(binds)) = inspect.pointer_mut("/HostConfig/Binds") {
        binds.retain(|bind| !is_unpacked(target_of(bind)));
    }
    if let Some(Value::Array(points)) = inspect.pointer_mut("/Mounts") {
        points
            .retain(|point| point["Type"] == "image" || !is_unpacked(text(&point["Destination"])));
    }
    if let Some(Value::Object(ports)) = inspect.pointer_mut("/HostConfig/PortBindings") {
        for bindings in ports.values_mut().filter_map(Value::as_array_mut) {
            bindings.sort_by_key(Value::to_string);
        }
    }
    if inspect["NetworkSettings"]["Networks"].is_null() {
        inspect["NetworkSettings"]["Networks"] = json!({});
    }
}

/// Whether Podman named it: Docker's rule tells more, but takes fields that Podman lacks.
fn is_anonymous(point: &Value) -> bool {
    let name = text(&point["Name"]);
    point["Type"] == "volume" && name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn target_of(bind: &Value) -> &str {
    clean(text(bind).split(':').nth(1).unwrap_or_default())
}

fn clean(path: &str) -> &str {
    path.trim_end_matches('/')
}
