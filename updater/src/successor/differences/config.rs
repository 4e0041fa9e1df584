//! `Config`: what the image gives goes with the image, the rest stays.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::words::{HIDDEN, in_words};
use super::{Because, Difference, Pair};
use crate::plan::labels;
use crate::successor::merge::name_of;
use crate::successor::{is_empty, list, object, signals, text};

/// Compared by what they mean, in this file or another one.
const WITH_RULES_OF_THEIR_OWN: [&str; 10] = [
    "Entrypoint",
    "Cmd",
    "User",
    "WorkingDir",
    "StopSignal",
    "Env",
    "Labels",
    "Healthcheck",
    "ExposedPorts",
    "Hostname",
];

/// What says nothing about the container: `Image` is the subject of the update, and
/// judged by its id; `Volumes` are mounts by now; the rest is an image's or of Windows.
const SAYS_NOTHING: [&str; 6] =
    ["Image", "Volumes", "OnBuild", "ArgsEscaped", "Shell", "MacAddress"];

pub(super) fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let mut differences = Vec::new();
    for field in ["Entrypoint", "Cmd", "User", "WorkingDir"] {
        differences.extend(whole(pair, field));
    }
    differences.extend(stop_signal(pair));
    differences.extend(env(pair));
    differences.extend(pairs(pair, "Labels", "Label"));
    differences.extend(pairs(pair, "Healthcheck", "Healthcheck"));
    differences.extend(pairs(pair, "ExposedPorts", "Exposed port"));
    differences.extend(names(pair));
    differences.extend(mac(pair));
    let (old, new) = (pair.old_config(), pair.new_config());
    let fields: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for field in fields {
        let known = |list: &[&str]| list.contains(&field.as_str());
        if known(&WITH_RULES_OF_THEIR_OWN) || known(&SAYS_NOTHING) || field == "Domainname" {
            continue;
        }
        let side = |map: &Map<String, Value>| {
            map.get(field).filter(|v| !is_empty(v) && **v != Value::Bool(false)).cloned()
        };
        let (old, new) = (side(old), side(new));
        if old != new {
            differences.push(Difference::unexplained(field, old.as_ref(), new.as_ref()));
        }
    }
    differences
}

fn whole(pair: &Pair<'_>, field: &str) -> Option<Difference> {
    fn of<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
        // Podman stores how a request says that there is no entrypoint.
        map.get(field).filter(|value| !is_empty(value) && **value != json!([""]))
    }
    compare(
        field.to_owned(),
        (of(pair.old_config(), field), of(pair.old_defaults(), field)),
        (of(pair.new_config(), field), of(pair.new_defaults(), field)),
    )
}

/// One that nobody gave is the usual one, which Podman says and Docker doesn't.
fn stop_signal(pair: &Pair<'_>) -> Option<Difference> {
    let of = |map: &Map<String, Value>| Value::from(signals::name(text(map, "StopSignal")));
    compare(
        "StopSignal".to_owned(),
        (Some(&of(pair.old_config())), Some(&of(pair.old_defaults()))),
        (Some(&of(pair.new_config())), Some(&of(pair.new_defaults()))),
    )
}

fn pairs(pair: &Pair<'_>, field: &str, title: &str) -> Vec<Difference> {
    fn of<'a>(map: &'a Map<String, Value>, field: &str, key: &str) -> Option<&'a Value> {
        let (whole, is_check) = (object(map, field), field == "Healthcheck");
        // How often nothing is checked means nothing. And for an engine, an empty field of a
        // health check is one that isn't there.
        let is_off = is_check && key != "Test" && whole.get("Test").is_some_and(is_none);
        whole.get(key).filter(|value| !is_off && (!is_check || !is_empty(value)))
    }
    let (old, new) = (object(pair.old_config(), field), object(pair.new_config(), field));
    // Where there is no check, Podman still shows how often.
    let is_off = |map: &Map<String, Value>| map.get("Test") == Some(&json!(["NONE"]));
    if field == "Healthcheck" && is_off(old) && is_off(new) {
        return Vec::new();
    }
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| !(field == "Labels" && labels::is_ours(key)))
        .filter_map(|key| {
            let mut difference = compare(
                format!("{title} {key}"),
                (of(pair.old_config(), field, key), of(pair.old_defaults(), field, key)),
                (of(pair.new_config(), field, key), of(pair.new_defaults(), field, key)),
            )?;
            // Compose's own label is nobody's secret.
            if difference.field == "Label com.docker.compose.image" {
                (difference.old, difference.new) =
                    (old.get(key).map(in_words), new.get(key).map(in_words));
                if new.get(key) == pair.new_image.get("Id") {
                    difference.because = Because::Compose;
                }
            }
            Some(difference)
        })
        .collect()
}

