//! Volumes and mounts: everything that was there is there, anonymous volumes by name
//! from now on, and new ones where the new image asks for them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::words::in_words;
use super::{Because, Difference, Pair};
use crate::successor::{list, object, part, text, volumes};

pub(super) fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let mut differences = mounts(pair);
    differences.extend(binds(pair));
    differences.extend(added(pair));
    differences.extend(points(pair));
    differences
}

/// Mounts that were not asked for before, and those that are no longer.
fn mounts(pair: &Pair<'_>) -> Vec<Difference> {
    let before = list(pair.old_host_config(), "Mounts");
    let after = list(pair.new_host_config(), "Mounts");
    let target = |mount: &Value| mount["Target"].as_str().map(clean).unwrap_or_default().to_owned();
    let mut differences = Vec::new();
    for mount in after.iter().filter(|mount| !before.contains(mount)) {
        let at = target(mount);
        // The same, but for the name of a volume that had none.
        let same_but_named = before.iter().filter(|old| target(old) == at).all(|old| {
            let mut named = old.clone();
            named["Source"] = mount["Source"].clone();
            old["Source"].as_str().is_none_or(str::is_empty) && named == *mount
        });
        let point = point_at(pair.old, &at);
        let source = match text(point, "Type") {
            "volume" => volumes::name(point),
            _ => text(point, "Source"),
        };
        let is_what_was_there = mount["Source"] == *source;
        // As it was, but for the place where Podman has it.
        if is_what_was_there && volumes::is_podmans_image(pair.old, &at) {
            continue;
        }
        differences.push(Difference {
            field: format!("Volume {at}"),
            old: Some(
                if is_borrowed(pair, &at) { "another container's" } else { "anonymous" }.into(),
            ),
            new: Some(in_words(&mount["Source"])),
            because: match same_but_named && is_what_was_there {
                true => Because::Pinned,
                false => Because::Unexplained,
            },
        });
    }
    for mount in before {
        if !after.iter().any(|new| target(new) == target(mount)) {
            differences.push(lost(&target(mount)));
        }
    }
    differences
}

fn binds(pair: &Pair<'_>) -> Vec<Difference> {
    let (before, after) =
        (list(pair.old_host_config(), "Binds"), list(pair.new_host_config(), "Binds"));
    let keys =
        |binds: &[Value]| binds.iter().filter_map(|bind| normal_bind(bind.as_str()?)).collect();
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (keys(before), keys(after));
    before
        .symmetric_difference(&after)
        .map(|(_, target, _)| target.clone())
        .collect::<BTreeSet<_>>()
        .iter()
        .filter(|target| !is_new_images(pair, target))
        .filter(|target| !volumes::is_podmans_image(pair.old, target))
        .map(|target| lost(target))
        .collect()
}

/// Whether the new image has brought this volume: Podman lists it among the binds.
fn is_new_images(pair: &Pair<'_>, target: &str) -> bool {
    let brings = object(pair.new_defaults(), "Volumes").keys().any(|path| clean(path) == target);
    brings && point_at(pair.old, target).is_empty()
}

/// `source:target[:options]` by its parts, as the order of options means nothing. None
/// of a bare path: that is an anonymous volume, and a mount by now.
fn normal_bind(bind: &str) -> Option<(String, String, BTreeSet<String>)> {
    let mut parts = bind.split(':');
    let (source, target) = (parts.next()?, parts.next()?);
    let options = parts.flat_map(|options| options.split(',')).map(str::to_owned).collect();
    Some((source.to_owned(), clean(target).to_owned(), options))
}

/// Volumes that the new image asks for.
fn added(pair: &Pair<'_>) -> Vec<Difference> {
    // A file system in memory has its path to itself, and isn't among the mount points.
    let tmpfs = object(pair.old_host_config(), "Tmpfs");
    object(pair.new_config(), "Volumes")
        .keys()
        .filter(|path| !tmpfs.keys().any(|there| clean(there) == clean(path)))
        .filter(|path| point_at(pair.old, clean(path)).is_empty())
        .map(|path| Difference {
            field: format!("Volume {path}"),
            old: None,
            new: Some("a new one".to_owned()),
            because: match object(pair.new_defaults(), "Volumes").contains_key(path) {
                true => Because::Image,
                false => Because::Unexplained,
            },
        })
        .collect()
}

/// What is mounted in the end, whoever asked for it.
fn points(pair: &Pair<'_>) -> Vec<Difference> {
    if !pair.is_real() {
        return Vec::new();
    }
    let mut differences = Vec::new();
    for old in pair.old["Mounts"].as_array().into_iter().flatten().filter_map(Value::as_object) {
        let at = clean(text(old, "Destination"));
        let new = point_at(pair.new, at);
        if text(old, "Type") == "bind" && volumes::is_podmans_image(pair.old, at) {
            continue;
        }
        let same = ["Type", "Name", "Source", "Propagation"].iter().all(|key| {
            // A volume lies where its driver says, which may depend on the mount, and an
            // image where the engine unpacks it anew for each container.
            let says = match text(old, "Type") {
                "volume" => !matches!(*key, "Source" | "Propagation"),
                "image" => *key != "Source",
                _ => true,
            };
            let value = |point| match *key {
                "Name" => volumes::name(point),
                key => text(point, key),
            };
            !says || value(old) == value(new)
        });
        if !same || old.get("RW") != new.get("RW") {
            differences.push(lost(at));
        }
    }
    differences
}

fn lost(at: &str) -> Difference {
    Difference {
        field: format!("Volume {at}"),
        old: Some("mounted".to_owned()),
        new: Some("not in the same way".to_owned()),
        because: Because::Unexplained,
    }
}

/// Whether it comes from another container, by `VolumesFrom`.
fn is_borrowed(pair: &Pair<'_>, target: &str) -> bool {
    let own = object(pair.old_config(), "Volumes").keys();
    !list(pair.old_host_config(), "VolumesFrom").is_empty()
        && !own.into_iter().any(|path| clean(path) == target)
}

fn point_at<'a>(inspect: &'a Value, destination: &str) -> &'a Map<String, Value> {
    let points = inspect["Mounts"].as_array().into_iter().flatten();
    let at = |point: &&Value| point["Destination"].as_str().map(clean) == Some(destination);
    points.into_iter().find(at).and_then(Value::as_object).unwrap_or_else(|| part(&Value::Null, ""))
}

fn clean(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" => path,
        path => path,
    }
}
