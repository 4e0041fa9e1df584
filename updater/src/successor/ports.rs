//! Published ports. The engine picks ephemeral ones anew at every start, so that
//! every update, and every way back, would move the app. They are pinned to what
//! they are now.

use serde_json::{Map, Value, json};

use super::table::{At, subtract};
use super::{NOTHING, Old, list, object, part, text};
use crate::plan::ExpectedPort;

pub(super) fn bindings(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    let asked = at.value.as_object().unwrap_or(&NOTHING);
    let mut bindings = asked.clone();
    for (port, asked) in asked {
        let live = live(old, port);
        if !live.is_empty() {
            bindings.insert(port.clone(), pin(asked, live).into());
        }
    }
    // With `-P`, what the user exposed and what the new image exposes is published.
    if old.host_config.get("PublishAllPorts") == Some(&Value::Bool(true)) {
        for port in live_ports(old).keys() {
            let live = live(old, port);
            if !asked.contains_key(port) && !live.is_empty() && stays_exposed(old, port) {
                bindings.insert(port.clone(), pin(&Value::Null, live).into());
            }
        }
    }
    (!bindings.is_empty() || at.value.is_object()).then(|| bindings.into())
}

/// A port that is published must be exposed as well, or the engine overlooks it.
pub(super) fn exposed(old: &Old<'_>, at: At<'_>) -> Option<Value> {
    if old.in_anothers_network() {
        return None;
    }
    let mut exposed =
        subtract(at.value, old.defaults.get("ExposedPorts")).unwrap_or_else(|| json!({}));
    let published = object(old.host_config, "PortBindings");
    for (port, value) in at.value.as_object()? {
        if published.contains_key(port) {
            exposed[port] = value.clone();
        }
    }
    exposed.as_object().is_some_and(|exposed| !exposed.is_empty()).then_some(exposed)
}

/// What the new container publishes once it runs, as far as it is known before.
pub(super) fn expected(old: &Old<'_>) -> Vec<ExpectedPort> {
    if matches!(old.network_mode, "host" | "none") || old.in_anothers_network() {
        return Vec::new();
    }
    let asked = old.host_config.get("PortBindings").unwrap_or(&Value::Null);
    let bindings = bindings(old, At { value: asked, network: "" });
    let mut expected = Vec::new();
    for (port, bindings) in bindings.iter().filter_map(Value::as_object).flatten() {
        for host in bindings.as_array().into_iter().flatten().filter_map(host_port) {
            // What was asked for and isn't there now won't be there then: on an
            // internal network, say, nothing is published.
            let is_live = live(old, port).iter().any(|live| host_port(live) == Some(host));
            if is_live || !old.running {
                expected.push(ExpectedPort { container: port.clone(), host });
            }
        }
    }
    expected.sort();
    expected.dedup();
    expected
}

/// The bindings of one container port, with a number instead of each choice.
fn pin(asked: &Value, live: &[Value]) -> Vec<Value> {
    let one_of_any = [json!({ "HostIp": "", "HostPort": "" })];
    let asked = match asked.as_array() {
        Some(asked) if !asked.is_empty() => asked.as_slice(),
        _ => &one_of_any,
    };
    let mut unclaimed: Vec<&Value> = live.iter().collect();
    for fixed in asked.iter().filter_map(host_port) {
        unclaimed.retain(|live| host_port(live) != Some(fixed));
    }
    let mut pinned = Vec::new();
    for binding in asked {
        let ip = binding["HostIp"].as_str().unwrap_or_default();
        let chosen = match host_port(binding) {
            Some(_) => Vec::new(),
            None => claim(ip, &mut unclaimed),
        };
        let agree = chosen.windows(2).all(|pair| pair[0]["HostPort"] == pair[1]["HostPort"]);
        match chosen.first() {
            None => pinned.push(binding.clone()),
            Some(one) if agree => {
                pinned.push(with(binding, ip, &one["HostPort"]));
            }
            // IPv4 and IPv6 were given different ports.
            Some(_) => pinned.extend(chosen.iter().map(|one| {
                with(binding, one["HostIp"].as_str().unwrap_or_default(), &one["HostPort"])
            })),
        }
    }
    pinned
}

/// The binding with this address and port, and whatever else it has.
fn with(binding: &Value, ip: &str, port: &Value) -> Value {
    // What is no binding at all has nothing else.
    let mut binding = if binding.is_object() { binding.clone() } else { json!({}) };
    binding["HostIp"] = ip.into();
    binding["HostPort"] = port.clone();
    binding
}

/// Takes out what the engine made of a binding to `ip`: for every address, one
/// binding of each family.
fn claim<'a>(ip: &str, unclaimed: &mut Vec<&'a Value>) -> Vec<&'a Value> {
    let mut take = |wanted: &dyn Fn(&str) -> bool| {
        let at = unclaimed.iter().position(|live| live["HostIp"].as_str().is_some_and(wanted))?;
        Some(unclaimed.remove(at))
    };
    if !ip.is_empty() {
        let ip = ip.trim_matches(['[', ']']);
        return take(&|live| live == ip).into_iter().collect();
    }
    let both: Vec<_> = [take(&|live| live == "0.0.0.0"), take(&|live| live == "::")]
        .into_iter()
        .flatten()
        .collect();
    if !both.is_empty() {
        return both;
    }
    // The engine publishes on an address of its own settings by default.
    take(&|_| true).into_iter().collect()
}

/// The port of a binding, if it is one: not empty, zero or a range to choose from.
pub(super) fn host_port(binding: &Value) -> Option<u16> {
    binding["HostPort"].as_str()?.parse().ok().filter(|port| *port != 0)
}

fn live_ports<'a>(old: &Old<'a>) -> &'a Map<String, Value> {
    object(part(old.inputs.old, "NetworkSettings"), "Ports")
}

fn live<'a>(old: &Old<'a>, port: &str) -> &'a [Value] {
    list(live_ports(old), port)
}

fn stays_exposed(old: &Old<'_>, port: &str) -> bool {
    let by_the_user = !object(old.defaults, "ExposedPorts").contains_key(port);
    by_the_user || object(old.new_defaults, "ExposedPorts").contains_key(port)
}

/// A binding in words.
pub(super) fn in_words(binding: &Value) -> String {
    let Some(binding) = binding.as_object() else {
        return "a free port".to_owned();
    };
    match (text(binding, "HostIp"), text(binding, "HostPort")) {
        ("", "" | "0") => "a free port".to_owned(),
        (ip, "" | "0") => format!("a free port on {ip}"),
        ("", port) => port.to_owned(),
        (ip, port) if ip.contains(':') => format!("[{ip}]:{port}"),
        (ip, port) => format!("{ip}:{port}"),
    }
}
