//! What the sample app says: paths, bodies and the version in every answer.
//!
//! | path | answer |
//! |---|---|
//! | `/` | `version N` |
//! | `/health` | 200 or 503, never delayed |
//! | `/boot` | an id that another start doesn't have |
//! | `/peer` | the address the request came from |
//! | `/env` | the environment as JSON |
//! | `/slow?ms=` | `version N` after that long |
//! | `/download?bytes=&ms=` | that many known bytes, spread over that long |
//! | `/files?path=` | a file as the container sees it |
//! | `/hook` | takes a message; `/hooks` shows all that came |
//! | `/update` | what an "Update now" button needs; a POST starts the update |

use super::hook::Heard;
use super::{Settings, content, update};
use http_body_util::{Either, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::{Request, Response, StatusCode};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

/// What all answers of one run share.
pub(super) struct App {
    pub(super) settings: Settings,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) listening_since: Instant,
    pub(super) boot_id: String,
    pub(super) heard: Heard,
}

type Answer = Response<Either<Full<Bytes>, Download>>;

impl App {
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Answer, Infallible> {
        let age = self.listening_since.elapsed();
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let version = format!("version {}\n", self.settings.version);

        if !self.settings.broken.hold(age)
            && let Some(answer) = update::answer(self, request.method(), path).await
        {
            return Ok(answer.map(|body| Either::Left(Full::from(body))));
        }
        if path == "/hook" && request.method() == hyper::Method::POST {
            let (status, body) = self.heard.take(request, self.settings.hook_fails).await;
            return Ok(self.signed(status, Either::Left(Full::from(body))));
        }
        let (status, body) = match path {
            "/hooks" => (200, self.heard.all()),
            "/health" if self.settings.unhealthy.hold(age) => (503, "unhealthy\n".to_owned()),
            "/health" => (200, "healthy\n".to_owned()),
            _ => {
                sleep(self.settings.delay).await;
                match path {
                    _ if self.settings.broken.hold(age) => (500, "broken\n".to_owned()),
                    "/" => (200, version),
                    "/boot" => (200, self.boot_id.clone()),
                    "/peer" => (200, peer.to_string()),
                    "/env" => (200, environment()),
                    "/slow" => {
                        sleep(Duration::from_millis(number(query, "ms"))).await;
                        (200, version)
                    }
                    "/download" => {
                        let all =
                            Download::new(number(query, "bytes") as usize, number(query, "ms"));
                        return Ok(self.signed(200, Either::Right(all)));
                    }
                    "/files" => match std::fs::read(value(query, "path").unwrap_or_default()) {
                        Ok(bytes) => return Ok(self.signed(200, Either::Left(Full::from(bytes)))),
                        Err(error) => (404, error.to_string()),
                    },
                    _ => (404, version),
                }
            }
        };
        Ok(self.signed(status, Either::Left(Full::from(body))))
    }

    fn signed(&self, status: u16, body: Either<Full<Bytes>, Download>) -> Answer {
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(status).expect("ours are valid");
        answer.headers_mut().insert("X-App-Version", self.settings.version.into());
        answer
    }
}

fn environment() -> String {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let all: BTreeMap<_, _> =
        std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
    serde_json::to_string(&all).expect("strings are JSON")
}

fn value<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn number(query: &str, name: &str) -> u64 {
    value(query, name).and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// A body that takes its time, of a length told beforehand.
pub(super) struct Download {
    position: usize,
    length: usize,
    chunk: usize,
    pause: Duration,
    sleep: Pin<Box<Sleep>>,
}

impl Download {
    fn new(length: usize, ms: u64) -> Self {
        let chunks = (ms / 20).max(1);
        // Without a wish for slowness, chunks still bound the memory.
        let chunk = length.div_ceil(chunks as usize).clamp(1, 64 * 1024);
        let pause = Duration::from_millis(ms) / length.div_ceil(chunk).max(1) as u32;
        Download { position: 0, length, chunk, pause, sleep: Box::pin(sleep(pause)) }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.position == this.length {
            return Poll::Ready(None);
        }
        if !this.pause.is_zero() {
            ready!(this.sleep.as_mut().poll(cx));
            let next = this.sleep.deadline() + this.pause;
            this.sleep.as_mut().reset(next);
        }
        let end = this.length.min(this.position + this.chunk);
        let chunk: Bytes = (this.position..end).map(content).collect();
        this.position = end;
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.position == self.length
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.length - self.position) as u64)
    }
}
