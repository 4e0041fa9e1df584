//! The container engine: the only place that names bollard or the socket.
//!
//! Two clients, one engine. Whatever decides about a container goes over the
//! wire (`wire.rs`) as raw JSON in a fixed API version: typed models drop fields they
//! don't know and fail on enum values they don't know, and a recreated container
//! must lose nothing. Long streams (pull, logs) are bollard's (`streams.rs`).

mod containers;
mod context;
mod endpoint;
mod error;
mod files;
mod images;
mod streams;
mod tls;
mod wire;

pub use context::{Chosen, Wish, Wishes};
pub use endpoint::Endpoint;
pub use error::EngineError;
pub use files::{FileError, PathStat};
pub use images::split_reference;
pub use streams::{Credentials, PullProgress};

use serde_json::Value;
pub use wire::Tether;
use wire::{Request, Wire};

/// The newest API version that we speak. Later ones hide the MAC address that a
/// user asked for.
const NEWEST: ApiVersion = ApiVersion(1, 51);
/// The oldest that we speak: Docker Engine 20.10.
const OLDEST: ApiVersion = ApiVersion(1, 41);

/// A version of the engine's HTTP API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion(pub u32, pub u32);

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl std::str::FromStr for ApiVersion {
    type Err = ();

    fn from_str(text: &str) -> Result<ApiVersion, ()> {
        let (major, minor) = text.split_once('.').ok_or(())?;
        Ok(ApiVersion(major.parse().map_err(|_| ())?, minor.parse().map_err(|_| ())?))
    }
}

/// A connection to one engine. Every call opens its own, so an engine that was
/// restarted in between is simply called again.
#[derive(Debug, Clone)]
pub struct Engine {
    wire: Wire,
    api: ApiVersion,
    podman: Option<Podman>,
}

/// An engine that is Podman, by the socket that speaks Docker's API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Podman {
    /// `5` of 5.4.2.
    pub major: u32,
    /// `4` of 5.4.2.
    pub minor: u32,
}

impl Podman {
    /// The first that can change the restart policy of a container that exists.
    pub const OLDEST: Podman = Podman { major: 5, minor: 1 };

    /// From the header that only Podman sends: `5.4.2`.
    fn from_version(version: &str) -> Option<Podman> {
        let mut numbers = version.split('.').map(str::parse);
        Some(Podman { major: numbers.next()?.ok()?, minor: numbers.next()?.ok()? })
    }
}

impl std::fmt::Display for Podman {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Engine {
    /// Connects and agrees on an API version: the engine's newest that we know.
    pub async fn connect(endpoint: Endpoint) -> Result<Engine, EngineError> {
        let wire = Wire::new(endpoint)?;
        let reply = wire.send(Request::get("/_ping")).await?;
        if reply.wants_tls() {
            return Err(EngineError::WantsTls { endpoint: wire.endpoint().to_string() });
        }
        if let Some(error) = reply.of_a_proxy() {
            return Err(error);
        }
        let offered = reply.header("api-version").unwrap_or_default();
        let newest: ApiVersion = offered.parse().map_err(|()| EngineError::NotAnEngine {
            endpoint: wire.endpoint().to_string(),
            status: reply.status,
        })?;
        if newest < OLDEST {
            return Err(EngineError::TooOld { offered: newest, oldest: OLDEST });
        }
        let podman = reply.header("libpod-api-version").and_then(Podman::from_version);
        Ok(Engine { wire, api: newest.min(NEWEST), podman })
    }

    /// Its version, if the engine is Podman.
    pub fn podman(&self) -> Option<Podman> {
        self.podman
    }

    /// The API version in use, for reading and creating alike.
    pub fn api(&self) -> ApiVersion {
        self.api
    }

    /// Where the engine is.
    pub fn endpoint(&self) -> &Endpoint {
        self.wire.endpoint()
    }

    /// Whether the socket's file has been deleted under us. In a container a mount
    /// keeps it, but no engine will ever listen there again.
    pub fn socket_is_deleted(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let socket = self.endpoint().socket().and_then(|path| std::fs::metadata(path).ok());
        socket.is_some_and(|socket| socket.nlink() == 0)
    }

    /// What the engine says of itself: `GET /info`.
    pub async fn info(&self) -> Result<Value, EngineError> {
        self.json(Request::get("/info")).await
    }

    /// Sends a request whose answer must be a success with a JSON body.
    async fn json(&self, request: Request) -> Result<Value, EngineError> {
        self.call(request).await?.json()
    }

    /// Sends a request whose answer is `None` where the thing does not exist.
    async fn json_if_there(&self, request: Request) -> Result<Option<Value>, EngineError> {
        match self.json(request).await {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A connection by which it can be seen whether the engine was restarted.
    pub async fn tether(&self) -> Option<Tether> {
        self.wire.tether().await
    }

    async fn call(&self, request: Request) -> Result<wire::Reply, EngineError> {
        self.wire.send(request.versioned(self.api)).await?.successful()
    }
}
