//! Whether everything comes back, whatever the new version has done and wherever we die.

mod described;
mod fidelity;
mod interrupted;

use std::fs;
use std::path::{Path, PathBuf};

use super::{Backups, Counter, Job, NO_KEY, Report, Source};

/// A volume and a place for its backups, gone at the end.
struct Place {
    root: PathBuf,
}

/// One old container, and when it was last started.
fn state() -> Vec<String> {
    vec!["old 1".to_owned()]
}

impl Place {
    /// In memory, since it is written to disk often enough.
    fn new() -> Place {
        let memory = PathBuf::from("/dev/shm");
        Place::below(if memory.is_dir() { memory } else { std::env::temp_dir() })
    }

    /// On a file system that knows of everything.
    fn on_disk() -> Place {
        Place::below(std::env::temp_dir())
    }

    fn below(folder: PathBuf) -> Place {
        let root =
            folder.join(format!("changeover-backup-{}", super::crypt::Id(super::crypt::random())));
        fs::create_dir_all(root.join("data")).expect("a folder for the test");
        Place { root }
    }

    fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    fn repository(&self) -> PathBuf {
        self.root.join("backups")
    }

    fn open(&self) -> Backups {
        Backups::open(&self.repository(), NO_KEY).expect("the backups can be opened")
    }

    fn job(&self, update: &str) -> Job {
        Job {
            app: "web".into(),
            update: update.into(),
            sources: vec![Source { name: "data".into(), path: "/data".into(), here: self.data() }],
            exclude: Vec::new(),
        }
    }

    fn snapshot(&self, update: &str) -> Report {
        let done = self.open().snapshot(&self.job(update), &state(), &Counter::default());
        done.expect("a snapshot can be taken")
    }

    fn restore(&self, update: &str) -> Report {
        let done = self.open().restore(&self.job(update), &state(), &Counter::default());
        done.expect("it can be restored").expect("there is a snapshot")
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.data().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("it can be made");
        fs::write(path, content).expect("it can be written");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.data().join(name)).expect("it can be read")
    }

    /// Bytes on disk of everything in the repository.
    fn size(&self) -> u64 {
        fn of(path: &Path) -> u64 {
            let entries = fs::read_dir(path).expect("a folder");
            let entries = entries.map(|entry| entry.expect("an entry").path());
            entries
                .map(|p| if p.is_dir() { of(&p) } else { fs::metadata(&p).map_or(0, |m| m.len()) })
                .sum()
        }
        of(&self.repository())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Bytes that nothing makes smaller, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn a_second_snapshot_adds_what_has_changed_and_no_more() {
    let place = Place::new();
    (0..20).for_each(|n| place.write(&format!("{n}"), noise(n, 300_000)));
    place.snapshot("one");
    let before = place.size();
    place.write("7", noise(99, 300_000));
    place.snapshot("two");
    let grown = place.size() - before;
    assert!((300_000..340_000).contains(&grown), "{grown} bytes for 300000 that changed");
}

#[test]
fn only_the_changed_part_of_a_large_file_is_kept_and_written_back() {
    let place = Place::new();
    let mut content = noise(1, 4 << 20);
    place.write("db", &content);
    place.snapshot("one");
    let before = place.size();
    content[2_000_000..2_000_100].fill(0);
    place.write("db", &content);
    place.snapshot("two");
    assert!(place.size() - before < 200_000, "{}", place.size() - before);

    place.write("db", noise(1, 4 << 20));
    assert_eq!(place.restore("two").changed, 128 << 10);
    assert_eq!(place.read("db"), content);
    assert_eq!(place.restore("one").changed, 128 << 10);
    assert_eq!(place.read("db"), noise(1, 4 << 20));
    assert_eq!(place.restore("one").changed, 0);
}

#[test]
fn what_nobody_has_touched_is_not_touched() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::new();
    (0..10).for_each(|n| place.write(&format!("folder/{n}"), noise(n, 1000)));
    place.snapshot("one");
    let looks = || -> Vec<_> {
        let of = |n| fs::metadata(place.data().join(format!("folder/{n}"))).expect("a file");
        (0..10).map(of).map(|meta| (meta.ino(), meta.ctime(), meta.ctime_nsec())).collect()
    };
    let before = looks();
    place.write("folder/3", "new");
    assert_eq!(place.restore("one").changed, 1000);
    let after = looks();
    for n in (0..10).filter(|n| *n != 3) {
        assert_eq!(before[n], after[n], "file {n}");
    }
    assert_ne!(before[3], after[3]);
    assert_eq!(place.read("folder/3"), noise(3, 1000));
}

