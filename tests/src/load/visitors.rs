//! Visitors with more patience: a download, an open page, a look every 10 ms.

use super::{Answer, Class, Target, get, thread_at};
use crate::sample::content;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Downloads from the sample app (`/download?bytes=…&ms=…`) and returns the
/// length, once every byte is known to be right.
pub async fn download(addr: SocketAddr, path: &str, timeout: Duration) -> Result<usize, Class> {
    let Answer { status, body, .. } = get(addr, path, timeout).await?;
    if status != 200 {
        return Err(Class::Other(format!("status {status}")));
    }
    match body.iter().enumerate().position(|(position, byte)| *byte != content(position)) {
        None => Ok(body.len()),
        Some(position) => Err(Class::Other(format!("byte {position} is wrong"))),
    }
}

/// Asks for `/` every 10 ms until `version` answers; tells when that was.
pub fn first_answer(
    target: &Target,
    version: &str,
    limit: Duration,
) -> JoinHandle<io::Result<Option<Instant>>> {
    let (addr, version) = (target.addr, version.to_owned());
    thread_at(target.enter.clone(), move || async move {
        let looked = timeout(limit, async {
            while look(addr).await.as_ref() != Some(&version) {
                sleep(BETWEEN_LOOKS).await;
            }
            Instant::now()
        });
        looked.await.ok()
    })
}

/// What somebody saw who had the page open.
#[derive(Debug, Clone, Default)]
pub struct OpenPage {
    /// When the event stream was there.
    pub opened: Option<Instant>,
    /// Each change of `phase` that it told, as in `/.changeover/status`.
    pub phases: Vec<(Instant, String)>,
    /// When the app was back on the screen, and in which version.
    pub shown: Option<(Instant, String)>,
    /// How often it was asked for after the end until it came; 1 if the page was
    /// told of the end no earlier than it was true.
    pub looks: u32,
}

impl OpenPage {
    /// When the stream told of `phase`, say `updated`.
    pub fn heard(&self, phase: &str) -> Option<Instant> {
        self.phases.iter().find(|(_, heard)| heard == phase).map(|(when, _)| *when)
    }
}

/// Does what the page does in a browser: waits for the event stream, follows
/// it until the update is over or the stream gone for good, then loads `/`
/// until the app answers.
pub fn open_page(target: &Target, limit: Duration) -> JoinHandle<io::Result<OpenPage>> {
    let addr = target.addr;
    thread_at(target.enter.clone(), move || async move {
        let mut page = OpenPage::default();
        // Running out of time leaves what was seen until then.
        let _ = timeout(limit, page.follow(addr)).await;
        page
    })
}

impl OpenPage {
    async fn follow(&mut self, addr: SocketAddr) {
        while !self.is_over() {
            match events(addr).await {
                Some(stream) => {
                    self.opened.get_or_insert_with(Instant::now);
                    self.listen(stream).await;
                }
                // The app itself answers: the page was there and is gone.
                None if self.opened.is_some() && look(addr).await.is_some() => break,
                None => sleep(BETWEEN_LOOKS).await,
            }
        }
        loop {
            self.looks += 1;
            if let Some(version) = look(addr).await {
                self.shown = Some((Instant::now(), version));
                return;
            }
            sleep(BETWEEN_LOOKS).await;
        }
    }

    async fn listen(&mut self, mut stream: Incoming) {
        let mut text = Vec::new();
        while let Some(Ok(frame)) = stream.frame().await {
            text.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                self.hear(&line);
            }
            if self.is_over() {
                return;
            }
        }
    }

    fn hear(&mut self, line: &[u8]) {
        let status = line
            .strip_prefix(b"data:")
            .and_then(|json| serde_json::from_slice::<serde_json::Value>(json).ok());
        let phase = status.as_ref().and_then(|status| status["phase"].as_str());
        if let Some(phase) = phase
            && self.phases.last().is_none_or(|(_, last)| last != phase)
        {
            self.phases.push((Instant::now(), phase.to_owned()));
        }
    }

    fn is_over(&self) -> bool {
        let over = ["updated", "rolled-back", "needs-a-person"];
        self.phases.last().is_some_and(|(_, phase)| over.contains(&phase.as_str()))
    }
}

/// The page's event stream; `None` if it isn't the page that answers.
async fn events(addr: SocketAddr) -> Option<Incoming> {
    let stream = TcpStream::connect(addr).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = Request::get("/.changeover/events")
        .header("Host", addr.to_string())
        .header("Accept", "text/event-stream")
        .body(Empty::<Bytes>::new())
        .expect("a constant request is valid");
    let response = sender.send_request(request).await.ok()?;
    let kind = response.headers().get("Content-Type")?.to_str().ok()?;
    kind.starts_with("text/event-stream").then(|| response.into_body())
}

/// The version that answers `/` now, if it does.
async fn look(addr: SocketAddr) -> Option<String> {
    let answer = get(addr, "/", Duration::from_secs(1)).await.ok()?;
    if answer.status == 200 { answer.header("x-app-version").map(str::to_owned) } else { None }
}
