//! The parts of `HostConfig` that stand for themselves. Ports and volumes have
//! files of their own.

use serde_json::{Map, Value, json};

use super::table::At;
use super::{ApiVersion, Old, is_empty, text};

pub(super) fn restart_policy(_: &Old<'_>, _: At<'_>) -> Option<Value> {
    Some(json!({ "Name": "no", "MaximumRetryCount": 0 }))
}

pub(super) fn auto_remove(_: &Old<'_>, _: At<'_>) -> Option<Value> {
    Some(false.into())
}

pub(super) fn ulimits(_: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut ulimits = at.value.clone();
    for ulimit in ulimits.as_array_mut()? {
        if let Some(name) = ulimit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")) {
            ulimit["Name"] = name.to_lowercase().into();
        }
    }
    Some(ulimits)
}

pub(super) fn namespace(_: &Old<'_>, at: At<'_>) -> Option<Value> {
    (!at.value.is_null() && at.value != "private").then(|| at.value.clone())
}

pub(super) fn devices(_: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut devices = at.value.clone();
    for device in devices.as_array_mut()? {
        let Some(device) = device.as_object_mut() else {
            continue;
        };
        if text(device, "CgroupPermissions").is_empty() {
            device.insert("CgroupPermissions".to_owned(), "rwm".into());
        }
    }
    Some(devices)
}

/// Podman notes here who manages the container and how it is stopped.
pub(super) fn annotations(_: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut annotations = at.value.clone();
    if let Some(notes) = annotations.as_object_mut() {
        notes.retain(|name, _| !is_podmans_note(name));
    }
    (!at.value.is_null()).then_some(annotations)
}

/// Whether Podman writes this annotation itself, anew for each container.
pub(super) fn is_podmans_note(annotation: &str) -> bool {
    ["io.container.manager", "org.opencontainers.image.stopSignal"].contains(&annotation)
        || ["org.systemd.property.", "io.podman.annotations."]
            .iter()
            .any(|own| annotation.starts_with(own))
}

/// Limits that only engines until 20.10 know; there, 0 means not set.
pub(super) fn kernel_memory(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let known = old.inputs.api < ApiVersion::NO_KERNEL_MEMORY;
    (known && !is_empty(at.value)).then(|| at.value.clone())
}

pub(super) fn swappiness(_: &Old<'_>, at: At<'_>) -> Option<Value> {
    at.value.as_i64().filter(|swappiness| *swappiness >= 0).map(Value::from)
}

/// Podman shows a period and a quota also in this form, and takes only one of both.
pub(super) fn nano_cpus(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let twice = ["CpuPeriod", "CpuQuota"]
        .iter()
        .all(|field| old.host_config.get(*field).is_some_and(|value| !is_empty(value)));
    (!twice && !at.value.is_null()).then(|| at.value.clone())
}

/// Podman shows a size where there is no memory to share, and refuses it there.
pub(super) fn shm_size(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let refused = old.is_podmans() && has_no_shm(old.host_config);
    (!refused && !at.value.is_null()).then(|| at.value.clone())
}

/// Whether a container has no `/dev/shm` of its own whose size could be set.
pub(super) fn has_no_shm(host_config: &Map<String, Value>) -> bool {
    matches!(text(host_config, "IpcMode"), "host" | "none")
}