#[test]
fn a_change_right_after_the_first_look_is_seen_whatever_the_times_say() {
    let place = Place::new();
    let file = place.data().join("db");
    for round in 0..20_u8 {
        place.write("db", [round; 5000]);
        let set = |times| fs::File::options().write(true).open(&file)?.set_times(times);
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000);
        let times = fs::FileTimes::new().set_modified(long_ago);
        set(times).expect("times can be set");
        let mut backups = place.open();
        let job = place.job(&format!("{round}"));
        backups.first_pass(&job, &Counter::default()).expect("a first pass");
        fs::write(&file, [round + 100; 5000]).expect("it can be written");
        set(times).expect("times can be set");
        backups.snapshot(&job, &state(), &Counter::default()).expect("a snapshot");
        place.write("db", "gone");
        place.restore(&job.update);
        assert_eq!(place.read("db"), [round + 100; 5000], "round {round}");
    }
}

#[test]
fn a_first_pass_is_no_way_back() {
    let place = Place::new();
    place.write("a", "then");
    let mut backups = place.open();
    backups.first_pass(&place.job("one"), &Counter::default()).expect("a first pass");
    place.write("a", "now");
    let done = backups.restore(&place.job("one"), &state(), &Counter::default());
    assert_eq!(done.expect("nothing is wrong"), None);
    assert_eq!(place.read("a"), b"now");
}

#[test]
fn a_snapshot_of_another_state_or_update_is_not_put_back() {
    let place = Place::new();
    place.write("a", "then");
    place.snapshot("one");
    place.write("a", "now");
    let started_again = vec!["old 2".to_owned()];
    let with_another = vec!["old 1".to_owned(), "side 1".to_owned()];
    for (update, state) in [("one", started_again), ("one", with_another), ("two", state())] {
        assert!(place.open().find(&place.job(update), &state).is_err(), "{update} {state:?}");
        let done = place.open().restore(&place.job(update), &state, &Counter::default());
        assert_eq!(done.expect("nothing is wrong"), None);
    }
    assert_eq!(place.read("a"), b"now");
    place.open().find(&place.job("one"), &state()).expect("it is there");
    // Where an old container was removed since, what is left of them decides.
    let done = place.open().restore(&place.job("one"), &[], &Counter::default());
    assert!(done.expect("nothing is wrong").is_some());
    assert_eq!(place.read("a"), b"then");
}

#[test]
fn what_is_left_out_stays_as_it_is() {
    let place = Place::new();
    place.write("keep", "then");
    place.write("cache/a", "then");
    place.write("b.tmp", "then");
    let mut job = place.job("one");
    job.exclude = vec!["/data/cache".into(), "*.tmp".into()];
    place.open().snapshot(&job, &state(), &Counter::default()).expect("a snapshot");
    place.write("keep", "now");
    place.write("cache/a", "now");
    place.write("b.tmp", "now");
    place.write("added/c.tmp", "now");
    place.write("added/d", "now");
    place.restore("one");
    assert_eq!(place.read("keep"), b"then");
    assert_eq!(place.read("cache/a"), b"now");
    assert_eq!(place.read("b.tmp"), b"now");
    assert_eq!(place.read("added/c.tmp"), b"now");
    assert!(!place.data().join("added/d").exists());
}

#[test]
fn one_flipped_bit_anywhere_is_found_and_nothing_of_it_is_put_back() {
    let place = Place::new();
    place.write("a", noise(1, 200_000));
    place.snapshot("one");
    let mut packs = Vec::new();
    for folder in fs::read_dir(place.repository().join("data")).expect("packs") {
        let folder = folder.expect("a folder").path();
        packs.extend(fs::read_dir(folder).expect("a folder").map(|f| f.expect("a pack").path()));
    }
    assert_eq!(packs.len(), 2, "one of data, one of trees");
    for pack in packs {
        let whole = fs::read(&pack).expect("a pack");
        let mut broken = whole.clone();
        broken[whole.len() / 3] ^= 4;
        fs::write(&pack, &broken).expect("it can be written");
        place.write("a", "new");
        let mut backups = place.open();
        let done = backups.restore(&place.job("one"), &state(), &Counter::default());
        let error = done.expect_err("it is damaged").to_string();
        assert!(error.starts_with("the backups are damaged"), "{error}");
        // Nor is a snapshot built on what can't be read back.
        place.write("a", noise(1, 200_000));
        let done = backups.snapshot(&place.job("two"), &state(), &Counter::default());
        assert!(pack_is_of_trees(&whole) || done.is_err(), "{done:?}");
        fs::write(&pack, &whole).expect("it can be written");
    }
    place.restore("one");
    assert_eq!(place.read("a"), noise(1, 200_000));
}

