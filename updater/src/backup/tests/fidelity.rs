//! The matrix: each kind of thing that can be in a volume, and what a new version may do
//! to it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, linkat, lsetxattr, makedev,
    mknodat, utimensat,
};

use super::super::Counter;
use super::described::described;
use super::{Place, noise, state};

/// A volume with everything in it.
pub(super) fn fill(place: &Place) {
    let data = place.data();
    let at = |name: &str| data.join(name);
    place.write("plain", noise(1, 10_000));
    place.write("empty", "");
    place.write("large", noise(2, 3 << 20));
    place.write("folder/deeper/still deeper/file", "below");
    fs::create_dir(at("empty folder")).expect("a folder");

    place.write("owned", "by somebody");
    chown(at("owned"), Some(1000), Some(2000)).expect("root may");
    place.write("owned by a large number", "");
    chown(at("owned by a large number"), Some(4_000_000_000), Some(4_000_000_001))
        .expect("root may");
    for (name, mode) in
        [("m000", 0), ("m777", 0o777), ("suid", 0o4755), ("sgid", 0o2750), ("sticky", 0o1644)]
    {
        place.write(name, "mode");
        fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    place.write("suid of another", "mode");
    chown(at("suid of another"), Some(33), Some(33)).expect("root may");
    fs::set_permissions(at("suid of another"), fs::Permissions::from_mode(0o6711)).expect("a mode");
    fs::create_dir(at("shared")).expect("a folder");
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o3777)).expect("a mode");

    place.write("hard/one", "several names");
    fs::hard_link(at("hard/one"), at("hard/two")).expect("a link");
    fs::hard_link(at("hard/one"), at("another name")).expect("a link");
    symlink("plain", at("symlink")).expect("a link");
    symlink("/nowhere/at all", at("dangling")).expect("a link");
    symlink(OsStr::from_bytes(b"\xff\xfe"), at("to no text")).expect("a link");
    lchown(at("dangling"), Some(7), Some(8)).expect("root may");
    linkat(CWD, at("symlink"), CWD, at("symlink by another name"), AtFlags::empty())
        .expect("a link");

    let make = |name: &str, kind, device| {
        mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o640), device).expect("root may");
    };
    make("fifo", FileType::Fifo, 0);
    make("character device", FileType::CharacterDevice, makedev(1, 3));
    make("block device", FileType::BlockDevice, makedev(259, 300_000));
    drop(UnixListener::bind(at("socket")).expect("a socket"));

    fs::write(data.join(OsStr::from_bytes(b"no \xff\xfe text")), "name").expect("any name");
    fs::write(data.join(OsStr::from_bytes(b"line\nbreak \"quoted\" back\\slash")), "")
        .expect("any name");
    place.write(&"long".repeat(50), "200 bytes of name");

    let set = |name: &str, attribute: &str, value: &[u8]| {
        lsetxattr(at(name), attribute, value, XattrFlags::empty()).expect("an attribute");
    };
    place.write("attributes", "");
    set("attributes", "user.binary", b"a\nb\0c\xff");
    set("attributes", "user.empty", b"");
    set("attributes", "user.large", &noise(3, 2000));
    set("folder", "user.of a folder", b"yes");
    place.write("capable", "");
    // cap_net_bind_service=ep, as the kernel keeps it.
    set(
        "capable",
        "security.capability",
        &[1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    // user::rw- user:1000:r-- group::r-- mask::r-- other::---
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255,
        255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    place.write("listed", "");
    set("listed", "system.posix_acl_access", &acl);
    set("shared", "system.posix_acl_default", &acl);

    for (name, holes) in [("sparse", true), ("not sparse", false)] {
        let file = fs::File::create(at(name)).expect("a file");
        if holes {
            file.set_len(200 << 20).expect("it grows");
            file.write_all_at(&noise(4, 70_000), 50_000_000).expect("in the middle");
            file.write_all_at(b"end", (200 << 20) - 3).expect("at the end");
        } else {
            // Zeros on purpose: a database that has made room for itself.
            file.write_all_at(&vec![0; 2 << 20], 0).expect("zeros");
        }
    }
    let file = fs::File::create(at("only a hole")).expect("a file");
    file.set_len(5_000_000).expect("it grows");

    for (name, seconds, nanoseconds) in [
        ("plain", 1_700_000_000, 123_456_789),
        ("empty", -631_152_000, 1),
        ("folder", 1_000, 7),
        ("symlink", 5, 5),
        ("fifo", 6, 6),
    ] {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, at(name), &times, AtFlags::SYMLINK_NOFOLLOW).expect("any time");
    }
}

