//! A small HTTP client for what isn't the engine: release feeds, registries, and the app
//! that wants to be told.
//!
//! One request, one connection. Everything has a limit: time, size, and where it leads,
//! since whoever is at the other end may be slow, broken or hostile. Redirects are
//! followed by whoever knows which headers may go along.

mod trust;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

pub(crate) use trust::authorities;
use trust::is_about_trust;
pub use trust::{Own, Trust};

/// How long connecting may take, the agreement on keys included.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An address on the web.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it is `https:`.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query, from the slash on.
    pub path: String,
}

/// An answer, whole.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its head.
    pub headers: hyper::HeaderMap,
    /// Its body.
    pub body: Bytes,
}

/// What to send, and what may come back.
pub struct Request<'a> {
    /// GET, HEAD or POST.
    pub method: &'static str,
    /// Headers besides `Host`.
    pub headers: &'a [(&'static str, String)],
    /// The body.
    pub body: Bytes,
    /// How long everything may take.
    pub limit: Duration,
    /// How much may come back.
    pub most: usize,
    /// Whom to believe over TLS, besides those whom this machine believes.
    pub trust: Option<&'a Trust>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Nobody is there.
    #[error("cannot connect to {at}")]
    Connect {
        /// Whom.
        at: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is somebody else, or can't prove who it is.
    #[error(
        "{host} cannot prove who it is\nhint: for a certificate of your own authority, SSL_CERT_FILE names its certificate (PEM)"
    )]
    Untrusted {
        /// Who claims to be there.
        host: String,
        /// What is wrong with the certificate.
        #[source]
        source: io::Error,
    },
    /// There is nobody by whose word anybody could be believed.
    #[error(
        "{host} cannot be asked over TLS: {why}\nhint: install ca-certificates, or mount the host's bundle and name it by SSL_CERT_FILE (PEM)"
    )]
    NoAuthorities {
        /// Who was to be asked.
        host: String,
        /// What there is instead.
        why: String,
    },
    /// A file that is for talking to this one can't be used.
    #[error(
        "{} can't be used for TLS with {host}: {why}\nhint: such folders have the certificates of authorities as *.crt, and one's own as *.cert with a *.key of the same name, all of them PEM", file.display()
    )]
    File {
        /// Whom it is for.
        host: String,
        /// Which.
        file: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// It took too long.
    #[error("{host} has not answered within {seconds} s")]
    Slow {
        /// Who.
        host: String,
        /// The limit.
        seconds: u64,
    },
    /// The connection broke, or that isn't HTTP.
    #[error("{host} gives no answer that makes sense")]
    Garbled {
        /// Who.
        host: String,
        /// What happened.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too much.
    #[error("{host} answers with more than {megabytes} MB")]
    TooLarge {
        /// Who.
        host: String,
        /// The limit.
        megabytes: usize,
    },
}

impl Url {
    /// Host and port as in a `Host` header: a usual port is left out.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    /// Whether it leads to the same server in the same way.
    pub fn same_origin(&self, other: &Url) -> bool {
        (self.tls, &self.host, self.port) == (other.tls, &other.host, other.port)
    }

    /// Where a link in an answer from here leads.
    pub fn join(&self, link: &str) -> Result<Url, String> {
        match link.starts_with('/') && !link.starts_with("//") {
            true => Ok(Url { path: link.to_owned(), ..self.clone() }),
            false => link.parse(),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let wrong = || format!("`{text}` is no address: write https://host/path");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(wrong()),
        };
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err("an address with a password in it would be seen by everybody".to_owned());
        }
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(wrong)?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().map_err(|_| wrong())?,
            None if tls => 443,
            None => 80,
        };
        let plain = |byte: u8| byte.is_ascii_graphic();
        if host.is_empty() || !text.bytes().all(plain) {
            return Err(wrong());
        }
        Ok(Url { tls, host: host.to_ascii_lowercase(), port, path })
    }
}

