//! What holds for every container, not just for those that somebody recorded.

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{ApiVersion, Because, Inputs, Pair, is_empty, successor, unexplained};
use super::model::run;
use super::{map, shown, sorted};

/// Words of an image and of a user, so that they sometimes are the same.
fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(str::to_owned)
}

fn env() -> impl Strategy<Value = Vec<String>> {
    btree_map(word(), word(), 0..4)
        .prop_map(|pairs| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect())
}

fn paths() -> impl Strategy<Value = Value> {
    btree_set(word(), 0..3)
        .prop_map(|paths| paths.iter().map(|path| (format!("/{path}"), json!({}))).collect())
}

fn ports() -> impl Strategy<Value = Value> {
    btree_set(80..84_u16, 0..3)
        .prop_map(|ports| ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect())
}

fn health() -> impl Strategy<Value = Value> {
    (vec(word(), 0..2), 0..3_u64, 0..3_u64)
        .prop_map(|(test, interval, retries)| json!({ "Test": test, "Interval": interval, "Retries": retries }))
}

/// What both an image and a create request may say.
fn config() -> impl Strategy<Value = Value> {
    (
        (
            env(),
            btree_map(word(), word(), 0..3),
            option::of(vec(word(), 1..3)),
            option::of(vec(word(), 1..3)),
        ),
        (option::of(word()), option::of(word()), option::of(health()), paths(), ports()),
    )
        .prop_map(|((env, labels, entrypoint, cmd), (user, dir, health, volumes, ports))| {
            json!({
                "Env": env, "Labels": labels, "Entrypoint": entrypoint, "Cmd": cmd, "User": user,
                "WorkingDir": dir, "Healthcheck": health, "Volumes": volumes, "ExposedPorts": ports,
            })
        })
}

fn image() -> impl Strategy<Value = Value> {
    config().prop_map(|mut config| {
        // An image that names no command can't be run without one.
        if config["Cmd"].is_null() {
            config["Cmd"] = json!(["run"]);
        }
        json!({ "Id": format!("sha256:{}", config.to_string().len()), "Config": config })
    })
}

fn request() -> impl Strategy<Value = Value> {
    let bindings = btree_map(80..84_u16, prop::sample::select(vec!["", "0", "8080", "8081"]), 0..3);
    let networks = btree_set(word(), 0..3);
    let entrypoint = prop::sample::select(vec![None, Some(json!([""])), Some(json!([]))]);
    (config(), bindings, any::<bool>(), networks, btree_set(word(), 0..2), entrypoint).prop_map(
        |(mut create, bindings, all, networks, mounts, entrypoint)| {
            if let Some(entrypoint) = entrypoint {
                create["Entrypoint"] = entrypoint;
                create["Cmd"] = json!(["run"]);
            }
            for port in bindings.keys() {
                create["ExposedPorts"][format!("{port}/tcp")] = json!({});
            }
            let bindings: serde_json::Map<String, Value> = bindings
                .iter()
                .map(|(port, host)| (format!("{port}/tcp"), json!([{ "HostIp": "", "HostPort": host }])))
                .collect();
            let mounts: Vec<Value> =
                mounts.iter().map(|path| json!({ "Type": "volume", "Target": format!("/{path}") })).collect();
            let mode = networks.first().cloned().unwrap_or_else(|| "default".to_owned());
            let endpoints: serde_json::Map<String, Value> = networks
                .iter()
                .map(|name| (name.clone(), json!({ "Aliases": [format!("alias-{name}")], "XFuture": 1 })))
                .collect();
            create["XFuture"] = json!({ "Unheard": ["of"] });
            create["HostConfig"] = json!({
                "PortBindings": bindings, "PublishAllPorts": all, "Mounts": mounts, "NetworkMode": mode,
                "XFuture": "yes", "IpcMode": "a mode of the future",
            });
            create["NetworkingConfig"] = json!({ "EndpointsConfig": endpoints });
            create
        },
    )
}

fn api() -> impl Strategy<Value = ApiVersion> {
    prop::sample::select(vec![ApiVersion(1, 41), ApiVersion(1, 45), ApiVersion(1, 51)])
}

/// The create request of the successor, with the networks that older engines are
/// told of later.
fn succeed(old: &Value, from: &Value, to: &Value, api: ApiVersion) -> Value {
    let inputs = Inputs {
        old,
        old_image: Some(from),
        new_image: to,
        reference: "app:new",
        api,
        engine_name: "dock",
        engine_platform: "linux/amd64",
        donor_gone: false,
    };
    let successor = successor(&inputs).expect("the model says what is needed");
    let mut create = successor.create;
    for connect in successor.connect {
        create["NetworkingConfig"]["EndpointsConfig"][connect.network] = connect.endpoint;
    }
    create
}

