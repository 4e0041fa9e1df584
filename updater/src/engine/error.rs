//! What can go wrong between us and the engine.

use std::io;
use std::path::PathBuf;

use super::tls::{Trouble, trouble};
use super::{ApiVersion, Endpoint};

/// A call to the engine that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is no socket.
    #[error(
        "there is no engine at {endpoint}\nhint: is Docker running? in a container, mount the socket: -v /var/run/docker.sock:/var/run/docker.sock; elsewhere, set DOCKER_HOST"
    )]
    NoSocket {
        /// Where we looked.
        endpoint: String,
    },
    /// The socket is there, but not for us.
    #[error(
        "not allowed to talk to the engine at {endpoint}\nhint: run as root, or as a member of the socket's group (usually `docker`)"
    )]
    NotAllowed {
        /// Where we knocked.
        endpoint: String,
    },
    /// Nobody accepts connections, or the connection broke.
    #[error("the engine at {endpoint} cannot be reached ({doing})")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// The request in progress.
        doing: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody in between says that he got no answer of the engine's.
    #[error(
        "a proxy answers for the engine at {endpoint}, with status {status} ({doing})\nhint: does the engine behind it run?"
    )]
    Proxy {
        /// Where.
        endpoint: String,
        /// The request in progress.
        doing: String,
        /// Its HTTP status.
        status: u16,
    },
    /// That is no place for an engine.
    #[error("`{host}` names no engine: {why}")]
    Host {
        /// What was given.
        host: String,
        /// What is wrong with it.
        why: String,
    },
    /// The context doesn't lead to an engine.
    #[error("the Docker context `{name}` can't be used: {why}\nhint: {hint}")]
    Context {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
        /// The way out.
        hint: String,
    },
    /// Somebody answers who may be anybody.
    #[error(
        "who answers at {endpoint} cannot prove to be the engine\nhint: ca.pem in the folder of DOCKER_CERT_PATH, or in the context, must be the authority that signed the engine's certificate, and the certificate must be for this very host name or address"
    )]
    Untrusted {
        /// Where.
        endpoint: String,
        /// What is wrong with its certificate.
        #[source]
        source: io::Error,
    },
    /// The engine doesn't know us.
    #[error(
        "the engine at {endpoint} wants to know by a certificate who asks, and doesn't take ours\nhint: cert.pem and key.pem in the folder of DOCKER_CERT_PATH, or in the context, must be signed by the authority that the engine trusts (its --tlscacert)"
    )]
    Unknown {
        /// Where.
        endpoint: String,
        /// What it says.
        #[source]
        source: io::Error,
    },
    /// The engine speaks nothing but TLS.
    #[error(
        "the engine at {endpoint} speaks TLS\nhint: set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem"
    )]
    WantsTls {
        /// Where.
        endpoint: String,
    },
    /// A file for TLS can't be used.
    #[error(
        "{} can't be used for TLS with the engine: {why}\nhint: DOCKER_CERT_PATH names a folder with ca.pem, cert.pem and key.pem; a context has them by `docker context create --docker host=…,ca=…,cert=…,key=…`", file.display()
    )]
    Certificate {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No answer in time.
    #[error("the engine gave no answer within {seconds} s ({doing})")]
    Silent {
        /// The request in progress.
        doing: String,
        /// The limit.
        seconds: u64,
    },
    /// Somebody answers who is no engine.
    #[error(
        "{endpoint} answers with status {status}, but is no Docker-compatible engine\nhint: DOCKER_HOST or --host names the engine's socket, say unix:///var/run/docker.sock"
    )]
    NotAnEngine {
        /// Where.
        endpoint: String,
        /// Its HTTP status.
        status: u16,
    },
    /// An engine from before our time.
    #[error(
        "the engine speaks API {offered} at most; {oldest} is needed\nhint: update the engine to Docker 20.10 or later"
    )]
    TooOld {
        /// Its newest version.
        offered: ApiVersion,
        /// Our oldest.
        oldest: ApiVersion,
    },
    /// The engine said no.
    #[error("{message}")]
    Reply {
        /// HTTP status.
        status: u16,
        /// The engine's words.
        message: String,
    },
    /// The engine said something that we can't read.
    #[error("the engine's answer cannot be read ({doing}): {what}")]
    Garbled {
        /// The request in progress.
        doing: String,
        /// What is wrong with it.
        what: String,
    },
    /// A stream that stopped making progress.
    #[error("no progress for {seconds} s")]
    Stalled {
        /// The limit.
        seconds: u64,
    },
}

