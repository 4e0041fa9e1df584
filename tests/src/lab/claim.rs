//! A lab's number, from which its name, addresses and directory follow, and the clearing up of labs
//! whose process is gone.
//!
//! A claim is a directory with a locked file in it. The kernel drops the lock when the process ends,
//! however it ends, so a lock that can be had marks a leftover; process ids could mislead.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::install::cache_dir;
use super::{network, podman};

/// The number is a part of IPv4 addresses.
const LAST: u8 = 250;

/// A lab's number, held until dropped.
#[derive(Debug)]
pub(super) struct Claim {
    number: u8,
    dir: PathBuf,
    _lock: File,
}

impl Claim {
    /// Clears leftovers away and takes the next number. One that was just in use isn't taken again at
    /// once: who still looks at the lab before must not see this one.
    pub(super) fn next() -> Self {
        let mut turn = take_turn();
        clear_leftovers_in_turn();
        let mut last = String::new();
        turn.read_to_string(&mut last).expect("a file of ours can be read");
        let last: u8 = last.parse().unwrap_or(0);
        for number in (last + 1..=LAST).chain(1..=last) {
            let dir = labs_dir().join(number.to_string());
            // Someone with another cache directory may have a lab with this number.
            if dir.exists() || network::exists(number) {
                continue;
            }
            fs::create_dir_all(&dir)
                .unwrap_or_else(|error| panic!("cannot make `{}`: {error}", dir.display()));
            let lock = File::create(dir.join("lock")).expect("a new directory is writable");
            lock.lock().expect("a new file can be locked");
            turn.set_len(0).and_then(|()| turn.rewind()).expect("a file of ours can be written");
            turn.write_all(number.to_string().as_bytes()).expect("a file of ours can be written");
            return Self { number, dir, _lock: lock };
        }
        panic!("{LAST} labs are running, there is no number left");
    }

    pub(super) fn number(&self) -> u8 {
        self.number
    }

    pub(super) fn name(&self) -> String {
        name(self.number)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        clear_cgroups(&self.name());
        podman::clear_cgroups(&self.dir);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Clears away what crashed test runs left. Starting a lab does this as well.
pub fn clear_leftovers() {
    let _turn = take_turn();
    clear_leftovers_in_turn();
}

/// Removes the empty control groups a lab's dead containers leave behind.
pub(super) fn clear_cgroups(lab: &str) {
    for hierarchy in hierarchies() {
        // -depth removes children first. Files in it can't be removed, and needn't be.
        let _ = Command::new("find")
            .arg(hierarchy.join(lab))
            .args(["-depth", "-type", "d", "-exec", "rmdir", "{}", "+"])
            .output();
    }
}

/// Where control groups may be: one level down for each controller in version 1, at the top in
/// version 2.
pub(super) fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let controllers = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    controllers.chain([root.to_owned()]).collect()
}

fn name(number: u8) -> String {
    format!("changeover-lab-{number}")
}

fn labs_dir() -> PathBuf {
    cache_dir().join("labs")
}

/// Claiming and clearing take turns, so that a claim just being made is no leftover. The file also
/// holds the number last claimed.
fn take_turn() -> File {
    fs::create_dir_all(labs_dir())
        .unwrap_or_else(|error| panic!("cannot make `{}`: {error}", labs_dir().display()));
    let mut open = File::options();
    open.create(true).read(true).write(true).truncate(false);
    let turn = open.open(cache_dir().join("labs.lock")).expect("the cache directory is writable");
    turn.lock().expect("a file of ours can be locked");
    turn
}

fn clear_leftovers_in_turn() {
    for entry in fs::read_dir(labs_dir()).into_iter().flatten().flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let lock = File::options().write(true).open(entry.path().join("lock"));
        if let Ok(Err(TryLockError::WouldBlock)) = lock.map(|file| file.try_lock()) {
            continue;
        }
        network::remove(number);
        clear_cgroups(&name(number));
        podman::clear_cgroups(&entry.path());
        let _ = fs::remove_dir_all(entry.path());
    }
}