/// A container without what one life of it differs from the next in.
pub(super) fn lasting(inspect: &Value) -> Value {
    let mut config = inspect["Config"].clone();
    config["Env"] = sorted(&config["Env"]).into();
    config["Hostname"] = Value::Null;
    json!([config, inspect["HostConfig"], inspect["NetworkSettings"]["Ports"], inspect["Mounts"]])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_successor_of_the_successor_is_itself(
        create in request(), first in image(), second in image(), api in api()
    ) {
        let original = run(&create, &first, api, "original");
        let updated = run(&succeed(&original, &first, &second, api), &second, api, "updated");
        // This one pins what is ephemeral about the second image.
        let settled = succeed(&updated, &second, &second, api);
        let again = run(&settled, &second, api, "again");
        let once_more = succeed(&again, &second, &second, api);
        prop_assert_eq!(&settled["HostConfig"], &once_more["HostConfig"]);
        prop_assert_eq!(&settled["NetworkingConfig"], &once_more["NetworkingConfig"]);

        let differ = shown(&updated, Some(&second), &second, &settled);
        prop_assert!(differ.iter().all(|one| one.because == Because::Pinned), "{:#?}", differ);
        let differ = shown(&again, Some(&second), &second, &once_more);
        prop_assert!(differ.is_empty(), "{:#?}", differ);
        let last = run(&once_more, &second, api, "last");
        prop_assert_eq!(lasting(&again), lasting(&last));
    }

    #[test]
    fn nothing_about_the_new_container_is_unexplained(
        create in request(), first in image(), second in image(), api in api()
    ) {
        let old = run(&create, &first, api, "original");
        let new = run(&succeed(&old, &first, &second, api), &second, api, "updated");
        let pair = Pair {
            old: &old,
            old_image: Some(&first),
            new: &new,
            new_image: &second,
            moved: &[],
        };
        prop_assert_eq!(unexplained(&pair), None);
    }

    #[test]
    fn ports_and_data_never_move(create in request(), first in image(), second in image(), api in api()) {
        let old = run(&create, &first, api, "original");
        let new = run(&succeed(&old, &first, &second, api), &second, api, "updated");
        let all = create["HostConfig"]["PublishAllPorts"] == true;
        for (port, live) in map(&old["NetworkSettings"]["Ports"]) {
            let asked_for = create["HostConfig"]["PortBindings"].get(port).is_some();
            if asked_for || (all && new["Config"]["ExposedPorts"].get(port).is_some()) {
                prop_assert_eq!(&new["NetworkSettings"]["Ports"][port], live);
            }
        }
        for point in old["Mounts"].as_array().expect("mounts") {
            let there = new["Mounts"].as_array().expect("mounts");
            prop_assert!(there.contains(point), "{} among {:?}", point, there);
        }
    }

    #[test]
    fn unknown_fields_and_values_survive(
        create in request(), first in image(), second in image(), api in api()
    ) {
        let old = run(&create, &first, api, "original");
        let new = succeed(&old, &first, &second, api);
        prop_assert_eq!(&new["XFuture"], &create["XFuture"]);
        prop_assert_eq!(&new["HostConfig"]["XFuture"], "yes");
        prop_assert_eq!(&new["HostConfig"]["IpcMode"], "a mode of the future");
        for endpoint in map(&create["NetworkingConfig"]["EndpointsConfig"]).keys() {
            prop_assert_eq!(&new["NetworkingConfig"]["EndpointsConfig"][endpoint]["XFuture"], 1);
        }
    }

    #[test]
    fn it_is_what_the_same_command_makes_with_the_new_image(
        create in request(), first in image(), second in image(), api in api()
    ) {
        // Where a user says what the image says anyway, no inspect tells.
        let mut first = first;
        for field in ["Env", "Labels", "User", "WorkingDir", "Entrypoint", "Cmd", "Healthcheck"] {
            first["Config"][field] = renamed(&first["Config"][field]);
        }
        if first["Config"]["Entrypoint"].is_null() {
            first["Config"]["Entrypoint"] = json!(["image"]);
        }
        let old = run(&create, &first, api, "original");
        let updated = run(&succeed(&old, &first, &second, api), &second, api, "updated");
        let wanted = run(&create, &second, api, "updated");
        for field in ["Labels", "User", "WorkingDir", "Entrypoint", "Cmd", "Healthcheck"] {
            let said = |inspect: &Value| without_empty(&inspect["Config"][field]);
            prop_assert_eq!(said(&updated), said(&wanted), "{}", field);
        }
        prop_assert_eq!(sorted(&updated["Config"]["Env"]), sorted(&wanted["Config"]["Env"]));
    }
}

/// The same with other words in it.
fn renamed(value: &Value) -> Value {
    match value {
        Value::String(word) => format!("{word}-image").into(),
        Value::Array(list) => list.iter().map(renamed).collect(),
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.clone(), renamed(value))).collect()
        }
        Value::Number(number) if number.as_u64() != Some(0) => {
            json!(number.as_u64().unwrap_or(0) + 100)
        }
        other => other.clone(),
    }
}

/// For an engine, an empty field of a health check is one that isn't there.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Null => json!({}),
        other => other.clone(),
    }
}
