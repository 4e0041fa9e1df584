//! What an engine makes of a create request, as far as the successor of the
//! result depends on it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::merge::effective;
use super::super::{ApiVersion, list, object, text};
use super::map;

/// The inspect of the running container that this request makes.
pub(super) fn run(create: &Value, image: &Value, api: ApiVersion, seed: &str) -> Value {
    let id = id_of(seed);
    let create = map(create);
    let host_config = object(create, "HostConfig");
    let mut config = effective(create, map(&image["Config"]));
    if text(&config, "Hostname").is_empty() {
        config.insert("Hostname".to_owned(), id[..12].into());
    }
    json!({
        "Id": id,
        "Image": image["Id"],
        "State": { "Running": true },
        "Mounts": mounts(host_config, &config, &id),
        "NetworkSettings": {
            "Networks": networks(create, api, &id),
            "Ports": ports(host_config, &config, &id),
        },
        "HostConfig": host_config,
        "Config": config,
    })
}

fn id_of(seed: &str) -> String {
    let number = seed.bytes().fold(7_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte))
    });
    format!("{number:016x}").repeat(4)
}

fn mounts(host_config: &Map<String, Value>, config: &Map<String, Value>, id: &str) -> Value {
    let mut points = BTreeMap::new();
    let mut others = Vec::new();
    for bind in list(host_config, "Binds").iter().filter_map(Value::as_str) {
        if let [source, target, ..] = bind.split(':').collect::<Vec<_>>()[..] {
            points.insert(target.to_owned(), source.to_owned());
        }
    }
    for mount in list(host_config, "Mounts").iter().filter_map(Value::as_object) {
        let target = text(mount, "Target").to_owned();
        if text(mount, "Type") != "volume" {
            others.push(json!({ "Type": mount["Type"], "Destination": target, "RW": true }));
            continue;
        }
        let name = match text(mount, "Source") {
            "" => id_of(&format!("{id}{target}")),
            name => name.to_owned(),
        };
        points.insert(target, name);
    }
    for path in object(config, "Volumes").keys() {
        if !others.iter().any(|point| point["Destination"] == path.as_str()) {
            points.entry(path.clone()).or_insert_with(|| id_of(&format!("{id}{path}")));
        }
    }
    points
        .into_iter()
        .map(|(path, name)| json!({ "Type": "volume", "Name": name, "Destination": path, "RW": true }))
        .chain(others)
        .collect()
}

fn networks(create: &Map<String, Value>, api: ApiVersion, id: &str) -> Value {
    let mut networks = object(object(create, "NetworkingConfig"), "EndpointsConfig").clone();
    if networks.is_empty() {
        networks.insert("bridge".to_owned(), json!({}));
    }
    for (name, endpoint) in &mut networks {
        endpoint["NetworkID"] = id_of(name).into();
        endpoint["IPAddress"] = "10.1.1.2".into();
        endpoint["MacAddress"] = "02:42:0a:01:01:02".into();
        if api < ApiVersion::ENDPOINTS_IN_CREATE && name != "bridge" {
            let mut aliases = endpoint["Aliases"].as_array().cloned().unwrap_or_default();
            aliases.push(id[..12].into());
            endpoint["Aliases"] = aliases.into();
        }
    }
    networks.into()
}

fn ports(host_config: &Map<String, Value>, config: &Map<String, Value>, id: &str) -> Value {
    let mut next = 32_768 + id.bytes().map(u32::from).sum::<u32>() % 1000;
    let mut ports = Map::new();
    let all = host_config.get("PublishAllPorts") == Some(&Value::Bool(true));
    for port in object(config, "ExposedPorts").keys() {
        let asked = list(object(host_config, "PortBindings"), port);
        let any = [json!({ "HostIp": "", "HostPort": "" })];
        let asked = if asked.is_empty() && all { &any } else { asked };
        let mut live = Vec::new();
        for binding in asked {
            next += 1;
            let number = match binding["HostPort"].as_str() {
                None | Some("" | "0") => next.to_string(),
                Some(number) => number.to_owned(),
            };
            match binding["HostIp"].as_str() {
                None | Some("") => {
                    live.extend(["0.0.0.0", "::"].map(|ip| (ip.to_owned(), number.clone())))
                }
                Some(ip) => live.push((ip.to_owned(), number)),
            }
        }
        let live: Vec<Value> =
            live.into_iter().map(|(ip, port)| json!({ "HostIp": ip, "HostPort": port })).collect();
        ports.insert(port.clone(), if live.is_empty() { Value::Null } else { live.into() });
    }
    ports.into()
}