/// A tree that can't be read costs a second look at everything, and is written anew.
fn pack_is_of_trees(pack: &[u8]) -> bool {
    pack.len() < 100_000
}

#[test]
fn old_snapshots_go_and_free_their_room_while_new_ones_stay_whole() {
    let place = Place::new();
    for n in 0..5_u64 {
        place.write("a", noise(n, 500_000));
        place.write("same", noise(77, 500_000));
        place.snapshot(&format!("{n}"));
    }
    let full = place.size();
    let freed = place.open().keep_newest(2).expect("it can be pruned");
    assert!(freed > 900_000, "{freed} bytes were freed");
    assert!(place.size() < full - 900_000);
    assert_eq!(place.open().keep_newest(2).expect("it can be pruned"), 0);
    for n in [4, 3] {
        place.restore(&format!("{n}"));
        assert_eq!(place.read("a"), noise(n, 500_000));
        assert_eq!(place.read("same"), noise(77, 500_000));
    }
    let gone = place.open().restore(&place.job("1"), &state(), &Counter::default());
    assert_eq!(gone.expect("nothing is wrong"), None);
}

/// Updates of an app of 200 files, two of which change each time, as far as the oldest
/// backup is cleared away. Says after each of them how large the repository is.
fn updated(place: &Place, updates: u64, size: impl Fn(u64) -> usize) -> Vec<u64> {
    (0..200).for_each(|n| place.write(&format!("{n}"), noise(n, size(n))));
    let update = |number: u64| {
        for n in [number * 7 % 200, number * 31 % 200] {
            place.write(&format!("{n}"), noise(number * 1000 + n, size(n)));
        }
        let mut backups = place.open();
        let job = place.job(&format!("{number}"));
        backups.snapshot(&job, &state(), &Counter::default()).expect("a snapshot");
        backups.keep_newest(3).expect("it can be cleared away");
        place.size()
    };
    (1..=updates).map(update).collect()
}

#[test]
fn backups_grow_no_further_however_many_updates_there_were() {
    let place = Place::new();
    let sizes = updated(&place, 50, |_| 10_000);
    // 2 MB are needed, and 40 kB for each older one; then there are trees.
    let largest = sizes.iter().max().expect("some");
    assert!(*largest < 3_000_000, "{sizes:?}");
    for number in [50, 49, 48] {
        place.restore(&format!("{number}"));
        for n in [number * 7 % 200, number * 31 % 200] {
            assert_eq!(place.read(&format!("{n}")), noise(number * 1000 + n, 10_000));
        }
    }
    place.open().verify_all(&|_| {}).expect("all of it is there");
}

#[test]
fn backups_of_what_hardly_changes_stay_a_few_files() {
    let place = Place::new();
    // Beside this one, all that is useless together is little.
    place.write("large", noise(1000, 3 << 20));
    updated(&place, 50, |_| 100);
    let packs = || fs::read_dir(place.repository().join("data")).expect("packs").flatten();
    let packs: usize =
        packs().map(|folder| fs::read_dir(folder.path()).expect("a folder").count()).sum();
    assert!(packs < 50, "{packs} packs");
    place.open().verify_all(&|_| {}).expect("all of it is there");
}

#[test]
fn backups_open_with_their_own_key_alone_and_nobody_else_may_read_them() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    place.write("a", "secret content");
    let mut backups = Backups::open(&place.repository(), "key").expect("they can be begun");
    backups.snapshot(&place.job("one"), &state(), &Counter::default()).expect("a snapshot");
    let error = Backups::open(&place.repository(), "other").err().expect("another key");
    assert!(error.to_string().starts_with("the backups were made with another key"));
    let mut folders = vec![place.repository()];
    while let Some(folder) = folders.pop() {
        let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode();
        assert_eq!(mode(&folder) & 0o777, 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            assert_eq!(mode(&path) & 0o777, 0o600, "{}", path.display());
            let content = fs::read(&path).expect("a file");
            assert!(!content.windows(6).any(|w| w == b"secret"), "{}", path.display());
        }
    }
}

#[test]
fn a_folder_that_holds_something_else_is_left_alone() {
    let place = Place::new();
    fs::create_dir_all(place.repository()).expect("a folder");
    fs::write(place.repository().join("letter"), "dear").expect("a file");
    let error = Backups::open(&place.repository(), NO_KEY).err().expect("it is not ours");
    assert!(error.to_string().contains("holds something else"), "{error}");
    let left: Vec<_> = fs::read_dir(place.repository()).expect("a folder").collect();
    assert_eq!(left.len(), 1);
}
