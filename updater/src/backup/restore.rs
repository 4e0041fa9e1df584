//! The way back: make a folder what a snapshot says, by changing what differs.
//!
//! Nobody else may be writing. What was added since goes first, then files are compared
//! and written, then further names are linked, and folders get their times last. Each
//! of it can be interrupted and done again.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, linkat, mknodat, statat};
use rustix::io::Errno;

use super::crypt::Id;
use super::metadata::apply;
use super::repository::{Kind, Repository, Snapshot};
use super::scan::{is_excluded, read_at};
use super::tree::{Node, links};
use super::{BackupError, Counter, Job, Report, about_to_write, at, in_parallel};

/// Makes all sources of the job what the snapshot says.
pub(super) fn restore(
    job: &Job,
    repository: &Repository,
    snapshot: &Snapshot,
    counter: &Counter,
) -> Result<Report, BackupError> {
    let mut work = Work {
        repository,
        // As it was then: what wasn't kept is not to be taken for added since.
        exclude: &snapshot.excludes,
        files: Vec::new(),
        folders: Vec::new(),
        leaders: HashMap::new(),
        followers: Vec::new(),
        bytes: 0,
    };
    let kept: HashMap<OsString, Node> =
        repository.tree(&snapshot.tree)?.nodes.into_iter().map(|n| (n.name(), n)).collect();
    for source in &job.sources {
        let Some(node) = kept.get(&OsString::from(&source.name)) else { continue };
        let inside = Path::new(&source.path);
        match &*node.kind {
            "dir" => work.folder(&source.here, inside, node)?,
            // It is mounted by itself and can't be replaced.
            _ => work.files.push(ToWrite {
                path: source.here.clone(),
                node: node.clone(),
                in_place: true,
            }),
        }
    }
    let total = work.files.iter().map(|file| file.node.size).sum();
    counter.total.store(total, Ordering::Relaxed);
    let changed = write_all(&work.files, repository, counter)?;
    work.link_all()?;
    for (path, node) in work.folders.iter().rev() {
        if !is_untouched(path, node)? {
            apply(path, node)?;
        }
    }
    for source in &job.sources {
        let folder = File::open(&source.here).map_err(at("open", &source.here))?;
        rustix::fs::syncfs(folder).map_err(|errno| at("sync", &source.here)(errno.into()))?;
    }
    Ok(Report { bytes: work.bytes, changed, remarks: Vec::new() })
}

struct Work<'a> {
    repository: &'a Repository,
    exclude: &'a [String],
    files: Vec<ToWrite>,
    folders: Vec<(PathBuf, Node)>,
    /// The first name of each file that has several.
    leaders: HashMap<(u64, u64), PathBuf>,
    /// The others.
    followers: Vec<(PathBuf, (u64, u64))>,
    bytes: u64,
}

struct ToWrite {
    path: PathBuf,
    node: Node,
    /// Whether what is there can be changed, instead of being replaced.
    in_place: bool,
}

impl Work<'_> {
    fn folder(&mut self, here: &Path, inside: &Path, node: &Node) -> Result<(), BackupError> {
        let tree = match &node.subtree {
            Some(id) => self.repository.tree(id)?,
            None => return Err(BackupError::Damaged(format!("{} has no tree", inside.display()))),
        };
        self.folders.push((here.to_owned(), node.clone()));
        let wanted: HashMap<OsString, &Node> = tree.nodes.iter().map(|n| (n.name(), n)).collect();
        for entry in fs::read_dir(here).map_err(at("list", here))? {
            let name = entry.map_err(at("list", here))?.file_name();
            let (here, inside) = (here.join(&name), inside.join(&name));
            if is_excluded(self.exclude, &inside) {
                continue;
            }
            let stat = look(&here)?;
            let fits = wanted.get(&name).zip(stat).is_some_and(|(node, stat)| is_kind(node, &stat));
            if !fits {
                self.remove(&here, &inside)?;
            }
        }
        for node in &tree.nodes {
            let name = node.name();
            // A name is one name, whatever somebody has written into the repository.
            if Path::new(&name).components().count() != 1 || name == ".." || name == "." {
                return Err(BackupError::Damaged(format!("a file is named {}", name.display())));
            }
            self.entry(&here.join(&name), &inside.join(&name), node)?;
        }
        Ok(())
    }

    fn entry(&mut self, here: &Path, inside: &Path, node: &Node) -> Result<(), BackupError> {
        let there = look(here)?;
        if node.kind == "dir" {
            if there.is_none() {
                about_to_write().and_then(|()| fs::create_dir(here)).map_err(at("create", here))?;
            }
            return self.folder(here, inside, node);
        }
        self.bytes += node.size;
        if let Some(identity) = node.identity() {
            if self.leaders.contains_key(&identity) {
                self.followers.push((here.to_owned(), identity));
                return Ok(());
            }
            self.leaders.insert(identity, here.to_owned());
        }
        if there.is_some() && is_untouched(here, node)? {
            return Ok(());
        }
        match &*node.kind {
            "file" => {
                let in_place = there.is_some_and(|there| may_change(&there, node));
                self.files.push(ToWrite { path: here.to_owned(), node: node.clone(), in_place });
                Ok(())
            }
            "symlink" => {
                self.replace(here, there.is_some(), |here| {
                    std::os::unix::fs::symlink(node.target(), here)
                })?;
                apply(here, node)
            }
            "fifo" | "dev" | "chardev" => {
                let kind = match &*node.kind {
                    "fifo" => FileType::Fifo,
                    "dev" => FileType::BlockDevice,
                    _ => FileType::CharacterDevice,
                };
                self.replace(here, there.is_some(), |here| {
                    let mode = Mode::from_raw_mode(0o600);
                    mknodat(CWD, here, kind, mode, node.device).map_err(io::Error::from)
                })?;
                apply(here, node)
            }
            // A socket is made by who listens.
            _ => Ok(()),
        }
    }

    fn replace(
        &self,
        here: &Path,
        is_there: bool,
        make: impl Fn(&Path) -> io::Result<()>,
    ) -> Result<(), BackupError> {
        if is_there {
            remove_file(here).map_err(at("remove", here))?;
        }
        about_to_write().and_then(|()| make(here)).map_err(at("create", here))
    }

    /// Removes what was added since, but for what the backup leaves out.
    fn remove(&self, here: &Path, inside: &Path) -> Result<(), BackupError> {
        let Some(stat) = look(here)? else { return Ok(()) };
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return remove_file(here).map_err(at("remove", here));
        }
        let mut spared = false;
        for entry in fs::read_dir(here).map_err(at("list", here))? {
            let name = entry.map_err(at("list", here))?.file_name();
            let (here, inside) = (here.join(&name), inside.join(&name));
            match is_excluded(self.exclude, &inside) {
                true => spared = true,
                false => self.remove(&here, &inside)?,
            }
        }
        match about_to_write().and_then(|()| fs::remove_dir(here)) {
            Err(_) if spared => Ok(()),
            // Something below was spared.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done.map_err(at("remove", here)),
        }
    }

    fn link_all(&self) -> Result<(), BackupError> {
        for (path, identity) in &self.followers {
            let leader = &self.leaders[identity];
            let (first, there) = (look(leader)?, look(path)?);
            let same = first.zip(there).is_some_and(|(first, there)| {
                (first.st_dev, first.st_ino) == (there.st_dev, there.st_ino)
            });
            if first.is_none() || same {
                continue;
            }
            self.replace(path, there.is_some(), |path| {
                linkat(CWD, leader, CWD, path, AtFlags::empty()).map_err(io::Error::from)
            })?;
        }
        Ok(())
    }
}

