//! The repository: a folder of restic's making (version 1), so that people can open it
//! without us. Packs hold the contents, an index says which one holds what, a snapshot
//! names a tree. Each file is named by its content and is there whole or not at all.
//!
//! **Only one of us writes at a time**: whoever does holds the helper's name. What a
//! killed one has left behind, packs that no index knows, the next one clears away.

mod prune;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::crypt::{Id, Key, KeyFile, OVERHEAD, random};
use super::tree::Tree;
use super::{BackupError, about_to_write, at, in_parallel};

/// Blobs a pack is filled with before it is written.
const PACK_SIZE: usize = 16 << 20;
/// An index file holds so many packs at most.
const PACKS_PER_INDEX: usize = 512;
/// For content-defined chunks, which restic makes and we don't: any irreducible one does.
const POLYNOMIAL: &str = "3da3358b4dc173";

/// The two kinds of blobs, which never share a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Data,
    Tree,
}

/// An open repository.
pub(super) struct Repository {
    folder: PathBuf,
    key: Key,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    packs: Vec<Id>,
    blobs: HashMap<(Kind, Id), Place>,
    /// Being written by somebody in this process.
    claimed: HashSet<(Kind, Id)>,
    /// Written since the last index.
    unindexed: Vec<PackEntry>,
}

#[derive(Clone, Copy)]
struct Place {
    pack: usize,
    offset: u32,
    length: u32,
}

/// A snapshot: what was kept, of what, when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) time: String,
    pub(super) tree: Id,
    pub(super) paths: Vec<String>,
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) username: String,
    #[serde(default)]
    pub(super) excludes: Vec<String>,
    #[serde(default)]
    pub(super) tags: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Index {
    packs: Vec<PackEntry>,
}

#[derive(Serialize, Deserialize)]
struct PackEntry {
    id: Id,
    blobs: Vec<BlobEntry>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct BlobEntry {
    id: Id,
    #[serde(rename = "type")]
    kind: Kind,
    offset: u32,
    length: u32,
}

impl Repository {
    /// Opens the repository in `folder`, or makes one where the folder is empty.
    pub(super) fn open(folder: &Path, password: &[u8]) -> Result<Repository, BackupError> {
        if !folder.join("config").exists() {
            make(folder, password)?;
        }
        let key = unlock(folder, password)?;
        let repository = Repository { folder: folder.to_owned(), key, state: Mutex::default() };
        let config = repository.read_sealed(&folder.join("config"))?;
        let config: Value = parse(&config, "its config")?;
        if config["version"] != 1 {
            return Err(BackupError::Foreign(folder.to_owned()));
        }
        repository.load_indexes()?;
        Ok(repository)
    }

