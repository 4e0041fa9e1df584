//! The comparison: is this the container that the user's own command makes?
//!
//! It knows nothing of how the program makes a create request. Both inspects are freed
//! of what one life of a container differs from the next in ([`IGNORED`]), what is
//! pinned on purpose is put into the oracle's ([`pin`]), and then nothing may differ.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

mod podman;

/// Two containers and what may differ.
pub(crate) struct Compared<'a> {
    /// The container before the update: what is pinned, is pinned to what it has.
    pub(crate) from: &'a Value,
    /// What it should be like.
    pub(crate) oracle: &'a Value,
    /// What it is like.
    pub(crate) actual: &'a Value,
    /// All that is expected to be pinned, by target or port.
    pub(crate) pins: &'a str,
    /// Paths that differ in spite of all.
    pub(crate) differs: &'a [(&'a str, &'a str)],
    /// The user's command: it tells what was asked for.
    pub(crate) text: &'a str,
    /// Names and ids that mean the same, each with what both are called here.
    pub(crate) same: &'a [(String, String)],
    /// Whether both have run; if not, what a start adds isn't compared.
    pub(crate) ran: bool,
    /// Whether the engine is Podman, which shows the same things in other places.
    pub(crate) podman: bool,
}

/// Paths that aren't compared, and why. `*` is any one part.
#[rustfmt::skip]
const IGNORED: &[(&str, &str)] = &[
    ("Created", "a time"),
    ("State/StartedAt", "a time"),
    ("State/FinishedAt", "a time"),
    ("State/Pid", "chosen by the kernel"),
    ("State/Health/Log", "times, and what checks have said so far"),
    ("State/Health/Status", "follows from the checks so far"),
    ("State/Health/FailingStreak", "follows from the checks so far"),
    ("ExecIDs", "health checks under way"),
    ("GraphDriver/Data", "directories of the engine's choice"),
    ("NetworkSettings/SandboxID", "chosen by the engine"),
    ("NetworkSettings/SandboxKey", "chosen by the engine"),
    ("NetworkSettings/EndpointID", "chosen by the engine"),
    ("NetworkSettings/Networks/*/EndpointID", "chosen by the engine"),
    // The endpoint's own is compared where it was asked for.
    ("NetworkSettings/IPAddress", "generated; repeats the endpoint's on the default bridge"),
    ("NetworkSettings/MacAddress", "generated; repeats the endpoint's on the default bridge"),
];

/// What a start adds, or what the engine says of a container that runs.
const ADDED_BY_A_START: &[&str] = &[
    "State",
    "HostnamePath",
    "HostsPath",
    "ResolvConfPath",
    "LogPath",
    "AppArmorProfile",
    "NetworkSettings/Bridge",
    "NetworkSettings/Gateway",
    "NetworkSettings/IPPrefixLen",
    "NetworkSettings/Ports",
    "NetworkSettings/Networks/*/NetworkID",
    "NetworkSettings/Networks/*/Gateway",
    "NetworkSettings/Networks/*/IPAddress",
    "NetworkSettings/Networks/*/IPPrefixLen",
    "NetworkSettings/Networks/*/IPv6Gateway",
    "NetworkSettings/Networks/*/GlobalIPv6Address",
    "NetworkSettings/Networks/*/GlobalIPv6PrefixLen",
    "NetworkSettings/Networks/*/MacAddress",
    "NetworkSettings/Networks/*/DNSNames",
];

/// What is different without a reason, in words. Also an expected pin or difference
/// that isn't there.
pub(crate) fn differences(compared: &Compared<'_>) -> Vec<String> {
    let (oracle, pinned) = match compared.podman {
        true => podman::pin(compared),
        false => pin(compared.oracle, compared.from),
    };
    let mut wanted = leaves(&comparable(&oracle, compared));
    let actual = leaves(&comparable(compared.actual, compared));
    let mut found = Vec::new();

    let mut expected: Vec<&str> = compared.pins.split_whitespace().collect();
    expected.sort_unstable();
    expected.dedup();
    if pinned != expected {
        found.push(format!("pinned: {expected:?} → {pinned:?}"));
    }
    for (path, _) in compared.differs {
        let is_compared = compared.ran || !is_added_by_a_start(path);
        if is_compared && wanted.get(*path) == actual.get(*path) {
            let value = actual.get(*path).map_or("nothing".to_owned(), Value::to_string);
            found.push(format!("{path}: was to differ, and doesn't: {value}"));
        }
        match actual.get(*path) {
            Some(value) => wanted.insert((*path).to_owned(), value.clone()),
            None => wanted.remove(*path),
        };
    }
    let paths: std::collections::BTreeSet<&String> = wanted.keys().chain(actual.keys()).collect();
    for path in paths {
        let (wanted, actual) = (wanted.get(path), actual.get(path));
        if wanted != actual {
            let shown =
                |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            found.push(format!("{path}: {} → {}", shown(wanted), shown(actual)));
        }
    }
    found
}

