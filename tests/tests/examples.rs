//! What is promised of the examples can be counted.

use std::fs;
use std::path::{Path, PathBuf};

use changeover_tests::examples::EXAMPLES;

#[test]
fn no_example_needs_more_than_25_lines_to_update_itself() {
    for example in EXAMPLES {
        let folder = root().join("examples").join(example);
        let updating = ["update.py", "update.js", "update.rs", "cgi-bin/update"];
        let there: Vec<PathBuf> =
            updating.iter().map(|name| folder.join(name)).filter(|file| file.exists()).collect();
        let [file] = there.as_slice() else { panic!("{example} updates itself in {there:?}") };
        let text = fs::read_to_string(file).expect("readable");
        let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(lines <= 25, "{}: {lines} lines", file.display());
        let longest = text.lines().map(str::len).max().unwrap_or(0);
        assert!(longest <= 120, "{}: a line of {longest} letters", file.display());
    }
}

/// The request in the documentation is the one that the example sends.
#[test]
fn the_documented_request_is_the_one_that_is_sent() {
    let document = fs::read_to_string(root().join("docs/asking.md")).expect("docs/asking.md");
    let (_, rest) = document.split_once("```json\n").expect("a request");
    let (documented, _) = rest.split_once("```").expect("its end");
    let sent = fs::read_to_string(root().join("examples/curl/ask.json")).expect("ask.json");
    assert_eq!(documented, sent);
    serde_json::from_str::<serde_json::Value>(&sent).expect("JSON");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
