//! The new container's create request: the old container again, on the new image.
//!
//! [`successor`] is a pure function over what `docker inspect` shows. It works on
//! raw JSON because a typed model would drop every field newer than itself and
//! choke on values it doesn't know; so whatever an engine will add one day
//! survives an update. What becomes of each field stands in [`table`], which is
//! the place to look first and the place to change.
//!
//! The measure is the user's own command: the result is the container which the
//! same `docker run` makes with the new image, except for what is pinned on
//! purpose, anonymous volumes and ephemeral ports.

mod compare;
mod config;
mod differences;
mod host_config;
mod merge;
mod networks;
mod ports;
pub(crate) mod signals;
mod volumes;

pub mod table;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::engine::ApiVersion;
use crate::plan::{Connect, Expected};

pub use compare::compare;
pub use differences::{Because, Difference, Moved, Pair, differences, predicted, unexplained};

/// What the successor is made from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Inspect of the old container. Taken while it runs, if it does: a stopped
    /// container doesn't know its ephemeral ports any more.
    pub old: &'a Value,
    /// Inspect of the image that the old container was made from, by the id in
    /// its `Image`. `None` if it was pruned: then nothing tells the old image's
    /// defaults from what the user set.
    pub old_image: Option<&'a Value>,
    /// Inspect of the new image.
    pub new_image: &'a Value,
    /// The image as the user wrote it.
    pub reference: &'a str,
    /// The API version of both the inspects and the create request.
    pub api: ApiVersion,
    /// `Name` of the engine's `/info`.
    pub engine_name: &'a str,
    /// `Os/Arch` of the engine's `/version`, say `linux/amd64`.
    pub engine_platform: &'a str,
    /// Whether a container that `VolumesFrom` names is gone. Its volumes are then
    /// taken over one by one.
    pub donor_gone: bool,
}

/// The new container as it will be asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Successor {
    /// The body of the create request. The restart policy in it is `no`, whatever
    /// the app's own is: an update arms the new container when it has proved itself.
    pub create: Value,
    /// Networks to connect between create and start, for engines whose create
    /// takes only one.
    pub connect: Vec<Connect>,
    /// What the new container must have once it runs.
    pub expected: Expected,
    /// What can't be carried over, or not for certain.
    pub losses: Vec<Loss>,
    /// Networks on which a MAC address may have been requested that nobody can see.
    pub hidden_macs: Vec<String>,
    /// `?platform=` of the create request, if it isn't the engine's own.
    pub platform: Option<String>,
}

/// Makes the create request of the new container.
pub fn successor(inputs: &Inputs<'_>) -> Result<Successor, SuccessorError> {
    let old = Old::read(inputs)?;

    let mut create = table::apply(table::CONFIG, old.config, &old, "");
    let host_config = table::apply(table::HOST_CONFIG, old.host_config, &old, "");
    create.insert("HostConfig".to_owned(), host_config.into());

    let (endpoints, connect) = networks::endpoints(&old);
    if !endpoints.is_empty() {
        let mut networking = Map::new();
        networking.insert("EndpointsConfig".to_owned(), endpoints.into());
        create.insert("NetworkingConfig".to_owned(), networking.into());
    }

    Ok(Successor {
        create: create.into(),
        connect,
        expected: Expected { networks: networks::expected(&old), ports: ports::expected(&old) },
        losses: losses(&old),
        hidden_macs: networks::hidden_macs(&old),
        platform: foreign_platform(inputs.old, inputs.old_image, inputs.engine_platform),
    })
}

/// The platform of the old container, if it isn't the engine's own: the image
/// must then be pulled, and the container created, for this one.
pub fn foreign_platform(
    old: &Value,
    old_image: Option<&Value>,
    engine_platform: &str,
) -> Option<String> {
    // The descriptor is what the container really runs; an image of several
    // platforms shows just one of them in its inspect.
    let descriptor = &old["ImageManifestDescriptor"]["platform"];
    let (os, architecture, variant) = if descriptor.is_object() {
        let of = |key| descriptor[key].as_str();
        (of("os"), of("architecture"), of("variant"))
    } else {
        let of = |key| old_image.and_then(|image| image[key].as_str());
        (of("Os"), of("Architecture"), of("Variant"))
    };
    let platform = format!("{}/{}", os?, architecture?);
    if platform == engine_platform {
        return None;
    }
    Some(match variant {
        Some(variant) if !variant.is_empty() => format!("{platform}/{variant}"),
        _ => platform,
    })
}

/// Something of the old container that the new one may not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// The old image was pruned, so its defaults can't be told from what the user
    /// set, and all of it stays as it was.
    ImageDefaults {
        /// Id of the pruned image.
        image: String,
    },
    /// The container was disconnected from every network. The engine connects the
    /// new one to the network of its network mode again.
    Disconnection {
        /// That network.
        network: String,
    },
    /// The container has written files into itself that exist nowhere else.
    WritableLayer {
        /// The container's name.
        container: String,
        /// The files.
        files: Vec<String>,
    },
}

