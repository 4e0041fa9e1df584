//! Mounts. What the user named is copied as it stands; a volume without a name
//! of the user's is mounted by the name that the engine gave it, so that the new
//! container has the data and not an empty volume.

use serde_json::{Map, Value, json};

use super::table::{At, subtract};
use super::{Old, list, object, text};

pub(super) fn binds(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut binds = at.value.as_array()?.clone();
    binds.retain(|bind| {
        let target = bind.as_str().map(target_of_bind);
        target.is_none_or(|at| at.is_some_and(|at| !is_podmans_image(old.inputs.old, at)))
    });
    (!binds.is_empty()).then(|| binds.into())
}

pub(super) fn mounts(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut mounts = at.value.as_array().cloned().unwrap_or_default();
    for mount in &mut mounts {
        let nameless =
            mount["Type"] == "volume" && mount["Source"].as_str().is_none_or(str::is_empty);
        let target = clean(mount["Target"].as_str().unwrap_or_default()).to_owned();
        if let Some(point) = points(old).find(|point| nameless && destination(point) == target) {
            mount["Source"] = name(point).into();
        }
    }
    let mut rest: Vec<_> = points(old).filter(|point| !is_given(old, destination(point))).collect();
    rest.sort_by_key(|point| destination(point));
    for point in rest {
        match text(point, "Type") {
            "volume" if is_own(old, destination(point)) => mounts.push(json!({
                "Type": "volume",
                "Source": name(point),
                "Target": text(point, "Destination"),
                "ReadOnly": is_read_only(point),
                // Files of the new image have no business in the old data.
                "VolumeOptions": { "NoCopy": true },
            })),
            "image" if old.is_podmans() => mounts.push(json!({
                "Type": "image",
                "Source": text(point, "Source"),
                "Target": text(point, "Destination"),
            })),
            "bind" if old.inputs.donor_gone => mounts.push(json!({
                "Type": "bind",
                "Source": text(point, "Source"),
                "Target": text(point, "Destination"),
                "ReadOnly": is_read_only(point),
                "BindOptions": { "Propagation": text(point, "Propagation") },
            })),
            _ => {}
        }
    }
    (!mounts.is_empty()).then(|| mounts.into())
}

pub(super) fn from(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    (!old.inputs.donor_gone && !at.value.is_null()).then(|| at.value.clone())
}

/// `Config.Volumes`: paths for which create makes an anonymous volume.
pub(super) fn anonymous(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut volumes = subtract(at.value, old.defaults.get("Volumes"))?;
    let paths = volumes.as_object_mut()?;
    paths.retain(|path, _| !points(old).any(|point| destination(point) == clean(path)));
    (!paths.is_empty()).then_some(volumes)
}

/// Whether a volume that nobody named is the container's own, rather than one
/// that it has from another container.
fn is_own(old: &Old<'_>, destination: &str) -> bool {
    let has_donors = !list(old.host_config, "VolumesFrom").is_empty() && !old.inputs.donor_gone;
    !has_donors || object(old.config, "Volumes").keys().any(|path| clean(path) == destination)
}

/// Whether Binds or Mounts say what is mounted there.
fn is_given(old: &Old<'_>, destination: &str) -> bool {
    let by_bind = list(old.host_config, "Binds")
        .iter()
        .filter_map(|bind| target_of_bind(bind.as_str()?))
        .any(|target| target == destination && !is_podmans_image(old.inputs.old, target));
    let by_mount = list(old.host_config, "Mounts")
        .iter()
        .filter_map(|mount| mount["Target"].as_str())
        .any(|target| clean(target) == destination);
    by_bind || by_mount
}

/// Whether an image is mounted here by Podman: it lists that twice, once as an image and
/// once as the directory where it has unpacked it for this one container.
pub(super) fn is_podmans_image(inspect: &Value, target: &str) -> bool {
    let at = |kind: &str| {
        let points = inspect["Mounts"].as_array().into_iter().flatten();
        let mut points = points.filter_map(Value::as_object);
        points.any(|point| destination(point) == target && text(point, "Type") == kind)
    };
    at("image") && at("bind")
}

/// The path of `source:path[:options]`; none of a bare path, which is an
/// anonymous volume.
fn target_of_bind(bind: &str) -> Option<&str> {
    bind.split(':').nth(1).map(clean)
}

fn points<'a>(old: &Old<'a>) -> impl Iterator<Item = &'a Map<String, Value>> {
    old.inputs.old["Mounts"].as_array().into_iter().flatten().filter_map(Value::as_object)
}

/// The name of the volume that is mounted here. Engines since 23 don't show it if the
/// path came without a source in `Binds`; there it is read off the volume's directory.
pub(super) fn name(point: &Map<String, Value>) -> &str {
    let shown = text(point, "Name");
    let directory = text(point, "Source").strip_suffix("/_data");
    match directory.and_then(|directory| directory.rsplit('/').next()) {
        Some(name) if shown.is_empty() => name,
        _ => shown,
    }
}

fn destination(point: &Map<String, Value>) -> &str {
    clean(text(point, "Destination"))
}

fn is_read_only(point: &Map<String, Value>) -> bool {
    point.get("RW") == Some(&Value::Bool(false))
}

fn clean(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        path => path,
    }
}
