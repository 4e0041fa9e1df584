//! Everything that can be said of a tree, one line for each thing, to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::crypt::Id;
use super::super::metadata::attributes;

/// What is where, by path: `folder/name  what  value`.
pub(super) fn described(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut groups: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    describe(root, root, &mut lines, &mut groups);
    for names in groups.into_values().filter(|names| names.len() > 1) {
        lines.push(format!("one file: {}", names.join(" ")));
    }
    lines.sort();
    lines
}

fn describe(
    root: &Path,
    path: &Path,
    lines: &mut Vec<String>,
    groups: &mut BTreeMap<(u64, u64), Vec<String>>,
) {
    let meta = fs::symlink_metadata(path).expect("it is there");
    let name =
        path.strip_prefix(root).expect("below").as_os_str().as_bytes().escape_ascii().to_string();
    let mut say = |what: &str, value: String| lines.push(format!("{name}  {what}  {value}"));
    say("mode", format!("{:o}", meta.mode()));
    say("owner", format!("{}:{}", meta.uid(), meta.gid()));
    say("modified", format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()));
    say(
        "device",
        format!("{:x}", if meta.mode() & 0o170000 == 0o100000 { 0 } else { meta.rdev() }),
    );
    for (attribute, value) in attributes(path).expect("attributes") {
        say(&format!("attribute {}", attribute.display()), value.escape_ascii().to_string());
    }
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(path).expect("a target");
        say("target", target.as_os_str().as_bytes().escape_ascii().to_string());
    }
    if kind.is_file() {
        say(
            "content",
            format!("{} bytes {}", meta.len(), Id::of(&fs::read(path).expect("content"))),
        );
        // Of what is sparse, which parts; file systems may round.
        let sparse = meta.len() > 1 << 20 && meta.blocks() * 512 < meta.len();
        say("sparse", if sparse { format!("{} KB", meta.blocks() / 2) } else { "no".into() });
    }
    if !kind.is_dir() {
        groups.entry((meta.dev(), meta.ino())).or_default().push(name);
        return;
    }
    for entry in fs::read_dir(path).expect("a folder") {
        describe(root, &entry.expect("an entry").path(), lines, groups);
    }
}
