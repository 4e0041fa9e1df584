//! The data goes back too: snapshots of an app's volumes, taken while it is stopped,
//! put back if the new version is given up.
//!
//! **The format is restic's** (repository version 1), written by code of our own. Measured
//! and weighed were three ways. `rustic_core` reads and writes it as well, for 5 MB of
//! program and 180 crates, without hard links of symlinks, sparse files and the comparison
//! with what is there that makes a restore cheap. tar + zstd is open to everybody, but a
//! change costs the whole archive again or a chain of archives that must never break, and
//! encryption would be a format of our own. A copy with hard links to the one before is
//! open to everybody, too, but neither encrypted nor smaller than a file. Restic's format
//! is documented, its encryption and its sharing of equal contents are part of it, and
//! `restic` itself lists, checks, mounts and restores what we write. What it costs us is
//! these files and four small crates for the ciphers.
//!
//! **Two passes.** The first one runs while the app serves, and need not be consistent:
//! it brings nearly everything into the repository. The second one runs while nobody
//! writes, and reads only what has changed since. Whether a file has changed is told by
//! size, inode, modification and change time; files are written out before they are read
//! for the first time, since a change through a mapped page that is dirty already moves
//! no time; and what changed within two seconds of the first look is read again whatever
//! its times say.
//!
//! **A snapshot is whole or it isn't there**: it is one small file, written when all that
//! it leads to has reached the disk and has been read back. What was started and not
//! finished is cleared away by the next pass. What no snapshot leads to any more goes after
//! each update, and what is left besides doesn't grow with their number.
//!
//! **To restore is to compare**: files that are untouched since the snapshot, by the
//! kernel's own change time, are left alone; of the others only the parts that differ
//! are written. So it can be done again after it was interrupted, any number of times.
//!
//! **Not kept** are sockets, which mean nothing without who listens, `trusted.*`
//! attributes and SELinux labels, and access times.

mod crypt;
pub mod errand;
#[cfg(test)]
mod faults;
pub mod hook;
mod metadata;
mod repository;
mod restore;
mod scan;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crypt::Id;
use errand::Listed;
use repository::{Kind, Repository, Snapshot};

/// What opens a repository for which nobody has given a key: who may read the folder
/// may read what is in it.
pub const NO_KEY: &str = "changeover";

/// More room than this must be left once a backup is written.
const SPARE: u64 = 64 << 20;

/// Why data could not be kept or put back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file can't be read or written.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// What was tried.
        doing: &'static str,
        /// Where.
        path: String,
        /// What the system says.
        source: io::Error,
    },
    /// There is something else where the backups should be.
    #[error(
        "{} holds something else than backups of ours\nhint: name an empty folder or a volume of its own with --backup-to", .0.display()
    )]
    Foreign(PathBuf),
    /// The key doesn't fit.
    #[error(
        "the backups were made with another key\nhint: name the file with the right one with --backup-key-file"
    )]
    WrongKey,
    /// What is read isn't what was written.
    #[error("the backups are damaged: {0}\nhint: move them away, and the next update begins anew")]
    Damaged(String),
    /// The disk is too small.
    #[error(
        "the backup may take {} MB and there is room for {} MB\nhint: make room, leave something out with --backup-exclude, or name another place with --backup-to",
        needed / 1_000_000, free / 1_000_000
    )]
    NoRoom {
        /// Bytes that are to be kept.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// There are none.
    #[error(
        "there are no backups of `{0}` there\nhint: say with --backup-to where they are; `changeover update {0} --backup …` makes some"
    )]
    None(String),
    /// There is no such one.
    #[error("there is no backup {0}\nhint: `changeover backup list` says which there are")]
    NoSuch(String),
    /// Old has run since the snapshot was taken.
    #[error("somebody has started the old version since the data was backed up, so it stays")]
    Outdated,
}

/// Called before everything that changes a disk: tests let it fail here.
fn about_to_write() -> io::Result<()> {
    #[cfg(test)]
    faults::strike()?;
    Ok(())
}

