//! A real registry inside a lab, so that pulls are real pulls.

/// A registry in a lab's host network.
#[derive(Debug)]
pub struct Registry;
/// A user of a registry.
#[derive(Debug)]
pub struct Login;
