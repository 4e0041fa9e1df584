//! How the new container differs from the old one, and why: for a person to see
//! before anything is touched, and for the swap to judge by before it stops anything.
//!
//! Two inspect documents are compared, field by field. This is deliberately not
//! built on the table that makes the create request: whatever goes wrong there, or
//! in an engine that forgets what it was asked for, shows up here as a difference
//! that nothing explains. Old was filled in by the same engine as new, so what the
//! engine adds by itself is on both sides.
//!
//! Many values may be secrets. None is shown but an image's default and what can't be one.

mod config;
mod host_config;
mod mounts;
mod networks;
mod ports;
mod words;

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::merge::effective;
use super::{object, part};
use crate::plan::Connect;

/// The old container and the new one, each with its image.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// Inspect of the old container.
    pub old: &'a Value,
    /// Inspect of its image; `None` if that was pruned.
    pub old_image: Option<&'a Value>,
    /// Inspect of the new container, or what is [`predicted`] of it.
    pub new: &'a Value,
    /// Inspect of its image.
    pub new_image: &'a Value,
    /// Who else is replaced in the same update.
    pub moved: &'a [Moved],
}

/// A member of the set, by what others call it in their settings.
#[derive(Debug, Clone)]
pub struct Moved {
    /// Id and name of its old container.
    pub old: [String; 2],
    /// Id, if it is known, and names of its new container.
    pub new: [String; 3],
}

/// One thing that isn't as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Because {
    /// It is the image's default, and the new image has another one.
    Image,
    /// The engine would choose anew, so the choice it made is written down.
    Pinned,
    /// Compose would otherwise take the container for outdated.
    Compose,
    /// It names a container that is replaced as well.
    Set,
    /// The engine does it whatever it is asked for.
    Engine,
    /// Nothing explains it. A new container with such a difference is given up.
    Unexplained,
}

/// Everything that differs between the two.
pub fn differences(pair: &Pair<'_>) -> Vec<Difference> {
    let mut differences = config::differences(pair);
    differences.extend(ports::differences(pair));
    differences.extend(mounts::differences(pair));
    differences.extend(host_config::differences(pair));
    differences.extend(networks::differences(pair));
    differences
}

/// Why the new container isn't the same, if it isn't: the differences that nothing
/// explains, in words.
pub fn unexplained(pair: &Pair<'_>) -> Option<String> {
    let differences = differences(pair);
    let named: Vec<String> = differences
        .iter()
        .filter(|one| one.because == Because::Unexplained)
        .map(Difference::in_short)
        .collect();
    (!named.is_empty()).then(|| named.join("; "))
}

/// What inspect will show of the container that a create request makes, as far as it
/// can be known before.
pub fn predicted(create: &Value, connect: &[Connect], new_image: &Value) -> Value {
    let nothing = Map::new();
    let request = create.as_object().unwrap_or(&nothing);
    let mut networks = object(object(request, "NetworkingConfig"), "EndpointsConfig").clone();
    for connect in connect {
        networks.insert(connect.network.clone(), connect.endpoint.clone());
    }
    json!({
        "Config": effective(request, part(new_image, "Config")),
        "HostConfig": create["HostConfig"],
        "NetworkSettings": { "Networks": networks },
    })
}

impl Difference {
    fn in_short(&self) -> String {
        let side =
            |side: &Option<String>| side.as_deref().map_or("none".to_owned(), words::shorten);
        format!("{}: {} → {}", self.field, side(&self.old), side(&self.new))
    }

    fn unexplained(field: impl Into<String>, old: Option<&Value>, new: Option<&Value>) -> Self {
        Difference {
            field: field.into(),
            old: old.map(words::if_no_secret),
            new: new.map(words::if_no_secret),
            because: Because::Unexplained,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.in_short(), self.because)
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Because::Image => "the image's default",
            Because::Pinned => "pinned, so that it stays",
            Because::Compose => "kept true for Compose",
            Because::Set => "follows the container that it names",
            Because::Engine => "the engine's doing",
            Because::Unexplained => "unexplained: the update would be given up",
        })
    }
}

impl Pair<'_> {
    fn old_config(&self) -> &Map<String, Value> {
        part(self.old, "Config")
    }

    fn new_config(&self) -> &Map<String, Value> {
        part(self.new, "Config")
    }

    fn old_host_config(&self) -> &Map<String, Value> {
        part(self.old, "HostConfig")
    }

    fn new_host_config(&self) -> &Map<String, Value> {
        part(self.new, "HostConfig")
    }

    fn old_defaults(&self) -> &Map<String, Value> {
        part(self.old_image.unwrap_or(&Value::Null), "Config")
    }

    fn new_defaults(&self) -> &Map<String, Value> {
        part(self.new_image, "Config")
    }

    /// Whether `new` is what an engine says, and not what is predicted.
    fn is_real(&self) -> bool {
        self.new["Id"].is_string()
    }
}
