//! Published ports: those that were ephemeral, and those that come and go with `-P`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Because, Difference, Pair};
use crate::successor::ports::{host_port, in_words};
use crate::successor::{is_empty, list, object, part};

pub(super) fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let asked = object(pair.old_host_config(), "PortBindings");
    let live = object(part(pair.old, "NetworkSettings"), "Ports");
    let bindings = object(pair.new_host_config(), "PortBindings");
    let all = pair.new_host_config().get("PublishAllPorts") == Some(&Value::Bool(true));
    let free = || Some("a free port".to_owned());

    let exposed = object(pair.new_config(), "ExposedPorts");
    let was_exposed = object(pair.old_config(), "ExposedPorts");
    let ports: BTreeSet<&String> =
        asked.keys().chain(live.keys()).chain(bindings.keys()).chain(exposed.keys()).collect();
    let mut differences = Vec::new();
    for port in ports {
        let live = list(live, port);
        let (old, new, because) = match (asked.get(port), bindings.get(port)) {
            (before, Some(after)) if before.map(sorted) != Some(sorted(after)) => {
                let before = before.filter(|before| !is_empty(before));
                let pinned = is_pinned(before, after, live) && (before.is_some() || all)
                    || asked.contains_key(port) && is_pinned(before, after, live);
                (
                    before.map(all_in_words).or_else(free),
                    Some(all_in_words(after)),
                    if pinned { Because::Pinned } else { Because::Unexplained },
                )
            }
            (Some(before), None) => (Some(all_in_words(before)), None, Because::Unexplained),
            (None, None) if all && !live.is_empty() && !exposed.contains_key(port) => (
                Some(live.iter().map(in_words).collect::<Vec<_>>().join(", ")),
                None,
                Because::Image,
            ),
            (None, None)
                if all && !was_exposed.contains_key(port) && exposed.contains_key(port) =>
            {
                (None, free(), Because::Image)
            }
            _ => continue,
        };
        differences.push(Difference { field: format!("Published port {port}"), old, new, because });
    }
    differences
}

/// The bindings of a port in an order of our own: Podman has another one each time.
fn sorted(bindings: &Value) -> Vec<&Value> {
    let mut bindings: Vec<&Value> = bindings.as_array().into_iter().flatten().collect();
    bindings.sort_by_cached_key(|binding| in_words(binding));
    bindings
}

/// Whether `after` is `before` with its free choices written down: what was fixed is
/// still there, and what is new is where the old container is reached now.
fn is_pinned(before: Option<&Value>, after: &Value, live: &[Value]) -> bool {
    let before = before.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let after = after.as_array().map_or(&[][..], Vec::as_slice);
    let fixed_stay = before.iter().filter(|b| host_port(b).is_some()).all(|b| after.contains(b));
    let has_choice = before.is_empty() || before.iter().any(|b| host_port(b).is_none());
    let was_live = |binding: &Value| {
        // Once it has been stopped, nothing tells where it was.
        live.is_empty() || live.iter().any(|live| host_port(live) == host_port(binding))
    };
    let new_ones: Vec<&Value> = after.iter().filter(|b| !before.contains(b)).collect();
    fixed_stay && has_choice && !new_ones.is_empty() && new_ones.into_iter().all(was_live)
}

fn all_in_words(bindings: &Value) -> String {
    let bindings: Vec<String> = bindings.as_array().into_iter().flatten().map(in_words).collect();
    bindings.join(", ")
}
