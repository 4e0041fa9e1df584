//! What a file is besides its content: owner, mode, extended attributes, times.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    lgetxattr, llistxattr, lremovexattr, lsetxattr, utimensat,
};
use rustix::io::Errno;

use super::tree::{Node, from_time};
use super::{BackupError, about_to_write, at};

/// Attributes that the kernel keeps for itself, or that belong to the host's policy
/// rather than to the data.
const NOT_OURS: [&[u8]; 4] = [b"trusted.", b"security.selinux", b"security.ima", b"security.evm"];

/// The extended attributes of a file, sorted; none where there can be none.
pub(super) fn attributes(path: &Path) -> Result<Vec<(OsString, Vec<u8>)>, BackupError> {
    let failed = |errno: Errno| at("read the attributes of", path)(errno.into());
    let mut names = vec![0; 1024];
    let length = loop {
        match llistxattr(path, &mut names[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => names.resize(names.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => break 0,
            Err(errno) => return Err(failed(errno)),
        }
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if NOT_OURS.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let mut value = vec![0; 256];
        loop {
            match lgetxattr(path, OsStr::from_bytes(name), &mut value[..]) {
                Ok(length) => {
                    value.truncate(length);
                    found.push((OsString::from_vec(name.to_vec()), value));
                    break;
                }
                Err(Errno::RANGE) => value.resize(value.len() * 8, 0),
                // It went in between.
                Err(Errno::NODATA) => break,
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Gives a file what the node says, in the one order that works: a new owner takes
/// set-user-id and capabilities away, and everything touches the times.
pub(super) fn apply(path: &Path, node: &Node) -> Result<(), BackupError> {
    let is_symlink = node.kind == "symlink";
    let failed = |doing| move |errno: Errno| at(doing, path)(errno.into());
    about_to_write().map_err(at("change", path))?;
    let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(failed("change the owner of"))?;
    if !is_symlink {
        chmodat(CWD, path, Mode::from_raw_mode(node.permissions()), AtFlags::empty())
            .map_err(failed("change the mode of"))?;
    }
    let wanted = node.attributes();
    for (name, _) in attributes(path)? {
        if !wanted.iter().any(|(keep, _)| *keep == name) {
            lremovexattr(path, &*name).map_err(failed("remove an attribute of"))?;
        }
    }
    for (name, value) in &wanted {
        lsetxattr(path, &**name, value, XattrFlags::empty())
            .map_err(failed("set an attribute of"))?;
    }
    about_to_write().map_err(at("change", path))?;
    let (seconds, nanoseconds) = from_time(&node.mtime);
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set the times of"))
}