/// What Podman says with status 500 about a state that stays as it is, and Docker with 409.
const PODMANS_CONFLICTS: [&str; 3] = [
    "that name is already in use",
    "UNIQUE constraint failed: ContainerConfig.Name",
    "running or paused containers cannot be removed without force",
];

impl EngineError {
    /// The engine's no. A conflict has Docker's status, whoever says so: whether another try
    /// is worth it hangs on it.
    pub(super) fn reply(status: u16, message: String) -> EngineError {
        let is_conflict = PODMANS_CONFLICTS.iter().any(|words| message.contains(words));
        EngineError::Reply { status: if is_conflict { 409 } else { status }, message }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            EngineError::Reply { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether Podman gave up a look because a container went away meanwhile: it says so with
    /// status 500, also of a list.
    pub(super) fn is_for_one_that_is_gone(&self) -> bool {
        matches!(self, EngineError::Reply { message, .. } if message.ends_with("no such container"))
    }

    /// Whether Podman refused to change a container whose health check is switched off.
    pub(super) fn is_for_no_health_check(&self) -> bool {
        matches!(self, EngineError::Reply { message, .. } if message.contains("healthcheck-timeout must be at least"))
    }

    /// Whether the engine was asked and has left it without an answer for long, so that it may
    /// be at it yet, or hang.
    pub fn is_silence(&self) -> bool {
        const GATEWAY_TIMEOUT: u16 = 504;
        matches!(
            self,
            EngineError::Silent { .. } | EngineError::Proxy { status: GATEWAY_TIMEOUT, .. }
        )
    }

    /// Whether the engine understood and said no, as opposed to not being there.
    pub fn is_refusal(&self) -> bool {
        matches!(self, EngineError::Reply { .. })
    }

    /// Whether there wasn't even a connection by which the engine could have heard of it.
    pub fn was_never_sent(&self) -> bool {
        match self {
            EngineError::NoSocket { .. } | EngineError::NotAllowed { .. } => true,
            // What breaks later, hyper tells.
            EngineError::Unreachable { source, .. } => {
                !source.get_ref().is_some_and(|cause| cause.is::<hyper::Error>())
            }
            _ => false,
        }
    }

    pub(super) fn from_io(endpoint: &Endpoint, doing: &str, source: io::Error) -> EngineError {
        let endpoint = endpoint.to_string();
        match trouble(&source) {
            Some(Trouble::Untrusted) => return EngineError::Untrusted { endpoint, source },
            Some(Trouble::Unknown) => return EngineError::Unknown { endpoint, source },
            None => {}
        }
        match source.kind() {
            io::ErrorKind::NotFound => EngineError::NoSocket { endpoint },
            io::ErrorKind::PermissionDenied => EngineError::NotAllowed { endpoint },
            _ => EngineError::Unreachable { endpoint, doing: doing.to_owned(), source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_podmans_may_fail_for_one_that_is_gone() {
        // Recorded from Podman 5.4.
        let gone = "no container with ID 7cd2ff1b95632dffdc3777b1ed7824b8d3c6c061c770830049b3ce0b6fd7c430 found in database: no such container";
        assert!(EngineError::reply(500, gone.to_owned()).is_for_one_that_is_gone());
        assert!(
            !EngineError::reply(500, "database is locked".to_owned()).is_for_one_that_is_gone()
        );
    }

    #[test]
    fn a_conflict_is_one_on_podman_too() {
        // Recorded from Podman 4.3 and 5.4.
        let taken = "container create: creating container storage: the container name \"a\" is already in use by b63b96d9b4ae. You have to remove that container to be able to reuse that name: that name is already in use";
        let renamed = "renaming container 89575127d298: updating container config table with new configuration for container 89575127d298: UNIQUE constraint failed: ContainerConfig.Name";
        let runs = "cannot remove container b63b96d9b4ae as it is running - running or paused containers cannot be removed without force: container state improper";
        for message in [taken, renamed, runs] {
            assert_eq!(
                EngineError::reply(500, message.to_owned()).status(),
                Some(409),
                "{message}"
            );
        }
        let busy = "cannot listen on the TCP port: listen tcp4 :80: bind: address already in use";
        assert_eq!(EngineError::reply(500, busy.to_owned()).status(), Some(500));
    }
}