fn is_added_by_a_start(path: &str) -> bool {
    ADDED_BY_A_START.iter().any(|added| {
        let mut parts = path.split('/');
        added.split('/').all(|part| parts.next().is_some_and(|there| part == "*" || part == there))
    })
}

/// The oracle with what is pinned on purpose, and the names of the pins, sorted.
///
/// Anonymous volumes are mounted by name, so that the data stays; ephemeral ports keep
/// the number that they had; the client's file of the id isn't the new container's.
fn pin(oracle: &Value, from: &Value) -> (Value, Vec<String>) {
    let mut oracle = oracle.clone();
    let mut pinned = Vec::new();
    for point in from["Mounts"].as_array().into_iter().flatten() {
        if is_anonymous(point, from) {
            pin_volume(&mut oracle, point);
            pinned.push(text(&point["Destination"]).to_owned());
        }
    }
    let ports = from["NetworkSettings"]["Ports"].as_object().cloned().unwrap_or_default();
    for (port, live) in ports {
        let asked = &from["HostConfig"]["PortBindings"][&port];
        let exposed = !oracle["Config"]["ExposedPorts"][&port].is_null();
        let by_all = asked.is_null() && from["HostConfig"]["PublishAllPorts"] == true && exposed;
        if !live.is_null() && (by_all || is_ephemeral(asked)) {
            oracle["HostConfig"]["PortBindings"][&port] = fixed(asked, &live);
            oracle["NetworkSettings"]["Ports"][&port] = live;
            pinned.push(port);
        }
    }
    oracle["HostConfig"]["ContainerIDFile"] = "".into();
    pinned.sort_unstable();
    (oracle, pinned)
}

/// Whether this mount is a volume of this container that nobody has named: the engine
/// did, and the settings know but the path.
fn is_anonymous(point: &Value, container: &Value) -> bool {
    let target = text(&point["Destination"]);
    let declared = container["Config"]["Volumes"]
        .as_object()
        .is_some_and(|volumes| volumes.keys().any(|path| path.trim_end_matches('/') == target));
    let sourceless = list(&container["HostConfig"]["Mounts"])
        .iter()
        .any(|mount| mount["Target"] == target && text(&mount["Source"]).is_empty());
    let bare = list(&container["HostConfig"]["Binds"]).contains(&target.into());
    point["Type"] == "volume"
        && (declared || sourceless || bare)
        && !container["HostConfig"].to_string().contains(&name_of(point))
}

/// The volume's name. Of a bare path among the binds, newer engines only show where
/// the volume lies.
fn name_of(point: &Value) -> String {
    let lies = text(&point["Source"]).trim_end_matches("/_data").rsplit('/').next();
    match text(&point["Name"]) {
        "" => lies.unwrap_or_default().to_owned(),
        name => name.to_owned(),
    }
}

