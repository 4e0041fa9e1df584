//! What a visitor is reached by: the bare socket, or TLS over it.
//!
//! Most visitors have asked by the time they are let in, and what we say to them goes into
//! the socket at once. For them the runtime need not watch anything, which is the half of
//! what a request costs beside the kernel's own work: it begins when there is something to
//! wait for.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{self, Shutdown};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf;
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection, in the clear or not.
pub(super) enum Stream {
    /// As it comes, and nothing had to be waited for yet. There is one, but for the moment
    /// in which it becomes a plain one.
    New(Option<net::TcpStream>),
    /// As it comes.
    Plain(TcpStream),
    /// Encrypted. Boxed, since it is a kilobyte that nobody else needs.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// What nonblocking socket somebody came by.
    pub(super) fn new(socket: net::TcpStream) -> Stream {
        Stream::New(Some(socket))
    }

    /// Says what nothing comes after but the end of the connection.
    ///
    /// In the clear, the kernel keeps it for the moment until then and sends both together:
    /// each packet costs about as much as all that we do for a visitor, and them as well.
    pub(super) async fn say_last(&mut self, mut last: impl Buf) -> io::Result<()> {
        let socket = match &*self {
            Stream::New(socket) => socket.as_ref().map(AsFd::as_fd),
            Stream::Plain(socket) => Some(socket.as_fd()),
            Stream::Tls(_) => None,
        };
        if let Some(socket) = socket {
            let mut parts = [IoSlice::new(&[]); 2];
            let filled = last.chunks_vectored(&mut parts);
            let mut nothing = SendAncillaryBuffer::default();
            match sendmsg(socket, &parts[..filled], &mut nothing, SendFlags::MORE) {
                Ok(bytes) => last.advance(bytes),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        // Whatever they have no room for yet.
        self.write_all_buf(&mut last).await?;
        self.flush().await
    }

    /// Does what needs no waiting, if that is so.
    fn at_once<T>(
        &mut self,
        mut attempt: impl FnMut(&net::TcpStream) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        let Stream::New(socket) = self else { return None };
        loop {
            match attempt(socket.as_ref()?) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                done => return Some(done),
            }
        }
        match TcpStream::from_std(socket.take()?) {
            Ok(stream) => *self = Stream::Plain(stream),
            Err(error) => return Some(Err(error)),
        }
        None
    }
}

/// A socket that could not be watched is gone.
fn gone<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = self.get_mut();
        if let Some(read) = stream.at_once(|mut socket| socket.read(buffer.initialize_unfilled())) {
            return Poll::Ready(read.map(|bytes| buffer.advance(bytes)));
        }
        match stream {
            Stream::New(_) => gone(),
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Some(written) = stream.at_once(|mut socket| socket.write(bytes)) {
            return Poll::Ready(written);
        }
        match stream {
            Stream::New(_) => gone(),
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = self.get_mut();
        if let Some(written) = stream.at_once(|mut socket| socket.write_vectored(parts)) {
            return Poll::Ready(written);
        }
        match stream {
            Stream::New(_) => gone(),
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::New(_) => true,
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::New(_) => Poll::Ready(Ok(())),
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::New(Some(socket)) => Poll::Ready(socket.shutdown(Shutdown::Write)),
            Stream::New(None) => gone(),
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
