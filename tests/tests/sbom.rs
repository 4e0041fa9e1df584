//! The program says of which crates it is made, as scanners expect it: in a section
//! `.dep-v0` of the file, which survives everything that is stripped from it.

use std::collections::BTreeSet;
use std::io::Read;

use changeover_tests::world::program;
use flate2::read::ZlibDecoder;
use serde_json::Value;

/// The content of a section of a 64-bit ELF file.
fn section<'a>(elf: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let number = |at: usize, size: usize| {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&elf[at..at + size]);
        u64::from_le_bytes(bytes) as usize
    };
    let (table, count, names) = (number(40, 8), number(60, 2), number(62, 2));
    let header = |n: usize| table + n * 64;
    let content = |n: usize| &elf[number(header(n) + 24, 8)..][..number(header(n) + 32, 8)];
    let name = |n: usize| content(names)[number(header(n), 4)..].split(|byte| *byte == 0).next();
    (0..count).find(|n| name(*n) == Some(wanted.as_bytes())).map(content)
}

#[test]
fn the_program_says_of_which_crates_it_is_made() {
    let elf = std::fs::read(program("changeover")).expect("the program is there");
    let packed = section(&elf, ".dep-v0").expect("a section for scanners");
    let mut text = String::new();
    ZlibDecoder::new(packed).read_to_string(&mut text).expect("it can be unpacked");
    let list: Value = serde_json::from_str(&text).expect("it is JSON");
    let packages = list["packages"].as_array().expect("a list");

    // Nothing is made up, and nothing is there that only tests need.
    let lock = include_str!("../../Cargo.lock");
    let mut names = BTreeSet::new();
    for package in packages {
        let (name, version) = (package["name"].as_str(), package["version"].as_str());
        let (name, version) = (name.expect("a name"), version.expect("a version"));
        let row = format!("name = \"{name}\"\nversion = \"{version}\"\n");
        assert!(lock.contains(&row), "{name} {version} is not in Cargo.lock");
        names.insert(name);
    }
    assert!(
        names.is_superset(&BTreeSet::from(["bollard", "hyper", "rustls", "tokio"])),
        "{names:?}"
    );
    assert!(!names.contains("proptest") && !names.contains("windows-sys"), "{names:?}");
    let root = packages.iter().filter(|package| package["root"] == true);
    assert_eq!(root.map(|root| &root["name"]).collect::<Vec<_>>(), ["changeover"]);
}