/// Whether a file may be changed where it is: it is all there, and has no other names
/// but those that it is to have.
fn may_change(there: &Stat, node: &Node) -> bool {
    let links = links(there);
    let (blocks, size) = (there.st_blocks as u64 * 512, there.st_size as u64);
    links == node.links
        && (links == 1 || there.st_ino == node.inode)
        && node.changeover.holes.is_empty()
        && (blocks >= size || size < 4096)
}

fn look(path: &Path) -> Result<Option<Stat>, BackupError> {
    match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(at("look at", path)(errno.into())),
    }
}

fn is_untouched(path: &Path, node: &Node) -> Result<bool, BackupError> {
    let now = look(path)?.map(|stat| Node::new(&node.name(), &stat));
    Ok(now.is_some_and(|now| now.is_untouched_since(node)))
}

fn is_kind(node: &Node, stat: &Stat) -> bool {
    Node::new(&node.name(), stat).kind == node.kind
}

/// Writes files by several threads; returns how many bytes that were.
fn write_all(
    files: &[ToWrite],
    repository: &Repository,
    counter: &Counter,
) -> Result<u64, BackupError> {
    let written = AtomicU64::new(0);
    in_parallel(files.len(), |next| {
        while let Some(number) = next() {
            written.fetch_add(write(&files[number], repository, counter)?, Ordering::Relaxed);
        }
        Ok(())
    })?;
    Ok(written.into_inner())
}

/// Writes one file, or what differs of it.
fn write(file: &ToWrite, repository: &Repository, counter: &Counter) -> Result<u64, BackupError> {
    let ToWrite { path, node, in_place } = file;
    let mut options = fs::OpenOptions::new();
    options.write(true).custom_flags(OFlags::NOFOLLOW.bits() as i32).mode(0o600);
    if *in_place {
        options.read(true);
    } else {
        match remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at("remove", path)(error));
            }
            _ => {}
        }
        options.create_new(true);
    }
    let open = options.open(path).map_err(at("open", path))?;
    let (mut offset, mut written, mut there) = (0, 0, Vec::new());
    for id in node.content.iter().flatten() {
        let length = repository.length(id)?;
        if *in_place {
            there.resize(length, 0);
            let got = read_at(&open, &mut there, offset).map_err(at("read", path))?;
            if got == length && Id::of(&there) == *id {
                offset += length as u64;
                counter.done.fetch_add(length as u64, Ordering::Relaxed);
                continue;
            }
        }
        let end = offset + length as u64;
        let in_hole = |(at, length): &(u64, u64)| *at <= offset && end <= at + length;
        if *in_place || !node.changeover.holes.iter().any(in_hole) {
            let blob = repository.load(Kind::Data, id)?;
            for (from, to) in outside_holes(offset, end, &node.changeover.holes, *in_place) {
                let part = &blob[(from - offset) as usize..(to - offset) as usize];
                let write = || open.write_all_at(part, from);
                about_to_write().and_then(|()| write()).map_err(at("write", path))?;
                written += part.len() as u64;
            }
        }
        offset = end;
        counter.done.fetch_add(length as u64, Ordering::Relaxed);
    }
    about_to_write().and_then(|()| open.set_len(node.size)).map_err(at("write", path))?;
    drop(open);
    apply(path, node)?;
    Ok(written)
}

fn remove_file(path: &Path) -> io::Result<()> {
    about_to_write()?;
    fs::remove_file(path)
}

/// The parts of a range that are no holes.
fn outside_holes(from: u64, to: u64, holes: &[(u64, u64)], all: bool) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut start = from;
    for (hole, length) in holes.iter().filter(|_| !all) {
        let (hole, end) = ((*hole).clamp(from, to), (hole + length).clamp(from, to));
        if start < hole {
            parts.push((start, hole));
        }
        start = start.max(end);
    }
    if start < to {
        parts.push((start, to));
    }
    parts
}
