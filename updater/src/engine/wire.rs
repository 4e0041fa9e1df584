//! One request, one connection, raw JSON.
//!
//! A connection to a socket costs microseconds. One per call means that no
//! half-dead connection is ever reused after an engine restart, and that a cut
//! hits exactly one call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::tls::Tls;
use super::{ApiVersion, Endpoint, EngineError};

/// How long the engine may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take to answer, where the caller doesn't know better.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub(super) struct Wire {
    endpoint: Endpoint,
    tls: Option<Tls>,
}

/// A request before it is sent.
#[derive(Clone)]
pub(super) struct Request {
    method: &'static str,
    path: String,
    query: Vec<(&'static str, String)>,
    body: Bytes,
    content_type: &'static str,
    limit: Duration,
}

/// An answer, whole.
pub(super) struct Reply {
    pub(super) status: u16,
    headers: hyper::HeaderMap,
    pub(super) body: Bytes,
    doing: String,
    endpoint: String,
}

impl Request {
    pub(super) fn get(path: impl Into<String>) -> Request {
        Request::new("GET", path)
    }

    pub(super) fn head(path: impl Into<String>) -> Request {
        Request::new("HEAD", path)
    }

    pub(super) fn put(path: impl Into<String>) -> Request {
        Request::new("PUT", path).tar(Vec::new())
    }

    pub(super) fn post(path: impl Into<String>) -> Request {
        Request::new("POST", path)
    }

    pub(super) fn delete(path: impl Into<String>) -> Request {
        Request::new("DELETE", path)
    }

    fn new(method: &'static str, path: impl Into<String>) -> Request {
        Request {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Bytes::new(),
            content_type: "application/json",
            limit: ANSWER_LIMIT,
        }
    }

    pub(super) fn query(mut self, key: &'static str, value: impl Into<String>) -> Request {
        self.query.push((key, value.into()));
        self
    }

    pub(super) fn body(mut self, body: &Value) -> Request {
        self.body = body.to_string().into();
        self
    }

    pub(super) fn tar(mut self, body: Vec<u8>) -> Request {
        self.body = body.into();
        self.content_type = "application/x-tar";
        self
    }

    /// The engine may need longer than usual, say for a stop.
    pub(super) fn within(mut self, limit: Duration) -> Request {
        self.limit = limit;
        self
    }

    pub(super) fn versioned(mut self, api: ApiVersion) -> Request {
        self.path = format!("/v{api}{}", self.path);
        self
    }

    fn target(&self) -> String {
        let mut target = self.path.clone();
        for (n, (key, value)) in self.query.iter().enumerate() {
            target.push(if n == 0 { '?' } else { '&' });
            target.push_str(key);
            target.push('=');
            escape(value, &mut target);
        }
        target
    }
}

impl Wire {
    pub(super) fn new(endpoint: Endpoint) -> Result<Wire, EngineError> {
        let tls = match &endpoint {
            Endpoint::Tls { certificates, .. } => Some(Tls::of(certificates)?),
            _ => None,
        };
        Ok(Wire { endpoint, tls })
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Sends a request and reads the answer to its end.
    pub(super) async fn send(&self, request: Request) -> Result<Reply, EngineError> {
        let doing = format!("{} {}", request.method, request.path);
        let limit = request.limit;
        match tokio::time::timeout(limit, self.exchange(request, &doing)).await {
            Ok(done) => done,
            Err(_) => Err(EngineError::Silent { doing, seconds: limit.as_secs() }),
        }
    }

    /// Sends the body of what answers `from` as the body of `to`, without ever holding
    /// all of it.
    pub(super) async fn pipe(&self, from: Request, to: Request) -> Result<Reply, EngineError> {
        let doing = format!("{} {}", to.method, to.path);
        let limit = to.limit;
        let piped = async {
            let source = format!("{} {}", from.method, from.path);
            let answer = self.open(&from, Full::new(Bytes::new()), &source).await?;
            if answer.status().as_u16() >= 400 {
                return self.read(answer, &source).await;
            }
            let answer = self.open(&to, answer.into_body(), &doing).await?;
            self.read(answer, &doing).await
        };
        match tokio::time::timeout(limit, piped).await {
            Ok(done) => done,
            Err(_) => Err(EngineError::Silent { doing, seconds: limit.as_secs() }),
        }
    }

    async fn exchange(&self, request: Request, doing: &str) -> Result<Reply, EngineError> {
        let body = Full::new(request.body.clone());
        let answer = self.open(&request, body, doing).await?;
        self.read(answer, doing).await
    }

    async fn read(&self, answer: Response<Incoming>, doing: &str) -> Result<Reply, EngineError> {
        let (head, body) = answer.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|e| EngineError::from_io(&self.endpoint, doing, io::Error::other(e)))?;
        let body = body.to_bytes();
        let (status, endpoint) = (head.status.as_u16(), self.endpoint.to_string());
        Ok(Reply { status, headers: head.headers, body, doing: doing.into(), endpoint })
    }

    /// A connection of its own.
    pub(super) async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let connecting = tokio::time::timeout(CONNECT_LIMIT, async {
            Ok::<Box<dyn Stream>, io::Error>(match &self.endpoint {
                Endpoint::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Endpoint::Tcp(address) => Box::new(TcpStream::connect(address).await?),
                Endpoint::Tls { address, .. } => {
                    let stream = TcpStream::connect(address).await?;
                    match &self.tls {
                        Some(tls) => Box::new(tls.agree(address, stream).await?),
                        None => return Err(io::ErrorKind::Unsupported.into()),
                    }
                }
                #[cfg(test)]
                Endpoint::InProcess(dial) => Box::new(dial.dial()?),
            })
        });
        connecting.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// A connection on which nothing is said.
    pub(super) async fn tether(&self) -> Option<Tether> {
        self.connect().await.ok().map(Tether)
    }

