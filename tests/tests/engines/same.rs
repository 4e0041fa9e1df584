//! The new container is the same container.

mod differences;
mod layer;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    [differences::cases(), layer::cases()].concat()
}

/// A case named as its function.
macro_rules! case {
    ($name:ident) => {
        crate::Case { name: stringify!($name), alone: false, run: $name }
    };
}
use case;
