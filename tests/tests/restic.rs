//! People open the backups without us: restic itself, as Debian has it, finds nothing wrong
//! with what we write, gives it back, and leaves what we can read.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use changeover::backup::{Backups, Counter, Job, NO_KEY, Report, Source};
use changeover_tests::restic::restic;
use rustix::fs::{XattrFlags, getxattr, setxattr};

const ATTRIBUTE: &str = "user.binary";

/// A volume, a repository, and where restic puts things; gone at the end.
struct Place {
    root: PathBuf,
    repository: PathBuf,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
        let _ = fs::remove_dir_all(&self.repository);
    }
}

impl Place {
    fn new(name: &str) -> Place {
        let name = format!("restic-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(&name);
        fs::create_dir_all(root.join("data/folder")).expect("a folder");
        // In memory, since it is written to disk often enough.
        let memory = Path::new("/dev/shm");
        let repository = if memory.is_dir() { memory.join(name) } else { root.join("backups") };
        Place { root, repository }
    }

    fn path(&self, name: &str) -> String {
        self.root.join(name).display().to_string()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.root.join("data").join(name), content).expect("it can be written");
    }

    fn job(&self, update: u32) -> Job {
        let here = self.root.join("data");
        let sources = vec![Source { name: "data".into(), path: "/data".into(), here }];
        Job { app: "web".into(), update: update.to_string(), sources, exclude: Vec::new() }
    }

    fn open(&self, key: &str) -> Backups {
        Backups::open(&self.repository, key).expect("it opens")
    }

    fn snapshot(&self, key: &str, update: u32) -> Report {
        let mut backups = self.open(key);
        backups.snapshot(&self.job(update), &[], &Counter::default()).expect("a snapshot")
    }

    fn restic(&self, key: &str, args: &[&str]) -> String {
        let done = Command::new(restic())
            .args(["--no-cache", "--repo"])
            .arg(&self.repository)
            .args(args)
            .env("RESTIC_PASSWORD", key)
            .output()
            .expect("restic runs");
        let said =
            [done.stdout, done.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(done.status.success(), "restic {args:?}: {}", said.join("\n"));
        said.join("\n")
    }

    /// What a folder holds, by the tools that every system has. Restic makes no holes.
    fn described(&self, folder: &str) -> String {
        let script = "find . -mindepth 1 -printf '%P %y %m %U:%G %s %T@ %n %l\\n' | sort
            find . -type f -exec sha256sum {} + | sort -k 2";
        let mut shell = Command::new("sh");
        let done = shell.args(["-c", script]).current_dir(self.root.join(folder)).output();
        let mut value = [0; 64];
        let attributed = self.root.join(folder).join("folder/4");
        let length = getxattr(attributed, ATTRIBUTE, &mut value[..]).expect("it has one");
        let said = String::from_utf8_lossy(&done.expect("a shell").stdout).into_owned();
        format!("{said}{}\n", value[..length].escape_ascii())
    }

    /// All sorts of things.
    fn fill(&self) {
        self.write("large", noise(1, 1 << 20));
        (0..50).for_each(|n| self.write(&format!("folder/{n}"), noise(n, 20_000)));
        let at = |name: &str| self.root.join("data").join(name);
        chown(at("folder/1"), Some(1000), Some(4_000_000_000)).expect("root may");
        fs::set_permissions(at("folder/2"), fs::Permissions::from_mode(0o4750)).expect("a mode");
        let binary = b"a\nb\0c\xff";
        setxattr(at("folder/4"), ATTRIBUTE, binary, XattrFlags::empty()).expect("an attribute");
        fs::hard_link(at("folder/3"), at("another name")).expect("a link");
        symlink("nowhere", at("link")).expect("a link");
        let tools = "mkfifo -m 600 fifo && mknod device c 1 3 && touch -h -d 1950-01-01T00:00:00.123456789 link
            truncate -s 20M sparse && echo end >> sparse && printf x > 'odd \\name'";
        let mut shell = Command::new("sh");
        let made = shell.args(["-c", tools]).current_dir(self.root.join("data")).status();
        assert!(made.expect("a shell").success());
    }
}

/// Bytes that nothing makes smaller, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

fn opens_ours(key: &str, name: &str) {
    let place = Place::new(name);
    place.fill();
    // Many updates, so that much was cleared away and written anew.
    for update in 0..8 {
        place.write(&format!("folder/{update}"), noise(1000 + u64::from(update), 20_000));
        place.write("large", [noise(1, 1 << 20), noise(u64::from(update), 300_000)].concat());
        place.snapshot(key, update);
        place.open(key).keep_newest(3).expect("it can be cleared away");
    }
    let before = place.described("data");
    let checked = place.restic(key, &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    assert!(!checked.contains("warning") && !checked.contains("error:"), "{checked}");
    let snapshots = place.restic(key, &["snapshots", "--json"]);
    assert_eq!(snapshots.matches("\"short_id\"").count(), 3, "{snapshots}");
    place.restic(key, &["restore", "latest", "--target", &place.path("restored")]);
    assert_eq!(place.described("restored/data"), before);
    // And what restic has cleared away, is clear to us.
    place.restic(key, &["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    let backups = place.open(key);
    assert_eq!(backups.list().expect("a list").len(), 1);
    backups.verify_all(&|_| {}).expect("all of it is there");
    place.write("folder/7", "spoilt");
    let job = place.job(7);
    let restored = backups.restore(&job, &[], &Counter::default()).expect("it goes back");
    assert!(restored.is_some());
    assert_eq!(place.described("data"), before);
    // We go on where restic has left off, and it where we have.
    drop(backups);
    place.write("folder/7", "later");
    place.snapshot(key, 8);
    place.restic(key, &["check", "--read-data"]);
}

#[test]
fn restic_opens_what_nobody_has_given_a_key_for() {
    opens_ours(NO_KEY, "without");
}

#[test]
fn restic_opens_what_is_encrypted_with_a_key_of_somebodys_own() {
    opens_ours("correct horse battery staple", "with");
}
