//! The head of a request: read until it is whole, or until it can't become one.
//!
//! `httparse`, which hyper uses too, takes the lines apart. Hyper's own server would do it
//! all, at twice the cost of everything else here: see `make bench`. Of what it does we need
//! little, since there is one request to a connection and no body that anybody reads.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, StatusCode, Uri, Version};
use tokio::io::AsyncReadExt as _;
use tokio::time::{Instant, timeout_at};

use super::connection::TLS_HANDSHAKE;
use super::stream::Stream;

/// Heads larger than this are refused. Browsers bring all the app's cookies.
const LARGEST: usize = 64 * 1024;
/// More headers than this are refused.
const HEADERS: usize = 100;
/// What most heads fit into.
const USUAL: usize = 2048;

/// How a client begins that speaks HTTP/2 without asking, as gRPC does.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// A request as far as it is read.
#[derive(Debug)]
pub(super) struct Head {
    /// Without its body.
    pub(super) request: Request<()>,
    /// Whether something comes after it, be it a body or another request.
    pub(super) more: bool,
}

/// What a visitor began with instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Something that can't be answered as a request.
    Refused(StatusCode),
    /// HTTP/2.
    Http2,
    /// A handshake.
    Tls,
    /// Nothing, or they left in the middle of it.
    Gone,
}

/// Reads a head for at most so long.
pub(super) async fn read(stream: &mut Stream, limit: Duration) -> Result<Head, Other> {
    let until = Instant::now() + limit;
    let mut bytes = BytesMut::with_capacity(USUAL);
    loop {
        let seen = bytes.len();
        match timeout_at(until, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Err(_) if seen > 0 => return Err(Other::Refused(StatusCode::REQUEST_TIMEOUT)),
            _ => return Err(Other::Gone),
        }
        if seen == 0 && bytes[0] == TLS_HANDSHAKE {
            return Err(Other::Tls);
        }
        // Once more only where the end may have come: a head that comes byte by byte
        // would be read again and again.
        if seen == 0 || ends_after(&bytes, seen.saturating_sub(2)) {
            if bytes.starts_with(HTTP2_PREFACE) {
                return Err(Other::Http2);
            }
            if let Some(whole) = parse(&mut bytes) {
                return whole.map_err(Other::Refused);
            }
        }
        if bytes.len() >= LARGEST {
            return Err(Other::Refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
    }
}

/// Whether there is an empty line at or after this.
fn ends_after(bytes: &[u8], from: usize) -> bool {
    let rest = &bytes[from..];
    rest.windows(2).any(|two| two == b"\n\n") || rest.windows(3).any(|three| three == b"\n\r\n")
}

/// The head that these bytes begin with, if all of it is there. It takes the bytes then.
fn parse(bytes: &mut BytesMut) -> Option<Result<Head, StatusCode>> {
    let mut fields = [const { std::mem::MaybeUninit::uninit() }; HEADERS];
    let mut lines = httparse::Request::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .ignore_invalid_headers_in_requests(true)
        .parse_request_with_uninit_headers(&mut lines, bytes, &mut fields);
    let end = match parsed {
        Ok(httparse::Status::Complete(end)) => end,
        Ok(httparse::Status::Partial) => return None,
        Err(httparse::Error::TooManyHeaders) => {
            return Some(Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        Err(_) => return Some(Err(StatusCode::BAD_REQUEST)),
    };
    // Values are parts of what was read, so that nothing is copied.
    let place = |part: &[u8]| {
        let start = part.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + part.len()
    };
    let method = Method::from_bytes(lines.method.unwrap_or_default().as_bytes());
    let version = if lines.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let path = place(lines.path.unwrap_or_default().as_bytes());
    let mut fields = Vec::with_capacity(lines.headers.len());
    for field in lines.headers.iter() {
        match HeaderName::from_bytes(field.name.as_bytes()) {
            Ok(name) => fields.push((name, place(field.value))),
            Err(_) => return Some(Err(StatusCode::BAD_REQUEST)),
        }
    }
    let whole = bytes.split_to(end).freeze();
    let uri = Uri::from_maybe_shared(whole.slice(path));
    let (Ok(method), Ok(uri)) = (method, uri) else {
        return Some(Err(StatusCode::BAD_REQUEST));
    };
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        // What can't be a value is left out, as the line would be.
        if let Ok(value) = HeaderValue::from_maybe_shared(whole.slice(value)) {
            headers.append(name, value);
        }
    }
    let Some(body) = has_body(&headers) else {
        return Some(Err(StatusCode::BAD_REQUEST));
    };
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = version;
    *request.headers_mut() = headers;
    Some(Ok(Head { request, more: body || bytes.has_remaining() }))
}

/// Whether a body follows; `None` where nobody could tell how long it is.
fn has_body(headers: &HeaderMap) -> Option<bool> {
    if let Some(last) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
        let coding = last.to_str().ok()?.rsplit(',').next()?.trim();
        return coding.eq_ignore_ascii_case("chunked").then_some(true);
    }
    let mut any = false;
    for length in headers.get_all(CONTENT_LENGTH) {
        any |= length.to_str().ok()?.trim().parse::<u64>().ok()? > 0;
    }
    Some(any)
}