    /// Sends a request on a connection of its own, which ends with the answer's body.
    async fn open<B>(
        &self,
        request: &Request,
        body: B,
        doing: &str,
    ) -> Result<Response<Incoming>, EngineError>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'static,
    {
        let broken = |source| EngineError::from_io(&self.endpoint, doing, source);
        let stream = self.connect().await.map_err(broken)?;
        let broken_http = |e: hyper::Error| match broken(io::Error::other(e)) {
            EngineError::Unreachable { endpoint, source, .. }
                if self.tls.as_ref().is_some_and(Tls::may_be_unknown) =>
            {
                EngineError::Unknown { endpoint, source }
            }
            error => error,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken_http)?;
        // It ends when everything has been said, as nobody can ask for anything else.
        tokio::spawn(connection);
        let http = hyper::Request::builder()
            .method(request.method)
            .uri(request.target())
            .header(HOST, "docker")
            .header(CONTENT_TYPE, request.content_type)
            .body(body)
            .map_err(|e| broken(io::Error::other(e)))?;
        sender.send_request(http).await.map_err(broken_http)
    }
}

/// A connection to the engine that ends when the engine does: whether it was the same
/// engine all the time can't be seen otherwise, if it is back fast enough.
pub struct Tether(Box<dyn Stream>);

impl Tether {
    /// Whether it still holds.
    pub fn holds(&mut self) -> bool {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(&mut self.0).poll_read(&mut context, &mut byte).is_pending()
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether somebody says that this should have been TLS, as Go's server does.
    pub(super) fn wants_tls(&self) -> bool {
        self.status == 400 && self.body.windows(12).any(|words| words == b"HTTPS server")
    }

    /// The word of somebody in between who has got none of the engine's. That one names its API
    /// with whatever it says, and gives its reasons as JSON.
    pub(super) fn of_a_proxy(&self) -> Option<EngineError> {
        let is_own = self.header("api-version").is_some() || self.message().is_some();
        let gone = matches!(self.status, 502..=504) && !is_own;
        gone.then(|| EngineError::Proxy {
            endpoint: self.endpoint.clone(),
            doing: self.doing.clone(),
            status: self.status,
        })
    }

    /// The engine's reason.
    fn message(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        body["message"].as_str().map(str::to_owned)
    }

    /// 304 is a success: what was asked for holds already.
    pub(super) fn successful(self) -> Result<Reply, EngineError> {
        if self.status < 400 {
            return Ok(self);
        }
        if let Some(error) = self.of_a_proxy() {
            return Err(error);
        }
        let message = self.message();
        let message =
            message.unwrap_or_else(|| String::from_utf8_lossy(&self.body).trim().to_owned());
        // To HEAD there is nothing but the status.
        let message = match message.is_empty() {
            true => format!("the engine answers with status {}", self.status),
            false => message,
        };
        Err(EngineError::reply(self.status, message))
    }

    pub(super) fn json(&self) -> Result<Value, EngineError> {
        serde_json::from_slice(&self.body)
            .map_err(|e| EngineError::Garbled { doing: self.doing.clone(), what: e.to_string() })
    }
}

/// Whatever is at the other end.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Something that a person typed (a name, an id, a reference) as part of a path. What
/// has a meaning in references keeps it.
pub(super) fn segment(typed: &str) -> String {
    let mut escaped = String::new();
    for part in typed.split_inclusive(['/', ':', '@']) {
        let (text, separator) = match part.strip_suffix(['/', ':', '@']) {
            Some(text) => part.split_at(text.len()),
            None => (part, ""),
        };
        escape(text, &mut escaped);
        escaped.push_str(separator);
    }
    escaped
}

/// Percent-encodes what is not unreserved in RFC 3986.
fn escape(value: &str, into: &mut String) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                into.push(byte as char);
            }
            _ => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(
        status: u16,
        headers: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> EngineError {
        let mut map = hyper::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, hyper::header::HeaderValue::from_static(value));
        }
        let (doing, endpoint) =
            ("POST /containers/web/stop".to_owned(), "tcp://proxy:2375".to_owned());
        let reply = Reply { status, headers: map, body: body.into(), doing, endpoint };
        reply.successful().err().expect("it is no success")
    }

    #[test]
    fn a_proxy_without_an_engine_speaks_for_itself() {
        let html =
            "<html><body><h1>503 Service Unavailable</h1>No server is available</body></html>";
        for (status, body) in [(502, ""), (502, "Bad Gateway\n"), (503, html), (504, html)] {
            let said = refused(status, &[("content-type", "text/html")], body);
            assert!(matches!(said, EngineError::Proxy { .. }), "{status} {body}: {said:?}");
            assert!(!said.is_refusal() && said.status().is_none() && !said.was_never_sent());
            assert_eq!(said.is_silence(), status == 504);
        }
        // What the engine says itself is its word: to HEAD without a body, and elsewhere as JSON.
        let reason = r#"{"message":"This node is not a swarm manager."}"#;
        for (status, headers, body) in [
            (503, &[("api-version", "1.51")][..], ""),
            (503, &[("api-version", "1.51")][..], "not JSON"),
            (503, &[][..], reason),
            (500, &[][..], html),
            (403, &[][..], "<html>not allowed</html>"),
        ] {
            let said = refused(status, headers, body);
            assert!(
                said.is_refusal() && said.status() == Some(status),
                "{status} {body}: {said:?}"
            );
        }
    }
}