impl Answer {
    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Sends a request and reads the answer to its end.
pub async fn send(url: &Url, request: Request<'_>) -> Result<Answer, HttpError> {
    let limit = request.limit;
    let slow = || HttpError::Slow { host: url.host.clone(), seconds: limit.as_secs() };
    let talking = async {
        let at = || format!("{}:{}", url.host, url.port);
        let connect = |source| HttpError::Connect { at: at(), source };
        let connecting = TcpStream::connect((url.host.as_str(), url.port));
        let stream = tokio::time::timeout(CONNECT_LIMIT, connecting)
            .await
            .map_err(|_| connect(io::ErrorKind::TimedOut.into()))?
            .map_err(connect)?;
        if !url.tls {
            return converse(stream, url, &request).await;
        }
        let untrusted = |source| HttpError::Untrusted { host: url.host.clone(), source };
        let name = ServerName::try_from(url.host.clone())
            .map_err(|error| untrusted(io::Error::other(error)))?;
        let agreeing = TlsConnector::from(Arc::new(trust::config(request.trust, url)?));
        let stream = match tokio::time::timeout(CONNECT_LIMIT, agreeing.connect(name, stream)).await
        {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if is_about_trust(&error) => return Err(untrusted(error)),
            Ok(Err(error)) => {
                let source = Box::new(error);
                return Err(HttpError::Garbled { host: url.host.clone(), source });
            }
            Err(_) => return Err(slow()),
        };
        converse(stream, url, &request).await
    };
    tokio::time::timeout(limit, talking).await.unwrap_or_else(|_| Err(slow()))
}

/// The same on a connection that is there already, which is used up by it.
pub async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
    request: &Request<'_>,
) -> Result<Answer, HttpError> {
    let host = &url.host;
    let garbled = |source: Box<dyn std::error::Error + Send + Sync>| HttpError::Garbled {
        host: host.clone(),
        source,
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| garbled(error.into()))?;
    let driver = tokio::spawn(connection);
    let mut head = hyper::Request::builder()
        .method(request.method)
        .uri(url.path.as_str())
        .header(HOST, url.authority())
        .header(USER_AGENT, concat!("changeover/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    for (name, value) in request.headers {
        head = head.header(*name, value.as_str());
    }
    let ready =
        head.body(Full::new(request.body.clone())).map_err(|error| garbled(error.into()))?;
    let answered = async {
        let answer = sender.send_request(ready).await.map_err(|error| garbled(error.into()))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, request.most).collect().await.map_err(|error| {
            match error.is::<http_body_util::LengthLimitError>() {
                true => {
                    let megabytes = request.most.div_ceil(1 << 20);
                    HttpError::TooLarge { host: host.clone(), megabytes }
                }
                false => garbled(error),
            }
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    };
    let done = tokio::time::timeout(request.limit, answered).await;
    driver.abort();
    let slow = || HttpError::Slow { host: host.clone(), seconds: request.limit.as_secs() };
    done.unwrap_or_else(|_| Err(slow()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        let read = |text: &str| text.parse::<Url>();
        let url = read("https://Example.org/a/b?c=d#e").expect("an address");
        assert_eq!((url.tls, url.host.as_str(), url.port), (true, "example.org", 443));
        assert_eq!(url.to_string(), "https://example.org/a/b?c=d");
        let v6 = read("http://[::1]:8080").expect("an address");
        assert_eq!((v6.host.as_str(), v6.port, v6.path.as_str()), ("::1", 8080, "/"));
        assert_eq!(v6.authority(), "[::1]:8080");
        for wrong in ["", "example.org", "ftp://a/", "http://", "http://a:b/", "http://a/ b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // What stands in a plan or a log is no place for a password.
        assert!(read("https://user:secret@host/").is_err_and(|said| !said.contains("secret")));
    }

    #[test]
    fn a_link_leads_on_from_where_it_stands() {
        let from: Url = "https://a.example/v2/x".parse().expect("an address");
        assert_eq!(
            from.join("/v2/y?n=2").expect("a path").to_string(),
            "https://a.example/v2/y?n=2"
        );
        let elsewhere = from.join("https://b.example/z").expect("an address");
        assert!(!elsewhere.same_origin(&from));
        assert!(from.join("//b.example/z").is_err());
    }
}
