//! The table says what becomes of everything that these engines show.

use serde_json::Value;

use super::super::table::{CONFIG, ENDPOINT, HOST_CONFIG, Row, TOP_LEVEL};
use super::{ENGINES, map};

fn assert_named(rows: &[Row], there: &Value, place: &str) {
    for field in map(there).keys() {
        let named = rows.iter().flat_map(|row| row.fields).filter(|name| *name == field).count();
        assert_eq!(named, 1, "{place}.{field}");
    }
}

#[test]
fn every_field_of_inspect_has_one_stated_treatment() {
    for engine in ENGINES.iter() {
        let containers = map(&engine.said).iter().filter(|(name, _)| !name.starts_with("image-"));
        for (_, container) in containers {
            assert_named(TOP_LEVEL, container, "");
            assert_named(CONFIG, &container["Config"], "Config");
            assert_named(HOST_CONFIG, &container["HostConfig"], "HostConfig");
            for endpoint in map(&container["NetworkSettings"]["Networks"]).values() {
                assert_named(ENDPOINT, endpoint, "Networks");
            }
        }
    }
}
