//! What the engine makes of a create request: a model of moby's
//! `daemon/commit.go`, to predict the new container before there is one.

use serde_json::{Map, Value};

use super::{is_empty, list, object, text};

/// The `Config` that inspect will show, but for what the engine generates.
pub(super) fn effective(
    create: &Map<String, Value>,
    image: &Map<String, Value>,
) -> Map<String, Value> {
    let mut config = create.clone();
    config.remove("HostConfig");
    config.remove("NetworkingConfig");

    for field in ["User", "WorkingDir", "StopSignal"] {
        if text(&config, field).is_empty() {
            inherit(&mut config, image, field);
        }
    }
    for field in ["Labels", "ExposedPorts", "Volumes"] {
        let mut pairs = object(image, field).clone();
        pairs.extend(object(&config, field).clone());
        set(&mut config, field, pairs.into());
    }
    if image.get("Healthcheck").is_some_and(Value::is_object) {
        let mut check = object(image, "Healthcheck").clone();
        let given = object(&config, "Healthcheck").iter().filter(|(_, value)| !is_empty(value));
        check.extend(given.map(|(key, value)| (key.clone(), value.clone())));
        set(&mut config, "Healthcheck", check.into());
    }

    let mut env = list(&config, "Env").to_vec();
    for default in list(image, "Env") {
        if !env.iter().any(|entry| name_of(entry) == name_of(default)) {
            env.push(default.clone());
        }
    }
    set(&mut config, "Env", env.into());

    if list(&config, "Entrypoint").is_empty() {
        if list(&config, "Cmd").is_empty() {
            inherit(&mut config, image, "Cmd");
        }
        if config.get("Entrypoint").is_none_or(Value::is_null) {
            inherit(&mut config, image, "Entrypoint");
        }
    }
    if list(&config, "Entrypoint") == [Value::from("")] {
        config.remove("Entrypoint");
    }
    config
}

/// The part before the `=` of an environment entry.
pub(super) fn name_of(entry: &Value) -> &str {
    let entry = entry.as_str().unwrap_or_default();
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

fn inherit(config: &mut Map<String, Value>, image: &Map<String, Value>, field: &str) {
    set(config, field, image.get(field).cloned().unwrap_or_default());
}

fn set(config: &mut Map<String, Value>, field: &str, value: Value) {
    if value.is_null() {
        config.remove(field);
    } else {
        config.insert(field.to_owned(), value);
    }
}
