//! One connection: one request, one answer, and an end that everybody notices.
//!
//! The first byte tells those who speak TLS from those who don't, so both find us on
//! the same port.
//!
//! Visitors are anonymous and may be hostile or broken, so everything here has a
//! limit. Nobody gets a reset instead of an answer: where a client still has something
//! to send, it is read and thrown away for a while before the socket closes.

use std::io;
use std::net;
use std::time::Duration;

use hyper::{Method, Request, StatusCode};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::answer::Answer;
use super::events::Listener;
use super::head::{self, Head, Other};
use super::reply::Reply;
use super::stream::Stream;
use super::tls::Tls;

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

/// The first byte of a TLS handshake.
pub(super) const TLS_HANDSHAKE: u8 = 0x16;

/// Whom the answers come from.
pub(super) trait Answers {
    /// The answer to a request.
    fn answer(&self, request: &Request<()>) -> Answer;
    /// The answer to what could not be read as a request.
    fn refuse(&self, status: StatusCode) -> Reply;
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
    socket: net::TcpStream,
) {
    let agreed = match tls {
        None => Some(Stream::new(socket)),
        // Boxed, since most visitors have no need of it.
        Some(tls) => Box::pin(agree(limits, tls, socket)).await,
    };
    let Some(mut stream) = agreed else { return };
    // Boxed, since a stream lasts long and needs nothing of all this.
    let end = match Box::pin(talk(limits, answers, &mut stream)).await {
        Next::Listen(head, listener) => {
            let until = Instant::now() + limits.stream + limits.answer;
            let _ = timeout_at(until, tell(&mut stream, &head, listener)).await;
            End::Linger
        }
        Next::End(end) => end,
    };
    match (end, &stream) {
        (End::Close, Stream::New(_) | Stream::Plain(_)) => {}
        (End::Close, Stream::Tls(_)) => {
            let _ = timeout(limits.linger_silence, stream.shutdown()).await;
        }
        (End::Linger, _) => linger(limits, stream).await,
    }
}

/// Speaks TLS with those who begin so.
async fn agree(limits: &Limits, tls: &Tls, socket: net::TcpStream) -> Option<Stream> {
    let stream = TcpStream::from_std(socket).ok()?;
    let mut first = [0];
    if !matches!(timeout(limits.head, stream.peek(&mut first)).await, Ok(Ok(1..))) {
        return None;
    }
    if first != [TLS_HANDSHAKE] {
        return Some(Stream::Plain(stream));
    }
    match timeout(limits.head, tls.accept(stream)).await {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(stream)) => {
            // By now they have an alert that says why.
            linger(limits, Stream::Plain(stream)).await;
            None
        }
        Err(_) => None,
    }
}

/// What is left to do with a visitor.
enum Next {
    /// They want to hear everything, after this.
    Listen(Vec<u8>, Listener),
    /// Nothing else.
    End(End),
}

/// How a connection ends.
enum End {
    /// At once: nothing is unread, so that closing takes nothing along.
    Close,
    /// When they have said what they still say.
    Linger,
}

/// Answers one request.
async fn talk(limits: &Limits, answers: &impl Answers, stream: &mut Stream) -> Next {
    let (reply, end) = match head::read(stream, limits.head).await {
        Ok(Head { request, more }) => match answers.answer(&request) {
            Answer::Whole(reply) => {
                let bodiless = request.method() == Method::HEAD;
                let reply = if bodiless { reply.without_body() } else { reply };
                (reply, if more { End::Linger } else { End::Close })
            }
            Answer::Stream(reply, listener) => return Next::Listen(reply.head(), listener),
        },
        Err(Other::Refused(status)) => (answers.refuse(status), End::Linger),
        Err(Other::Http2) => {
            let _ = timeout(limits.answer, stream.write_all(&http2_goodbye())).await;
            return Next::End(End::Linger);
        }
        // Without a certificate, rather a clean end than garbage.
        Err(Other::Tls) => return Next::End(End::Linger),
        Err(Other::Gone) => return Next::End(End::Close),
    };
    match timeout(limits.answer, stream.say_last(reply.whole())).await {
        Ok(Ok(())) => Next::End(end),
        _ => Next::End(End::Close),
    }
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
