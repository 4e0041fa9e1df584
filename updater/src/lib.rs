//! Changeover replaces the running container of an app by a newer version while
//! visitors watch a page instead of an error.

pub mod cli;
pub mod engine;
pub mod events;
pub mod face;
pub mod follow;
pub mod gate;
pub mod handover;
pub mod helper;
pub mod launch;
pub mod page;
pub mod plan;
pub mod progress;
pub mod status;
pub mod successor;
pub mod swap;
