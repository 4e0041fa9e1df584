//! The wall clock, for what the engine has stamped with it.
//!
//! Anybody may set it, or a time server may, so nothing is measured by it: it only says
//! how old a stamp was when we first saw it. The rest is counted by a clock that no one
//! can move.

use jiff::Timestamp;

/// What the wall clock shows.
pub(crate) fn wall() -> Timestamp {
    #[cfg(test)]
    if let Some(simulated) = simulated::now() {
        return simulated;
    }
    Timestamp::now()
}

/// A wall clock that tests set.
#[cfg(test)]
pub(crate) mod simulated {
    use std::cell::Cell;

    use jiff::{SignedDuration, Timestamp};
    use tokio::time::Instant;

    thread_local! {
        static CLOCK: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
    }

    pub(crate) fn now() -> Option<Timestamp> {
        let (then, since) = CLOCK.get()?;
        let elapsed = SignedDuration::try_from(since.elapsed()).unwrap_or_default();
        then.checked_add(elapsed).ok()
    }

    /// Sets it; from here on it goes with the runtime's time.
    pub(crate) fn set(to: Timestamp) {
        CLOCK.set(Some((to, Instant::now())));
    }

    /// Somebody moves it.
    pub(crate) fn jump(seconds: i64) {
        if let Some(now) = now() {
            set(now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(now));
        }
    }

    /// Back to the real one.
    pub(crate) fn unset() {
        CLOCK.set(None);
    }
}
