//! Inspects of real engines, tampered with: fields that nobody knows at every level,
//! and words and numbers that no engine of today says.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{ApiVersion, Inputs, Successor, successor};
use super::model::run;
use super::properties::lasting;
use super::{ENGINES, map};

/// What is done to an inspect.
#[derive(Debug, Clone, Copy)]
enum Tampering {
    /// A field more, in some object.
    AddField,
    /// Another value of the same type, in some place that has one.
    ChangeValue,
}

/// An inspect of a real engine, with this done to it.
#[derive(Debug, Clone)]
struct Tampered {
    api: ApiVersion,
    container: Value,
    images: [Value; 2],
    /// Names of the fields that were added.
    added: Vec<String>,
}

fn tampered() -> impl Strategy<Value = Tampered> {
    let how = prop_oneof![Just(Tampering::AddField), Just(Tampering::ChangeValue)];
    (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        vec((how, any::<prop::sample::Index>()), 0..24),
    )
        .prop_map(|(engine, container, tamperings)| {
            let engine = engine.get(&*ENGINES);
            let names: Vec<&String> =
                map(&engine.said).keys().filter(|name| !name.starts_with("image-")).collect();
            let mut tampered = Tampered {
                api: engine.api,
                container: engine.said[container.get(&names).as_str()].clone(),
                images: [engine.said["image-v1"].clone(), engine.said["image-v2"].clone()],
                added: Vec::new(),
            };
            for (number, (how, place)) in tamperings.into_iter().enumerate() {
                tampered.tamper(number, how, place);
            }
            tampered
        })
}

impl Tampered {
    fn tamper(&mut self, number: usize, how: Tampering, place: prop::sample::Index) {
        let mut places = Vec::new();
        for part in ["/Config", "/HostConfig", "/NetworkSettings/Networks"] {
            let there = self.container.pointer(part).expect("a part of every inspect");
            places_in(there, part, how, &mut places);
        }
        // The restart policy is the plan's business, the paths of anonymous volumes become
        // mounts, and what is no endpoint is no network.
        places.retain(|path| {
            path != "/NetworkSettings/Networks"
                && !path.starts_with("/HostConfig/RestartPolicy")
                && !path.starts_with("/Config/Volumes/")
        });
        if places.is_empty() {
            return;
        }
        let place: &String = place.get(&places);
        let value = self.container.pointer_mut(place).expect("it was just seen");
        match value {
            Value::Object(fields) => {
                let name = format!("Future{number}");
                fields.insert(name.clone(), json!({ "of": [number, "the future"] }));
                self.added.push(name);
            }
            Value::String(text) => *text = format!("future-{number}"),
            Value::Bool(yes) => *yes = !*yes,
            other => *other = number.into(),
        }
    }

    fn successor_of(&self, old: &Value, from: usize) -> Successor {
        successor(&Inputs {
            old,
            old_image: Some(&self.images[from]),
            new_image: &self.images[1],
            reference: "app:v2",
            api: self.api,
            engine_name: "dock",
            engine_platform: "linux/amd64",
            donor_gone: false,
        })
        .expect("an inspect of a real engine has what is needed")
    }

    /// The whole create request, with the networks that older engines are told of later.
    fn create(&self, old: &Value, from: usize) -> Value {
        let made = self.successor_of(old, from);
        let mut create = made.create;
        for connect in made.connect {
            create["NetworkingConfig"]["EndpointsConfig"][connect.network] = connect.endpoint;
        }
        create
    }
}

/// The paths of the objects, or of the values that aren't objects.
fn places_in(value: &Value, path: &str, how: Tampering, places: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (escaped(key), value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    match (how, value) {
        (Tampering::AddField, Value::Object(_))
        | (Tampering::ChangeValue, Value::String(_) | Value::Bool(_) | Value::Number(_)) => {
            places.push(path.to_owned());
        }
        _ => {}
    }
    for (key, value) in inner {
        places_in(value, &format!("{path}/{key}"), how, places);
    }
}

fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether a field of this name is anywhere in it.
fn has_field(value: &Value, name: &str) -> bool {
    match value {
        Value::Object(fields) => {
            fields.contains_key(name) || fields.values().any(|value| has_field(value, name))
        }
        Value::Array(list) => list.iter().any(|value| has_field(value, name)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_nobody_knows_survives_at_every_level(tampered in tampered()) {
        let create = tampered.create(&tampered.container, 0);
        // On the host's network and in another's, neither endpoints nor ports are sent.
        let endpoints = create["NetworkingConfig"]["EndpointsConfig"].is_object();
        let mut sent = tampered.container.clone();
        if !endpoints {
            sent["NetworkSettings"] = Value::Null;
            sent["Config"]["ExposedPorts"] = Value::Null;
        }
        for name in tampered.added.iter().filter(|name| has_field(&sent, name)) {
            prop_assert!(has_field(&create, name), "{name} is lost: {create:#}");
        }
    }

    #[test]
    fn the_second_successor_of_whatever_it_is_is_the_first(tampered in tampered()) {
        let image = &tampered.images[1];
        let first = tampered.create(&tampered.container, 0);
        // What is ephemeral about the second image is pinned by the second update.
        let second = tampered.create(&run(&first, image, tampered.api, "first"), 1);
        let settled = run(&second, image, tampered.api, "second");
        let third = tampered.create(&settled, 1);
        prop_assert_eq!(&second["HostConfig"], &third["HostConfig"]);
        prop_assert_eq!(&second["NetworkingConfig"], &third["NetworkingConfig"]);
        prop_assert_eq!(lasting(&settled), lasting(&run(&third, image, tampered.api, "third")));
    }
}

#[test]
fn places_are_found_at_every_level() {
    let value = json!({ "a": { "b/c": [{ "d": 1 }] }, "e": "f" });
    let find = |how| {
        let mut places = Vec::new();
        places_in(&value, "", how, &mut places);
        places
    };
    assert_eq!(find(Tampering::AddField), ["", "/a", "/a/b~1c/0"]);
    assert_eq!(find(Tampering::ChangeValue), ["/a/b~1c/0/d", "/e"]);
}
