//! A wire to the engine that can be cut: a proxy on a socket of its own that
//! counts the requests that change something, and breaks the connection of the
//! nth before the engine has heard it, or after it has answered.
//!
//! It can also be a faulty engine, which forgets a field of whatever it is to create.
//!
//! At the cut the client is kept waiting until the case lets go of [`Held`], so
//! that whatever else is to die at that very moment can be made to.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// Where a write is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// The engine never hears of it.
    BeforeWrite,
    /// The engine has done it; only the answer is lost.
    AfterWrite,
}

impl Cut {
    /// Both.
    pub const ALL: [Cut; 2] = [Cut::BeforeWrite, Cut::AfterWrite];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Cut::BeforeWrite => "cut before the engine hears it",
            Cut::AfterWrite => "cut before its answer",
        }
    }
}

/// The proxy. It listens until it is dropped.
pub struct Proxy {
    path: PathBuf,
    shared: Arc<Shared>,
}

struct Shared {
    engine: PathBuf,
    /// Speaks for an engine that isn't there; and has done so many times.
    gateway: AtomicBool,
    spoken: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    writes: Vec<String>,
    cut: Option<(usize, Cut)>,
    pause: Option<String>,
    pause_before: Option<String>,
    instead: Option<(String, usize)>,
    forgotten: Option<String>,
    held: Option<String>,
    closed: bool,
    /// Methods and paths that are let through; everything where there are none.
    allowed: Vec<(String, String)>,
    refused: Vec<String>,
    used: BTreeSet<String>,
    touched: BTreeSet<String>,
}

/// A client that waits at the cut, or in a pause. It goes on when this is dropped:
/// with a broken connection, or with its answer.
pub struct Held<'a> {
    /// The write, in short.
    pub write: String,
    shared: &'a Shared,
}

