//! A web server of the worst kind, or the best: answers as a test wants it to, over TLS if
//! it wants that, and remembers what it was asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::tls;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Path and query.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What is answered.
pub enum Reply {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// A head, and then more and more.
    Endless,
    /// Nothing, for a minute.
    Silence,
}

/// The server. It lives as long as the process.
pub struct Forge {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Reply {
    /// A good answer.
    pub fn ok(body: impl Into<String>) -> Reply {
        Reply::Answer(200, Vec::new(), body.into())
    }

    /// A bad one.
    pub fn status(status: u16) -> Reply {
        Reply::Answer(status, Vec::new(), "<html>an error page</html>".into())
    }
}

impl Forge {
    /// Starts one on this address of the loopback, over TLS if there is a certificate.
    pub fn start(
        host: &str,
        tls: Option<&tls::Pair>,
        answer: impl Fn(&Asked, SocketAddr) -> Reply + Send + Sync + 'static,
    ) -> Forge {
        let acceptor = tls.map(|pair| {
            let acceptor = tls::acceptor(pair.certificate.as_bytes(), pair.key.as_bytes());
            acceptor.expect("a certificate")
        });
        Forge::start_with(host, acceptor, answer)
    }

    /// Starts one that serves with this, if it speaks TLS.
    pub fn start_with(
        host: &str,
        acceptor: Option<TlsAcceptor>,
        answer: impl Fn(&Asked, SocketAddr) -> Reply + Send + Sync + 'static,
    ) -> Forge {
        let listener = std::net::TcpListener::bind((host, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it has an address");
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let forge = Forge { address, seen: seen.clone() };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = TcpListener::from_std(listener).expect("a socket");
                while let Ok((stream, _)) = listener.accept().await {
                    let (seen, answer, acceptor) = (seen.clone(), answer.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        let reply = move |asked: &Asked| {
                            seen.lock().expect("nobody panics with it").push(asked.clone());
                            answer(asked, address)
                        };
                        // Whoever hangs up in the middle has no use for the answer.
                        let _ = match acceptor {
                            None => converse(stream, reply).await,
                            Some(acceptor) => match acceptor.accept(stream).await {
                                Ok(stream) => converse(stream, reply).await,
                                Err(error) => Err(error),
                            },
                        };
                    });
                }
            });
        });
        forge
    }

    /// `127.0.0.1:41234`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("nobody panics with it").clone()
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    reply: impl Fn(&Asked) -> Reply,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 || line.trim_end().is_empty() {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    let Some(first) = lines.first() else { return Ok(()) };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers =
        headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    match reply(&Asked { path, headers }) {
        Reply::Answer(status, headers, body) => {
            let mut head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}Connection: close\r\n\r\n{body}").as_bytes()).await?;
        }
        Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
        Reply::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n[").await?;
            let lot = vec![b' '; 1 << 20];
            loop {
                stream.write_all(&lot).await?;
            }
        }
        Reply::Silence => tokio::time::sleep(Duration::from_secs(60)).await,
    }
    stream.shutdown().await
}
