//! The `changeover` program.

fn main() {}
