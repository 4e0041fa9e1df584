//! Just enough HTTP over a Unix socket to set tests up. It shares no code with the client that is
//! being tested, so a mistake there doesn't hide itself.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::Lab;

impl Lab {
    /// One request to the engine, with the engine's newest API version. An answer without a body is
    /// `null`; a stream of JSON (pull, push) is an array of its messages; other text is a string.
    pub fn api(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let (status, answer) = self.api_raw(
            method,
            path,
            &[("Content-Type", "application/json".to_owned())],
            body.as_bytes(),
        );
        (status, json(&answer))
    }

    /// One request to the engine with a body and headers of any kind; answers with bytes.
    pub fn api_raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: &[u8],
    ) -> (u16, Vec<u8>) {
        request(&self.socket(), None, method, path, headers, body).unwrap_or_else(|error| {
            panic!("{method} {path} got no answer from the engine of {}: {error}", self.name())
        })
    }

    /// Whether the engine is there and answers.
    pub fn answers(&self) -> bool {
        let patience = Some(Duration::from_secs(5));
        request(&self.socket(), patience, "GET", "/_ping", &[], &[])
            .is_ok_and(|(status, _)| status == 200)
    }
}

pub(super) fn json(bytes: &[u8]) -> Value {
    let mut values: Vec<Value> =
        match serde_json::Deserializer::from_slice(bytes).into_iter().collect() {
            Ok(values) => values,
            Err(_) => return String::from_utf8_lossy(bytes).into(),
        };
    match values.len() {
        0 => Value::Null,
        1 => values.remove(0),
        _ => values.into(),
    }
}

fn request(
    socket: &Path,
    patience: Option<Duration>,
    method: &str,
    path: &str,
    headers: &[(&str, String)],
    body: &[u8],
) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(patience)?;
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    // An engine that refuses answers before it has read the body: then the answer counts, not that.
    let sent = stream.write_all(body);
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .or_else(|error| if answer.is_empty() { Err(error) } else { Ok(0) })?;
    if answer.is_empty() {
        sent?;
    }
    parse(&answer)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer breaks off"))
}

/// Status and body of a whole answer; `None` if it isn't whole.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let body = &answer[end + 4..];
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = if head.contains("\r\ntransfer-encoding: chunked") {
        dechunk(body)?
    } else {
        body.to_vec()
    };
    Some((status, body))
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + size)?);
        rest = rest.get(line + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunked_answer_is_put_together() {
        let answer = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n3\r\n\":1\r\n1\r\n}\r\n0\r\n\r\n";
        let (status, body) = parse(answer).expect("it is whole");
        assert_eq!((status, json(&body)), (201, serde_json::json!({"a": 1})));
    }

    #[test]
    fn an_answer_that_breaks_off_is_an_error() {
        assert!(
            parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshort").is_none()
        );
    }
}