/// Does all pieces of work, several at a time; more than a few threads don't help a disk.
/// `worker` is what each thread begins and ends with.
fn in_parallel(
    pieces: usize,
    worker: impl Fn(&dyn Fn() -> Option<usize>) -> Result<(), BackupError> + Sync,
) -> Result<(), BackupError> {
    const THREADS: usize = 4;
    let (turn, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let next = || {
        let number = turn.fetch_add(1, Ordering::Relaxed);
        (number < pieces && !stop.load(Ordering::Relaxed)).then_some(number)
    };
    #[cfg(test)]
    if faults::is_awaited() {
        return worker(&next);
    }
    let failure: Mutex<Option<BackupError>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..threads.min(pieces) {
            scope.spawn(|| {
                if let Err(error) = worker(&next) {
                    stop.store(true, Ordering::Relaxed);
                    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Names what was tried, and where.
fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.display().to_string();
    move |source| BackupError::File { doing, path, source }
}

/// Something to keep: a volume or a folder of the host's, as it is mounted here.
#[derive(Debug, Clone)]
pub struct Source {
    /// What it is called in the backup.
    pub name: String,
    /// Where it is in the app's container, for people and for exclude patterns.
    pub path: String,
    /// Where it is here.
    pub here: PathBuf,
}

/// What is to be kept and what it is about.
#[derive(Debug, Clone)]
pub struct Job {
    /// The app.
    pub app: String,
    /// The update's id.
    pub update: String,
    /// What is kept.
    pub sources: Vec<Source>,
    /// What of it isn't: a path in the container, or a pattern for names.
    pub exclude: Vec<String>,
}

/// How far a pass is. Read by whoever tells of it.
#[derive(Debug, Default)]
pub struct Counter {
    /// Bytes read so far.
    pub done: AtomicU64,
    /// Bytes in all, once that is known.
    pub total: AtomicU64,
}

/// What a pass has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Bytes of those that had to be read, or were written on the way back.
    pub changed: u64,
    /// What could not be kept, in words.
    pub remarks: Vec<String>,
}

/// The backups of one app. One of us at a time has them open.
pub struct Backups {
    repository: Repository,
    verified: HashSet<(Kind, Id)>,
}

/// Snapshots of a first pass carry this: they are no way back.
const FIRST_PASS: &str = "first-pass";

impl Backups {
    /// Opens the backups in a folder, or begins them there.
    pub fn open(folder: &Path, key: &str) -> Result<Backups, BackupError> {
        let repository = Repository::open(folder, key.as_bytes())?;
        repository.clear_debris()?;
        Ok(Backups { repository, verified: HashSet::new() })
    }

    /// Opens the backups in a folder where there are any.
    pub fn open_existing(folder: &Path, key: &str) -> Result<Backups, BackupError> {
        if !folder.join("config").exists() {
            let app = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(BackupError::None(app));
        }
        let repository = Repository::open(folder, key.as_bytes())?;
        Ok(Backups { repository, verified: HashSet::new() })
    }

    /// Which there are, oldest first.
    pub fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let listed = |(id, snapshot): (Id, Snapshot)| {
            let update = snapshot.tags.iter().find_map(|tag| tag.strip_prefix("update="));
            Listed {
                id: id.to_string(),
                update: update.unwrap_or_default().to_owned(),
                unfinished: is_first(&snapshot),
                time: snapshot.time,
                paths: snapshot.paths,
            }
        };
        Ok(self.repository.snapshots()?.into_iter().map(listed).collect())
    }

    /// Reads all that they lead to and compares it with what was written; returns how many
    /// there are, and how many bytes were read. `on_bytes` is told now and then.
    pub fn verify_all(&self, on_bytes: &(dyn Fn(u64) + Sync)) -> Result<(usize, u64), BackupError> {
        /// So often.
        const TELL: u64 = 64 << 20;
        let (read, told) = (AtomicU64::new(0), AtomicU64::new(0));
        let count = |bytes: u64| {
            let now = read.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if now - told.load(Ordering::Relaxed) >= TELL {
                told.store(now, Ordering::Relaxed);
                on_bytes(now);
            }
        };
        let (mut known, snapshots) = (HashSet::new(), self.repository.snapshots()?);
        for (_, snapshot) in &snapshots {
            self.repository.verify(&snapshot.tree, &mut known, &count)?;
        }
        Ok((snapshots.len(), read.into_inner()))
    }

    /// Puts back what a snapshot holds, in whatever state. Returns also what of it is not
    /// among the sources of the job.
    pub fn restore_by_id(
        &self,
        job: &Job,
        id: &str,
        counter: &Counter,
    ) -> Result<(Report, Vec<String>), BackupError> {
        let mut snapshots = self.repository.snapshots()?.into_iter();
        let Some((_, snapshot)) = snapshots.find(|(known, _)| known.to_string() == id) else {
            return Err(BackupError::NoSuch(id.to_owned()));
        };
        let kept = self.repository.tree(&snapshot.tree)?.nodes;
        let names = kept.iter().map(|node| node.name().to_string_lossy().into_owned());
        let has_place = |name: &String| job.sources.iter().any(|source| source.name == *name);
        let left_out = names.filter(|name| !has_place(name)).collect();
        let report = restore::restore(job, &self.repository, &snapshot, counter)?;
        Ok((report, left_out))
    }

    /// The first pass, while the app serves. Afterwards the second one has little to do.
    pub fn first_pass(&mut self, job: &Job, counter: &Counter) -> Result<Report, BackupError> {
        self.pass(job, &[FIRST_PASS.to_owned()], counter, true)
    }

    /// The second pass, while nobody writes: the snapshot that is gone back to. `state`
    /// says in which state it was taken; a restore in another state is none.
    pub fn snapshot(
        &mut self,
        job: &Job,
        state: &[String],
        counter: &Counter,
    ) -> Result<Report, BackupError> {
        let report = self.pass(job, &state_tags(state), counter, false)?;
        for (id, snapshot) in self.repository.snapshots()? {
            if is_first(&snapshot) {
                self.repository.forget(&id)?;
            }
        }
        Ok(report)
    }

    fn pass(
        &mut self,
        job: &Job,
        tags: &[String],
        counter: &Counter,
        live: bool,
    ) -> Result<Report, BackupError> {
        let repository = &self.repository;
        let time = jiff::Timestamp::now();
        let parent = repository.snapshots()?.pop().map(|(_, snapshot)| snapshot);
        let scanned = scan::scan(job, repository, parent.as_ref(), live)?;
        counter.total.store(scanned.to_read(), Ordering::Relaxed);
        let (needed, free) = (scanned.to_read() + SPARE, repository.room()?);
        if needed > free {
            return Err(BackupError::NoRoom { needed, free });
        }
        let saved = match scan::save(scanned, repository, counter, live) {
            Ok(saved) => saved,
            Err(error) => {
                // Whatever the reason, what has been written so far is of no use.
                let _ = repository.forget_unindexed();
                return Err(error);
            }
        };
        repository.write_index()?;
        repository.verify(&saved.tree, &mut self.verified, &|_| {})?;
        let ours = ["changeover".to_owned(), update_tag(job)];
        repository.add_snapshot(&Snapshot {
            time: time.to_string(),
            tree: saved.tree,
            paths: job.sources.iter().map(|source| source.path.clone()).collect(),
            hostname: job.app.clone(),
            username: "changeover".into(),
            excludes: job.exclude.clone(),
            tags: ours.into_iter().chain(tags.iter().cloned()).collect(),
        })?;
        Ok(saved.report)
    }

    /// Puts back what the update's snapshot holds, if it was taken in this state. `None`
    /// if there is no such snapshot: then there is nothing that could be put back.
    pub fn restore(
        &self,
        job: &Job,
        state: &[String],
        counter: &Counter,
    ) -> Result<Option<Report>, BackupError> {
        let Some(snapshot) = self.of_state(job, state)? else { return Ok(None) };
        restore::restore(job, &self.repository, &snapshot, counter).map(Some)
    }

    /// Fails if there is no snapshot that a restore in this state would put back.
    pub fn find(&self, job: &Job, state: &[String]) -> Result<(), BackupError> {
        self.of_state(job, state)?.map(drop).ok_or(BackupError::Outdated)
    }

    fn of_state(&self, job: &Job, state: &[String]) -> Result<Option<Snapshot>, BackupError> {
        let mut wanted = state_tags(state);
        wanted.push(update_tag(job));
        let is_it = |s: &Snapshot| wanted.iter().all(|tag| s.tags.contains(tag)) && !is_first(s);
        let snapshots = self.repository.snapshots()?.into_iter().rev();
        Ok(snapshots.map(|(_, snapshot)| snapshot).find(is_it))
    }

    /// Keeps the newest snapshots and frees what only others needed; returns how many
    /// bytes that were.
    pub fn keep_newest(&self, number: usize) -> Result<u64, BackupError> {
        let snapshots = self.repository.snapshots()?;
        let (unfinished, whole): (Vec<_>, Vec<_>) =
            snapshots.into_iter().partition(|(_, snapshot)| is_first(snapshot));
        let too_many = whole.len().saturating_sub(number.max(1));
        for (id, _) in unfinished.iter().chain(&whole[..too_many]) {
            self.repository.forget(id)?;
        }
        self.repository.prune()
    }
}

/// What opens the backups: what is in the file with the key, if there is one.
pub(crate) fn key(file: Option<&str>) -> Result<String, BackupError> {
    let Some(file) = file else { return Ok(NO_KEY.to_owned()) };
    let text = std::fs::read_to_string(file).map_err(|source| BackupError::File {
        doing: "read",
        path: "the key".into(),
        source,
    })?;
    // As restic reads its own password files.
    Ok(text.trim().to_owned())
}

fn is_first(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == FIRST_PASS)
}

fn update_tag(job: &Job) -> String {
    format!("update={}", job.update)
}

fn state_tags(state: &[String]) -> Vec<String> {
    state.iter().map(|one| format!("state={one}")).collect()
}
