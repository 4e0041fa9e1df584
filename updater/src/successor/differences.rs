//! What will be different about the new container, for a human to see before
//! anything is touched.
//!
//! The environment may hold secrets. No value is shown but an image's default.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::merge::{effective, name_of};
use super::{is_empty, list, object, part, ports};
use crate::plan::labels;

/// One thing that won't be as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What it is about: `Env PATH`, `Cmd`, `Label org.opencontainers.image.version`.
    pub field: String,
    /// How it is; `None` if it isn't there.
    pub old: Option<String>,
    /// How it will be; `None` if it won't be there.
    pub new: Option<String>,
    /// Why it changes.
    pub because: Because,
}

/// Why something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Because {
    /// It is the image's default, and the new image has another one.
    Image,
    /// The engine would choose anew, so the choice it made is written down.
    Pinned,
    /// Compose would otherwise take the container for outdated.
    Compose,
}

/// What will be different, compared with the old container as it is.
pub fn differences(
    old: &Value,
    old_image: Option<&Value>,
    new_image: &Value,
    create: &Value,
) -> Vec<Difference> {
    let of = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let create = of(create);
    let new_defaults = of(&new_image["Config"]);
    let sides = Sides {
        old: of(&old["Config"]),
        old_defaults: old_image.map(|image| of(&image["Config"])).unwrap_or_default(),
        new: effective(&create, &new_defaults),
        new_defaults,
    };
    let mut differences = Vec::new();
    for field in ["Entrypoint", "Cmd", "User", "WorkingDir", "StopSignal"] {
        differences.extend(sides.whole(field));
    }
    differences.extend(sides.env());
    differences.extend(sides.pairs("Labels", "Label"));
    differences.extend(sides.pairs("Healthcheck", "Healthcheck"));
    differences.extend(sides.pairs("ExposedPorts", "Exposed port"));
    differences.extend(published(old, &create, &sides.new));
    differences.extend(volumes(old, &create, &sides.new));
    differences
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |side: &Option<String>| side.as_deref().map_or("none".to_owned(), shorten);
        write!(f, "{}: {} → {} ({})", self.field, side(&self.old), side(&self.new), self.because)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::Image => "the image's default",
            Because::Pinned => "pinned, so that it stays",
            Because::Compose => "kept true for Compose",
        })
    }
}

/// The configuration of both containers, and how much of it is their images'.
struct Sides {
    old: Map<String, Value>,
    old_defaults: Map<String, Value>,
    new: Map<String, Value>,
    new_defaults: Map<String, Value>,
}

impl Sides {
    fn whole(&self, field: &str) -> Option<Difference> {
        fn of<'a>(map: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
            map.get(field).filter(|value| !is_empty(value))
        }
        compare(
            field.to_owned(),
            (of(&self.old, field), of(&self.old_defaults, field)),
            (of(&self.new, field), of(&self.new_defaults, field)),
        )
    }

    fn pairs(&self, field: &str, title: &str) -> Vec<Difference> {
        let (old, new) = (object(&self.old, field), object(&self.new, field));
        let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        keys.into_iter()
            .filter(|key| !(field == "Labels" && labels::is_ours(key)))
            .filter_map(|key| {
                compare(
                    format!("{title} {key}"),
                    (old.get(key), object(&self.old_defaults, field).get(key)),
                    (new.get(key), object(&self.new_defaults, field).get(key)),
                )
            })
            .map(|mut difference| {
                // Compose's own label is nobody's secret.
                if difference.field == "Label com.docker.compose.image" {
                    let shown = |labels: &Map<String, Value>| {
                        labels.get("com.docker.compose.image").map(in_words)
                    };
                    difference.because = Because::Compose;
                    (difference.old, difference.new) = (shown(old), shown(new));
                }
                difference
            })
            .collect()
    }

    fn env(&self) -> Vec<Difference> {
        fn of<'a>(map: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
            list(map, "Env").iter().find(|entry| name_of(entry) == name)
        }
        let (old, new) = (list(&self.old, "Env"), list(&self.new, "Env"));
        let names: BTreeSet<&str> = old.iter().chain(new).map(name_of).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let mut difference = compare(
                    format!("Env {name}"),
                    (of(&self.old, name), of(&self.old_defaults, name)),
                    (of(&self.new, name), of(&self.new_defaults, name)),
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
    let shown =
        |value: Option<&Value>, default: Option<&Value>| {
            value.map(|value| {
                if Some(value) == default { in_words(value) } else { "(not shown)".to_owned() }
            })
        };
    Some(Difference {
        field,
        old: shown(old, old_default),
        new: shown(new, new_default),
        because: Because::Image,
    })
}