fn pin_volume(oracle: &mut Value, point: &Value) {
    let target = text(&point["Destination"]).to_owned();
    let mut point = point.clone();
    point["Mode"] = "z".into();
    point["Name"] = name_of(&point).into();
    let mut points = list(&oracle["Mounts"]);
    let same = points.iter().position(|there| there["Destination"] == target.as_str());
    match same {
        Some(at) => points[at] = point.clone(),
        None => points.push(point.clone()),
    }
    oracle["Mounts"] = points.into();

    let mut mounts = list(&oracle["HostConfig"]["Mounts"]);
    match mounts.iter_mut().find(|mount| mount["Target"] == target.as_str()) {
        Some(mount) => mount["Source"] = point["Name"].clone(),
        None => {
            let mut mount = json!({
                "Type": "volume", "Source": point["Name"], "Target": target,
                "VolumeOptions": { "NoCopy": true },
            });
            if point["RW"] == false {
                mount["ReadOnly"] = true.into();
            }
            mounts.push(mount);
        }
    }
    oracle["HostConfig"]["Mounts"] = mounts.into();

    if let Some(Value::Array(binds)) = oracle.pointer_mut("/HostConfig/Binds") {
        binds.retain(|bind| *bind != target.as_str());
        if binds.is_empty() {
            oracle["HostConfig"]["Binds"] = Value::Null;
        }
    }
    // A path with a mount of its own needs no anonymous volume. The image's stay there,
    // for the engine adds them.
    let by_image = ["/data", "/fresh"];
    if let Some(volumes) = oracle["Config"]["Volumes"].as_object_mut() {
        volumes.retain(|path, _| {
            path.trim_end_matches('/') != target || by_image.contains(&path.as_str())
        });
    }
}

/// Whether the engine chooses one of these ports.
fn is_ephemeral(bindings: &Value) -> bool {
    let numbered =
        |binding: &Value| text(&binding["HostPort"]).parse::<u16>().is_ok_and(|port| port != 0);
    bindings.as_array().is_some_and(|all| all.is_empty() || !all.iter().all(numbered))
}

/// The bindings with the port in use instead of each choice. Where the user left the
/// address open, one binding stands for IPv4 and IPv6, unless the engine chose two ports.
fn fixed(asked: &Value, live: &Value) -> Value {
    let mut asked = list(asked);
    if asked.is_empty() {
        asked.push(json!({ "HostIp": "", "HostPort": "" }));
    }
    let is_given = |live: &Value| {
        asked
            .iter()
            .any(|asked| !is_ephemeral(&json!([asked])) && asked["HostPort"] == live["HostPort"])
    };
    let chosen: Vec<Value> = list(live).into_iter().filter(|live| !is_given(live)).collect();
    let one_port = chosen.windows(2).all(|pair| pair[0]["HostPort"] == pair[1]["HostPort"]);
    let pinned = asked.iter().flat_map(|asked| {
        if !is_ephemeral(&json!([asked])) {
            vec![asked.clone()]
        } else if one_port && let Some(one) = chosen.first() {
            vec![json!({ "HostIp": asked["HostIp"], "HostPort": one["HostPort"] })]
        } else {
            chosen.clone()
        }
    });
    pinned.collect()
}

