//! The sample app: a tiny web server whose vices are set by its environment.
//!
//! Two images differ by nothing but `ENV` lines, so whatever a test sees comes
//! from the update and not from the app. It runs as PID 1 of an image made
//! `FROM scratch`: nobody else handles signals there, and there is no shell.

mod answers;
mod hook;
mod serve;
mod settings;
mod update;

pub use serve::run;
pub use settings::{OnTerm, Settings, Speaks, Windows};

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The exit code of an app that met data newer than itself.
pub const DATA_IS_NEWER: u8 = 3;

/// What `/download` sends at `position` of its body. The period is a prime, so
/// that a lost, doubled or shifted chunk of any usual size shows.
pub fn content(position: usize) -> u8 {
    (position % 251) as u8
}

/// Asks the app in this container how it feels: a `HEALTHCHECK` for images
/// that hold nothing but the app. `url` defaults to `/health` on the first port.
pub fn healthcheck(settings: &Settings, url: Option<&str>) -> Result<(), String> {
    let port = settings.ports.first().copied().unwrap_or(80);
    let default = format!("http://127.0.0.1:{port}/health");
    let url = url.unwrap_or(&default);
    let rest = url.strip_prefix("http://").ok_or("the address must start with http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let dial = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };

    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(dial)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("{url}: {error}"))?;
    let status = answer.split(' ').nth(1).unwrap_or("no status");
    if status.starts_with('2') { Ok(()) } else { Err(format!("{url}: {status}")) }
}
