//! A small app with an "Update now" button. What updates it is in `update.rs`.

mod update;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() -> std::io::Result<()> {
    let version: u32 = std::env::var("VERSION").ok().and_then(|v| v.parse().ok()).unwrap_or(1);
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let app =
        App { version, boot: boot.trim().to_owned(), next: format!("acme-rust:{}", version + 1) };
    let app = &*Box::leak(Box::new(app));
    for visitor in TcpListener::bind("[::]:80")?.incoming() {
        let visitor = visitor?;
        thread::spawn(move || app.answer(visitor));
    }
    Ok(())
}

struct App {
    version: u32,
    /// Another one after each start.
    boot: String,
    /// What it could be updated to. A real app would look for releases.
    next: String,
}

/// Status, content type and content.
type Answer = (&'static str, &'static str, Vec<u8>);

impl App {
    fn answer(&self, mut visitor: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(&visitor);
        let (mut first, mut is_json, mut length) = (String::new(), false, 0);
        lines.read_line(&mut first)?;
        loop {
            let mut header = String::new();
            lines.read_line(&mut header)?;
            let header = header.trim().to_lowercase();
            is_json |= header == "content-type: application/json";
            if let Some(said) = header.strip_prefix("content-length: ") {
                length = said.parse().unwrap_or(0);
            }
            if header.is_empty() {
                break;
            }
        }
        lines.take(length).read_to_end(&mut Vec::new())?;
        let (status, kind, body) = self.page(&first, is_json);
        write!(
            visitor,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n",
            body.len()
        )?;
        visitor.write_all(&body)
    }

    fn page(&self, first: &str, is_json: bool) -> Answer {
        const JSON: &str = "application/json";
        match first.split(' ').take(2).collect::<Vec<_>>().as_slice() {
            ["GET", "/update"] => ("200 OK", JSON, self.state().to_string().into()),
            // A form on somebody else's page can't send this. A real app asks who it is as well.
            ["POST", "/update"] if is_json => match wait_for(update::start(&self.next)) {
                Ok(()) => ("202 Accepted", JSON, "{}".into()),
                Err(error) => ("422 Refused", "text/plain", error.to_string().into()),
            },
            ["GET", path] => file(path),
            _ => ("403 Forbidden", "text/plain", "not from here".into()),
        }
    }

    /// What the button wants to know: docs/protocol.md.
    fn state(&self) -> serde_json::Value {
        let mut state =
            serde_json::json!({ "version": self.version.to_string(), "boot": self.boot });
        if wait_for(update::is_there(&self.next)).unwrap_or(false) {
            state["available"] = serde_json::json!({ "version": (self.version + 1).to_string() });
        }
        state
    }
}

fn file(path: &str) -> Answer {
    let name = if path == "/" { "index.html" } else { path.trim_start_matches('/') };
    let kind = if name.ends_with(".js") { "text/javascript" } else { "text/html; charset=utf-8" };
    let plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '.');
    match std::fs::read(format!("/www/{name}")) {
        Ok(content) if plain => ("200 OK", kind, content),
        _ => ("404 Not Found", "text/plain", "not here".into()),
    }
}

fn wait_for<T>(done: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(done)
}
