//! One question to one address, and what was heard.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::handover::connect_as_probe;
use crate::page;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A connection that is still open after so long is kept. The engine's proxy closes
/// one to a port that nobody listens on within a few milliseconds.
const KEPT: Duration = Duration::from_millis(100);

/// What an address answers to an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// HTTP.
    Http {
        /// The status.
        status: u16,
        /// Whether it was our own maintenance page.
        page: bool,
    },
    /// Something else than HTTP.
    Other,
    /// The connection was accepted and kept, without a word.
    Silence,
    /// The connection was accepted and closed, without a word.
    Closed,
    /// The address is there, and nobody listens.
    Refused,
    /// There is nobody, and why.
    Nothing(String),
}

/// Asks for `path`, past our own redirect.
pub async fn ask(address: SocketAddr, path: &str) -> Heard {
    ask_within(ANSWER_LIMIT, address, path).await
}

/// Connects and only listens: whether the connection is kept, past our own redirect.
pub async fn knock(address: SocketAddr) -> Heard {
    let stream = match connect_as_probe(address, CONNECT_LIMIT).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Heard::Refused,
        Err(error) => return Heard::Nothing(error.to_string()),
    };
    match tokio::time::timeout(KEPT, stream.peek(&mut [0])).await {
        Err(_) => Heard::Silence,
        Ok(Ok(1..)) => Heard::Other,
        Ok(_) => Heard::Closed,
    }
}

/// As [`ask`], with another limit than usual for the answer.
pub async fn ask_within(limit: Duration, address: SocketAddr, path: &str) -> Heard {
    let stream = match connect_as_probe(address, CONNECT_LIMIT).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => return Heard::Refused,
        Err(error) => return Heard::Nothing(error.to_string()),
    };
    match tokio::time::timeout(limit, exchange(stream, path)).await {
        Ok(heard) => heard,
        Err(_) => Heard::Silence,
    }
}

async fn exchange(stream: tokio::net::TcpStream, path: &str) -> Heard {
    let heard_error = |error: hyper::Error| match error.is_parse() {
        true => Heard::Other,
        false => Heard::Closed,
    };
    let (mut sender, connection) = match http1::handshake(TokioIo::new(stream)).await {
        Ok(connected) => connected,
        Err(error) => return heard_error(error),
    };
    let driver = tokio::spawn(connection);
    let request = hyper::Request::get(path)
        .header("host", "localhost")
        .header("user-agent", "changeover")
        .header("connection", "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Heard::Nothing(format!("`{path}` is no path")) };
    let answer = sender.send_request(request).await;
    driver.abort();
    match answer {
        Ok(answer) => Heard::Http {
            status: answer.status().as_u16(),
            page: answer.headers().contains_key(page::X_CHANGEOVER),
        },
        Err(error) => heard_error(error),
    }
}