/// The inspect without what is ignored, and with one order for what has none.
fn comparable(inspect: &Value, compared: &Compared<'_>) -> Value {
    let id = text(&inspect["Id"]).to_owned();
    let mut words = vec![(id.as_str(), "(id)"), (&id[..12], "(short id)")];
    words.extend(compared.same.iter().map(|(word, called)| (word.as_str(), called.as_str())));
    let mut inspect = replaced(inspect, &words);
    for (path, _) in IGNORED {
        remove(&mut inspect, &path.split('/').collect::<Vec<_>>());
    }
    for path in ADDED_BY_A_START.iter().filter(|_| !compared.ran) {
        remove(&mut inspect, &path.split('/').collect::<Vec<_>>());
    }
    let host_config = &mut inspect["HostConfig"];
    // Two ways to have none.
    if host_config["Binds"] == json!([]) {
        host_config["Binds"] = Value::Null;
    }
    if host_config["RestartPolicy"]["Name"] == "" {
        host_config["RestartPolicy"]["Name"] = "no".into();
    }
    if let Some(labels) = inspect["Config"]["Labels"].as_object_mut() {
        labels.retain(|label, _| !label.starts_with("io.changeover."));
    }
    // The engines shuffle entries that override an image's, the command line the binds.
    for path in ["/Config/Env", "/HostConfig/Binds"] {
        if let Some(Value::Array(entries)) = inspect.pointer_mut(path) {
            entries.sort_by_key(Value::to_string);
        }
    }
    if compared.podman {
        podman::comparable(&mut inspect, compared);
    }
    // Those of a start that is over.
    if inspect["State"]["Running"] != true {
        remove(&mut inspect, &["NetworkSettings", "Networks", "*", "DNSNames"]);
    }
    let named = inspect.clone();
    for point in inspect["Mounts"].as_array_mut().into_iter().flatten() {
        if is_anonymous(point, &named) {
            point["Name"] = "(generated)".into();
            point["Source"] = "(generated)".into();
        }
        if point["Type"] == "image" && !compared.podman {
            // A directory that the engine makes for it.
            point["Source"] = "(generated)".into();
        }
    }
    // A mount's place follows from its target.
    for (path, key) in [("/Mounts", "Destination"), ("/HostConfig/Mounts", "Target")] {
        if let Some(Value::Array(mounts)) = inspect.pointer_mut(path) {
            mounts.sort_by_key(|mount| text(&mount[key]).to_owned());
        }
    }
    let bindings = inspect["HostConfig"]["PortBindings"].clone();
    if let Some(ports) = inspect["NetworkSettings"]["Ports"].as_object_mut() {
        // Of a port with an empty list of bindings, Docker shows this or nothing, by chance.
        ports.retain(|port, live| !live.is_null() || bindings[port] != json!([]));
        for (port, live) in ports.iter_mut().filter(|(_, live)| live.is_array()) {
            if bindings[port].is_null() || is_ephemeral(&bindings[port]) {
                for one in live.as_array_mut().into_iter().flatten() {
                    one["HostPort"] = "(free)".into();
                }
            }
            // The engine starts on all bindings of a port at once.
            if let Some(live) = live.as_array_mut() {
                live.sort_by_key(Value::to_string);
            }
        }
    }
    if let Some(networks) = inspect["NetworkSettings"]["Networks"].as_object_mut() {
        for endpoint in networks.values_mut() {
            forget_generated(endpoint, compared);
        }
    }
    inspect
}

/// Addresses that the user didn't ask for.
fn forget_generated(endpoint: &mut Value, compared: &Compared<'_>) {
    for (shown, asked) in [("IPAddress", "IPv4Address"), ("GlobalIPv6Address", "IPv6Address")] {
        // Podman doesn't show what was asked for.
        let is_in_text = compared.podman
            && endpoint[shown]
                .as_str()
                .is_some_and(|ip| !ip.is_empty() && compared.text.contains(ip));
        if text(&endpoint["IPAMConfig"][asked]).is_empty() && !is_in_text {
            endpoint[shown] = "(generated)".into();
        }
    }
    if !endpoint["MacAddress"].as_str().is_some_and(|mac| compared.text.contains(mac)) {
        endpoint["MacAddress"] = "(generated)".into();
    }
    // Older engines add its own in a start. An older container's would still be there.
    if let Some(aliases) = endpoint["Aliases"].as_array_mut() {
        aliases.retain(|alias| *alias != "(short id)");
    }
    // Connected in create it has null, connected later an empty list.
    if endpoint["Aliases"] == json!([]) {
        endpoint["Aliases"] = Value::Null;
    }
}

fn replaced(value: &Value, words: &[(&str, &str)]) -> Value {
    let text = |text: &str| words.iter().fold(text.to_owned(), |text, (a, b)| text.replace(a, b));
    match value {
        Value::String(string) => text(string).into(),
        Value::Array(list) => list.iter().map(|value| replaced(value, words)).collect(),
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (text(key), replaced(value, words)))
            .collect::<Map<_, _>>()
            .into(),
        other => other.clone(),
    }
}

fn remove(value: &mut Value, path: &[&str]) {
    let (Some((first, rest)), Some(map)) = (path.split_first(), value.as_object_mut()) else {
        return;
    };
    if rest.is_empty() {
        map.remove(*first);
        return;
    }
    for (_, value) in map.iter_mut().filter(|(key, _)| *first == "*" || key == first) {
        remove(value, rest);
    }
}

/// All values that aren't containers of others, by their path.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    fn walk(value: &Value, path: &str, leaves: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    walk(value, &format!("{path}/{key}"), leaves);
                }
            }
            Value::Array(list) if !list.is_empty() => {
                for (at, value) in list.iter().enumerate() {
                    walk(value, &format!("{path}/{at}"), leaves);
                }
            }
            other => {
                leaves.insert(path.trim_start_matches('/').to_owned(), other.clone());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(value, "", &mut all);
    all
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
