//! Directories as the repository keeps them: restic's trees of nodes, in JSON.
//!
//! What restic has no place for, the holes of sparse files, goes into a field of our
//! own, which it passes over.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustix::fs::{FileType, Stat};
use serde::{Deserialize, Serialize};

use super::crypt::Id;

/// One directory.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Tree {
    /// What is in it, by name.
    pub(super) nodes: Vec<Node>,
}

/// One entry of a directory.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "is_zero")]
    mode: u32,
    pub(super) mtime: String,
    pub(super) atime: String,
    pub(super) ctime: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) inode: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) device_id: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) size: u64,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) links: u64,
    #[serde(skip_serializing_if = "is_default")]
    linktarget: String,
    #[serde(skip_serializing_if = "is_default")]
    linktarget_raw: String,
    #[serde(skip_serializing_if = "is_default")]
    extended_attributes: Vec<Attribute>,
    /// Which device a device file stands for.
    #[serde(skip_serializing_if = "is_default")]
    pub(super) device: u64,
    pub(super) content: Option<Vec<Id>>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) subtree: Option<Id>,
    #[serde(skip_serializing_if = "is_default")]
    pub(super) changeover: Own,
}

/// What restic has no place for.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Own {
    /// Where a sparse file has holes: offset and length.
    pub(super) holes: Vec<(u64, u64)>,
}

#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Attribute {
    name: String,
    value: Option<String>,
}

/// Bits of a mode as restic writes it, which is as Go does.
const SET_UID: u32 = 1 << 23;
const SET_GID: u32 = 1 << 22;
const STICKY: u32 = 1 << 20;

impl Node {
    /// What the kernel says of a file.
    pub(super) fn new(name: &OsStr, stat: &Stat) -> Node {
        let (kind, bits) = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => ("file", 0),
            FileType::Directory => ("dir", 1 << 31),
            FileType::Symlink => ("symlink", 1 << 27),
            FileType::BlockDevice => ("dev", 1 << 26),
            FileType::CharacterDevice => ("chardev", 1 << 26 | 1 << 21),
            FileType::Fifo => ("fifo", 1 << 25),
            FileType::Socket => ("socket", 1 << 24),
            FileType::Unknown => ("irregular", 1 << 19),
        };
        let special = [(0o4000, SET_UID), (0o2000, SET_GID), (0o1000, STICKY)];
        let special: u32 =
            special.iter().filter(|(own, _)| stat.st_mode & own != 0).map(|(_, go)| go).sum();
        let is_device = matches!(kind, "dev" | "chardev");
        Node {
            name: quote(name.as_bytes()),
            kind: kind.into(),
            mode: bits | special | stat.st_mode & 0o777,
            mtime: time(stat.st_mtime, stat.st_mtime_nsec as i64),
            atime: time(stat.st_atime, stat.st_atime_nsec as i64),
            ctime: time(stat.st_ctime, stat.st_ctime_nsec as i64),
            uid: stat.st_uid,
            gid: stat.st_gid,
            inode: stat.st_ino,
            device_id: stat.st_dev,
            size: if kind == "file" { stat.st_size as u64 } else { 0 },
            links: links(stat),
            device: if is_device { stat.st_rdev } else { 0 },
            content: (kind == "file").then(Vec::new),
            ..Node::default()
        }
    }

    /// The name, as bytes: not everybody writes UTF-8.
    pub(super) fn name(&self) -> OsString {
        OsString::from_vec(unquote(&self.name))
    }

    /// Permissions with set-user-id and the like, as the kernel writes them.
    pub(super) fn permissions(&self) -> u32 {
        let special = [(0o4000, SET_UID), (0o2000, SET_GID), (0o1000, STICKY)];
        let special = special.iter().filter(|(_, go)| self.mode & go != 0).map(|(own, _)| own);
        self.mode & 0o777 | special.sum::<u32>()
    }

    /// Where a symlink leads.
    pub(super) fn target(&self) -> OsString {
        match BASE64.decode(&self.linktarget_raw) {
            Ok(raw) if !raw.is_empty() => OsString::from_vec(raw),
            _ => OsString::from(&self.linktarget),
        }
    }

    pub(super) fn set_target(&mut self, target: &[u8]) {
        self.linktarget = String::from_utf8_lossy(target).into_owned();
        if std::str::from_utf8(target).is_err() {
            self.linktarget_raw = BASE64.encode(target);
        }
    }

    /// Extended attributes: ACLs and capabilities are such.
    pub(super) fn attributes(&self) -> Vec<(OsString, Vec<u8>)> {
        let bytes = |a: &Attribute| BASE64.decode(a.value.as_deref().unwrap_or_default());
        let read = |a: &Attribute| Some((OsString::from(&a.name), bytes(a).ok()?));
        self.extended_attributes.iter().filter_map(read).collect()
    }

    pub(super) fn set_attributes(&mut self, attributes: &[(OsString, Vec<u8>)]) {
        let write = |(name, value): &(OsString, Vec<u8>)| Attribute {
            name: name.to_string_lossy().into_owned(),
            value: Some(BASE64.encode(value)),
        };
        self.extended_attributes = attributes.iter().map(write).collect();
    }

    /// Whether this is, untouched since, the file that `then` was made of. The kernel
    /// sets a change time at every change of content or metadata, and lets nobody
    /// else set it.
    pub(super) fn is_untouched_since(&self, then: &Node) -> bool {
        self.kind == then.kind
            && self.ctime == then.ctime
            && self.mtime == then.mtime
            && self.size == then.size
            && self.inode == then.inode
            && self.device_id == then.device_id
    }

    /// Which file it is, for those with several names.
    pub(super) fn identity(&self) -> Option<(u64, u64)> {
        (self.links > 1 && self.kind != "dir").then_some((self.device_id, self.inode))
    }
}

