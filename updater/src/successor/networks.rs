//! The networks: which, and with what of their settings.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::{Map, Value};

use super::table::{self, At};
use super::{ApiVersion, Loss, Old, is_empty, object, part, text};
use crate::plan::Connect;

/// The networks to name in the create request, and those to connect after it.
///
/// Older engines take one network in create. That has to be the network of the
/// network mode, or the engine would add it and make it the second.
pub(super) fn endpoints(old: &Old<'_>) -> (Map<String, Value>, Vec<Connect>) {
    let mut endpoints = Map::new();
    let mut connect = Vec::new();
    if has_no_endpoints_of_its_own(old) {
        return (endpoints, connect);
    }
    for (network, settings) in networks(old) {
        let Some(settings) = settings.as_object() else {
            continue;
        };
        let endpoint = table::apply(table::ENDPOINT, settings, old, network);
        endpoints.insert(network.to_owned(), endpoint.into());
    }
    if old.inputs.api < ApiVersion::ENDPOINTS_IN_CREATE && endpoints.len() > 1 {
        let first = main_network(old)
            .or_else(|| endpoints.keys().next().map(String::as_str))
            .map(str::to_owned);
        for (network, endpoint) in std::mem::take(&mut endpoints) {
            if Some(&network) == first.as_ref() {
                endpoints.insert(network, endpoint);
            } else {
                connect.push(Connect { network, endpoint });
            }
        }
    }
    (endpoints, connect)
}

/// The names under which inspect will show the new container's networks, sorted.
pub(super) fn expected(old: &Old<'_>) -> Vec<String> {
    if old.in_anothers_network() || wants_no_network(old) {
        return Vec::new();
    }
    let mut names: Vec<String> = networks(old).into_keys().map(str::to_owned).collect();
    if names.is_empty() {
        names.push(network_of_mode(old).to_owned());
    }
    names.sort();
    names
}

pub(super) fn losses(old: &Old<'_>) -> Vec<Loss> {
    let mut losses = Vec::new();
    let has_network = !old.in_anothers_network() && !wants_no_network(old);
    if has_network && networks(old).is_empty() {
        losses.push(Loss::Disconnection { network: network_of_mode(old).to_owned() });
    }
    losses
}

/// Networks on which a requested address can't be told from a generated one, so that
/// the new container gets a generated one.
pub(super) fn hidden_macs(old: &Old<'_>) -> Vec<String> {
    let hides = old.is_podmans() || old.inputs.api >= ApiVersion::ENDPOINTS_IN_CREATE;
    if has_no_endpoints_of_its_own(old) || !hides {
        return Vec::new();
    }
    let main = main_network(old).filter(|_| !old.is_podmans());
    let others = networks(old).into_iter().filter(|(name, _)| Some(*name) != main);
    others
        .filter_map(|(name, settings)| {
            let settings = settings.as_object()?;
            // One that is stopped shows none at all.
            let unseen = text(settings, "MacAddress").is_empty();
            let random = old.inputs.api >= ApiVersion::RANDOM_MAC && !was_requested(old, settings);
            (unseen || random).then(|| name.to_owned())
        })
        .collect()
}

/// The network mode, with the name of a network that it names by its id. Otherwise the
/// engine is told of one network by two names, attaches it twice, and can start neither
/// this container nor, on the way back, the old one.
pub(super) fn mode(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    match main_network(old) {
        Some(name) if name != network_of_mode(old) => Some(name.into()),
        _ => (!at.value.is_null()).then(|| at.value.clone()),
    }
}

pub(super) fn aliases(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    if at.network == "bridge" {
        return None;
    }
    // Podman adds the host name to what was asked for, each time.
    let added = |alias: &Value| {
        alias == old.short_id() || old.is_podmans() && alias == text(old.config, "Hostname")
    };
    let mut aliases = Vec::new();
    for alias in at.value.as_array()? {
        if !added(alias) && !aliases.contains(alias) {
            aliases.push(alias.clone());
        }
    }
    (!aliases.is_empty()).then(|| aliases.into())
}

