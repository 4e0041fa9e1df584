//! The page's looks: everything about it that doesn't change during an update.

use std::sync::Arc;

use hyper::header::HeaderValue;

use super::assets::Assets;
use super::language::{self, Wish};

/// What the page is made of.
pub(super) struct Look {
    pub(super) assets: Arc<Assets>,
    /// The content security policy.
    pub(super) policy: HeaderValue,
}

impl Look {
    pub(super) fn new(assets: Arc<Assets>) -> Look {
        let policy = HeaderValue::from_str(&assets.policy());
        Look { policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")), assets }
    }

    /// The place of the language for a visitor.
    pub(super) fn language(&self, wish: Wish<'_>) -> usize {
        language::choose(&self.assets.languages, None, wish)
    }
}
