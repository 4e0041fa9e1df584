//! A pass: look at every file, read those that have changed, write down the whole tree.
//!
//! The look comes first, for all of it; then, on the first pass, the kernel is asked to
//! write out what it still holds; then files are read, by several threads. So a change
//! after the look moves the times of the file, and the second pass sees it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{CWD, OFlags, SeekFrom, seek, statat};

use super::crypt::Id;
use super::metadata::attributes;
use super::repository::{Kind, Packer, Repository, Snapshot};
use super::tree::{Node, Tree};
use super::{BackupError, Counter, Job, Report, at, in_parallel};

/// What has changed so shortly before the last look may have changed after it within
/// the same tick of the clock by which the file system tells the time.
const RACY: i64 = 2_000_000_000;
/// Blobs of a file: small ones for what databases change here and there.
const SMALLEST_BLOB: u64 = 128 << 10;
const LARGEST_BLOB: u64 = 4 << 20;
/// A file is made of about so many.
const BLOBS: u64 = 8192;

/// What the look has found.
pub(super) struct Scanned {
    roots: Vec<Entry>,
    files: Vec<ToRead>,
    report: Report,
}

/// One entry with everything below it.
struct Entry {
    node: Node,
    children: Vec<Entry>,
    /// Which of the files to read it is.
    file: Option<usize>,
}

struct ToRead {
    path: PathBuf,
    size: u64,
}

/// What a pass has written.
pub(super) struct Saved {
    pub(super) tree: Id,
    pub(super) report: Report,
}

impl Scanned {
    /// Bytes that have to be read.
    pub(super) fn to_read(&self) -> u64 {
        self.report.changed
    }
}

/// Looks at everything. `live`: somebody may be writing, and files may go.
pub(super) fn scan(
    job: &Job,
    repository: &Repository,
    parent: Option<&Snapshot>,
    live: bool,
) -> Result<Scanned, BackupError> {
    let trusted_before = parent
        .and_then(|parent| parent.time.parse::<jiff::Timestamp>().ok())
        .map_or(i128::MIN, |time| time.as_nanosecond() - i128::from(RACY));
    let mut scanner = Scanner {
        repository,
        exclude: &job.exclude,
        trusted_before,
        live,
        files: Vec::new(),
        by_identity: HashMap::new(),
        report: Report::default(),
    };
    let before = children(repository, parent.map(|parent| parent.tree));
    let mut roots = Vec::new();
    for source in &job.sources {
        let name = OsString::from(&source.name);
        let stat = rustix::fs::stat(&source.here);
        let stat = stat.map_err(|errno| at("look at", &source.here)(errno.into()))?;
        let node = Node::new(&name, &stat);
        if !matches!(&*node.kind, "dir" | "file") {
            let word = format!("{} is a {} and is left out", source.path, node.kind);
            scanner.report.remarks.push(word);
            continue;
        }
        let known = before.get(&name);
        let entry = scanner.entry(&source.here, Path::new(&source.path), node, known)?;
        roots.extend(entry);
    }
    roots.sort_by_key(|root| root.node.name());
    if live {
        for source in &job.sources {
            let folder = File::open(&source.here).map_err(at("open", &source.here))?;
            rustix::fs::syncfs(folder).map_err(|errno| at("sync", &source.here)(errno.into()))?;
        }
    }
    Ok(Scanned { roots, files: scanner.files, report: scanner.report })
}

struct Scanner<'a> {
    repository: &'a Repository,
    exclude: &'a [String],
    trusted_before: i128,
    live: bool,
    files: Vec<ToRead>,
    /// Files with several names are read once.
    by_identity: HashMap<(u64, u64), usize>,
    report: Report,
}

