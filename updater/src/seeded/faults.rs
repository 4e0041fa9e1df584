//! What goes wrong, by the dice.

use super::dice::Dice;

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It is answered after so many milliseconds more than usual.
    Slow(u64),
    /// It is refused without having had an effect.
    Refuse(u16),
    /// The connection breaks before the engine has heard it.
    CutBefore,
    /// The engine has done it, and the connection breaks before the answer.
    CutAfter,
    /// The connection breaks in the middle of the answer.
    CutInside,
    /// The connection breaks at once; the engine does it all the same, so many
    /// milliseconds later.
    Late(u64),
    /// The same of an engine that is held up for so many milliseconds: it answers nobody
    /// meanwhile, and does it so many after that.
    HeldUp(u64, u64),
    /// There is never an answer; the engine does it when the client has given up
    /// long ago, or never.
    Hang(Option<u64>),
    /// The answer is no JSON.
    Garbled,
}

/// What others do in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mischief {
    /// SIGKILL or the OOM killer: the process is gone, the engine sees it.
    HelperCrashes,
    /// Its next word is a panic: it unwinds, lets go of what it holds, and is gone.
    HelperPanics,
    /// `docker stop` of the helper.
    HelperStopped,
    /// `docker rm --force` of the helper.
    HelperRemoved,
    /// Nobody listens on the socket for so many milliseconds; everything lives on.
    EngineAway(u64),
    /// SIGTERM: all containers are stopped, and those that have to are started again.
    EngineTerminated(u64),
    /// SIGKILL: as above, and what ran under `unless-stopped` stays down.
    EngineKilled(u64),
    /// Everything is off at once.
    PowerCut(u64),
    /// The same command as `changeover rollback`: the new version is given up.
    Rollback,
    /// Somebody removes the new container.
    NewRemoved,
    /// Somebody, or another updater, starts what we have stopped.
    OldStarted,
    /// Somebody restarts the version that runs.
    AppRestarted,
    /// The clock is set, forwards or back, by so many seconds.
    ClockJumps(i64),
    /// Somebody asks for another update.
    AnotherUpdate,
}

impl Mischief {
    /// Whether somebody has interfered on purpose; then the update need not succeed.
    pub(super) fn is_by_hand(self) -> bool {
        use Mischief::{
            AppRestarted, HelperRemoved, HelperStopped, NewRemoved, OldStarted, Rollback,
        };
        matches!(
            self,
            HelperStopped | HelperRemoved | Rollback | NewRemoved | OldStarted | AppRestarted
        )
    }

    pub(super) fn ends_the_helper(self) -> bool {
        !matches!(self, Mischief::ClockJumps(_) | Mischief::EngineAway(_) | Mischief::AnotherUpdate)
            && (!self.is_by_hand()
                || matches!(self, Mischief::HelperStopped | Mischief::HelperRemoved))
    }

    pub(super) fn any(dice: &mut Dice) -> Mischief {
        let away = dice.between(50, 15_000);
        match dice.between(0, 22) {
            0..3 => Mischief::HelperCrashes,
            3 | 4 => Mischief::HelperPanics,
            5 => Mischief::HelperStopped,
            6 => Mischief::HelperRemoved,
            7..9 => Mischief::EngineAway(away),
            9..11 => Mischief::EngineTerminated(away),
            11..13 => Mischief::EngineKilled(away),
            13..15 => Mischief::PowerCut(away),
            15 => Mischief::Rollback,
            16 => Mischief::NewRemoved,
            17 => Mischief::OldStarted,
            18 => Mischief::AppRestarted,
            19..21 => Mischief::ClockJumps(dice.pick(&[-86_400, -3600, -30, 30, 3600, 86_400])),
            _ => Mischief::AnotherUpdate,
        }
    }
}

impl Fault {
    /// A fault for a request that changes something, or for one that only looks.
    pub(super) fn any(dice: &mut Dice, write: bool, latest: u64) -> Fault {
        match dice.between(0, if write { 16 } else { 10 }) {
            0..3 => Fault::Slow(dice.between(20, 8000)),
            3 => Fault::Refuse(500),
            4 => Fault::CutBefore,
            5 => Fault::CutInside,
            6 => Fault::Garbled,
            7 => Fault::Hang(None),
            8 | 9 => Fault::CutAfter,
            10 => Fault::CutAfter,
            11 => Fault::Refuse(dice.pick(&[409, 500])),
            12 => Fault::Late(dice.between(1, 2500)),
            13 => Fault::HeldUp(dice.between(1, 6500), dice.between(1, 2500)),
            14 => Fault::Hang(Some(60_000 + dice.between(1, latest + 1))),
            _ => Fault::Refuse(500),
        }
    }

    /// Whether this is a no that the update may be given up for.
    pub(super) fn may_end_an_update(self) -> bool {
        matches!(self, Fault::Refuse(_) | Fault::Hang(_))
    }
}
