//! The client's words are the page's: made from `maintenance-ui/strings.*.json`, never
//! written twice. `CHANGEOVER_WRITE=1 cargo test --test client` makes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use changeover_tests::browser;
use serde_json::Value;

/// What the client says, by how its keys begin.
const SAID: [&str; 14] = [
    "client.",
    "title.updating",
    "title.rolling-back",
    "title.needs-a-person",
    "progress",
    "progress.step",
    "progress.part",
    "size",
    "size.",
    "step.",
    "back.",
    "note.unreachable",
    "dir",
    "lang",
];

#[test]
fn the_client_speaks_with_the_words_of_the_page() {
    let languages = languages();
    assert_eq!(languages.len(), 16);
    let english = &languages["en"];
    let others: BTreeMap<_, _> = languages.iter().filter(|(code, _)| *code != "en").collect();
    let module = root().join("client/languages.js");
    let script = root().join("client/changeover.js");
    let wanted = format!(
        "// Made from maintenance-ui/strings.*.json by tests/tests/client.rs.\nexport default {};\n",
        pretty(&others)
    );
    let now = fs::read_to_string(&script).expect("the client is there");
    let (before, rest) = now.split_once("const ENGLISH = ").expect("the client's English");
    let (_, after) = rest.split_once("};\n").expect("its end");
    let wanted_script = format!("{before}const ENGLISH = {};\n{after}", pretty(english));
    if std::env::var_os("CHANGEOVER_WRITE").is_some() {
        fs::write(&module, &wanted).expect("written");
        fs::write(&script, &wanted_script).expect("written");
    }
    let how = "CHANGEOVER_WRITE=1 cargo test -p changeover-tests --test client makes it anew";
    assert!(fs::read_to_string(&module).ok() == Some(wanted), "languages.js is stale\n{how}");
    assert!(fs::read_to_string(&script).ok() == Some(wanted_script), "changeover.js is\n{how}");
}

#[test]
fn every_word_that_the_client_asks_for_is_there() {
    let script = fs::read_to_string(root().join("client/changeover.js")).expect("the client");
    let (script, _) = script.split_once("const ENGLISH = ").expect("the client's English");
    let english = &languages()["en"];
    let mut asked = 0;
    for part in script.split('"').filter(|part| part.starts_with("client.") || *part == "progress")
    {
        // Those that end in a dot are completed by a phase.
        assert!(part.ends_with('.') || english.contains_key(part), "{part}");
        asked += 1;
    }
    assert!(asked > 8, "{asked}");
    for phase in
        ["starting", "preparing", "proving", "updated", "rolled-back", "refused", "unknown"]
    {
        assert!(english.contains_key(&format!("client.title.{phase}")), "{phase}");
    }
}

/// Twenty courses of an update, as an app, the page and the proxies between them tell it.
#[test]
fn the_client_tells_the_truth_whatever_answers() {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let mut node = Command::new("node");
    node.arg(browser::script("client.mjs")).arg(browser::client());
    assert!(node.status().expect("node runs").success(), "see above");
}

fn languages() -> BTreeMap<String, BTreeMap<String, Value>> {
    let folder = fs::read_dir(root().join("maintenance-ui")).expect("the page's files");
    let mut languages = BTreeMap::new();
    for file in folder.flatten() {
        let name = file.file_name().to_string_lossy().into_owned();
        let code = name.strip_prefix("strings.").and_then(|name| name.strip_suffix(".json"));
        let Some(code) = code else { continue };
        let text = fs::read_to_string(file.path()).expect("readable");
        let mut words: BTreeMap<String, Value> = serde_json::from_str(&text).expect("JSON");
        words.retain(|key, _| {
            SAID.iter().any(|said| match said.ends_with('.') {
                true => key.starts_with(said),
                false => key == said,
            })
        });
        languages.insert(code.to_owned(), words);
    }
    languages
}

/// The names of languages and words never need quotes twice, and one line a word is
/// what people compare.
fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("JSON")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
