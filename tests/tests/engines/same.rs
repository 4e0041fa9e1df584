//! The new container is the same container.

mod composes;
mod differences;
mod layer;

use changeover::successor::table::{CONFIG, ENDPOINT, HOST_CONFIG, Row, TOP_LEVEL};
use changeover_tests::world::World;
use serde_json::Value;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    [differences::cases(), layer::cases(), composes::cases()].concat()
}

/// A case named as its function.
macro_rules! case {
    ($name:ident) => {
        crate::Case { name: stringify!($name), alone: false, run: $name }
    };
}
use case;

/// The `docker` command on the engine's machine.
#[track_caller]
fn docker(world: &World, line: &str) {
    let words: Vec<&str> = ["docker"].into_iter().chain(line.split_whitespace()).collect();
    assert!(world.machine(&words), "docker {line}");
}

/// Every field that this engine shows of a container has one row in the table.
#[track_caller]
pub(crate) fn assert_every_field_is_in_the_table(container: &Value) {
    let mut wrong = Vec::new();
    let mut look = |rows: &[Row], part: &Value, place: &str| {
        for (field, _) in part.as_object().into_iter().flatten() {
            let rows = rows.iter().flat_map(|row| row.fields).filter(|named| *named == field);
            match rows.count() {
                1 => {}
                rows => wrong.push(format!("{place}{field}: {rows} rows")),
            }
        }
    };
    look(TOP_LEVEL, container, "");
    look(CONFIG, &container["Config"], "Config.");
    look(HOST_CONFIG, &container["HostConfig"], "HostConfig.");
    let networks = container["NetworkSettings"]["Networks"].as_object();
    for (_, endpoint) in networks.into_iter().flatten() {
        look(ENDPOINT, endpoint, "Networks.*.");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is in a file of a container; `None` if there is none.
fn content(world: &World, container: &str, path: &str) -> Option<String> {
    let path = format!("/containers/{container}/archive?path={path}");
    let (status, archive) = world.lab.api_raw("GET", &path, &[], &[]);
    if status != 200 {
        return None;
    }
    let mut archive = tar::Archive::new(&archive[..]);
    let mut entries = archive.entries().expect("a tar");
    let entry = entries.next()?.expect("an entry");
    Some(std::io::read_to_string(entry).expect("text"))
}
