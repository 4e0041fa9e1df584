//! Changeover replaces the running container of an app by a newer version while
//! visitors watch a page instead of an error.

pub mod handover;
pub mod plan;
pub mod status;
