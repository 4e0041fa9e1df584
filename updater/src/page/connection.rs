//! One connection: one request, one answer, and an end that everybody notices.
//!
//! Visitors are anonymous and may be hostile or broken, so everything here has a
//! limit. Nobody gets a reset instead of an answer: the rest of what a client
//! still sends is read and thrown away for a while before the socket closes.

use std::future::poll_fn;
use std::future::ready;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::Page;
use super::answer::answer;

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
            connections: 4096,
            streams: 2048,
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

/// Serves one visitor.
pub(super) async fn serve(page: &Page, stream: TcpStream) {
    let limits = page.limits();
    // A client that vanished or doesn't read is given up by the kernel.
    let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.stall));
    let _ = stream.set_nodelay(true);

    let mut first = [0];
    let stream = match timeout(limits.head, stream.peek(&mut first)).await {
        Ok(Ok(1)) if first[0] != TLS_HANDSHAKE => talk(page, stream).await,
        // It speaks TLS, which we don't: rather a clean end than garbage.
        Ok(Ok(1)) => stream,
        _ => return,
    };
    linger(limits, stream).await;
}

/// Answers one request and gives the socket back, still open.
async fn talk(page: &Page, stream: TcpStream) -> TcpStream {
    let limits = page.limits();
    let goes_on = AtomicBool::new(false);
    let service = service_fn(|request| {
        let (response, is_stream) = answer(page, &request);
        goes_on.store(is_stream, Ordering::Relaxed);
        ready(Ok::<_, std::convert::Infallible>(response))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD_BYTES)
        .ignore_invalid_headers(true)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    {
        let begun = Instant::now();
        let mut done = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
        // What hyper reports here is the client's doing: malformed, too slow, gone.
        let ended = timeout_at(begun + limits.answer, &mut done).await.is_ok();
        if !ended && goes_on.load(Ordering::Relaxed) {
            let _ = timeout_at(begun + limits.stream + limits.answer, &mut done).await;
        }
    }
    connection.into_parts().io.into_inner()
}

/// Closes so that the client gets our answer even if it is still sending: a
/// socket closed with data unread is reset, and a reset takes the answer along.
async fn linger(limits: &Limits, mut stream: TcpStream) {
    let mut thrown_away = [0; 2048];
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