/// Whether this is what a health check tests that has been turned off.
fn is_none(test: &Value) -> bool {
    test[0] == "NONE"
}

fn env(pair: &Pair<'_>) -> Vec<Difference> {
    fn of<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
        list(map, "Env").iter().find(|entry| name_of(entry) == name)
    }
    // Podman writes the container's own name into its environment.
    let is_own = |map: &Map<String, Value>, value: Option<&Value>| {
        value.is_none_or(|value| *value == format!("HOSTNAME={}", text(map, "Hostname")))
    };
    let (old, new) = (pair.old_config(), pair.new_config());
    let names: BTreeSet<&str> =
        list(old, "Env").iter().chain(list(new, "Env")).map(name_of).collect();
    names
        .into_iter()
        .filter_map(|name| {
            if name == "HOSTNAME" && is_own(old, of(old, name)) && is_own(new, of(new, name)) {
                return None;
            }
            // Podman makes it in the start.
            let unmade = |map: &Map<String, Value>| of(map, name).is_none();
            if name == "HOME" && is_podmans_home(old) && (is_podmans_home(new) || unmade(new)) {
                return None;
            }
            // It is Podman's own note, and a prediction doesn't know it.
            if name == "container" && !pair.is_real() {
                return None;
            }
            let mut difference = compare(
                format!("Env {name}"),
                (of(old, name), of(pair.old_defaults(), name)),
                (of(new, name), of(pair.new_defaults(), name)),
            )?;
            for side in [&mut difference.old, &mut difference.new].into_iter().flatten() {
                if let Some(value) = side.strip_prefix(&format!("{name}=")) {
                    *side = value.to_owned();
                }
            }
            Some(difference)
        })
        .collect()
}

/// Whether the home directory is the one that Podman has written into the environment, by
/// the user: with the container's own name, it comes after all that was given.
fn is_podmans_home(config: &Map<String, Value>) -> bool {
    let entries: Vec<&str> = list(config, "Env").iter().filter_map(Value::as_str).collect();
    let [.., one, other] = entries[..] else { return false };
    let is = |home: &str, own: &str| home.starts_with("HOME=") && own.starts_with("HOSTNAME=");
    is(one, other) || is(other, one)
}

/// The names that a container has inside: they follow it where the engine made them.
fn names(pair: &Pair<'_>) -> Vec<Difference> {
    let mode = text(pair.old_host_config(), "NetworkMode");
    // These show another one's names, or the host's.
    if mode.starts_with("container:") || text(pair.old_host_config(), "UTSMode") == "host" {
        return Vec::new();
    }
    let short_id = |inspect: &Value| {
        inspect["Id"].as_str().and_then(|id| id.get(..12)).unwrap_or_default().to_owned()
    };
    let is_made = |config: &Map<String, Value>, inspect: &Value| {
        let name = text(config, "Hostname");
        name.is_empty() || name == short_id(inspect) || mode == "host"
    };
    let mut differences = Vec::new();
    for field in ["Hostname", "Domainname"] {
        let (old, new) = (text(pair.old_config(), field), text(pair.new_config(), field));
        let follows = field == "Hostname"
            && is_made(pair.old_config(), pair.old)
            && is_made(pair.new_config(), pair.new);
        if old != new && !follows {
            let side = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
            differences.push(Difference {
                field: field.to_owned(),
                old: side(old),
                new: side(new),
                because: Because::Unexplained,
            });
        }
    }
    differences
}

/// The address that was asked for: later engines tell it of the endpoint.
fn mac(pair: &Pair<'_>) -> Option<Difference> {
    let asked = text(pair.old_config(), "MacAddress");
    let endpoints = object(super::part(pair.new, "NetworkSettings"), "Networks");
    let kept = asked.is_empty()
        || text(pair.new_config(), "MacAddress") == asked
        || endpoints.values().any(|endpoint| endpoint["MacAddress"] == asked);
    (!kept).then(|| Difference {
        field: "MacAddress".to_owned(),
        old: Some(asked.to_owned()),
        new: None,
        because: Because::Unexplained,
    })
}

/// A difference between two values, each given with its image's default.
fn compare(
    field: String,
    (old, old_default): (Option<&Value>, Option<&Value>),
    (new, new_default): (Option<&Value>, Option<&Value>),
) -> Option<Difference> {
    if old == new {
        return None;
    }
    // Whatever isn't an image's default may be a secret.
    let shown = |value: Option<&Value>, default: Option<&Value>| {
        value.map(|value| if Some(value) == default { in_words(value) } else { HIDDEN.to_owned() })
    };
    let goes_with_the_image = old == old_default && new == new_default;
    Some(Difference {
        field,
        old: shown(old, old_default),
        new: shown(new, new_default),
        because: if goes_with_the_image { Because::Image } else { Because::Unexplained },
    })
}