/// What a new version might do to all of it.
fn migrate(root: &Path) {
    let at = |name: &str| root.join(name);
    place_files(root);
    fs::remove_dir_all(at("folder")).expect("gone");
    fs::write(at("folder"), "was a folder").expect("a file");
    fs::remove_file(at("large")).expect("gone");
    fs::create_dir_all(at("large/was/a/file")).expect("a folder");
    fs::write(at("plain"), "shorter").expect("changed");
    fs::write(at("empty"), "no longer").expect("changed");
    fs::write(at("hard/one"), "changed under all names").expect("changed");
    fs::remove_file(at("hard/two")).expect("gone");
    fs::hard_link(at("plain"), at("hard/two")).expect("another link");
    fs::remove_file(at("symlink")).expect("gone");
    fs::write(at("symlink"), "was a symlink").expect("a file");
    fs::remove_file(at("fifo")).expect("gone");
    fs::remove_file(at("sparse")).expect("gone");
    fs::remove_file(at("only a hole")).expect("gone");
    fs::write(at("only a hole"), vec![1; 5_000_000]).expect("no hole");
    fs::File::options()
        .write(true)
        .open(at("not sparse"))
        .expect("a file")
        .set_len(0)
        .expect("cut");
    fs::File::options()
        .write(true)
        .open(at("not sparse"))
        .expect("a file")
        .set_len(2 << 20)
        .expect("a hole");
    for name in ["owned", "suid of another", "capable", "listed", "m000"] {
        chown(at(name), Some(5), Some(5)).expect("root may");
    }
    for name in ["attributes", "listed"] {
        lsetxattr(at(name), "user.added", b"yes", XattrFlags::empty()).expect("an attribute");
        fs::set_permissions(at(name), fs::Permissions::from_mode(0o777)).expect("a mode");
    }
    fs::remove_file(at("dangling")).expect("gone");
    symlink("somewhere", at("dangling")).expect("a link");
    fs::remove_file(at("character device")).expect("gone");
    mknodat(
        CWD,
        at("character device"),
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o640),
        makedev(1, 5),
    )
    .expect("root may");
    fs::set_permissions(root, fs::Permissions::from_mode(0o711)).expect("a mode");
}

fn place_files(root: &Path) {
    fs::create_dir_all(root.join("added/below")).expect("a folder");
    fs::write(root.join("added/below/file"), "new").expect("a file");
    fs::write(root.join("added file"), "new").expect("a file");
    symlink("/", root.join("added/root")).expect("a link");
    drop(UnixListener::bind(root.join("added socket")).expect("a socket"));
}

#[test]
fn everything_comes_back_exactly() {
    let place = Place::on_disk();
    fill(&place);
    let before = described(&place.data());
    let mut backups = place.open();
    let job = place.job("one");
    backups.first_pass(&job, &Counter::default()).expect("a first pass");
    let report = backups.snapshot(&job, &state(), &Counter::default()).expect("a snapshot");
    assert_eq!(report.remarks.len(), 1, "the socket gets a word: {:?}", report.remarks);
    assert!(report.remarks[0].starts_with("/data/socket is a socket"), "{:?}", report.remarks);
    assert_eq!(described(&place.data()), before, "reading changes nothing");
    migrate(&place.data());
    assert_ne!(described(&place.data()), before);
    place.restore("one");
    assert_same(&described(&place.data()), &before);
    // And once more, as after a crash at the very end.
    place.restore("one");
    assert_same(&described(&place.data()), &before);
}

#[test]
fn everything_comes_back_into_an_empty_volume() {
    let place = Place::on_disk();
    fill(&place);
    // What a socket is without who listens, nobody can say.
    fs::remove_file(place.data().join("socket")).expect("gone");
    let before = described(&place.data());
    place.snapshot("one");
    fs::remove_dir_all(place.data()).expect("gone");
    fs::create_dir(place.data()).expect("an empty volume");
    place.restore("one");
    assert_same(&described(&place.data()), &before);
}

#[test]
fn a_file_that_is_mounted_by_itself_comes_back_where_it_is() {
    use std::os::unix::fs::MetadataExt;
    let place = Place::on_disk();
    place.write("settings", "then, and longer");
    let file = place.data().join("settings");
    let mut job = place.job("one");
    job.sources[0].here.clone_from(&file);
    place.open().snapshot(&job, &state(), &Counter::default()).expect("a snapshot");
    let inode = fs::metadata(&file).expect("a file").ino();
    fs::write(&file, "now").expect("it can be written");
    place.open().restore(&job, &state(), &Counter::default()).expect("it can be restored");
    assert_eq!(place.read("settings"), b"then, and longer");
    assert_eq!(fs::metadata(&file).expect("a file").ino(), inode);
}

pub(super) fn assert_same(now: &[String], then: &[String]) {
    let lost: Vec<_> = then.iter().filter(|line| !now.contains(line)).collect();
    let new: Vec<_> = now.iter().filter(|line| !then.contains(line)).collect();
    assert!(lost.is_empty() && new.is_empty(), "lost {lost:#?}, instead {new:#?}");
}
