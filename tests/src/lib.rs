//! The end-to-end suite's own parts.
