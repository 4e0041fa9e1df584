//! The end-to-end suite's own parts.

pub mod lab;