/// How many names a file has.
// On other processors the kernel counts in 32 bits.
#[allow(clippy::unnecessary_cast)]
pub(super) fn links(stat: &Stat) -> u64 {
    stat.st_nlink as u64
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// RFC 3339 with nanoseconds, in UTC.
fn time(seconds: i64, nanoseconds: i64) -> String {
    let nanoseconds = i32::try_from(nanoseconds).unwrap_or(0);
    let clamped = seconds.clamp(-62_167_219_200, 253_402_207_199);
    jiff::Timestamp::new(clamped, nanoseconds).map(|t| t.to_string()).unwrap_or_default()
}

/// Seconds and nanoseconds of a time, the latter never negative.
pub(super) fn from_time(text: &str) -> (i64, i64) {
    let parsed = text.parse::<jiff::Timestamp>().unwrap_or_default();
    let whole = parsed.as_nanosecond();
    let (seconds, rest) = (whole.div_euclid(1_000_000_000), whole.rem_euclid(1_000_000_000));
    (seconds as i64, rest as i64)
}

/// A name as restic writes it: as a Go string literal without its quotes, so that it
/// survives whatever bytes it is made of.
fn quote(name: &[u8]) -> String {
    let mut quoted = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' | '"' => quoted.extend(['\\', c]),
                c if c.is_ascii_control() => quoted.push_str(&format!("\\x{:02x}", c as u32)),
                c => quoted.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| quoted.push_str(&format!("\\x{byte:02x}")));
    }
    quoted
}

/// The bytes of a name, also of one that restic itself has quoted.
fn unquote(quoted: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest.as_bytes().get(at + 1).copied().unwrap_or(b'\\');
        let number = |length: usize, radix| {
            let digits = rest.get(at + 2..at + 2 + length)?;
            u32::from_str_radix(digits, radix).ok()
        };
        let unicode = |length| number(length, 16).and_then(char::from_u32);
        let mut utf8 = [0; 4];
        let mut spelt = |c: Option<char>| {
            let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
            c.encode_utf8(&mut utf8).as_bytes().to_vec()
        };
        let (decoded, used) = match escape {
            b'x' => (vec![number(2, 16).unwrap_or(0) as u8], 4),
            b'u' => (spelt(unicode(4)), 6),
            b'U' => (spelt(unicode(8)), 10),
            b'a' => (vec![7], 2),
            b'b' => (vec![8], 2),
            b'f' => (vec![12], 2),
            b'n' => (vec![b'\n'], 2),
            b'r' => (vec![b'\r'], 2),
            b't' => (vec![b'\t'], 2),
            b'v' => (vec![11], 2),
            other => (vec![other], 2),
        };
        bytes.extend_from_slice(&decoded);
        rest = rest.get(at + used..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_any_bytes() {
        let all: Vec<u8> = (1..=255).collect();
        for name in [
            &b"plain"[..],
            b"a\\b\"c\nd",
            "Gr\u{fc}\u{df}e \u{1f600}".as_bytes(),
            b"\xff\xfe",
            &all,
        ] {
            assert_eq!(unquote(&quote(name)), name, "{}", quote(name));
        }
        // As restic itself would write it.
        assert_eq!(
            unquote(r"a\tb\u00fc\xff\\"),
            "a\tb\u{fc}".bytes().chain([255, b'\\']).collect::<Vec<u8>>()
        );
        assert_eq!(unquote("cut\\"), b"cut\\");
    }

    #[test]
    fn a_time_keeps_its_nanoseconds_also_before_1970() {
        for (seconds, nanoseconds) in
            [(0, 0), (1_700_000_000, 123_456_789), (-631_152_000, 1), (-1, 999_999_999)]
        {
            assert_eq!(from_time(&time(seconds, nanoseconds)), (seconds, nanoseconds));
        }
        assert_eq!(time(-631_152_000, 1), "1950-01-01T00:00:00.000000001Z");
    }
}
