//! Killed, or out of room, at each write of a pass, of a restore and of a clearing.
//!
//! Every write is numbered, and one thread makes them all, so a failure names the write
//! and comes again.

use std::fs;

use super::super::faults::{Blow, with};
use super::super::{BackupError, Backups, Counter, NO_KEY};
use super::described::described;
use super::fidelity::assert_same;
use super::{Place, noise, state};

const BLOWS: [Blow; 2] = [Blow::Killed, Blow::Full];

fn volume() -> Place {
    let place = Place::new();
    for n in 0..6 {
        place.write(&format!("folder/{n}"), noise(n, 150_000));
    }
    fs::hard_link(place.data().join("folder/1"), place.data().join("same")).expect("a link");
    std::os::unix::fs::symlink("folder", place.data().join("link")).expect("a link");
    place
}

fn migrate(place: &Place) {
    place.write("folder/1", "migrated");
    place.write("folder/2", noise(20, 160_000));
    fs::remove_file(place.data().join("folder/3")).expect("gone");
    fs::remove_file(place.data().join("link")).expect("gone");
    fs::remove_file(place.data().join("same")).expect("gone");
    place.write("link/added", "new");
}

/// A volume that a new version has been at since its snapshot `one`, and what it was then.
fn migrated() -> (Place, Vec<String>) {
    let place = volume();
    let then = described(&place.data());
    place.snapshot("one");
    migrate(&place);
    (place, then)
}

#[test]
fn a_pass_that_is_cut_off_anywhere_leaves_the_data_and_the_older_snapshot_whole() {
    for blow in BLOWS {
        for nth in 0.. {
            let (place, then) = migrated();
            let now = described(&place.data());
            let pass = || -> Result<(), BackupError> {
                let mut backups = Backups::open(&place.repository(), NO_KEY)?;
                let job = place.job("two");
                backups.first_pass(&job, &Counter::default())?;
                place.write("folder/4", "later");
                backups.snapshot(&job, &state(), &Counter::default())?;
                backups.keep_newest(2).map(drop)
            };
            let (done, writes) = with(blow, nth, pass);
            let later = described(&place.data());
            if nth >= writes {
                assert!(done.is_ok(), "{done:?}");
                assert!(nth > 15, "only {nth} writes were tried");
                break;
            }
            let what = format!("{blow:?} at write {nth}");
            // Whatever it is that has stopped: if there is a snapshot, it is whole.
            let taken = place.open().restore(&place.job("two"), &state(), &Counter::default());
            if taken.unwrap_or_else(|error| panic!("{what}: {error}")).is_some() {
                assert_same(&described(&place.data()), &later);
            } else {
                assert!(done.is_err(), "{what}");
                assert!(described(&place.data()) == now || described(&place.data()) == later);
            }
            // The older one still is, and the next pass gets through.
            place.snapshot("three");
            place.restore("one");
            assert_same(&described(&place.data()), &then);
            place.restore("three");
            assert_same(&described(&place.data()), &later);
        }
    }
}

#[test]
fn a_pass_that_ran_out_of_room_gives_back_what_it_took() {
    let place = volume();
    place.snapshot("one");
    let before = place.size();
    place.write("folder/5", noise(50, 30 << 20));
    let mut refused = 0;
    for nth in 0..4 {
        let pass =
            || place.open().snapshot(&place.job("two"), &state(), &Counter::default()).is_err();
        let (failed, _) = with(Blow::Full, nth, pass);
        refused += u32::from(failed);
        assert!(!failed || place.size() == before, "{} bytes stay", place.size() - before);
    }
    assert!(refused > 2, "only {refused} were refused");
}

#[test]
fn a_restore_that_is_cut_off_anywhere_is_brought_to_its_end_by_the_next() {
    for blow in BLOWS {
        for nth in 0.. {
            let (place, then) = migrated();
            let back = || place.open().restore(&place.job("one"), &state(), &Counter::default());
            let (done, writes) = with(blow, nth, back);
            assert_eq!(done.is_err(), nth < writes, "{blow:?} at write {nth}: {done:?}");
            place.restore("one");
            assert_same(&described(&place.data()), &then);
            if nth >= writes {
                assert!(nth > 15, "only {nth} writes were tried");
                break;
            }
        }
    }
}

#[test]
fn a_clearing_that_is_cut_off_anywhere_leaves_what_stays_whole() {
    // Most of what the first snapshot has written is needed by the third as well.
    let place = volume();
    let migrated = |n: u64| place.write(&format!("folder/{n}"), noise(n + 50, 150_000));
    place.snapshot("one");
    migrated(2);
    place.snapshot("two");
    migrated(3);
    place.snapshot("three");
    let then = described(&place.data());
    let kept = place.root.join("kept");
    let copy = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.expect("cp runs").success());
    };
    copy(&place.repository(), &kept);
    let full = place.size();
    for blow in BLOWS {
        for nth in 0.. {
            fs::remove_dir_all(place.repository()).expect("ours");
            copy(&kept, &place.repository());
            let clear = || place.open().keep_newest(1);
            let (done, writes) = with(blow, nth, clear);
            let what = format!("{blow:?} at write {nth}: {done:?}");
            place.open().verify_all(&|_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
            place.write("folder/1", "spoilt");
            place.restore("three");
            assert_same(&described(&place.data()), &then);
            // The next one brings it to its end.
            place.open().keep_newest(1).unwrap_or_else(|error| panic!("{what}: {error}"));
            place.open().verify_all(&|_| {}).unwrap_or_else(|error| panic!("{what}: {error}"));
            // 900 kB are needed, and a fifth more may be there.
            assert!(place.size() < 1_110_000, "{what}: {} of {full} stay", place.size());
            if nth >= writes {
                assert!(done.is_ok(), "{what}");
                assert!(nth > 10, "only {nth} writes were tried");
                break;
            }
        }
    }
}

#[test]
fn a_repository_whose_making_was_cut_off_is_made_again() {
    for nth in 0..8 {
        let place = volume();
        let make = || Backups::open(&place.repository(), NO_KEY).is_err();
        with(Blow::Killed, nth, make);
        place.snapshot("one");
        place.write("folder/1", "new");
        place.restore("one");
        assert_eq!(place.read("folder/1"), noise(1, 150_000));
    }
}
