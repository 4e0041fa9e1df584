//! `HostConfig`: all of it is the user's, so all of it is the same. What follows says
//! which fields have a say elsewhere, and where two writings mean one thing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Because, Difference, Moved, Pair};
use crate::successor::host_config::{has_no_shm, is_podmans_note};
use crate::successor::{is_empty, list, text};

/// Compared in files of their own.
const ELSEWHERE: [&str; 3] = ["PortBindings", "Binds", "Mounts"];

/// What says nothing about how the container runs: the policy is the swap's business,
/// a container made with `--rm` is refused before, the others are a client's or gone
/// from the API.
const SAYS_NOTHING: [&str; 6] = [
    "RestartPolicy",
    "AutoRemove",
    "ContainerIDFile",
    "KernelMemory",
    "KernelMemoryTCP",
    "Capabilities",
];

pub(super) fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let (old, new) = (pair.old_host_config(), pair.new_host_config());
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let mut differences = Vec::new();
    for field in fields {
        let known = |list: &[&str]| list.contains(&field.as_str());
        if known(&ELSEWHERE) || known(&SAYS_NOTHING) {
            continue;
        }
        // Podman shows what it doesn't take: of this there is nothing in a prediction.
        let follows = match field.as_str() {
            "ShmSize" => has_no_shm(old),
            "NanoCpus" => old.get("CpuPeriod").is_some_and(|period| !is_empty(period)),
            _ => false,
        };
        if follows && !pair.is_real() {
            continue;
        }
        let difference = match field.as_str() {
            "NetworkMode" | "IpcMode" | "PidMode" => mode(pair, field),
            "Links" => links(pair),
            "VolumesFrom" => donors(pair),
            _ => {
                let (before, after) =
                    (normal(field, old.get(field)), normal(field, new.get(field)));
                (before != after)
                    .then(|| Difference::unexplained(field, before.as_ref(), after.as_ref()))
            }
        };
        differences.extend(difference);
    }
    differences
}

/// A value as every engine would write it; none where it counts as not given.
fn normal(field: &str, value: Option<&Value>) -> Option<Value> {
    let mut value = value.filter(|value| !is_empty(value))?.clone();
    match field {
        // Podman's names for them, and how it says that nobody said anything.
        "Ulimits" => {
            for limit in value.as_array_mut().into_iter().flatten() {
                let name = limit["Name"].as_str().unwrap_or_default();
                limit["Name"] = name.trim_start_matches("RLIMIT_").to_lowercase().into();
            }
        }
        "Devices" => {
            for device in value.as_array_mut().into_iter().flatten() {
                if device["CgroupPermissions"].as_str().is_none_or(str::is_empty) {
                    device["CgroupPermissions"] = "rwm".into();
                }
            }
        }
        "Annotations" => {
            let notes = value.as_object_mut()?;
            notes.retain(|name, _| !is_podmans_note(name));
            if notes.is_empty() {
                return None;
            }
        }
        "UTSMode" | "UsernsMode" if value == "private" => return None,
        "MemorySwappiness" if value.as_i64().is_some_and(|swappiness| swappiness < 0) => {
            return None;
        }
        _ => {}
    }
    Some(value)
}

/// A namespace that may be another container's.
fn mode(pair: &Pair<'_>, field: &str) -> Option<Difference> {
    let normal = |host_config| match text(host_config, field) {
        "" | "default" if field == "NetworkMode" => "bridge".to_owned(),
        "private" if field == "PidMode" => String::new(),
        mode => mode.to_owned(),
    };
    let (old, new) = (normal(pair.old_host_config()), normal(pair.new_host_config()));
    let container = |mode: &str| mode.strip_prefix("container:").map(str::to_owned);
    let because = match (container(&old), container(&new)) {
        (Some(old), Some(new)) => match who(pair.moved, &old) {
            Some(moved) if moved.is_now(&new) => Because::Set,
            None if old == new => return None,
            _ => Because::Unexplained,
        },
        _ if old == new => return None,
        _ if field == "NetworkMode" && is_id_of(pair, &old, &new) => Because::Pinned,
        _ => Because::Unexplained,
    };
    Some(Difference { field: field.to_owned(), old: Some(old), new: Some(new), because })
}

/// Whether this is the id, or the beginning of it, of the network of this name.
fn is_id_of(pair: &Pair<'_>, id: &str, name: &str) -> bool {
    let network = &pair.old["NetworkSettings"]["Networks"][name]["NetworkID"];
    id.len() >= 12 && network.as_str().is_some_and(|network| network.starts_with(id))
}

/// `/target:/own-name/alias`, whoever the target is by now.
fn links(pair: &Pair<'_>) -> Option<Difference> {
    let read = |host_config: &Map<String, Value>| -> Vec<(String, String)> {
        let links = list(host_config, "Links").iter().filter_map(Value::as_str);
        let parts = links.filter_map(|link| link.split_once(':'));
        let alias = |alias: &str| alias.rsplit('/').next().unwrap_or_default().to_owned();
        parts.map(|(to, own)| (to.trim_start_matches('/').to_owned(), alias(own))).collect()
    };
    let (before, after) = (read(pair.old_host_config()), read(pair.new_host_config()));
    let follows = |(to, alias): &(String, String)| {
        let is_it = |name: &str| match who(pair.moved, to) {
            Some(moved) => moved.is_now(name),
            None => to == name,
        };
        after.iter().any(|(name, other)| is_it(name) && alias == other)
    };
    if before.len() == after.len() && before.iter().all(follows) {
        // It is said of the one it is about.
        return None;
    }
    let words = |links: &[(String, String)]| {
        Some(links.iter().map(|(to, alias)| format!("{to}:{alias}")).collect::<Vec<_>>().join(", "))
            .filter(|words| !words.is_empty())
    };
    let because = Because::Unexplained;
    Some(Difference { field: "Links".to_owned(), old: words(&before), new: words(&after), because })
}

/// Containers whose volumes are taken. Where one is gone, each volume is a mount.
fn donors(pair: &Pair<'_>) -> Option<Difference> {
    let (old, new) =
        (list(pair.old_host_config(), "VolumesFrom"), list(pair.new_host_config(), "VolumesFrom"));
    if old == new {
        return None;
    }
    let words = |donors: &[Value]| {
        Some(donors.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
            .filter(|words| !words.is_empty())
    };
    let because = if new.is_empty() { Because::Pinned } else { Because::Unexplained };
    Some(Difference { field: "VolumesFrom".to_owned(), old: words(old), new: words(new), because })
}

/// The member of the set whose old container this names.
fn who<'a>(moved: &'a [Moved], reference: &str) -> Option<&'a Moved> {
    moved.iter().find(|moved| {
        let [id, name] = &moved.old;
        name == reference || reference.len() >= 12 && id.starts_with(reference)
    })
}

impl Moved {
    /// Whether `reference` is its new container.
    fn is_now(&self, reference: &str) -> bool {
        !reference.is_empty() && self.new.iter().any(|known| known == reference)
    }
}