impl Scanner<'_> {
    /// `None` if it is gone by now.
    fn entry(
        &mut self,
        here: &Path,
        inside: &Path,
        mut node: Node,
        known: Option<&Node>,
    ) -> Result<Option<Entry>, BackupError> {
        if matches!(&*node.kind, "socket" | "irregular") {
            self.report.remarks.push(format!(
                "{} is a {}, which can't be kept: it is made by who listens",
                inside.display(),
                node.kind
            ));
        }
        if let Some(known) = known
            && node.kind != "dir"
            && node.is_untouched_since(known)
            && self.is_trusted(known)
        {
            if node.kind == "file" {
                self.report.bytes += node.size;
            }
            return Ok(Some(Entry { node: known.clone(), children: Vec::new(), file: None }));
        }
        match self.complete(here, &mut node) {
            Err(BackupError::File { source, .. })
                if self.live && source.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(None);
            }
            other => other?,
        }
        let mut entry = Entry { node, children: Vec::new(), file: None };
        match &*entry.node.kind {
            "dir" => entry.children = self.folder(here, inside, known)?,
            "file" => entry.file = Some(self.file(here, &entry.node)),
            _ => {}
        }
        Ok(Some(entry))
    }

    fn complete(&self, here: &Path, node: &mut Node) -> Result<(), BackupError> {
        node.set_attributes(&attributes(here)?);
        if node.kind == "symlink" {
            let target = fs::read_link(here).map_err(at("read", here))?;
            node.set_target(target.as_os_str().as_bytes());
        }
        Ok(())
    }

    fn folder(
        &mut self,
        here: &Path,
        inside: &Path,
        known: Option<&Node>,
    ) -> Result<Vec<Entry>, BackupError> {
        let before = children(self.repository, known.and_then(|known| known.subtree));
        let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let listed = match fs::read_dir(here) {
            Err(error) if self.live && gone(&error) => return Ok(Vec::new()),
            listed => listed.map_err(at("list", here))?,
        };
        let mut entries = Vec::new();
        for entry in listed {
            let name = entry.map_err(at("list", here))?.file_name();
            let (here, inside) = (here.join(&name), inside.join(&name));
            if is_excluded(self.exclude, &inside) {
                continue;
            }
            let stat = match statat(CWD, &here, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
                Err(rustix::io::Errno::NOENT) if self.live => continue,
                stat => stat.map_err(|errno| at("look at", &here)(errno.into()))?,
            };
            let node = Node::new(&name, &stat);
            entries.extend(self.entry(&here, &inside, node, before.get(&name))?);
        }
        entries.sort_by_key(|entry| entry.node.name());
        Ok(entries)
    }

    fn file(&mut self, here: &Path, node: &Node) -> usize {
        let number = self.files.len();
        if let Some(identity) = node.identity() {
            let first = *self.by_identity.entry(identity).or_insert(number);
            if first != number {
                return first;
            }
        }
        self.report.bytes += node.size;
        self.report.changed += node.size;
        self.files.push(ToRead { path: here.to_owned(), size: node.size });
        number
    }

    /// Whether an equal time means an equal content.
    fn is_trusted(&self, known: &Node) -> bool {
        let time = |text: &str| text.parse::<jiff::Timestamp>().map(|time| time.as_nanosecond());
        let newest = time(&known.mtime).ok().max(time(&known.ctime).ok());
        let there = |id: &Id| self.repository.has(Kind::Data, id);
        newest.is_some_and(|newest| newest < self.trusted_before)
            && known.content.iter().flatten().all(there)
    }
}

/// What a directory held at the time of the parent; nothing where that can't be read,
/// which only costs time.
fn children(repository: &Repository, tree: Option<Id>) -> HashMap<OsString, Node> {
    let tree = tree.and_then(|id| repository.tree(&id).ok()).unwrap_or_default();
    tree.nodes.into_iter().map(|node| (node.name(), node)).collect()
}

/// Whether a path in the container is left out: it is or lies below one that is named,
/// or a part of it fits a pattern without a slash.
pub(super) fn is_excluded(patterns: &[String], inside: &Path) -> bool {
    patterns.iter().any(|pattern| match pattern.starts_with('/') {
        true => inside.starts_with(pattern),
        false => {
            let name = inside.file_name().unwrap_or_default();
            fits(pattern.as_bytes(), name.as_bytes())
        }
    })
}

/// `*` stands for any bytes, `?` for one.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|n| fits(rest, &name[n..])),
        Some((b'?', rest)) => !name.is_empty() && fits(rest, &name[1..]),
        Some((byte, rest)) => name.first() == Some(byte) && fits(rest, &name[1..]),
    }
}

/// What a file is made of, where it has holes, and how long it is.
type Content = (Vec<Id>, Vec<(u64, u64)>, u64);
/// What reading a file has given; `None` if it was gone.
type Read = Option<Content>;

/// Reads what has to be read and writes the trees.
pub(super) fn save(
    scanned: Scanned,
    repository: &Repository,
    counter: &Counter,
    live: bool,
) -> Result<Saved, BackupError> {
    let files = &scanned.files;
    let read: Mutex<Vec<Option<Read>>> = Mutex::new((0..files.len()).map(|_| None).collect());
    in_parallel(files.len(), |next| {
        let mut reader = Reader::new(repository, counter);
        while let Some(number) = next() {
            let done = match reader.read(&files[number]) {
                Err(BackupError::File { source, .. })
                    if live && source.kind() == io::ErrorKind::NotFound =>
                {
                    None
                }
                done => Some(done?),
            };
            read.lock().unwrap_or_else(PoisonError::into_inner)[number] = Some(done);
        }
        reader.packer.flush()
    })?;
    let read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
    let read: Vec<Read> = read.into_iter().map(Option::flatten).collect();
    let mut packer = repository.packer(Kind::Tree);
    let tree = save_tree(scanned.roots, &read, &mut packer)?;
    packer.flush()?;
    Ok(Saved { tree, report: scanned.report })
}