/// Inspect shows the address that was requested for the main network and, for
/// the others, only the address in use. That one is carried where it can't have
/// been generated; two containers with one generated address would disturb each
/// other once they are both up.
///
/// Podman shows of no network what was requested. There the address in use is carried, be
/// it a generated one: only one of both containers is up at a time.
pub(super) fn mac(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    if old.is_podmans() {
        return (!is_empty(at.value)).then(|| at.value.clone());
    }
    if old.inputs.api < ApiVersion::ENDPOINTS_IN_CREATE {
        return None;
    }
    if main_network(old) == Some(at.network) {
        return old.config.get("MacAddress").filter(|address| !is_empty(address)).cloned();
    }
    let networks = networks(old);
    let settings = networks.get(at.network)?.as_object()?;
    was_requested(old, settings).then(|| at.value.clone())
}

pub(super) fn legacy_mac(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let wanted = old.inputs.api < ApiVersion::ENDPOINTS_IN_CREATE && !is_empty(at.value);
    wanted.then(|| at.value.clone())
}

/// Whether no engine would have generated this address: Docker until 27
/// made it of the IPv4 address; since then it is random, but always a locally
/// administered one.
fn was_requested(old: &Old<'_>, settings: &Map<String, Value>) -> bool {
    let address = text(settings, "MacAddress").to_lowercase();
    let Some(Ok(first)) = address.get(..2).map(|octet| u8::from_str_radix(octet, 16)) else {
        return false;
    };
    if old.inputs.api >= ApiVersion::RANDOM_MAC {
        return first & 0x02 == 0 || looks_chosen(&address);
    }
    let Ok(ip) = text(settings, "IPAddress").parse::<Ipv4Addr>() else {
        return false;
    };
    let [a, b, c, d] = ip.octets();
    address != format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Whether a person has thought of this address: by chance, one in a few thousand
/// begins like this, or says the same thing three times.
fn looks_chosen(address: &str) -> bool {
    let octets: Vec<&str> = address.split(':').collect();
    let repeats = octets.iter().any(|one| octets.iter().filter(|other| one == *other).count() >= 3);
    let zeros = octets.iter().filter(|octet| **octet == "00").count() >= 2;
    repeats || zeros || ["02:42:", "52:54:00:"].iter().any(|start| address.starts_with(start))
}

fn networks<'a>(old: &Old<'a>) -> BTreeMap<&'a str, &'a Value> {
    attached(old.inputs.old)
}

/// The networks of a container, each once: one that was given by its short id is there
/// under that and, as soon as the container was started, under its name as well.
pub(super) fn attached(inspect: &Value) -> BTreeMap<&str, &Value> {
    let networks = object(part(inspect, "NetworkSettings"), "Networks");
    let is_by_id = |name: &str, settings: &Value| {
        let id = settings["NetworkID"].as_str().unwrap_or_default();
        name.len() >= 12 && id.starts_with(name)
    };
    let is_double = |name: &str, settings: &Value| {
        let mut others = networks.iter().filter(|(other, _)| *other != name);
        is_by_id(name, settings)
            && others.any(|(_, more)| more["NetworkID"] == settings["NetworkID"])
    };
    let all = networks.iter().map(|(name, settings)| (name.as_str(), settings));
    all.filter(|(name, settings)| !is_double(name, settings)).collect()
}

/// On the host's network, on none and in another's, there is nothing to set.
fn has_no_endpoints_of_its_own(old: &Old<'_>) -> bool {
    matches!(old.network_mode, "host" | "none") || old.in_anothers_network()
}

/// Whether the user has switched networks off, which is another way of having none.
fn wants_no_network(old: &Old<'_>) -> bool {
    old.config.get("NetworkDisabled") == Some(&Value::Bool(true)) && networks(old).is_empty()
}

/// The network that the network mode means, by the name that inspect uses.
fn network_of_mode<'a>(old: &Old<'a>) -> &'a str {
    match old.network_mode {
        "" | "default" => "bridge",
        name => name,
    }
}

/// The attached network that the network mode means: it may name it by id.
/// None if the container was disconnected from it later on.
fn main_network<'a>(old: &Old<'a>) -> Option<&'a str> {
    let mode = network_of_mode(old);
    let networks = networks(old);
    networks.get_key_value(mode).map(|(name, _)| *name).or_else(|| {
        let is_it = |settings: &Value| {
            let id = settings["NetworkID"].as_str();
            mode.len() >= 12 && id.is_some_and(|id| id.starts_with(mode))
        };
        networks.iter().find(|(_, settings)| is_it(settings)).map(|(name, _)| *name)
    })
}
