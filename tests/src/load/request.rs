//! One visitor: a fresh connection, one GET, and what became of it.
//!
//! Written by hand rather than with an HTTP client, because the difference
//! between "closed without a word" and "reset" is the very thing to count.

use crate::tls::Trust;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a visitor got.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// An answer by the old version (`X-App-Version`), with a status of 2xx.
    Old,
    /// The page: 503 and an `X-Changeover` header.
    Page,
    /// An answer by the new version, with a status of 2xx.
    New,
    /// An answer by a version that is neither.
    Version(String),
    /// Nobody listens.
    Refused,
    /// The connection was reset, at whatever point.
    Reset,
    /// The connection was closed before the first byte of an answer.
    Empty,
    /// The connection was closed in the middle of an answer.
    Truncated,
    /// No whole answer in time.
    Timeout,
    /// Any other error of the network, or an answer with another status.
    Other(String),
}

impl Class {
    /// Classifies by status and headers.
    pub fn of(result: Result<Answer, Class>, old: &str, new: &str) -> Class {
        let answer = match result {
            Ok(answer) => answer,
            Err(class) => return class,
        };
        let version = answer.header("x-app-version");
        match (answer.status, version) {
            (503, None) if answer.header("x-changeover").is_some() => Class::Page,
            (200..300, Some(version)) if version == old => Class::Old,
            (200..300, Some(version)) if version == new => Class::New,
            (200..300, Some(version)) => Class::Version(version.to_owned()),
            (status, Some(version)) => {
                Class::Other(format!("status {status} by version {version}"))
            }
            (status, None) => Class::Other(format!("status {status}")),
        }
    }

    /// Whether a visitor would complain: anything but old, page and new.
    pub fn is_failure(&self) -> bool {
        !matches!(self, Class::Old | Class::Page | Class::New)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Version(version) => write!(f, "version {version}"),
            Class::Other(what) => f.write_str(what),
            plain => f.write_str(&format!("{plain:?}").to_lowercase()),
        }
    }
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Status line and headers as they came.
    pub head: String,
    /// The body as it came: a chunked one still has its chunk sizes.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value; `name` in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

/// Asks on a fresh connection; the error is never one of the answers.
pub async fn get(addr: SocketAddr, path: &str, timeout: Duration) -> Result<Answer, Class> {
    get_by(None, addr, path, timeout).await
}

/// The same, by TLS where there is somebody to trust.
pub async fn get_by(
    tls: Option<&Trust>,
    addr: SocketAddr,
    path: &str,
    timeout: Duration,
) -> Result<Answer, Class> {
    let asked = async {
        let stream = TcpStream::connect(addr).await.map_err(failure)?;
        match tls {
            None => ask(stream, addr, path).await,
            Some(trust) => {
                let secured = trust.connect(stream).await.map_err(|error| match error.kind() {
                    ErrorKind::UnexpectedEof => Class::Empty,
                    _ => failure(error),
                });
                ask(secured?, addr, path).await
            }
        }
    };
    tokio::time::timeout(timeout, asked).await.unwrap_or(Err(Class::Timeout))
}

async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    addr: SocketAddr,
    path: &str,
) -> Result<Answer, Class> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failure)?;
    stream.flush().await.map_err(failure)?;

    let mut bytes = Vec::with_capacity(1024);
    let mut head = None;
    loop {
        let at_end = stream.read_buf(&mut bytes).await.map_err(failure)? == 0;
        if head.is_none() {
            head = Head::of(&bytes)?;
        }
        match &head {
            Some(head) if head.has_whole_body(&bytes, at_end) => {
                let body = bytes.split_off(head.length);
                return Ok(Answer {
                    status: head.status,
                    head: String::from_utf8_lossy(&bytes).into_owned(),
                    body,
                });
            }
            _ if !at_end => {}
            _ if bytes.is_empty() => return Err(Class::Empty),
            _ => return Err(Class::Truncated),
        }
    }
}

/// What the head says about the rest.
struct Head {
    status: u16,
    length: usize,
    body: BodyLength,
}

enum BodyLength {
    Bytes(usize),
    Chunked,
    UntilClose,
}

impl Head {
    fn of(bytes: &[u8]) -> Result<Option<Head>, Class> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes[..end]);
        let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let body = match (header(&text, "content-length"), header(&text, "transfer-encoding")) {
            (_, Some(_)) => BodyLength::Chunked,
            (Some(length), None) => BodyLength::Bytes(length.parse().map_err(|_| not_http())?),
            (None, None) => BodyLength::UntilClose,
        };
        Ok(Some(Head { status: status.ok_or_else(not_http)?, length: end + 4, body }))
    }

    fn has_whole_body(&self, bytes: &[u8], at_end: bool) -> bool {
        let body = &bytes[self.length..];
        match self.body {
            BodyLength::Bytes(length) => body.len() >= length,
            BodyLength::Chunked => body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n"),
            BodyLength::UntilClose => at_end,
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn not_http() -> Class {
    Class::Other("not HTTP".to_owned())
}

fn failure(error: io::Error) -> Class {
    match error.kind() {
        ErrorKind::ConnectionRefused => Class::Refused,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Class::Reset
        }
        // By TLS, a connection that ends without a farewell.
        ErrorKind::UnexpectedEof => Class::Truncated,
        ErrorKind::TimedOut => Class::Timeout,
        _ => Class::Other(error.to_string()),
    }
}
