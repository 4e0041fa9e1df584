//! The end-to-end suite's own parts: throw-away engines, a sample app, a load of
//! visitors.

pub mod browser;
pub mod compose;
pub mod examples;
pub mod fake;
pub mod forge;
pub mod lab;
pub mod load;
pub mod nginx;
pub mod postgres;
pub mod restic;
pub mod sample;
pub mod sqlite;
pub mod tls;
mod unpacked;
pub mod wire;
pub mod world;
