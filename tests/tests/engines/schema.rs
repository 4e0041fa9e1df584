//! Whether what our program prints follows the published schemas: whatever a case is
//! about, each line with `--json` is looked at.
//!
//! A member that no schema names is wrong here, although readers have to bear with it:
//! otherwise nobody would notice one that was published under another name.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

struct Published {
    schemas: Schemas,
    names: BTreeMap<String, SchemaIndex>,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schemas");
    let (mut schemas, mut names) = (Schemas::new(), BTreeMap::new());
    for file in std::fs::read_dir(folder).expect("there are schemas").flatten() {
        let text = std::fs::read(file.path()).expect("a file");
        let mut schema: Value = serde_json::from_slice(&text).expect("JSON");
        close(&mut schema);
        let name = file.path().file_stem().expect("a name").to_string_lossy().into_owned();
        let at = format!("http://changeover.invalid/{name}.json");
        let mut compiler = Compiler::new();
        compiler.add_resource(&at, schema).expect("a resource");
        let index = compiler.compile(&at, &mut schemas);
        names.insert(name, index.unwrap_or_else(|error| panic!("{at} is no schema: {error}")));
    }
    Published { schemas, names }
});

/// Lets no object have a member that isn't named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(rules) => {
            rules.values_mut().for_each(close);
            if rules.get("properties").is_some_and(Value::is_object) {
                rules.entry("additionalProperties").or_insert(json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// The schemas of the lines that a command prints with `--json`, one of which each has to
/// follow. `docs/json.md` has the same table.
fn of_command(name: &str) -> &'static [&'static str] {
    match name {
        "update" | "resume" | "rollback" => &["event", "error"],
        "check" => &["check", "event", "error"],
        "status" => &["status", "error"],
        "history" => &["account", "event", "error"],
        "backup" => &["backup", "error"],
        "available" => &["available", "error"],
        "doctor" => &["finding", "error"],
        "gc" => &["cleared", "error"],
        _ => &[],
    }
}

/// Panics if a line of our program's is none that it may print.
pub(crate) fn judge(arguments: &[String], lines: &[Value]) {
    let schemas = arguments.iter().map(|argument| of_command(argument));
    for schemas in schemas.filter(|schemas| !schemas.is_empty()).take(1) {
        lines.iter().for_each(|line| assert_follows(line, schemas));
    }
}

/// Panics if a document follows none of these schemas.
#[track_caller]
pub(crate) fn assert_follows(document: &Value, schemas: &[&str]) {
    if let Some(complaint) = complaint(document, schemas) {
        panic!("{complaint}");
    }
}

fn complaint(document: &Value, schemas: &[&str]) -> Option<String> {
    let mut said = format!("{document} follows no schema:");
    for name in schemas {
        let index = PUBLISHED.names.get(*name).unwrap_or_else(|| panic!("no schema {name}"));
        match PUBLISHED.schemas.validate(document, *index) {
            Ok(()) => return None,
            Err(error) => said.push_str(&format!("\n{error:#}")),
        }
    }
    Some(said)
}

/// The judge can say no.
pub(crate) fn assert_strict() {
    let good = json!({ "event": "page", "shown": true });
    let failed = json!({
        "event": "error", "code": "no-space", "exit": 21, "error": "no", "hint": ""
    });
    for good in [&good, &failed] {
        assert_eq!(complaint(good, &["event", "error"]), None);
    }
    for wrong in [
        json!({ "event": "page", "shown": "yes" }),
        json!({ "event": "page" }),
        json!({ "event": "page", "shown": true, "more": 1 }),
        json!({ "event": "unheard-of" }),
        json!({ "event": "error", "code": "odd", "exit": 21, "error": "no", "hint": "" }),
        json!({ "event": "error", "code": "no-space", "exit": "21", "error": "no", "hint": "" }),
        json!([]),
    ] {
        assert!(complaint(&wrong, &["event", "error"]).is_some(), "{wrong} is let through");
    }
    assert!(complaint(&failed, &["finding"]).is_some());
}
