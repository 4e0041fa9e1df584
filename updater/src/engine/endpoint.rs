//! Where the engine is found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket file.
    Unix(PathBuf),
    /// `host:port`, plain HTTP: a socket proxy.
    Tcp(String),
    /// An engine in this very process, for tests.
    #[cfg(test)]
    #[expect(private_interfaces, reason = "there for tests only")]
    InProcess(crate::seeded::Dial),
}

impl Endpoint {
    /// The first socket that exists in the usual places; Docker's own path if none does.
    pub fn usual() -> Endpoint {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = [
            Some(PathBuf::from("/var/run/docker.sock")),
            runtime.as_ref().map(|dir| dir.join("docker.sock")),
            Some(PathBuf::from("/run/podman/podman.sock")),
            runtime.as_ref().map(|dir| dir.join("podman/podman.sock")),
        ];
        let found = places.into_iter().flatten().find(|path| path.exists());
        Endpoint::Unix(found.unwrap_or_else(|| "/var/run/docker.sock".into()))
    }

    /// The socket file, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) => None,
            #[cfg(test)]
            Endpoint::InProcess(_) => None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) => write!(f, "tcp://{address}"),
            #[cfg(test)]
            Endpoint::InProcess(_) => f.write_str("test:"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        // An empty DOCKER_HOST is none.
        if text.is_empty() {
            return Ok(Endpoint::usual());
        }
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Endpoint::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Ok(Endpoint::Unix(text.into()));
        }
        if let Some(address) = text.strip_prefix("tcp://").or(text.strip_prefix("http://")) {
            return Ok(Endpoint::Tcp(address.trim_end_matches('/').to_owned()));
        }
        Err("expected unix:///path/to/docker.sock or tcp://host:port".to_owned())
    }
}
