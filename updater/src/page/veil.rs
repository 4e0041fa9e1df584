//! A socket on which hyper is heard only while it says what we told it to say.
//!
//! What hyper answers of its own accord (400, 408, 431) has none of our headers.
//! Whoever got it would take it for an answer of the app.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use hyper::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::Stream;

/// Whether hyper may be heard.
#[derive(Default)]
pub(super) struct Veil(AtomicBool);

impl Veil {
    /// From now on, hyper is heard.
    pub(super) fn lift(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The socket.
pub(super) struct Veiled<'a> {
    stream: Stream,
    veil: &'a Veil,
    refused: Option<StatusCode>,
}

impl<'a> Veiled<'a> {
    pub(super) fn new(stream: Stream, veil: &'a Veil) -> Veiled<'a> {
        Veiled { stream, veil, refused: None }
    }

    /// The socket, and the status with which hyper wanted to refuse.
    pub(super) fn into_parts(self) -> (Stream, Option<StatusCode>) {
        (self.stream, self.refused)
    }
}

impl AsyncRead for Veiled<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Veiled<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.veil.0.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_write(cx, bytes);
        }
        if self.refused.is_none() {
            let code = bytes.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.get(..3));
            self.refused = code.and_then(|code| StatusCode::from_bytes(code).ok());
        }
        Poll::Ready(Ok(bytes.len()))
    }

    // So that hyper hands the document over as it is, instead of copying it behind the head.
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.veil.0.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        }
        let first = parts.iter().find(|part| !part.is_empty());
        self.poll_write(cx, first.map_or(&[], |part| part))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
