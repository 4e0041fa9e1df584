//! What the commands do and say.

mod asker;
mod available;
mod codes;
mod course;
mod endpoint;
mod history;
pub(crate) mod identity;
mod pulls;
mod refusals;
mod told;
mod usage;

use changeover_tests::lab::EngineKind;
use changeover_tests::world::{Done, World, program};
use serde_json::Value;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    [pulls::cases(), course::cases(), asker::cases(), identity::cases(), endpoint::cases()].concat()
}

/// Those in which the engine has no say.
pub(crate) fn on_any() -> Vec<Case> {
    [
        usage::cases(),
        refusals::cases(),
        codes::cases(),
        available::cases(),
        history::cases(),
        told::cases(),
    ]
    .concat()
}

/// On the newest engine: an older one looks into its host's `/etc/hosts` too seldom.
pub(crate) fn on_newest() -> Vec<Case> {
    vec![case("a_registry_of_ones_own_is_believed_by_its_authority", available::a_registry_by_name)]
}

/// A case that gets along with others.
fn case(name: &'static str, run: fn(EngineKind)) -> Case {
    Case { name, alone: false, run }
}

/// An engine with `app:1` and `app:2`, and `web` running the first.
fn world_with_web(kind: EngineKind) -> World {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    world
}

/// Runs a command that has to be refused with 21 and these words, without a trace:
/// every container is the same afterwards, and `web` still answers if it did.
#[track_caller]
fn refused(world: &World, args: &[&str], words: &[&str]) {
    let before = (snapshot(world), world.visit(8080));
    let done = world.changeover(args).expect(21);
    assert_words(&done, words);
    assert_eq!(snapshot(world), before.0, "{args:?} touched something");
    // In the middle of an update the answer may change by itself.
    if before.1.parse::<u32>().is_ok() {
        assert_eq!(world.visit(8080), before.1, "{args:?} disturbed visitors");
    }
}

/// Asserts that a failed command names these things, to people and to programs, and
/// that it knows a way out.
#[track_caller]
fn assert_words(done: &Done, words: &[&str]) {
    let event = done.event("error").unwrap_or_else(|| panic!("no error event: {done:#?}"));
    assert_eq!(event["exit"], done.code, "{event}");
    let said = format!("{}\n{}", event["error"], event["hint"]);
    for word in words {
        assert!(done.stderr.contains(word), "no {word:?} in: {}", done.stderr);
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    assert_ne!(event["hint"], "", "a way out is missing: {}", done.stderr);
    assert!(done.stderr.contains("\nhint: "), "a way out is missing: {}", done.stderr);
}

/// Everything the engine says of all containers.
fn snapshot(world: &World) -> Vec<Value> {
    world.containers().iter().filter_map(|name| world.inspect(name)).collect()
}

/// `docker …` by the API, which has to succeed.
#[track_caller]
fn docker(world: &World, method: &str, path: &str) {
    let (status, answer) = world.lab.api(method, path, None);
    assert!(status < 400, "{method} {path}: {status} {answer}");
}

/// Updates `web` at once, without the watch at the end.
fn update(world: &World, image: &str) -> Done {
    world.changeover(&["update", "web", "--image", image, "--stable", "0s"])
}

/// Our program, where the machine in the lab sees it as well.
pub(super) fn program_in_the_lab(world: &World) -> std::path::PathBuf {
    let there = world.lab.dir().join("changeover");
    if !there.exists() {
        // By a process of its own: what another thread starts meanwhile would have the file
        // open for writing as well, and a file that is can't be run.
        let mut copy = std::process::Command::new("cp");
        let copied = copy.arg(program("changeover")).arg(&there).status();
        assert!(copied.is_ok_and(|copied| copied.success()), "the lab's directory is writable");
    }
    there
}

/// Bytes that no compression makes shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length / 8).flat_map(|_| next().to_le_bytes()).collect()
}
