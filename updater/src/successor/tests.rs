//! Tests on what real engines said.
//!
//! The fixtures hold inspects of containers that were made with the Docker
//! command line, and of the images `v1` and `v2`, which differ in everything an
//! image can set. Names of the tests in the submodules say what holds; the
//! letters there refer to classes of failures known from other tools.

mod data;
mod explained;
mod image_defaults;
mod model;
mod networking;
mod podman;
mod properties;
mod runtime;
mod tampered;
mod the_table;

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::differences::Because;
use super::{ApiVersion, Difference, Inputs, Pair, Successor, differences, predicted, successor};

/// What one engine said.
struct Engine {
    name: &'static str,
    api: ApiVersion,
    said: Value,
}

fn engine(name: &'static str, api: ApiVersion, text: &str) -> Engine {
    Engine { name, api, said: serde_json::from_str(text).expect("a fixture is JSON") }
}

static ENGINES: LazyLock<[Engine; 3]> = LazyLock::new(|| {
    [
        engine("20.10", ApiVersion(1, 41), include_str!("fixtures/docker-20.10.json")),
        engine("26.1", ApiVersion(1, 45), include_str!("fixtures/docker-26.1.json")),
        engine("28.5", ApiVersion(1, 51), include_str!("fixtures/docker-28.5.json")),
    ]
});

/// Made with the same command line, as far as Podman takes it.
static PODMANS: LazyLock<[Engine; 2]> = LazyLock::new(|| {
    [
        engine("podman 4.3", ApiVersion(1, 41), include_str!("fixtures/podman-4.3.json")),
        engine("podman 5.4", ApiVersion(1, 41), include_str!("fixtures/podman-5.4.json")),
    ]
});

/// A recorded container, the images before and after, and their engine.
#[derive(Clone)]
struct Case {
    engine: &'static str,
    api: ApiVersion,
    old: Value,
    old_image: Option<Value>,
    new_image: Value,
}

/// The container of this name, from every engine on which it was recorded,
/// about to be updated from `v1` to `v2`.
fn recorded(name: &str) -> Vec<Case> {
    recorded_by(&*ENGINES, name)
}

fn recorded_by(engines: &[Engine], name: &str) -> Vec<Case> {
    let cases: Vec<Case> = engines
        .iter()
        .filter_map(|engine| {
            Some(Case {
                engine: engine.name,
                api: engine.api,
                old: engine.said.get(name)?.clone(),
                old_image: Some(engine.said["image-v1"].clone()),
                new_image: engine.said["image-v2"].clone(),
            })
        })
        .collect();
    assert!(!cases.is_empty(), "nobody recorded {name}");
    cases
}

impl Case {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            old: &self.old,
            old_image: self.old_image.as_ref(),
            new_image: &self.new_image,
            reference: "app:v2",
            api: self.api,
            engine_name: "dock",
            engine_platform: "linux/amd64",
            donor_gone: false,
        }
    }

    fn successor(&self) -> Successor {
        successor(&self.inputs()).expect("an inspect of a real engine has what is needed")
    }

    fn create(&self) -> Value {
        self.successor().create
    }

    /// What is shown before the update.
    fn shown(&self) -> Vec<Difference> {
        let made = self.successor();
        differences(&Pair {
            old: &self.old,
            old_image: self.old_image.as_ref(),
            new: &predicted(&made.create, &made.connect, &self.new_image),
            new_image: &self.new_image,
            moved: &[],
        })
    }

    /// `Config` of the new container, by the engine's rules.
    fn effective(&self) -> Value {
        let create = self.create();
        super::merge::effective(map(&create), map(&self.new_image["Config"])).into()
    }
}

/// What is shown of a create request before it is sent.
fn shown(
    old: &Value,
    old_image: Option<&Value>,
    new_image: &Value,
    create: &Value,
) -> Vec<Difference> {
    let new = predicted(create, &[], new_image);
    differences(&Pair { old, old_image, new: &new, new_image, moved: &[] })
}

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

/// The entries of a list, in an order of their own.
fn sorted(list: &Value) -> Vec<&str> {
    let mut entries: Vec<&str> =
        list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    entries.sort_unstable();
    entries
}
