//! Pulls and logs: long streams, by bollard.

use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{CreateImageOptionsBuilder, LogsOptionsBuilder};
use futures_util::{Stream, StreamExt};

use super::{Endpoint, Engine, EngineError, split_reference};

/// A pull that makes no progress for so long is given up.
const STALLED: Duration = Duration::from_secs(180);

/// What opens a registry.
#[derive(Clone)]
pub enum Credentials {
    /// A user and a password or token.
    Password {
        /// The user.
        user: String,
        /// The password or token.
        password: String,
    },
    /// An identity token, as `docker login` leaves it for some registries.
    IdentityToken(String),
}

// Never print a secret, not even by accident.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// The layer, or empty for the image as a whole.
    pub layer: String,
    /// The engine's words: `Downloading`, `Pull complete`, …
    pub status: String,
    /// Bytes done and bytes in all, where the engine knows them.
    pub bytes: Option<(u64, u64)>,
}

impl Engine {
    /// Pulls an image. The engine may fail after its first success line, so the
    /// caller must look for the image afterwards.
    pub async fn pull(
        &self,
        reference: &str,
        platform: Option<&str>,
        credentials: Option<&Credentials>,
        mut progress: impl FnMut(PullProgress),
    ) -> Result<(), EngineError> {
        let (repository, tag) = split_reference(reference);
        // Without a tag the engine would pull all of them.
        let mut options = CreateImageOptionsBuilder::default()
            .from_image(repository)
            .tag(tag.unwrap_or("latest"));
        if let Some(platform) = platform {
            options = options.platform(platform);
        }
        let credentials = credentials.map(|c| match c.clone() {
            Credentials::Password { user, password } => DockerCredentials {
                username: Some(user),
                password: Some(password),
                ..DockerCredentials::default()
            },
            Credentials::IdentityToken(token) => {
                DockerCredentials { identitytoken: Some(token), ..DockerCredentials::default() }
            }
        });
        let docker = self.bollard()?;
        let mut lines = Box::pin(docker.create_image(Some(options.build()), None, credentials));
        loop {
            let line = match tokio::time::timeout(STALLED, lines.next()).await {
                Err(_) => return Err(EngineError::Stalled { seconds: STALLED.as_secs() }),
                Ok(None) => return Ok(()),
                Ok(Some(line)) => line.map_err(|e| self.translate(e, "pull"))?,
            };
            let bytes = line.progress_detail.and_then(|detail| {
                let known = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
                Some((known(detail.current)?, known(detail.total).filter(|total| *total > 0)?))
            });
            progress(PullProgress {
                layer: line.id.unwrap_or_default(),
                status: line.status.unwrap_or_default(),
                bytes,
            });
        }
    }

    /// What a container writes to standard output, line by line, until
    /// it ends, if `follow`.
    pub fn output(
        &self,
        id: &str,
        follow: bool,
    ) -> Result<impl Stream<Item = Result<String, EngineError>> + use<>, EngineError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(false).follow(follow);
        let engine = self.clone();
        let docker = self.bollard()?;
        let id = id.to_owned();
        let chunks = async_lines(docker, id, options.build(), engine);
        Ok(chunks)
    }

    /// The last lines of a container's output, both streams, for people.
    pub async fn log_tail(&self, id: &str, lines: usize) -> Result<Vec<String>, EngineError> {
        let options = LogsOptionsBuilder::default()
            .stdout(true)
            .stderr(true)
            .tail(&lines.to_string())
            .build();
        let docker = self.bollard()?;
        let mut text = String::new();
        let mut chunks = Box::pin(docker.logs(id, Some(options)));
        while let Ok(Some(Ok(chunk))) =
            tokio::time::timeout(Duration::from_secs(5), chunks.next()).await
        {
            text.push_str(&String::from_utf8_lossy(&bytes_of(chunk)));
        }
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn bollard(&self) -> Result<Docker, EngineError> {
        // Bollard's limit covers the time to the head of the answer. A pull sends
        // it once the registry has answered.
        let seconds = STALLED.as_secs();
        let version = bollard::API_DEFAULT_VERSION;
        match self.endpoint() {
            Endpoint::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), seconds, version)
            }
            Endpoint::Tcp(address) => Docker::connect_with_http(address, seconds, version),
            #[cfg(test)]
            Endpoint::InProcess(dial) => in_process(dial.clone(), seconds, version),
        }
        .map_err(|e| self.translate(e, "connect"))
    }

    fn translate(&self, error: BollardError, doing: &str) -> EngineError {
        match error {
            BollardError::DockerResponseServerError { status_code, message } => {
                EngineError::Reply { status: status_code, message }
            }
            // The engine had said 200 already when this happened.
            BollardError::DockerStreamError { error } => {
                EngineError::Reply { status: 500, message: error }
            }
            BollardError::SocketNotFoundError(_) => {
                EngineError::NoSocket { endpoint: self.endpoint().to_string() }
            }
            other => EngineError::from_io(
                self.endpoint().to_string(),
                doing,
                std::io::Error::other(other),
            ),
        }
    }
}

fn bytes_of(chunk: LogOutput) -> bytes::Bytes {
    match chunk {
        LogOutput::StdErr { message }
        | LogOutput::StdOut { message }
        | LogOutput::StdIn { message }
        | LogOutput::Console { message } => message,
    }
}

/// Cuts the chunks of a log into lines; a chunk may hold several or a part of one.
fn async_lines(
    docker: Docker,
    id: String,
    options: bollard::query_parameters::LogsOptions,
    engine: Engine,
) -> impl Stream<Item = Result<String, EngineError>> {
    let chunks = Box::pin(docker.logs(&id, Some(options)));
    let state = (chunks, String::new(), engine);
    futures_util::stream::unfold(state, |(mut chunks, mut rest, engine)| async move {
        loop {
            if let Some(end) = rest.find('\n') {
                let line = rest[..end].trim_end_matches('\r').to_owned();
                rest.drain(..=end);
                return Some((Ok(line), (chunks, rest, engine)));
            }
            match chunks.next().await? {
                Ok(chunk) => rest.push_str(&String::from_utf8_lossy(&bytes_of(chunk))),
                Err(e) => return Some((Err(engine.translate(e, "logs")), (chunks, rest, engine))),
            }
        }
    })
}

/// Bollard on the other end of a pipe in memory.
#[cfg(test)]
fn in_process(
    dial: crate::seeded::Dial,
    seconds: u64,
    version: &bollard::ClientVersion,
) -> Result<Docker, BollardError> {
    let transport = move |request: bollard::BollardRequest| {
        let dial = dial.clone();
        async move {
            let stream = hyper_util::rt::TokioIo::new(dial.dial()?);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            Ok::<_, BollardError>(sender.send_request(request).await?)
        }
    };
    Docker::connect_with_custom_transport(transport, Some("http://engine"), seconds, version)
}
