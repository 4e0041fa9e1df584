//! The parts of `Config` that are neither copied nor merely subtracted.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::merge::name_of;
use super::table::{At, subtract};
use super::{Old, list, signals, text};
use crate::plan::labels;

/// Compose compares this label with the image it would use, and recreates the
/// container if they differ.
const COMPOSE_IMAGE: &str = "com.docker.compose.image";

pub(super) fn image(old: &Old<'_>, _: At<'_>) -> Option<Value> {
    Some(old.inputs.reference.into())
}

pub(super) fn env(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let entries = at.value.as_array()?;
    let defaults = list(old.defaults, "Env");
    // Podman has its own order, and shows the variables that it makes itself.
    let own = if old.is_podmans() {
        let hostname = format!("HOSTNAME={}", text(old.config, "Hostname"));
        let mut own = without(entries, defaults);
        own.retain(|entry| *entry != "container=podman" && *entry != hostname.as_str());
        own
    } else {
        match given_before_defaults(entries, defaults) {
            Some(given) => given.to_vec(),
            None => without(entries, defaults),
        }
    };
    (!own.is_empty()).then(|| own.into())
}

/// The entries that the user gave, known by their place: the engine appends to
/// them those of the image's that they don't override. So an entry which only
/// happens to equal the old image's default stays as well.
///
/// `None` if nothing was appended. Then a tool has written the whole environment
/// down, the image's included, as many do that edit or recreate containers.
fn given_before_defaults<'a>(entries: &'a [Value], defaults: &[Value]) -> Option<&'a [Value]> {
    let first = entries.len().saturating_sub(defaults.len());
    (first..entries.len()).map(|at| entries.split_at(at)).find_map(|(given, appended)| {
        let names: HashSet<&str> = given.iter().map(name_of).collect();
        let inherited = defaults.iter().filter(|default| !names.contains(name_of(default)));
        appended.iter().eq(inherited).then_some(given)
    })
}

fn without(entries: &[Value], defaults: &[Value]) -> Vec<Value> {
    entries.iter().filter(|entry| !defaults.contains(entry)).cloned().collect()
}

pub(super) fn labels(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let mut labels = subtract(at.value, old.defaults.get("Labels"))?;
    let pairs = labels.as_object_mut()?;
    pairs.retain(|key, _| !labels::is_ours(key));
    if let (Some(label), Some(id)) = (pairs.get_mut(COMPOSE_IMAGE), old.inputs.new_image.get("Id"))
    {
        *label = id.clone();
    }
    (!pairs.is_empty()).then_some(labels)
}

pub(super) fn hostname(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let hostname = at.value.as_str()?;
    let generated = hostname == old.short_id()
        // On the host's network the engine stores the host's own name.
        || (old.network_mode == "host" && hostname == old.inputs.engine_name);
    let refused = old.in_anothers_network() || text(old.host_config, "UTSMode") == "host";
    (!generated && !refused && !hostname.is_empty()).then(|| hostname.into())
}

/// In another container's network, inspect shows that one's names as our own.
pub(super) fn domainname(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let domainname = at.value.as_str()?;
    (!old.in_anothers_network() && !domainname.is_empty()).then(|| domainname.into())
}

/// Podman shows every container one, by its number.
pub(super) fn stop_signal(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let (own, default) = (at.value.as_str()?, text(old.defaults, "StopSignal"));
    let is_default = signals::name(own) == signals::name(default)
        && (!default.is_empty() || own.is_empty() || old.is_podmans());
    (!is_default).then(|| at.value.clone())
}

pub(super) fn entrypoint(old: &Old<'_>, _: At<'_>) -> Option<Value> {
    command(old).entrypoint
}

pub(super) fn cmd(old: &Old<'_>, _: At<'_>) -> Option<Value> {
    command(old).cmd
}

/// Entrypoint and command to send, `None` where the image's shall apply.
#[derive(Default)]
struct Command {
    entrypoint: Option<Value>,
    cmd: Option<Value>,
}

/// The engine takes an image's command only if no entrypoint was given, and an
/// image's entrypoint only if none was given, not even an empty one. Turned
/// round: what must the user have given, for the engine to make this of it?
fn command(old: &Old<'_>) -> Command {
    let entrypoint = list(old.config, "Entrypoint");
    let cmd = list(old.config, "Cmd");
    let own_entrypoint = Some(entrypoint.to_vec().into());
    let own_cmd = (!cmd.is_empty()).then(|| cmd.to_vec().into());

    // Without the old image nobody knows; then exactly this goes on running.
    let (default_entrypoint, default_cmd) = match old.inputs.old_image {
        Some(_) => (list(old.defaults, "Entrypoint"), list(old.defaults, "Cmd")),
        None if entrypoint.is_empty() => {
            return Command { entrypoint: no_entrypoint(), cmd: own_cmd };
        }
        None => {
            return Command { entrypoint: own_entrypoint, cmd: own_cmd };
        }
    };

    // `entrypoint: []` is stored as such and still inherits a command, while
    // `--entrypoint ""` is stored as null and doesn't.
    if is_empty_list(old.config) && !is_empty_list(old.defaults) {
        let inherited = cmd == default_cmd;
        return Command { entrypoint: own_entrypoint, cmd: own_cmd.filter(|_| !inherited) };
    }
    match (entrypoint == default_entrypoint, cmd == default_cmd) {
        (true, true) => Command::default(),
        (true, false) if !cmd.is_empty() => Command { entrypoint: None, cmd: own_cmd },
        // The image has a command and it is not here: an entrypoint was given
        // that happens to equal the image's.
        (true, false) => Command { entrypoint: own_entrypoint, cmd: None },
        (false, _) if entrypoint.is_empty() => {
            Command { entrypoint: no_entrypoint(), cmd: own_cmd }
        }
        (false, _) => Command { entrypoint: own_entrypoint, cmd: own_cmd },
    }
}

fn is_empty_list(config: &Map<String, Value>) -> bool {
    config.get("Entrypoint").and_then(Value::as_array).is_some_and(Vec::is_empty)
}

/// How a request says that there is no entrypoint, not even the image's.
fn no_entrypoint() -> Option<Value> {
    Some(vec![""].into())
}