impl Proxy {
    /// Listens at `path` and forwards to the engine's socket `engine`.
    pub fn listen(path: PathBuf, engine: PathBuf) -> Proxy {
        let listener = UnixListener::bind(&path)
            .unwrap_or_else(|error| panic!("cannot listen at {}: {error}", path.display()));
        let shared = Arc::new(Shared {
            engine,
            gateway: AtomicBool::default(),
            spoken: AtomicUsize::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let serving = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if serving.state().closed {
                    return;
                }
                let shared = serving.clone();
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(shared.forward(client)));
            }
        });
        Proxy { path, shared }
    }

    /// Its socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Counts writes from zero again and cuts the `nth`, once.
    pub fn cut(&self, nth: usize, cut: Cut) {
        *self.shared.state() = State { cut: Some((nth, cut)), ..State::default() };
    }

    /// Cuts nothing, but holds the next write of this description up once the
    /// engine has answered, so that something can happen in this very moment.
    pub fn pause_after(&self, write: &str) {
        *self.shared.state() = State { pause: Some(write.to_owned()), ..State::default() };
    }

    /// Cuts nothing, but leaves this field (a JSON pointer) out of every create
    /// request, as an engine would that doesn't know it.
    pub fn forget(&self, field: &str) {
        *self.shared.state() = State { forgotten: Some(field.to_owned()), ..State::default() };
    }

    /// Answers the next `times` writes of this description in the engine's stead, which never
    /// hears of them, as a proxy does that believes it to be gone.
    pub fn speak_instead(&self, write: &str, times: usize) {
        let instead = Some((write.to_owned(), times));
        *self.shared.state() = State { instead, ..State::default() };
    }

    /// Counts writes from zero again and cuts none.
    pub fn let_pass(&self) {
        *self.shared.state() = State::default();
    }

    /// Lets through nothing but these: a method, and a path in which `{id}` is any part
    /// and `{name}` any parts. Everything else is refused, as a filtering proxy does.
    pub fn allow_only(&self, calls: Vec<(String, String)>) {
        *self.shared.state() = State { allowed: calls, ..State::default() };
    }

    /// From now on it answers where the engine doesn't, as proxies over HTTP do: 502, 503 and
    /// 504 in turns.
    pub fn speak_for_the_engine(&self) {
        self.shared.gateway.store(true, Ordering::Relaxed);
    }

    /// How often it has.
    pub fn spoken(&self) -> usize {
        self.shared.spoken.load(Ordering::Relaxed)
    }

    /// Cuts nothing, but holds the next write of this description up before the engine hears
    /// of it.
    pub fn pause_before(&self, write: &str) {
        *self.shared.state() = State { pause_before: Some(write.to_owned()), ..State::default() };
    }

    /// What was refused.
    pub fn refused(&self) -> Vec<String> {
        self.shared.state().refused.clone()
    }

    /// Which of the allowed calls were made.
    pub fn used(&self) -> BTreeSet<String> {
        self.shared.state().used.clone()
    }

    /// Names and ids of the containers that a write was about.
    pub fn touched(&self) -> BTreeSet<String> {
        self.shared.state().touched.clone()
    }

    /// The writes since then, in short.
    pub fn writes(&self) -> Vec<String> {
        self.shared.state().writes.clone()
    }

    /// Waits for a client at the cut or pause, for as long as `goes_on`.
    pub fn wait_for_cut(&self, mut goes_on: impl FnMut() -> bool) -> Option<Held<'_>> {
        let mut state = self.shared.state();
        loop {
            if let Some(write) = state.held.clone() {
                return Some(Held { write, shared: &self.shared });
            }
            drop(state);
            if !goes_on() {
                return None;
            }
            let pause = Duration::from_millis(20);
            let waited = self.shared.changed.wait_timeout(self.shared.state(), pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state().closed = true;
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.state().held = None;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forward(&self, mut client: UnixStream) -> io::Result<()> {
        let Some(mut request) = Request::read(&mut client)? else { return Ok(()) };
        if let Some(field) = self.state().forgotten.clone() {
            request.forget(&field);
        }
        let closing = request.closing();
        let Some(filtered) = self.lets_through(&request) else {
            client.write_all(REFUSAL)?;
            return client.shutdown(Shutdown::Both);
        };
        if !request.is_write() {
            let Ok(mut engine) = UnixStream::connect(&self.engine) else {
                return self.speak(client);
            };
            // A second request on the same connection would not be looked at.
            engine.write_all(if filtered { &closing } else { &request.bytes })?;
            return splice(client, engine);
        }
        let hit = self.count(&request);
        if hit == Some(Cut::BeforeWrite) {
            self.hold(&request);
            return client.shutdown(Shutdown::Both);
        }
        if self.is_for_the_proxy(&request) {
            return self.speak(client);
        }
        if self.is_paused_by(&request, |state| &mut state.pause_before) {
            self.hold(&request);
        }
        let Ok(mut engine) = UnixStream::connect(&self.engine) else { return self.speak(client) };
        engine.write_all(&request.closing())?;
        let mut answer = Vec::new();
        let heard = engine.read_to_end(&mut answer);
        if heard.is_err() || answer.is_empty() {
            return self.speak(client);
        }
        if hit == Some(Cut::AfterWrite) {
            self.hold(&request);
            return client.shutdown(Shutdown::Both);
        }
        if self.is_paused_by(&request, |state| &mut state.pause) {
            self.hold(&request);
        }
        client.write_all(&answer)?;
        client.shutdown(Shutdown::Both)
    }

    /// `None` for what isn't allowed; otherwise whether anything is looked at here.
    fn lets_through(&self, request: &Request) -> Option<bool> {
        let mut state = self.state();
        if state.allowed.is_empty() {
            return Some(false);
        }
        let path = format!("/{}", request.target().trim_start_matches('/'));
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let fits = |(method, pattern): &&(String, String)| {
            method == request.method() && is_like(&path, pattern)
        };
        let Some((method, pattern)) = state.allowed.iter().find(fits).cloned() else {
            state.refused.push(format!("{} {path}", request.method()));
            return None;
        };
        state.used.insert(format!("{method} {pattern}"));
        if request.is_write()
            && let Some(rest) = path.strip_prefix("/containers/")
        {
            state.touched.insert(rest.split('/').next().unwrap_or_default().to_owned());
        }
        Some(true)
    }

    fn count(&self, request: &Request) -> Option<Cut> {
        let mut state = self.state();
        let n = state.writes.len();
        state.writes.push(request.in_short());
        match state.cut {
            Some((nth, cut)) if nth == n => {
                state.cut = None;
                Some(cut)
            }
            _ => None,
        }
    }

    fn is_paused_by(
        &self,
        request: &Request,
        which: fn(&mut State) -> &mut Option<String>,
    ) -> bool {
        let mut state = self.state();
        let pause = which(&mut state);
        let hit = pause.as_ref().is_some_and(|write| *write == request.in_short());
        if hit {
            *pause = None;
        }
        hit
    }

    fn is_for_the_proxy(&self, request: &Request) -> bool {
        match &mut self.state().instead {
            Some((write, times)) if *times > 0 && *write == request.in_short() => {
                *times -= 1;
                true
            }
            _ => false,
        }
    }

    /// Answers for an engine that isn't there, or ends the connection.
    fn speak(&self, mut client: UnixStream) -> io::Result<()> {
        if self.gateway.load(Ordering::Relaxed) {
            let n = self.spoken.fetch_add(1, Ordering::Relaxed);
            client.write_all(GATEWAYS[n % GATEWAYS.len()])?;
        }
        client.shutdown(Shutdown::Both)
    }

    /// Keeps the client waiting until the case lets it go.
    fn hold(&self, request: &Request) {
        let mut state = self.state();
        state.held = Some(request.in_short());
        self.changed.notify_all();
        while state.held.is_some() && !state.closed {
            let pause = Duration::from_millis(100);
            let waited = self.changed.wait_timeout(state, pause);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What proxies say of their own: Go's, HAProxy, nginx.
const GATEWAYS: [&[u8]; 3] = [
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    b"HTTP/1.0 503 Service Unavailable\r\nCache-Control: no-cache\r\nConnection: close\r\n\
      Content-Type: text/html\r\n\r\n<html><body><h1>503 Service Unavailable</h1>\n\
      No server is available to handle this request.\n</body></html>\n",
    b"HTTP/1.1 504 Gateway Time-out\r\nServer: nginx\r\nContent-Type: text/html\r\n\
      Content-Length: 35\r\nConnection: close\r\n\r\n<html><h1>504 Gateway Time-out</h1>\n",
];

const REFUSAL: &[u8] = b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\n\
    Content-Length: 27\r\nConnection: close\r\n\r\n{\"message\":\"not allowed\"}\r\n";

/// Whether a path is one of a pattern's.
fn is_like(path: &str, pattern: &str) -> bool {
    let (path, pattern): (Vec<_>, Vec<_>) =
        (path.split('/').collect(), pattern.split('/').collect());
    match pattern.iter().position(|part| *part == "{name}") {
        Some(at) => {
            let after = &pattern[at + 1..];
            path.len() > at + after.len() && path[..at] == pattern[..at] && path.ends_with(after)
        }
        None => {
            let same = |(a, b): (&&str, &&str)| a == b || *b == "{id}" && !a.is_empty();
            path.len() == pattern.len() && path.iter().zip(&pattern).all(same)
        }
    }
}

/// One request, whole.
struct Request {
    bytes: Vec<u8>,
    head: String,
    body_at: usize,
}

impl Request {
    fn read(client: &mut UnixStream) -> io::Result<Option<Request>> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 65536];
        loop {
            if let Some(request) = Request::of(&bytes) {
                return Ok(Some(request));
            }
            match client.read(&mut buffer)? {
                0 => return Ok(None),
                n => bytes.extend_from_slice(&buffer[..n]),
            }
        }
    }

    /// Our clients give a length to whatever has a body.
    fn of(bytes: &[u8]) -> Option<Request> {
        let body_at = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&bytes[..body_at]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let whole = bytes.len() >= body_at + length.unwrap_or(0usize);
        whole.then(|| Request { bytes: bytes.to_vec(), head, body_at })
    }

    fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Path and query, without the API's version.
    fn target(&self) -> &str {
        let target = self.head.split(' ').nth(1).unwrap_or_default();
        let rest = target.strip_prefix("/v").and_then(|rest| rest.split_once('/'));
        rest.map_or(target, |(_, rest)| rest)
    }

    /// Whether it changes something. A command run inside and a wait don't.
    fn is_write(&self) -> bool {
        let path = self.target().split('?').next().unwrap_or_default();
        let harmless =
            path.ends_with("/exec") || path.starts_with("exec/") || path.ends_with("/wait");
        matches!(self.method(), "POST" | "PUT" | "DELETE") && !harmless
    }

    /// Leaves a field out of a create request.
    fn forget(&mut self, field: &str) {
        let body = serde_json::from_slice::<Value>(&self.bytes[self.body_at..]);
        let creates = self.target().starts_with("containers/create");
        let (Ok(mut body), true, Some((place, key))) = (body, creates, field.rsplit_once('/'))
        else {
            return;
        };
        if let Some(place) = body.pointer_mut(place).and_then(Value::as_object_mut) {
            place.remove(key);
        }
        let body = body.to_string();
        let is_length = |line: &&str| line.to_ascii_lowercase().starts_with("content-length:");
        let kept: Vec<&str> =
            self.head.trim_end().split("\r\n").filter(|line| !is_length(line)).collect();
        self.head = format!("{}\r\ncontent-length: {}\r\n\r\n", kept.join("\r\n"), body.len());
        self.body_at = self.head.len();
        self.bytes = [self.head.as_bytes(), body.as_bytes()].concat();
    }

    /// The same, but the engine hangs up after its answer, so its end is seen.
    fn closing(&self) -> Vec<u8> {
        let keeps = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
        let mut head: String =
            self.head.trim_end().split("\r\n").filter(keeps).collect::<Vec<_>>().join("\r\n");
        head.push_str("\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), &self.bytes[self.body_at..]].concat()
    }

    /// `rename web.old`, `update always`, `stop`: what a table shows.
    fn in_short(&self) -> String {
        let (path, query) = self.target().split_once('?').unwrap_or((self.target(), ""));
        let verb = match (self.method(), path.rsplit('/').next()) {
            ("DELETE", _) => "remove",
            (_, verb) => verb.unwrap_or_default(),
        };
        let name = query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            matches!(key, "name" | "force").then(|| value.to_owned())
        });
        let body: Value =
            serde_json::from_slice(&self.bytes[self.body_at..]).unwrap_or(Value::Null);
        let policy = body["RestartPolicy"]["Name"].as_str().map(str::to_owned);
        match name.or(policy) {
            Some(detail) if detail == "1" => format!("{verb} by force"),
            Some(detail) => format!("{verb} {detail}"),
            None => verb.to_owned(),
        }
    }
}

/// Both ways until either side is done.
fn splice(client: UnixStream, engine: UnixStream) -> io::Result<()> {
    let (mut from_client, mut to_engine) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_engine);
        // The client may have gone in the middle of a stream; so does the engine then.
        let _ = to_engine.shutdown(Shutdown::Both);
    });
    let (mut from_engine, mut to_client) = (engine, client);
    let copied = io::copy(&mut from_engine, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Request {
        Request::of(text.as_bytes()).expect("it is whole")
    }

    #[test]
    fn a_request_is_whole_with_its_body() {
        let head = "POST /v1.51/containers/a/update HTTP/1.1\r\ncontent-length: 4\r\n\r\n";
        assert!(Request::of(format!("{head}{{}}").as_bytes()).is_none());
        assert!(request(&format!("{head}null")).is_write());
    }

    #[test]
    fn a_field_is_left_out_of_a_create_request() {
        let body = r#"{"HostConfig":{"Init":true,"ShmSize":1}}"#;
        let head =
            format!("POST /v1.51/containers/create HTTP/1.1\r\ncontent-length: {}", body.len());
        let mut create = request(&format!("{head}\r\n\r\n{body}"));
        create.forget("/HostConfig/ShmSize");
        assert_eq!(&create.bytes[create.body_at..], br#"{"HostConfig":{"Init":true}}"#);
        assert!(Request::of(&create.bytes).is_some_and(|whole| whole.body_at == create.body_at));
    }

    #[test]
    fn looking_and_running_a_check_inside_are_no_writes() {
        for line in [
            "GET /v1.51/containers/json",
            "POST /v1.51/containers/a/exec",
            "POST /v1.51/exec/a/start",
            "POST /v1.51/containers/a/wait?condition=removed",
        ] {
            assert!(!request(&format!("{line} HTTP/1.1\r\n\r\n")).is_write(), "{line}");
        }
    }

    #[test]
    fn a_path_is_like_its_pattern_and_no_longer() {
        assert!(is_like("/containers/ab/json", "/containers/{id}/json"));
        assert!(!is_like("/containers/ab/attach", "/containers/{id}/json"));
        assert!(!is_like("/containers//json", "/containers/{id}/json"));
        assert!(is_like("/images/ghcr.io/acme/web:1/json", "/images/{name}/json"));
        assert!(!is_like("/images/web/push", "/images/{name}/json"));
        assert!(is_like("/images/web", "/images/{name}"));
    }

    #[test]
    fn a_write_is_called_by_what_it_does() {
        let short = |line: &str| request(&format!("{line} HTTP/1.1\r\n\r\n")).in_short();
        assert_eq!(short("POST /v1.51/containers/abc/rename?name=web.old"), "rename web.old");
        assert_eq!(short("DELETE /v1.51/containers/abc?force=1&v=1"), "remove by force");
        assert_eq!(short("POST /v1.51/containers/abc/stop"), "stop");
    }
}
