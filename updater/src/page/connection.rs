//! One connection: one request, one answer, and an end that everybody notices.
//!
//! The first byte tells those who speak TLS from those who don't, so both find us on
//! the same port.
//!
//! Visitors are anonymous and may be hostile or broken, so everything here has a
//! limit. Nobody gets a reset instead of an answer: the rest of what a client
//! still sends is read and thrown away for a while before the socket closes.
//!
//! Hyper reads the request and writes the answer, except two kinds of answer that
//! we write ourselves: its own refusals, which wouldn't say that they are ours, and
//! event streams, for which it would keep 16 KB each.

use std::future::{poll_fn, ready};
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Answer;
use super::events::Listener;
use super::stream::Stream;
use super::tls::Tls;
use super::veil::{Veil, Veiled};

/// What visitors may use up.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Connections at a time, event streams included. Further ones wait in the kernel.
    pub(super) connections: usize,
    /// Event streams at a time, so that they never keep the page itself away.
    pub(super) streams: usize,
    /// How long the head of a request may take.
    pub(super) head: Duration,
    /// How long a request that isn't a stream may take in all.
    pub(super) answer: Duration,
    /// How long an event stream goes on.
    pub(super) stream: Duration,
    /// How often an event stream says something at least.
    pub(super) heartbeat: Duration,
    /// How long what we sent may stay unread or unacknowledged.
    pub(super) stall: Duration,
    /// How long a client may be silent after our answer before we close…
    pub(super) linger_silence: Duration,
    /// … and how long it may go on sending.
    pub(super) linger: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 12_000,
            streams: 10_000,
            head: Duration::from_secs(5),
            answer: Duration::from_secs(20),
            stream: Duration::from_secs(600),
            heartbeat: Duration::from_secs(10),
            stall: Duration::from_secs(15),
            linger_silence: Duration::from_secs(3),
            linger: Duration::from_secs(30),
        }
    }
}

/// Heads larger than this are refused. Browsers bring all the app's cookies.
const HEAD_BYTES: usize = 64 * 1024;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// How a client begins that speaks HTTP/2 without asking, as gRPC does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// Whom the answers come from.
pub(super) trait Answers {
    /// The answer to a request.
    fn answer(&self, request: &Request<Incoming>) -> Answer;
    /// The answer to what could not be read as a request.
    fn refuse(&self, status: StatusCode) -> Response<String>;
}

/// How many connections may wait to be accepted; the kernel has a limit of its own.
const WAITING: i32 = 4096;

/// Sets on the listener what every connection then inherits, at the cost of one.
pub(super) fn prepare(listener: &std::net::TcpListener, limits: &Limits) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = SockRef::from(listener);
    // A client that vanished or doesn't read is given up by the kernel.
    let _ = listener.set_tcp_user_timeout(Some(limits.stall));
    let _ = listener.set_tcp_nodelay(true);
    // Listening again changes only how many may wait for us in the kernel.
    listener.listen(WAITING)
}

/// Serves one visitor, by TLS where they speak it and we can.
pub(super) async fn serve(
    limits: &Limits,
    answers: &impl Answers,
    tls: Option<&Tls>,
    stream: TcpStream,
) {
    let mut first = [0; HTTP2_PREFACE.len()];
    let seen = match timeout(limits.head, stream.peek(&mut first)).await {
        Ok(Ok(seen @ 1..)) => &first[..seen],
        _ => return,
    };
    let mut stream = match (seen, tls) {
        ([TLS_HANDSHAKE, ..], Some(tls)) => {
            // Boxed, since most visitors have no need of it.
            match Box::pin(timeout(limits.head, tls.accept(stream))).await {
                Ok(Ok(stream)) => stream,
                // By now they have an alert that says why.
                Ok(Err(stream)) => return linger(limits, Stream::Plain(stream)).await,
                Err(_) => return,
            }
        }
        // Without a certificate, rather a clean end than garbage.
        ([TLS_HANDSHAKE, ..], None) => return linger(limits, Stream::Plain(stream)).await,
        _ => Stream::Plain(stream),
    };
    if seen == HTTP2_PREFACE {
        let _ = stream.write_all(&http2_goodbye()).await;
    } else {
        // Boxed, since a stream lasts long and needs nothing of all this.
        let (read, next) = Box::pin(talk(limits, answers, stream)).await;
        stream = read;
        match next {
            Some(Next::Stream(head, listener)) => {
                let until = Instant::now() + limits.stream + limits.answer;
                let _ = timeout_at(until, tell(&mut stream, &head, listener)).await;
            }
            Some(Next::Refuse(status)) => {
                let _ = stream.write_all(&written(&answers.refuse(status))).await;
            }
            None => {}
        }
    }
    linger(limits, stream).await;
}

