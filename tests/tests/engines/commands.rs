//! What the commands do and say.

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    Vec::new()
}
