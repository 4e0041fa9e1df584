//! What happens when something dies in the middle.

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    Vec::new()
}