    /// Removes what a killed predecessor has left: unfinished files, and packs that no
    /// index knows.
    pub(super) fn clear_debris(&self) -> Result<(), BackupError> {
        let unfinished = self.folder.join("tmp");
        for entry in fs::read_dir(&unfinished).map_err(at("list", &unfinished))?.flatten() {
            remove(&entry.path())?;
        }
        let known: HashSet<Id> = self.state().packs.iter().copied().collect();
        for (id, path) in self.list("data")? {
            if !known.contains(&id) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Whether a blob is here already or about to be; if not, the caller has to add it.
    pub(super) fn claim(&self, kind: Kind, id: Id) -> bool {
        let mut state = self.state();
        !state.blobs.contains_key(&(kind, id)) && state.claimed.insert((kind, id))
    }

    /// Whether this blob can be read back.
    pub(super) fn has(&self, kind: Kind, id: &Id) -> bool {
        self.state().blobs.contains_key(&(kind, *id))
    }

    /// How long a blob of content is.
    pub(super) fn length(&self, id: &Id) -> Result<usize, BackupError> {
        let place = self.state().blobs.get(&(Kind::Data, *id)).copied();
        let place = place.ok_or_else(|| BackupError::Damaged(format!("{id} is missing")))?;
        Ok((place.length as usize).saturating_sub(OVERHEAD))
    }

    /// A packer for blobs of one kind.
    pub(super) fn packer(&self, kind: Kind) -> Packer<'_> {
        Packer { repository: self, kind, buffer: Vec::new(), blobs: Vec::new() }
    }

    /// Reads a blob, and believes nothing that isn't what was written.
    pub(super) fn load(&self, kind: Kind, id: &Id) -> Result<Vec<u8>, BackupError> {
        let (pack, place) = {
            let state = self.state();
            let place = state.blobs.get(&(kind, *id)).copied();
            let place = place.ok_or_else(|| BackupError::Damaged(format!("{id} is missing")))?;
            (state.packs[place.pack], place)
        };
        let path = self.pack_path(&pack);
        let file = File::open(&path).map_err(at("open", &path))?;
        let mut sealed = vec![0; place.length as usize];
        file.read_exact_at(&mut sealed, place.offset.into()).map_err(at("read", &path))?;
        self.check(&sealed, id, &pack)
    }

    fn check(&self, sealed: &[u8], id: &Id, pack: &Id) -> Result<Vec<u8>, BackupError> {
        let plain = self.key.open(sealed).filter(|plain| Id::of(plain) == *id);
        plain.ok_or_else(|| BackupError::Damaged(format!("{id} in pack {pack} is not as written")))
    }

    /// A directory.
    pub(super) fn tree(&self, id: &Id) -> Result<Tree, BackupError> {
        parse(&self.load(Kind::Tree, id)?, "a tree")
    }

    /// Makes what was packed since the last time findable, and durable.
    pub(super) fn write_index(&self) -> Result<(), BackupError> {
        let packs = std::mem::take(&mut self.state().unindexed);
        let mut packs = packs.into_iter().peekable();
        while packs.peek().is_some() {
            let packs = packs.by_ref().take(PACKS_PER_INDEX).collect();
            self.write_sealed("index", &Index { packs })?;
        }
        Ok(())
    }

    /// Removes what was packed since the last index: it has come to nothing.
    pub(super) fn forget_unindexed(&self) -> Result<(), BackupError> {
        let packs = std::mem::take(&mut self.state().unindexed);
        for pack in &packs {
            let path = self.pack_path(&pack.id);
            remove(&path)?;
        }
        *self.state() = State::default();
        self.load_indexes()
    }

    /// All snapshots, oldest first.
    pub(super) fn snapshots(&self) -> Result<Vec<(Id, Snapshot)>, BackupError> {
        let mut snapshots = Vec::new();
        for (id, path) in self.list("snapshots")? {
            snapshots.push((id, parse(&self.read_sealed(&path)?, "a snapshot")?));
        }
        let order = |(_, s): &(Id, Snapshot)| s.time.parse::<jiff::Timestamp>().unwrap_or_default();
        snapshots.sort_by_key(order);
        Ok(snapshots)
    }

    /// Writes a snapshot. Everything that it needs must have been written before.
    pub(super) fn add_snapshot(&self, snapshot: &Snapshot) -> Result<Id, BackupError> {
        self.write_sealed("snapshots", snapshot)
    }

    /// Removes a snapshot, but not yet what it leads to.
    pub(super) fn forget(&self, id: &Id) -> Result<(), BackupError> {
        let path = self.folder.join("snapshots").join(id.to_string());
        remove(&path)
    }

    /// Reads everything that the trees lead to, but for what is in `known`, and adds it
    /// to that. Returns how many bytes it has read.
    pub(super) fn verify(
        &self,
        root: &Id,
        known: &mut HashSet<(Kind, Id)>,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(), BackupError> {
        let mut wanted = HashSet::new();
        self.collect(root, &mut wanted)?;
        self.read_back(wanted.difference(known), on_bytes)?;
        known.extend(wanted);
        Ok(())
    }

    /// Reads blobs from the disk, and fails if one of them isn't what was written.
    fn read_back<'a>(
        &self,
        blobs: impl Iterator<Item = &'a (Kind, Id)>,
        on_bytes: &(dyn Fn(u64) + Sync),
    ) -> Result<(), BackupError> {
        let mut by_pack: HashMap<usize, Vec<(Kind, Id, Place)>> = HashMap::new();
        {
            let state = self.state();
            for (kind, id) in blobs {
                let place = state.blobs.get(&(*kind, *id));
                let place =
                    place.ok_or_else(|| BackupError::Damaged(format!("{id} is missing")))?;
                by_pack.entry(place.pack).or_default().push((*kind, *id, *place));
            }
        }
        let by_pack: Vec<_> = by_pack.into_iter().collect();
        in_parallel(by_pack.len(), |next| {
            while let Some(number) = next() {
                let (pack, blobs) = &by_pack[number];
                let pack = self.state().packs[*pack];
                let path = self.pack_path(&pack);
                let file = File::open(&path).map_err(at("open", &path))?;
                // From the disk, and not from what we remember of having written it.
                let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
                for (_, id, place) in blobs {
                    let mut sealed = vec![0; place.length as usize];
                    file.read_exact_at(&mut sealed, place.offset.into())
                        .map_err(at("read", &path))?;
                    self.check(&sealed, id, &pack)?;
                    on_bytes(place.length.into());
                }
            }
            Ok(())
        })
    }

    /// Bytes that are free where the repository lies.
    pub(super) fn room(&self) -> Result<u64, BackupError> {
        let disk = rustix::fs::statvfs(&self.folder)
            .map_err(|errno| at("look at", &self.folder)(errno.into()))?;
        Ok(disk.f_bavail * disk.f_frsize)
    }

    fn collect(&self, root: &Id, wanted: &mut HashSet<(Kind, Id)>) -> Result<(), BackupError> {
        let mut open = vec![*root];
        while let Some(id) = open.pop() {
            if !wanted.insert((Kind::Tree, id)) {
                continue;
            }
            for node in self.tree(&id)?.nodes {
                open.extend(node.subtree);
                wanted.extend(node.content.into_iter().flatten().map(|id| (Kind::Data, id)));
            }
        }
        Ok(())
    }

    fn load_indexes(&self) -> Result<(), BackupError> {
        let mut state = self.state();
        for (_, path) in self.list("index")? {
            let index: Index = parse(&self.read_sealed(&path)?, "an index")?;
            for pack in index.packs {
                let number = state.packs.len();
                state.packs.push(pack.id);
                for BlobEntry { id, kind, offset, length } in pack.blobs {
                    state.blobs.insert((kind, id), Place { pack: number, offset, length });
                }
            }
        }
        Ok(())
    }

    fn list(&self, what: &str) -> Result<Vec<(Id, PathBuf)>, BackupError> {
        let mut found = Vec::new();
        let mut folders = vec![self.folder.join(what)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(at("list", &folder))? {
                let path = entry.map_err(at("list", &folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
                    && let Ok(id) = Id::try_from(name.to_owned())
                {
                    found.push((id, path));
                }
            }
        }
        Ok(found)
    }

    fn read_sealed(&self, path: &Path) -> Result<Vec<u8>, BackupError> {
        let sealed = fs::read(path).map_err(at("read", path))?;
        let named = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let whole = named == "config" || Id::of(&sealed).to_string() == named;
        let plain = self.key.open(&sealed).filter(|_| whole);
        plain.ok_or_else(|| BackupError::Damaged(format!("{} is not as written", path.display())))
    }

    fn write_sealed(&self, what: &str, content: &impl Serialize) -> Result<Id, BackupError> {
        let plain =
            serde_json::to_vec(content).map_err(|error| BackupError::Damaged(error.to_string()))?;
        let sealed = self.key.seal(&plain);
        let id = Id::of(&sealed);
        write_whole(&self.folder, &sealed, &self.folder.join(what).join(id.to_string()))?;
        Ok(id)
    }

    fn pack_path(&self, id: &Id) -> PathBuf {
        let name = id.to_string();
        self.folder.join("data").join(&name[..2]).join(name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collects blobs and writes them a pack at a time. One for each thread.
pub(super) struct Packer<'a> {
    repository: &'a Repository,
    kind: Kind,
    buffer: Vec<u8>,
    blobs: Vec<(Id, u32, u32)>,
}

impl Packer<'_> {
    /// Adds a blob, unless it is there.
    pub(super) fn save(&mut self, plain: &[u8]) -> Result<Id, BackupError> {
        let id = Id::of(plain);
        if self.repository.claim(self.kind, id) {
            let repository = self.repository;
            self.add(id, plain.len(), |buffer| repository.key.seal_into(plain, buffer))?;
        }
        Ok(id)
    }

    fn add(
        &mut self,
        id: Id,
        length: usize,
        seal: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), BackupError> {
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(PACK_SIZE + length + (64 << 10));
        }
        let offset = self.buffer.len();
        seal(&mut self.buffer);
        self.blobs.push((id, offset as u32, (self.buffer.len() - offset) as u32));
        if self.buffer.len() >= PACK_SIZE {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn flush(&mut self) -> Result<(), BackupError> {
        if self.blobs.is_empty() {
            return Ok(());
        }
        let kind = self.kind;
        let mut header = Vec::with_capacity(self.blobs.len() * 37);
        for (id, _, length) in &self.blobs {
            header.push(if kind == Kind::Tree { 1 } else { 0 });
            header.extend_from_slice(&length.to_le_bytes());
            header.extend_from_slice(&id.0);
        }
        let repository = self.repository;
        repository.key.seal_into(&header, &mut self.buffer);
        self.buffer.extend_from_slice(&((header.len() + OVERHEAD) as u32).to_le_bytes());
        let pack = Id::of(&self.buffer);
        write_whole(&repository.folder, &self.buffer, &repository.pack_path(&pack))?;
        self.buffer.clear();
        let mut state = repository.state();
        let number = state.packs.len();
        state.packs.push(pack);
        let mut blobs = Vec::with_capacity(self.blobs.len());
        for (id, offset, length) in self.blobs.drain(..) {
            state.blobs.insert((kind, id), Place { pack: number, offset, length });
            state.claimed.remove(&(kind, id));
            blobs.push(BlobEntry { id, kind, offset, length });
        }
        state.unindexed.push(PackEntry { id: pack, blobs });
        Ok(())
    }
}

/// Makes a repository. Its config is written last: what has none is no repository yet.
fn make(folder: &Path, password: &[u8]) -> Result<(), BackupError> {
    let ours = ["data", "index", "keys", "locks", "snapshots", "tmp"];
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(folder).map_err(at("create", folder))?;
    for entry in fs::read_dir(folder).map_err(at("list", folder))? {
        let name = entry.map_err(at("list", folder))?.file_name();
        // ext4 has one at the root of each file system.
        if !ours.iter().any(|own| name == *own) && name != "lost+found" {
            return Err(BackupError::Foreign(folder.to_owned()));
        }
    }
    let keys = folder.join("keys");
    if keys.exists() {
        fs::remove_dir_all(&keys).map_err(at("remove", &keys))?;
    }
    for name in ours {
        let path = folder.join(name);
        builder.create(&path).map_err(at("create", &path))?;
    }
    for n in 0..=255_u8 {
        let path = folder.join("data").join(format!("{n:02x}"));
        builder.create(&path).map_err(at("create", &path))?;
    }
    let key = Key::random();
    let sealed = KeyFile::new(&key, password).and_then(|file| serde_json::to_vec(&file).ok());
    let sealed = sealed.ok_or(BackupError::WrongKey)?;
    write_whole(folder, &sealed, &keys.join(Id::of(&sealed).to_string()))?;
    let id = Id(random::<32>());
    let config = json!({ "version": 1, "id": id, "chunker_polynomial": POLYNOMIAL });
    write_whole(folder, &key.seal(config.to_string().as_bytes()), &folder.join("config"))
}

fn unlock(folder: &Path, password: &[u8]) -> Result<Key, BackupError> {
    let keys = folder.join("keys");
    for entry in fs::read_dir(&keys).map_err(at("list", &keys))? {
        let path = entry.map_err(at("list", &keys))?.path();
        let text = fs::read(&path).map_err(at("read", &path))?;
        let file: Option<KeyFile> = serde_json::from_slice(&text).ok();
        if let Some(key) = file.and_then(|file| file.open(password)) {
            return Ok(key);
        }
    }
    Err(BackupError::WrongKey)
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> Result<(), BackupError> {
    match about_to_write().and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Writes a file that is there whole or not at all, and has reached the disk.
fn write_whole(folder: &Path, content: &[u8], to: &Path) -> Result<(), BackupError> {
    let unfinished = folder.join("tmp").join(Id(random::<32>()).to_string());
    let write = || {
        about_to_write()?;
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(content)?;
        file.sync_data()?;
        about_to_write()?;
        fs::rename(&unfinished, to)?;
        // Not the whole file system: the app's own unwritten data may be on it, and
        // writing that out would be time for which the app is stopped.
        File::open(to.parent().unwrap_or(folder))?.sync_all()
    };
    write().map_err(|error| {
        let _ = remove(&unfinished);
        at("write", to)(error)
    })
}

fn parse<T: serde::de::DeserializeOwned>(text: &[u8], what: &str) -> Result<T, BackupError> {
    serde_json::from_slice(text).map_err(|error| BackupError::Damaged(format!("{what}: {error}")))
}
