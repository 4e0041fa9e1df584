//! SQLite's own program, for images that hold a real database.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::tools::{cache_dir, run};

/// What the packages bring, from whichever Debian this is.
const PACKAGES: [&str; 4] = ["sqlite3", "libsqlite3-0", "libreadline8", "libtinfo6"];

/// SQLite's own program and what it is linked to, as an image has to hold it.
pub fn sqlite() -> Vec<(String, PathBuf)> {
    let folder = cache_dir().join("sqlite");
    let program = folder.join("usr/bin/sqlite3");
    if !program.exists() {
        let fresh = cache_dir().join(format!("sqlite-{}", std::process::id()));
        fs::create_dir_all(&fresh).expect("a folder below the cache");
        let mut download = Command::new("apt-get");
        download.arg("download").args(PACKAGES).current_dir(&fresh);
        run("fetch the package sqlite3", &mut download).unwrap_or_else(|e| panic!("{e}"));
        let mut unpack = Command::new("sh");
        unpack.args(["-c", "for p in *.deb; do dpkg-deb -x $p .; done"]).current_dir(&fresh);
        run("unpack sqlite3", &mut unpack).unwrap_or_else(|e| panic!("{e}"));
        // Another test may have been faster.
        if fs::rename(&fresh, &folder).is_err() {
            fs::remove_dir_all(&fresh).expect("ours");
        }
    }
    let own = |part: &str| {
        let here = folder.join(part);
        fs::read_dir(here)
            .map(|found| found.flatten().map(|e| e.path()).collect::<Vec<_>>())
            .unwrap_or_default()
    };
    let libraries: Vec<PathBuf> = ["usr/lib", "lib"].into_iter().flat_map(own).collect();
    let search: Vec<_> = libraries.iter().map(|path| path.display().to_string()).collect();
    let mut ldd = Command::new("ldd");
    ldd.arg(&program).env("LD_LIBRARY_PATH", search.join(":"));
    let linked = run("look what sqlite3 is linked to", &mut ldd).unwrap_or_else(|e| panic!("{e}"));
    let mut files = vec![("sqlite3".to_owned(), program)];
    for line in linked.lines() {
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
            continue;
        };
        // The loader is asked for where it is, the others are looked for in /lib.
        let name = Path::new(path).file_name().expect("a name").to_string_lossy();
        let at = match name.starts_with("ld-") {
            true => path.trim_start_matches('/').to_owned(),
            false => format!("lib/{name}"),
        };
        files.push((at, fs::canonicalize(path).expect("ldd has found it")));
    }
    files
}
