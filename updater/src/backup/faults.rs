//! A disk that is full, or a process that dies, at a chosen write of this thread.

use std::cell::Cell;
use std::io;

/// How the blow falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blow {
    /// The disk is full for this one write, and has room again for the next.
    Full,
    /// From here on nothing is written any more: killed.
    Killed,
}

thread_local! {
    static BLOW: Cell<Option<(Blow, u64)>> = const { Cell::new(None) };
    static WRITES: Cell<u64> = const { Cell::new(0) };
}

/// Does something whose `nth` write, counted from 0, meets with a blow. Returns what came
/// of it, and how many writes there were.
pub(super) fn with<T>(blow: Blow, nth: u64, work: impl FnOnce() -> T) -> (T, u64) {
    BLOW.set(Some((blow, nth)));
    WRITES.set(0);
    let done = work();
    BLOW.set(None);
    (done, WRITES.get())
}

/// Whether this thread waits for a blow. It does everything itself then, so that the
/// same write is the same one each time.
pub(super) fn is_awaited() -> bool {
    BLOW.get().is_some()
}

pub(super) fn strike() -> io::Result<()> {
    let Some((blow, nth)) = BLOW.get() else { return Ok(()) };
    let now = WRITES.replace(WRITES.get() + 1);
    match blow {
        Blow::Full if now == nth => Err(io::ErrorKind::StorageFull.into()),
        Blow::Killed if now >= nth => Err(io::Error::other("killed")),
        _ => Ok(()),
    }
}