/// What is left for us to say.
enum Next {
    Stream(Vec<u8>, Listener),
    Refuse(StatusCode),
}

/// Answers one request and gives the socket back, still open.
async fn talk(limits: &Limits, answers: &impl Answers, stream: Stream) -> (Stream, Option<Next>) {
    let veil = Veil::default();
    let next = Mutex::new(None);
    let service = service_fn(|request| {
        let response = match answers.answer(&request) {
            Answer::Whole(response) => {
                veil.lift();
                response
            }
            Answer::Stream(response, listener) => {
                let stream = Next::Stream(written(&response), listener);
                *next.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
                Response::default()
            }
        };
        ready(Ok::<_, std::convert::Infallible>(response))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .ignore_invalid_headers(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(Veiled::new(stream, &veil)), service);
    {
        // What hyper reports here is the client's doing: malformed, too slow, gone.
        let done = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
        let _ = timeout(limits.answer, done).await;
    }
    let (stream, refused) = connection.into_parts().io.into_inner().into_parts();
    let next = next.into_inner().unwrap_or_else(PoisonError::into_inner);
    (stream, next.or(refused.map(Next::Refuse)))
}

/// Tells the listener's events until they end or the client is gone.
async fn tell(stream: &mut Stream, head: &[u8], mut listener: Listener) {
    let (mut from, mut to) = tokio::io::split(stream);
    let telling = async {
        if to.write_all(head).await.is_err() {
            return;
        }
        while let Some(event) = listener.next().await {
            if to.write_all(&event).await.is_err() || to.flush().await.is_err() {
                return;
            }
        }
    };
    let gone = async {
        let mut nothing = [0; 64];
        while matches!(from.read(&mut nothing).await, Ok(1..)) {}
    };
    tokio::select! {
        () = telling => {}
        () = gone => {}
    }
}

/// An answer as it goes over the wire; it ends with the connection.
fn written<B: AsRef<str>>(response: &Response<B>) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body().as_ref().as_bytes());
    bytes
}

/// SETTINGS, then GOAWAY without an error and without a stream that was begun: the
/// client knows that nothing was done, reports UNAVAILABLE and may try again.
fn http2_goodbye() -> Vec<u8> {
    const WHY: &[u8] = b"an update is under way";
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    frames.extend_from_slice(&[0, 0, 8 + WHY.len() as u8, 7, 0, 0, 0, 0, 0]);
    frames.extend_from_slice(&[0; 8]);
    frames.extend_from_slice(WHY);
    frames
}

/// Closes so that the client gets our answer even if it is still sending: a
/// socket closed with data unread is reset, and a reset takes the answer along.
async fn linger(limits: &Limits, mut stream: Stream) {
    let mut thrown_away = [0; 512];
    let until = Instant::now() + limits.linger;
    if stream.shutdown().await.is_err() {
        return;
    }
    loop {
        let silence = (Instant::now() + limits.linger_silence).min(until);
        match timeout_at(silence, stream.read(&mut thrown_away)).await {
            Ok(Ok(1..)) => {}
            _ => return,
        }
    }
}
