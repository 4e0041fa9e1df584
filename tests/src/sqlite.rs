//! SQLite's own program, for images that hold a real database.

use std::path::PathBuf;

use crate::unpacked::Unpacked;

const PACKAGES: [&str; 4] = ["sqlite3", "libsqlite3-0", "libreadline8", "libtinfo6"];

/// SQLite's own program and what it is linked to, as an image has to hold it.
pub fn sqlite() -> Vec<(String, PathBuf)> {
    let unpacked = Unpacked::new("sqlite", || Ok(PACKAGES.map(str::to_owned).to_vec()));
    let program = unpacked.folder.join("usr/bin/sqlite3");
    let mut files = unpacked.linked(std::slice::from_ref(&program));
    files.push(("sqlite3".to_owned(), program));
    files
}
