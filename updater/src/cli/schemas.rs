//! The published JSON Schemas, `docs/schemas/`, are made of the types that are written and
//! read. These tests keep them true; `make schemas` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::code::Code;
use super::documents::{AppStatus, Checked, Cleared, Failed};
use crate::account::Account;
use crate::available::Available;
use crate::backup::errand::Word;
use crate::events::Event;
use crate::launch::doctor::Finding;
use crate::plan::Plan;
use crate::status::Status;

fn of<T: JsonSchema>(name: &'static str, what: &str) -> (&'static str, Value) {
    // What is there is said, also where it is only there sometimes.
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with(|settings| settings.contract = Contract::Serialize);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<T>().to_value();
    schema["$comment"] = json!(format!("{what}; made by `make schemas`"));
    (name, schema)
}

fn all() -> [(&'static str, Value); 11] {
    [
        of::<Account>("account", "a line of history, and `data` of what the app is told"),
        of::<Available>("available", "what available says"),
        of::<Word>("backup", "a line of backup"),
        of::<Checked<'_>>("check", "what check says"),
        of::<Cleared<'_>>("cleared", "a line of gc"),
        of::<Failed<'_>>("error", "the last line of any command that fails"),
        of::<Event>("event", "a line of update, resume and rollback, and of what they do in check"),
        of::<Finding>("finding", "a line of doctor"),
        of::<Status>("page-status", "/.changeover/status of the page"),
        of::<Plan>("plan", "the plan: the helper's label io.changeover.plan"),
        of::<AppStatus>("status", "a line of status"),
    ]
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn published_schemas_are_those_of_the_types() {
    let folder = docs().join("schemas");
    let write = std::env::var_os("CHANGEOVER_WRITE_SCHEMAS").is_some();
    let mut names = Vec::new();
    for (name, schema) in all() {
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        let file = folder.join(format!("{name}.json"));
        if write {
            fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &text)).expect("written");
        }
        let published = fs::read_to_string(&file).unwrap_or_default();
        assert!(published == text, "docs/schemas/{name}.json is out of date: run `make schemas`");
        names.push(format!("{name}.json"));
    }
    let files = fs::read_dir(&folder).expect("a folder").flatten();
    for file in files.map(|file| file.file_name().to_string_lossy().into_owned()) {
        assert!(names.contains(&file), "docs/schemas/{file} is nobody's");
    }
}

/// What we read refuses what it doesn't know, down to the last object of it.
#[test]
fn a_plan_refuses_what_it_does_not_know() {
    fn open(schema: &Value, at: &str, found: &mut Vec<String>) {
        if schema["properties"].is_object() && schema["additionalProperties"] != false {
            found.push(at.to_owned());
        }
        match schema {
            Value::Object(members) => members
                .iter()
                .for_each(|(name, member)| open(member, &format!("{at}/{name}"), found)),
            Value::Array(items) => {
                items.iter().for_each(|item| open(item, &format!("{at}/*"), found));
            }
            _ => {}
        }
    }
    let (_, plan) = of::<Plan>("plan", "");
    assert!(plan["properties"]["schema"].is_object() && plan["$defs"]["Published"].is_object());
    let mut found = Vec::new();
    open(&plan, "", &mut found);
    assert!(found.is_empty(), "{found:?} take in whatever comes");
}

/// `docs/json.md` has a line for each error code, and for none that doesn't exist.
#[test]
fn every_error_code_is_documented() {
    let (_, schema) = of::<Code>("code", "");
    let codes: Vec<&str> = schema["oneOf"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|code| code["const"].as_str().expect("a word"))
        .collect();
    let text = fs::read_to_string(docs().join("json.md")).expect("the document is there");
    let table = text.split("## Error codes").nth(1).expect("its heading");
    let documented: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(code, _)| code)
        .collect();
    assert_eq!(documented, codes);
}
