//! The document compressed: once a status and language, however many ask.
//!
//! gzip only, and this is why. The document is made anew for each status and language, so
//! only parts of it could be compressed beforehand. In KB, of five languages:
//!
//! | | |
//! |---|---|
//! | as it is | 23.1 to 24.7 |
//! | gzip | 7.9 to 8.5 |
//! | brotli put together: style sheet, script and strings at its best, the rest stored | 8.9 to 9.7 |
//! | brotli as fast as gzip, its encoder a megabyte of this program | 7.5 to 7.9 |
//! | brotli at its best, too slow for a visitor who waits | 6.7 to 7.0 |
//!
//! What would cost nothing is larger than gzip, and what is smaller saves no packet: all
//! of them fit into the ten that a server may send at once. Besides, browsers take brotli
//! only by TLS.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::header::{ACCEPT_ENCODING, HeaderMap};

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(6));
    // Writing to memory doesn't fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// Whether this client unpacks it. One that says nothing may be a program that
/// prints what it gets.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
        is_gzip && weight.unwrap_or(1.0) > 0.0
    })
}