fn save_tree(entries: Vec<Entry>, read: &[Read], packer: &mut Packer) -> Result<Id, BackupError> {
    let mut tree = Tree::default();
    for Entry { mut node, children, file } in entries {
        if node.kind == "dir" {
            node.subtree = Some(save_tree(children, read, packer)?);
        }
        if let Some(file) = file {
            let Some((content, holes, size)) = &read[file] else { continue };
            node.content = Some(content.clone());
            node.changeover.holes.clone_from(holes);
            node.size = *size;
        }
        tree.nodes.push(node);
    }
    let mut text =
        serde_json::to_vec(&tree).map_err(|error| BackupError::Damaged(error.to_string()))?;
    text.push(b'\n');
    packer.save(&text)
}

/// Bytes in each blob of a file of this size.
fn blob_size(size: u64) -> u64 {
    (size / BLOBS).next_power_of_two().clamp(SMALLEST_BLOB, LARGEST_BLOB)
}

/// Reads files into packs.
struct Reader<'a> {
    packer: Packer<'a>,
    counter: &'a Counter,
    buffer: Vec<u8>,
    zeros: HashMap<u64, Id>,
}

impl<'a> Reader<'a> {
    fn new(repository: &'a Repository, counter: &'a Counter) -> Reader<'a> {
        let packer = repository.packer(Kind::Data);
        Reader { packer, counter, buffer: Vec::new(), zeros: HashMap::new() }
    }

    fn read(&mut self, file: &ToRead) -> Result<Content, BackupError> {
        let path = &file.path;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOATIME).bits();
        let open =
            |flags: u32| fs::OpenOptions::new().read(true).custom_flags(flags as i32).open(path);
        // Only its owner, or who may do everything, may read without a trace.
        let opened = match open(flags) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                open((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits())
            }
            opened => opened,
        };
        let opened = opened.map_err(at("open", path))?;
        let meta = opened.metadata().map_err(at("look at", path))?;
        let holes = holes(&opened, meta.len()).map_err(at("read", path))?;
        let blob = blob_size(meta.len());
        let (mut content, mut size, mut told) = (Vec::new(), 0, 0);
        loop {
            let in_hole = |(at, length): &(u64, u64)| *at <= size && size + blob <= at + length;
            if holes.iter().any(in_hole) {
                content.push(self.zero(blob)?);
                size += blob;
                continue;
            }
            self.buffer.resize(blob as usize, 0);
            let got = read_at(&opened, &mut self.buffer, size).map_err(at("read", path))?;
            if got == 0 {
                break;
            }
            content.push(self.packer.save(&self.buffer[..got])?);
            size += got as u64;
            // No more than was announced: a file may have grown.
            let more = size.min(file.size).saturating_sub(told);
            told += more;
            self.counter.done.fetch_add(more, Ordering::Relaxed);
            if got < blob as usize {
                break;
            }
        }
        self.counter.done.fetch_add(file.size.saturating_sub(told), Ordering::Relaxed);
        Ok((content, holes, size))
    }

    fn zero(&mut self, length: u64) -> Result<Id, BackupError> {
        if let Some(id) = self.zeros.get(&length) {
            return Ok(*id);
        }
        let id = self.packer.save(&vec![0; length as usize])?;
        self.zeros.insert(length, id);
        Ok(id)
    }
}

/// Reads as much as fits, or all there is.
pub(super) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The holes of a sparse file.
fn holes(file: &File, size: u64) -> io::Result<Vec<(u64, u64)>> {
    use std::os::unix::fs::MetadataExt;
    let mut holes = Vec::new();
    if file.metadata()?.blocks() * 512 >= size {
        return Ok(holes);
    }
    let mut position = 0;
    while position < size {
        let hole = match seek(file, SeekFrom::Hole(position)) {
            Ok(hole) if hole < size => hole,
            // None any more, or a file system that knows of none.
            _ => break,
        };
        let data = match seek(file, SeekFrom::Data(hole)) {
            Ok(data) => data.min(size),
            Err(rustix::io::Errno::NXIO) => size,
            Err(errno) => return Err(errno.into()),
        };
        holes.push((hole, data - hole));
        position = data;
    }
    Ok(holes)
}
