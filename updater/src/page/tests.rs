//! The page over real sockets.

mod answers;
mod clients;
mod ending;
mod secure;
mod streams;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::{Request, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::assets::Assets;
use super::connection::Answers;
use super::tls::tests::made;
use super::{Limits, Page, Serving, Tls};
use crate::status::{Phase, SCHEMA, Status, StepState, StepStatus};

/// Longer than anything here should take.
const SOON: Duration = Duration::from_secs(4);

fn serve() -> (Page, Serving) {
    serve_within(Limits::default())
}

fn serve_within(limits: Limits) -> (Page, Serving) {
    let page = Page::with_limits(sample(Phase::Updating), limits);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let serving = page.serve(listener).expect("served");
    (page, serving)
}

async fn connect(serving: &Serving) -> TcpStream {
    TcpStream::connect::<SocketAddr>(serving.address()).await.expect("connected")
}

/// Sends these bytes and reads until the other side is done.
async fn exchange(serving: &Serving, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(serving).await;
    stream.write_all(bytes).await.expect("sent");
    read_to_end(&mut stream).await.expect("a clean end")
}

async fn ask(serving: &Serving, request: &str) -> Answer {
    let mut stream = connect(serving).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    Answer::read(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("it ends in time")?;
    Ok(bytes)
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Answer {
        let bytes = read_to_end(stream).await.expect("a clean end");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Answer { status: status.expect("a status"), head: head.into(), body: body.into() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// An event stream, read as it comes.
struct Events {
    stream: TcpStream,
    buffer: String,
    head: String,
}

impl Events {
    async fn open(serving: &Serving) -> Events {
        let mut stream = connect(serving).await;
        let request = "GET /.changeover/events HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut events = Events { stream, buffer: String::new(), head: String::new() };
        events.head = events.until("\r\n\r\n").await + "\r\n";
        events
    }

    /// The next event, and over how long to spread.
    async fn next(&mut self) -> (String, String) {
        let spread = self.until("\n\n").await;
        let spread = spread.strip_prefix("event: spread\ndata: ").expect("how long to spread");
        (self.until("\n\n").await, spread.to_owned())
    }

    async fn next_status(&mut self) -> Status {
        let (event, _) = self.next().await;
        let data = event.strip_prefix("retry: 2000\nevent: status\ndata: ").expect(&event);
        serde_json::from_str(data).expect("a status")
    }

    /// Whether nothing but the end of the connection comes now.
    async fn ended(&mut self) -> bool {
        let rest = read_to_end(&mut self.stream).await.expect("a clean end");
        self.buffer.push_str(&String::from_utf8_lossy(&rest));
        self.buffer.is_empty()
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, after)) = self.buffer.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.buffer = after;
                return before;
            }
            let mut bytes = [0; 4096];
            let read = timeout(SOON, self.stream.read(&mut bytes)).await.expect("in time");
            let read = read.expect("readable");
            assert!(read > 0, "the stream ended early: {:?}", self.buffer);
            self.buffer.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

/// A status in the middle of things.
pub(super) fn sample(phase: Phase) -> Status {
    let step = |key: &str, name: &str, state| StepStatus {
        key: key.into(),
        name: name.into(),
        state,
        percent: None,
        done_bytes: None,
        total_bytes: None,
    };
    Status {
        schema: SCHEMA,
        update: "0195f3c2".into(),
        title: "Acme Wiki".into(),
        from: "1.4.2".into(),
        to: "1.5.0".into(),
        phase,
        steps: vec![
            step("create-new", "create the new container", StepState::Done),
            step("stop-old", "stop the old container", StepState::Active),
            step("start-new", "start the new container", StepState::Waiting),
        ],
        started_at: "2026-11-21T10:00:00Z".into(),
        elapsed_seconds: 3,
        retry_after_seconds: 5,
    }
}

/// Whatever is sent, the connection ends, and the next visitor gets the page.
#[tokio::test]
async fn no_input_makes_the_page_panic() {
    let limits = Limits {
        head: Duration::from_millis(50),
        linger_silence: Duration::from_millis(5),
        ..Limits::default()
    };
    let (page, serving) = serve_within(limits);
    let samples: [&[u8]; 6] = [
        b"GET /?changeover-lang=de HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nAccept-Language: de;q=0.5\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nOrigin: https://b\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        b"GET /.changeover/status HTTP/1.0\r\nAccept-Encoding: gzip;q=1.0\r\n\r\n",
        b"GET /.changeover/events HTTP/1.1\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let panics = Arc::new(AtomicUsize::new(0));
    let count = panics.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Other tests run in this process, and some of them are to panic.
        let at = panic.location().map(|at| at.file().to_owned()).unwrap_or_default();
        if at.contains("/page/") && !at.ends_with("tests.rs") || at.contains("httparse") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    let mut inputs = Vec::new();
    crate::fuzzed::bytes(20, &samples, |input| inputs.push(input.to_vec()));
    for some in inputs.chunks(64) {
        let visits = some.iter().map(|input| async {
            let mut stream = connect(&serving).await;
            // It may be closed before all of it is sent.
            let _ = stream.write_all(input).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_millis(100), stream.read_to_end(&mut answer)).await;
        });
        futures_util::future::join_all(visits).await;
    }
    assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
    assert!(page.drained(Duration::from_secs(30)).await, "somebody is still there");
    assert_eq!(panics.load(Ordering::SeqCst), 0, "the page has panicked; see above");
}
