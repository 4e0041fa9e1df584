//! An answer as it goes over the wire.
//!
//! It is written from the first line to the last, once: a map of headers would be made,
//! filled and taken apart again for each visitor.

use std::io::Cursor;

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// A head, and what follows it.
pub(super) struct Reply {
    /// Without the empty line at its end.
    head: Vec<u8>,
    body: Bytes,
}

impl Reply {
    /// With a body of this type, and nothing else yet.
    pub(super) fn new(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
        let mut reply = Reply::begun(status);
        reply.line("content-length", body.len().to_string().as_bytes());
        reply.body = body;
        reply.with(CONTENT_TYPE, &HeaderValue::from_static(kind))
    }

    /// The same where the end of the body is the end of the connection.
    pub(super) fn endless(kind: &'static str) -> Reply {
        Reply::begun(StatusCode::OK).with(CONTENT_TYPE, &HeaderValue::from_static(kind))
    }

    /// Without a body.
    pub(super) fn empty() -> Reply {
        Reply::begun(StatusCode::NO_CONTENT)
    }

    fn begun(status: StatusCode) -> Reply {
        // Ours are about 900 bytes.
        let mut reply = Reply { head: Vec::with_capacity(1024), body: Bytes::new() };
        let reason = status.canonical_reason().unwrap_or_default();
        for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
            reply.head.extend_from_slice(part.as_bytes());
        }
        // Who stayed on this connection would stay on the page after the switch.
        reply.line("connection", b"close");
        if !status.is_server_error() {
            // RFC 9110, 6.6.1 wants it with everything else.
            let now = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now());
            reply.line("date", now.unwrap_or_default().as_bytes());
        }
        reply
    }

    /// With this header as well.
    pub(super) fn with(mut self, name: HeaderName, value: &HeaderValue) -> Reply {
        self.line(name.as_str(), value.as_bytes());
        self
    }

    /// With these headers as well, as [`lines`] has written them.
    pub(super) fn with_lines(mut self, lines: &[u8]) -> Reply {
        self.head.extend_from_slice(lines);
        self
    }

    fn line(&mut self, name: &str, value: &[u8]) {
        write_line(&mut self.head, name, value);
    }

    /// For those who asked for the head alone, which says what it would be the head of.
    pub(super) fn without_body(self) -> Reply {
        Reply { body: Bytes::new(), ..self }
    }

    /// All of it.
    pub(super) fn whole(self) -> impl Buf {
        let body = self.body.clone();
        Cursor::new(self.head()).chain(body)
    }

    /// What comes before the body.
    pub(super) fn head(mut self) -> Vec<u8> {
        self.head.extend_from_slice(b"\r\n");
        self.head
    }
}

/// Headers as they are written.
pub(super) fn lines(headers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in headers {
        write_line(&mut lines, name.as_str(), value.as_bytes());
    }
    lines
}

fn write_line(to: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        to.extend_from_slice(part);
    }
}