impl Loss {
    /// The word by which an operator accepts it.
    pub fn name(&self) -> &'static str {
        match self {
            Loss::ImageDefaults { .. } => "image-defaults",
            Loss::Disconnection { .. } => "disconnection",
            Loss::WritableLayer { .. } => "writable-layer",
        }
    }

    /// What to do instead of accepting it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Loss::ImageDefaults { .. } => "pull the old image again by its digest, or",
            Loss::Disconnection { .. } => "`docker network connect` it to where it belongs, or",
            Loss::WritableLayer { .. } => {
                "keep them in a volume; `--carry PATH` takes a file or folder along, and"
            }
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Loss::ImageDefaults { image } => write!(
                f,
                "the old image {image} is gone, so its defaults can't be told from your own \
                 settings: environment, command, labels and the like stay as they are"
            ),
            Loss::Disconnection { network } => write!(
                f,
                "the container is disconnected from every network; the new one will be \
                 connected to `{network}`"
            ),
            Loss::WritableLayer { container, files } => write!(
                f,
                "`{container}` has written {} into itself that would go with it: {}",
                counted(files.len(), "file"),
                some_of(files)
            ),
        }
    }
}

/// `1 file`, `3 files`.
pub fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// The first of a list, and how many there are besides.
pub fn some_of(list: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown = list[..list.len().min(SHOWN)].join(", ");
    match list.len() {
        0..=SHOWN => shown,
        more => format!("{shown} and {} more", more - SHOWN),
    }
}

fn losses(old: &Old<'_>) -> Vec<Loss> {
    let mut losses = Vec::new();
    if old.inputs.old_image.is_none() {
        losses.push(Loss::ImageDefaults {
            image: old.inputs.old["Image"].as_str().unwrap_or_default().to_owned(),
        });
    }
    losses.extend(networks::losses(old));
    losses
}

/// Why there is no create request.
#[derive(Debug, thiserror::Error)]
pub enum SuccessorError {
    /// Whatever this is, it isn't what an engine answers.
    #[error("the engine's answer about the {what} lacks `{field}`")]
    Lacking {
        /// Container or image.
        what: &'static str,
        /// The missing field.
        field: &'static str,
    },
}

impl ApiVersion {
    /// From here on, create takes several networks, and a MAC address for each.
    pub const ENDPOINTS_IN_CREATE: ApiVersion = ApiVersion(1, 44);
    /// From here on, the kernel's memory has no limit of its own.
    pub const NO_KERNEL_MEMORY: ApiVersion = ApiVersion(1, 42);
    /// From here on, a generated MAC address doesn't follow from the IPv4 address.
    pub const RANDOM_MAC: ApiVersion = ApiVersion(1, 48);
}

/// The old container, taken apart for the functions that [`table`] names.
#[derive(Debug)]
pub struct Old<'a> {
    inputs: &'a Inputs<'a>,
    id: &'a str,
    config: &'a Map<String, Value>,
    host_config: &'a Map<String, Value>,
    /// `Config` of the old image; empty if it was pruned.
    defaults: &'a Map<String, Value>,
    /// `Config` of the new image.
    new_defaults: &'a Map<String, Value>,
    network_mode: &'a str,
    running: bool,
}

impl<'a> Old<'a> {
    fn read(inputs: &'a Inputs<'a>) -> Result<Old<'a>, SuccessorError> {
        let old = inputs.old;
        let part = |what, from: &'a Value, field: &'static str| {
            from[field].as_object().ok_or(SuccessorError::Lacking { what, field })
        };
        let host_config = part("container", old, "HostConfig")?;
        Ok(Old {
            inputs,
            id: old["Id"]
                .as_str()
                .ok_or(SuccessorError::Lacking { what: "container", field: "Id" })?,
            config: part("container", old, "Config")?,
            host_config,
            defaults: match inputs.old_image {
                Some(image) => part("old image", image, "Config")?,
                None => &NOTHING,
            },
            new_defaults: part("new image", inputs.new_image, "Config")?,
            network_mode: text(host_config, "NetworkMode"),
            // Between two restarts the engine says both, and shows no ports.
            running: old["State"]["Running"] == true && old["State"]["Restarting"] != true,
        })
    }

    /// What the engine calls the container by itself: hostname and alias.
    fn short_id(&self) -> &'a str {
        self.id.get(..12).unwrap_or(self.id)
    }

    /// Whether Podman made it, going by the variable that it gives to every container.
    fn is_podmans(&self) -> bool {
        list(self.config, "Env").iter().any(|entry| entry == "container=podman")
    }

    /// Whether it lives in another container's network namespace.
    fn in_anothers_network(&self) -> bool {
        self.network_mode.starts_with("container:")
    }
}

static NOTHING: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A string of `map`; missing and null are empty, as they are for the engine.
fn text<'a>(map: &'a Map<String, Value>, key: &str) -> &'a str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// An object of `map`; missing and null are empty, as they are for the engine.
fn object<'a>(map: &'a Map<String, Value>, key: &str) -> &'a Map<String, Value> {
    map.get(key).and_then(Value::as_object).unwrap_or(&NOTHING)
}

/// The object that `value` has under `key`; empty if it has none.
fn part<'a>(value: &'a Value, key: &str) -> &'a Map<String, Value> {
    value[key].as_object().unwrap_or(&NOTHING)
}

/// A list of `map`; missing and null are empty, as they are for the engine.
fn list<'a>(map: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    map.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether the engine takes `value` for not given.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(_) => false,
    }
}
