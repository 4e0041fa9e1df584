//! Pulls and logs: long streams, by bollard.

use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error as BollardError;
use bollard::query_parameters::{CreateImageOptionsBuilder, LogsOptionsBuilder};
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::wire::Wire;
use super::{Endpoint, Engine, EngineError, split_reference};

/// A pull that makes no progress for so long is given up.
const STALLED: Duration = Duration::from_secs(180);

/// A log that says nothing for so long may be one that the engine has forgotten to go on
/// with, as Docker has done now and then (moby 23913, 37646, 39235), or one whose other end
/// went without a word, as happens over TCP.
const QUIET: Duration = Duration::from_secs(3);

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
            let line = match timeout(STALLED, lines.next()).await {
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
        self.output_within(id, follow, QUIET)
    }

    fn output_within(
        &self,
        id: &str,
        follow: bool,
        quiet: Duration,
    ) -> Result<impl Stream<Item = Result<String, EngineError>> + use<>, EngineError> {
        let lines = self.lines(id, follow)?;
        let id = id.to_owned();
        let output = Output { engine: self.clone(), id, follow, quiet, lines, given: 0, again: 0 };
        Ok(futures_util::stream::unfold(output, async |mut output| {
            output.next().await.map(|line| (line, output))
        }))
    }

    fn lines(&self, id: &str, follow: bool) -> Result<Lines, EngineError> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(false).follow(follow);
        Ok(async_lines(self.bollard()?, id.to_owned(), options.build(), self.clone()).boxed())
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
        while let Ok(Some(Ok(chunk))) = timeout(Duration::from_secs(5), chunks.next()).await {
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
            Endpoint::Tls { .. } => over(self.wire.clone(), seconds, version),
            #[cfg(test)]
            Endpoint::InProcess(_) => over(self.wire.clone(), seconds, version),
        }
        .map_err(|e| self.translate(e, "connect"))
    }

    fn translate(&self, error: BollardError, doing: &str) -> EngineError {
        match error {
            // Of the answer's head nothing is left, so its text has to tell whose it is.
            BollardError::DockerResponseServerError {
                status_code: status @ 502..=504,
                message,
            } if is_of_a_proxy(&message) => {
                let (endpoint, doing) = (self.endpoint().to_string(), doing.to_owned());
                EngineError::Proxy { endpoint, doing, status }
            }
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
            other => EngineError::from_io(self.endpoint(), doing, std::io::Error::other(other)),
        }
    }
}

/// Whether this is what proxies say when nobody answers behind them: a page, the name of the
/// status, or nothing at all.
fn is_of_a_proxy(message: &str) -> bool {
    let said = message.trim();
    said.is_empty()
        || said.starts_with('<')
        || ["Bad Gateway", "Service Unavailable", "Gateway Timeout"].contains(&said)
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

type Lines = BoxStream<'static, Result<String, EngineError>>;

/// A container's output, in spite of engines that forget who follows it: a stream that has
/// been silent for a while is opened anew.
struct Output {
    engine: Engine,
    id: String,
    follow: bool,
    quiet: Duration,
    lines: Lines,
    /// Lines that were given out.
    given: usize,
    /// Those of them that are still to come once more.
    again: usize,
}

impl Output {
    async fn next(&mut self) -> Option<Result<String, EngineError>> {
        loop {
            match timeout(self.quiet, self.lines.next()).await {
                Ok(Some(Ok(_))) if self.again > 0 => self.again -= 1,
                Ok(line) => {
                    self.given += usize::from(matches!(line, Some(Ok(_))));
                    return line;
                }
                Err(_) => match self.open_anew().await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }

    /// Says whether there is anything to be read from. The last words of a container that
    /// has ended are read without waiting for more.
    async fn open_anew(&mut self) -> Result<bool, EngineError> {
        let Some(container) = self.engine.container(&self.id).await? else { return Ok(false) };
        self.follow &= container["State"]["Running"] == true;
        self.lines = self.engine.lines(&self.id, self.follow)?;
        self.again = self.given;
        Ok(true)
    }
}

/// Bollard on connections of ours.
fn over(
    wire: Wire,
    seconds: u64,
    version: &bollard::ClientVersion,
) -> Result<Docker, BollardError> {
    let transport = move |request: bollard::BollardRequest| {
        let wire = wire.clone();
        async move {
            let stream = hyper_util::rt::TokioIo::new(wire.connect().await?);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
            tokio::spawn(connection);
            Ok::<_, BollardError>(sender.send_request(request).await?)
        }
    };
    Docker::connect_with_custom_transport(transport, Some("http://engine"), seconds, version)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{UnixListener, UnixStream};

    use super::*;

    /// An engine with one container, which has said two lines. Who follows it hears the
    /// first, and then nothing any more; for who asks again it has ended.
    async fn forgetful(listener: UnixListener) {
        let asked = Arc::new(AtomicUsize::new(0));
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, asked.clone()));
        }
    }

    async fn answer(mut stream: UnixStream, asked: Arc<AtomicUsize>) -> std::io::Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let head = head.lines().next().unwrap_or_default();
        let line = |text: &str| {
            let mut framed = vec![1, 0, 0, 0, 0, 0, 0, text.len() as u8];
            framed.extend_from_slice(text.as_bytes());
            framed
        };
        let ended = b"{\"Id\":\"c\",\"State\":{\"Running\":false}}".to_vec();
        let body = match head {
            _ if head.contains("/_ping") => b"OK".to_vec(),
            _ if head.contains("/json") => ended,
            _ if asked.fetch_add(1, Ordering::SeqCst) > 0 => {
                assert!(head.contains("follow=false"), "it has ended: {head}");
                [line("one\n"), line("two\n")].concat()
            }
            _ => {
                let length = line("one\n").len();
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                stream.write_all(format!("{head}{length:x}\r\n").as_bytes()).await?;
                stream.write_all(&line("one\n")).await?;
                stream.write_all(b"\r\n").await?;
                // Until the client has had enough.
                let _ = stream.read_u8().await;
                return Ok(());
            }
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await
    }

    #[tokio::test]
    async fn a_log_that_the_engine_forgets_to_go_on_with_is_read_to_its_end_all_the_same() {
        let path = std::env::temp_dir().join(format!("changeover-log-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        tokio::spawn(forgetful(UnixListener::bind(&path).expect("a socket")));
        let engine = Engine::connect(Endpoint::Unix(path.clone())).await.expect("an engine");
        let lines = engine.output_within("c", true, Duration::from_millis(200)).expect("a log");
        let lines = lines.map(|line| line.expect("a line")).collect::<Vec<_>>();
        let limit = Duration::from_secs(20);
        let lines = timeout(limit, lines).await.expect("it comes to an end");
        assert_eq!(lines, ["one", "two"], "each of them once");
        let _ = std::fs::remove_file(&path);
    }
}
