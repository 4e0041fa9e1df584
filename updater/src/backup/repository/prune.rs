//! Clearing away what no snapshot leads to any more.
//!
//! A pack of which nothing is needed is removed. One of which something is stays as it is,
//! or small changes would have everything written again at each update; but not for ever:
//! where the useless parts together are more than a fifth of what is needed, the emptiest
//! packs are written anew without theirs. So are packs that are small, once they are many.
//!
//! **At any moment all that is needed is there and found**: new packs are written and read
//! back first, then comes an index of all that stays, then the old indexes go, and what
//! only those knew goes last.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::super::{BackupError, SPARE, at};
use super::{BlobEntry, Id, Index, Kind, PackEntry, Repository, State, parse, remove};

/// Of what is needed, as much as this part may be useless besides.
const USELESS: u64 = 5;
/// A pack of fewer bytes is small …
const SMALL: u64 = 1 << 20;
/// … and so many small ones are written as one.
const MANY: usize = 32;

/// A pack with what is in it.
struct Pack {
    entry: PackEntry,
    needed: Vec<BlobEntry>,
}

impl Pack {
    fn needed(&self) -> u64 {
        bytes(&self.needed)
    }

    fn useless(&self) -> u64 {
        bytes(&self.entry.blobs) - self.needed()
    }
}

fn bytes(blobs: &[BlobEntry]) -> u64 {
    blobs.iter().map(|blob| u64::from(blob.length)).sum()
}

impl Repository {
    /// Frees what no snapshot needs. Returns how many bytes that were.
    pub(in crate::backup) fn prune(&self) -> Result<u64, BackupError> {
        let mut wanted = HashSet::new();
        for (_, snapshot) in self.snapshots()? {
            self.collect(&snapshot.tree, &mut wanted)?;
        }
        let (kept, dropped): (Vec<_>, Vec<_>) =
            self.packs(wanted)?.into_iter().partition(|pack| !pack.needed.is_empty());
        let mut freed = 0;
        if !dropped.is_empty() {
            freed = self.replace(&kept, &dropped)?;
        }
        let (anew, kept) = to_write_anew(kept, self.room()?.saturating_sub(SPARE));
        if anew.is_empty() {
            return Ok(freed);
        }
        let written = self.write_anew(&anew).inspect_err(|_| {
            let _ = self.forget_unindexed();
        })?;
        Ok(freed + self.replace(&kept, &anew)?.saturating_sub(written))
    }

    /// All packs, as the indexes have them. What is there twice is needed once.
    fn packs(&self, mut wanted: HashSet<(Kind, Id)>) -> Result<Vec<Pack>, BackupError> {
        let mut packs = HashMap::new();
        for (_, path) in self.list("index")? {
            let index: Index = parse(&self.read_sealed(&path)?, "an index")?;
            packs.extend(index.packs.into_iter().map(|pack| (pack.id, pack)));
        }
        let mut take = |entry: PackEntry| {
            let needed = entry.blobs.iter().filter(|blob| wanted.remove(&(blob.kind, blob.id)));
            Pack { needed: needed.copied().collect(), entry }
        };
        Ok(packs.into_values().map(&mut take).collect())
    }

    /// Writes what is needed of these packs into new ones, and reads it back. Returns how
    /// long those are.
    fn write_anew(&self, packs: &[Pack]) -> Result<u64, BackupError> {
        let (mut data, mut trees) = (self.packer(Kind::Data), self.packer(Kind::Tree));
        let mut moved = HashSet::new();
        for pack in packs {
            let path = self.pack_path(&pack.entry.id);
            let file = File::open(&path).map_err(at("open", &path))?;
            for blob in &pack.needed {
                let mut sealed = vec![0; blob.length as usize];
                file.read_exact_at(&mut sealed, blob.offset.into()).map_err(at("read", &path))?;
                // What is damaged stays where a look at all of it finds it.
                self.check(&sealed, &blob.id, &pack.entry.id)?;
                let packer = if blob.kind == Kind::Tree { &mut trees } else { &mut data };
                packer.add(blob.id, sealed.len(), |buffer| buffer.extend_from_slice(&sealed))?;
                moved.insert((blob.kind, blob.id));
            }
        }
        data.flush()?;
        trees.flush()?;
        self.read_back(moved.iter(), &|_| {})?;
        let written: Vec<Id> = self.state().unindexed.iter().map(|pack| pack.id).collect();
        Ok(written.iter().map(|id| self.pack_length(id)).sum())
    }

    /// Makes an index of these packs and of those that no index knows yet, and removes the
    /// others. Returns how long those were.
    fn replace(&self, kept: &[Pack], dropped: &[Pack]) -> Result<u64, BackupError> {
        let old_indexes = self.list("index")?;
        let entry = |pack: &Pack| PackEntry { id: pack.entry.id, blobs: pack.entry.blobs.clone() };
        self.state().unindexed.extend(kept.iter().map(entry));
        self.write_index()?;
        for (_, path) in old_indexes {
            remove(&path)?;
        }
        let mut freed = 0;
        for pack in dropped {
            freed += self.pack_length(&pack.entry.id);
            remove(&self.pack_path(&pack.entry.id))?;
        }
        *self.state() = State::default();
        self.load_indexes()?;
        Ok(freed)
    }

    fn pack_length(&self, id: &Id) -> u64 {
        fs::metadata(self.pack_path(id)).map_or(0, |meta| meta.len())
    }
}

/// Which packs are to be written anew, given so much room, and which stay.
fn to_write_anew(mut packs: Vec<Pack>, room: u64) -> (Vec<Pack>, Vec<Pack>) {
    let needed: u64 = packs.iter().map(Pack::needed).sum();
    let mut useless: u64 = packs.iter().map(Pack::useless).sum();
    let is_small = |pack: &Pack| bytes(&pack.entry.blobs) < SMALL;
    let many = packs.iter().filter(|pack| is_small(pack)).count() >= MANY;
    // The emptiest first: of them the least has to be written.
    let full = |pack: &Pack| pack.needed() * 1000 / bytes(&pack.entry.blobs).max(1);
    packs.sort_by_key(full);
    let mut written = 0;
    packs.into_iter().partition(|pack| {
        let wasteful = useless > needed / USELESS && pack.useless() > 0;
        let anew = (wasteful || many && is_small(pack)) && written + pack.needed() <= room;
        if anew {
            written += pack.needed();
            useless -= pack.useless();
        }
        anew
    })
}
