//! The networks, and what was asked for on each.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Because, Difference, Pair};
use crate::successor::networks::attached;
use crate::successor::{is_empty, list, text};

pub(super) fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let mode = text(pair.old_host_config(), "NetworkMode");
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return Vec::new();
    }
    let (old, new) = (attached(pair.old), attached(pair.new));
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let mut differences = Vec::new();
    for name in names {
        let says = |there: bool| there.then(|| "connected".to_owned());
        match (old.get(name), new.get(name)) {
            (Some(before), Some(after)) => {
                differences.extend(of_endpoint(pair, name, before, after));
            }
            (before, after) => differences.push(Difference {
                field: format!("Network {name}"),
                old: says(before.is_some()),
                new: says(after.is_some()),
                // It was on none, and the engine puts every container on its mode's.
                because: if old.is_empty() { Because::Engine } else { Because::Unexplained },
            }),
        }
    }
    differences
}

fn of_endpoint(pair: &Pair<'_>, network: &str, old: &Value, new: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    for field in ["IPAMConfig", "Links", "DriverOpts", "GwPriority"] {
        let side = |endpoint: &Value| {
            Some(endpoint[field].clone()).filter(|value| !is_empty_inside(value))
        };
        let (old, new) = (side(old), side(new));
        if old != new {
            let field = format!("Network {network} {field}");
            differences.push(Difference::unexplained(field, old.as_ref(), new.as_ref()));
        }
    }
    let (before, after) = (aliases(pair, pair.old, old), aliases(pair, pair.new, new));
    // The engine may take the name for an alias too.
    let own = pair.old["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
    let missing: Vec<_> = before.difference(&after).filter(|alias| **alias != own).collect();
    let extra = after.difference(&before).filter(|alias| !alias.starts_with(&own)).count();
    if network != "bridge" && (!missing.is_empty() || extra > 0) {
        let words = |aliases: &BTreeSet<String>| {
            Some(aliases.iter().cloned().collect::<Vec<_>>().join(", "))
        };
        differences.push(Difference {
            field: format!("Network {network} Aliases"),
            old: words(&before),
            new: words(&after),
            because: Because::Unexplained,
        });
    }
    differences
}

/// The aliases but for what the engine calls the container by itself: by its short id, and
/// Podman by its host name as well.
fn aliases(pair: &Pair<'_>, inspect: &Value, endpoint: &Value) -> BTreeSet<String> {
    let hostname = text(pair.old_config(), "Hostname");
    let is_podmans = list(pair.old_config(), "Env").iter().any(|entry| entry == "container=podman");
    let short_id = inspect["Id"].as_str().and_then(|id| id.get(..12)).unwrap_or_default();
    let endpoint = endpoint.as_object();
    let aliases = endpoint.map(|endpoint| list(endpoint, "Aliases")).unwrap_or_default();
    aliases
        .iter()
        .filter_map(Value::as_str)
        .filter(|alias| *alias != short_id && !(is_podmans && *alias == hostname))
        .map(str::to_owned)
        .collect()
}

fn is_empty_inside(value: &Value) -> bool {
    is_empty(value) || value.as_object().is_some_and(|map| map.values().all(is_empty))
}