/// Ports that were ephemeral, and those that come and go with `-P`.
fn published(
    old: &Value,
    create: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Vec<Difference> {
    let asked = object(part(old, "HostConfig"), "PortBindings");
    let live = object(part(old, "NetworkSettings"), "Ports");
    let host_config = object(create, "HostConfig");
    let bindings = object(host_config, "PortBindings");
    let all = host_config.get("PublishAllPorts") == Some(&Value::Bool(true));
    let free = || Some("a free port".to_owned());

    let exposed = object(config, "ExposedPorts");
    let ports: BTreeSet<&String> =
        live.keys().chain(bindings.keys()).chain(exposed.keys()).collect();
    let mut differences = Vec::new();
    for port in ports {
        let was_live = !list(live, port).is_empty();
        let was_exposed = object(part(old, "Config"), "ExposedPorts").contains_key(port);
        let (old, new, because) = match (asked.get(port), bindings.get(port)) {
            (before, Some(after)) if before != Some(after) => {
                let before = before.filter(|before| !is_empty(before));
                (
                    before.map(ports_in_words).or_else(free),
                    Some(ports_in_words(after)),
                    Because::Pinned,
                )
            }
            (None, None) if all && was_live && !exposed.contains_key(port) => {
                (live.get(port).map(ports_in_words), None, Because::Image)
            }
            (None, None) if all && !was_exposed && exposed.contains_key(port) => {
                (None, free(), Because::Image)
            }
            _ => continue,
        };
        differences.push(Difference { field: format!("Published port {port}"), old, new, because });
    }
    differences
}

/// Anonymous volumes: the old ones by name from now on, and new ones.
fn volumes(
    old: &Value,
    create: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Vec<Difference> {
    let old_host_config = part(old, "HostConfig");
    let named = list(old_host_config, "Mounts");
    let mounts = list(object(create, "HostConfig"), "Mounts");
    let points = old["Mounts"].as_array().map_or(&[][..], Vec::as_slice);
    let borrowed = |target: &Value| {
        let own = object(part(old, "Config"), "Volumes").keys();
        !list(old_host_config, "VolumesFrom").is_empty()
            && !own.into_iter().any(|path| target == path)
    };
    let was = |mount: &Value| match borrowed(&mount["Target"]) {
        true => "another container's",
        false => "anonymous",
    };

    let pinned = mounts.iter().filter(|mount| !named.contains(mount)).map(|mount| Difference {
        field: format!("Volume {}", in_words(&mount["Target"])),
        old: Some(was(mount).to_owned()),
        new: Some(in_words(&mount["Source"])),
        because: Because::Pinned,
    });
    let added = object(config, "Volumes")
        .keys()
        .filter(|path| !points.iter().any(|point| point["Destination"] == path.as_str()))
        .map(|path| Difference {
            field: format!("Volume {path}"),
            old: None,
            new: Some("a new one".to_owned()),
            because: Because::Image,
        });
    pinned.chain(added).collect()
}

fn ports_in_words(bindings: &Value) -> String {
    let bindings: Vec<String> =
        bindings.as_array().into_iter().flatten().map(ports::in_words).collect();
    bindings.join(", ")
}

fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Only health checks have numbers of this size: nanoseconds.
        Value::Number(number) => match number.as_u64() {
            Some(nanoseconds) if nanoseconds >= 1_000_000 => {
                format!("{:?}", Duration::from_nanos(nanoseconds))
            }
            _ => number.to_string(),
        },
        Value::Object(map) if map.is_empty() => "yes".to_owned(),
        other => other.to_string(),
    }
}

/// As much of a value as a line of a terminal takes, and nothing that moves its cursor.
fn shorten(value: &str) -> String {
    const LONGEST: usize = 72;
    const SHORT_ID: usize = 12;
    let id = value.strip_prefix("sha256:").unwrap_or(value);
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id[..SHORT_ID].to_owned();
    }
    let mut shown: String = value.chars().take(LONGEST).flat_map(visible).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "(empty)".to_owned() } else { shown }
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}
