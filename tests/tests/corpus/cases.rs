//! The cases, by theme. Host ports start with 9, each belongs to one case.

mod api;
mod compose;
mod defaults;
mod mounts;
mod networks;
pub(crate) mod podman;
mod ports;
mod resources;
mod runtime;
mod security;

use crate::case::Case;

/// All cases.
pub(crate) fn all() -> Vec<Case> {
    [
        defaults::CASES,
        ports::CASES,
        networks::CASES,
        mounts::CASES,
        resources::CASES,
        security::CASES,
        runtime::CASES,
        api::CASES,
        compose::CASES,
    ]
    .concat()
}
