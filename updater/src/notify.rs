//! Telling the app how its update ended: a signed POST, to the version that serves now.
//!
//! The form is that of Standard Webhooks (standardwebhooks.com), for which every language
//! has a library: `webhook-id`, `webhook-timestamp`, and in `webhook-signature` an
//! HMAC-SHA256 of the two and the body. The id is the update's. Whoever is killed between
//! telling and standing down tells again with the same one: at least once, never otherwise.
//!
//! The key never travels. The plan has the place of a file, in the app's own container or
//! on the host, and the helper reads it when there is something to tell.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::account::Account;
use crate::engine::{Engine, FileError};
use crate::gate::addresses;
use crate::handover::connect_as_probe;
use crate::http::{self, HttpError, Request, Url};
use crate::place::Place;
use crate::plan::{Plan, labels};

/// What the message is about; its `type`.
pub const TYPE: &str = "update.finished";
/// How long one try may take.
const TRY_LIMIT: Duration = Duration::from_secs(5);
/// The pauses between the tries. Half a minute in all: the app answers already, and nobody
/// can start its next update before.
const PAUSES: [u64; 7] = [250, 500, 1000, 2000, 4000, 8000, 12_000];
/// Shorter keys can be guessed.
const SHORTEST_KEY: usize = 16;
/// Where the helper finds a key that lies on the host.
pub(crate) const KEY: &str = "/notify/key";

/// Where the app wants to be told, and by which key it knows that it is us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Notify {
    /// Where.
    pub to: Target,
    /// The file with the key.
    pub key: Place,
}

/// Whom to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Target {
    /// The app itself, `/path` or `:port/path`, by its own address.
    App {
        /// The port inside the container; the one that the gate asks if left out.
        port: Option<u16>,
        /// Path and query.
        path: String,
    },
    /// Somebody else.
    Url(Url),
}

/// Why the app could not be told.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The key can't be read.
    #[error("the key `{place}` cannot be read")]
    InApp {
        /// Where it should be.
        place: Place,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The key can't be read.
    #[error("the key `{place}` cannot be read")]
    OnHost {
        /// Where it should be.
        place: Place,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The key is none.
    #[error(
        "the key `{place}` is too short, or `whsec_` isn't followed by base64\nhint: `openssl rand -base64 32` makes a good one"
    )]
    BadKey {
        /// Which.
        place: Place,
    },
    /// Nobody to tell.
    #[error("`{0}` does not run")]
    NotRunning(String),
    /// No way to tell.
    #[error("`{0}` has no address that the host can reach")]
    NoAddress(String),
    /// It did not listen.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It listened, but didn't want to know.
    #[error("it answers with status {0}")]
    Status(u16),
}

impl Notify {
    /// What the labels of the app say. The key is a path in its own container: whoever
    /// makes an image has no say in what is read on the host.
    pub fn from_labels(all: &Value) -> Result<Option<Notify>, String> {
        let Some(to) = all[labels::NOTIFY].as_str() else { return Ok(None) };
        let wrong = |label: &str, why: String| format!("the label {label} is not used: {why}");
        let to: Target = to.parse().map_err(|why| wrong(labels::NOTIFY, why))?;
        if let Target::Url(url) = &to {
            return Err(wrong(labels::NOTIFY, format!("{url} is not in the app")));
        }
        let file = all[labels::NOTIFY_KEY].as_str().unwrap_or_default();
        match Place::in_app(file) {
            Ok(key) => Ok(Some(Notify { to, key })),
            Err(_) => Err(wrong(labels::NOTIFY, format!("{} names no key", labels::NOTIFY_KEY))),
        }
    }

    /// Reads the key, from the container `app` or from `on_host`, and puts it to the test.
    pub async fn read_key(
        &self,
        engine: &Engine,
        app: &str,
        on_host: &std::path::Path,
    ) -> Result<Vec<u8>, NotifyError> {
        let place = || self.key.clone();
        let bytes = match &self.key {
            Place::Host(_) => std::fs::read(on_host)
                .map_err(|source| NotifyError::OnHost { place: place(), source })?,
            Place::App(path) => engine
                .file(app, path)
                .await
                .map_err(|source| NotifyError::InApp { place: place(), source })?,
        };
        key_of(&bytes).ok_or_else(|| NotifyError::BadKey { place: place() })
    }
}

/// The key in a file: base64 behind `whsec_`, as libraries for these messages have it, or
/// else the file itself without the end of its last line.
fn key_of(file: &[u8]) -> Option<Vec<u8>> {
    let end = file.iter().rposition(|byte| !byte.is_ascii_whitespace()).map_or(0, |at| at + 1);
    let text = &file[..end];
    let key = match text.strip_prefix(b"whsec_") {
        Some(encoded) => BASE64.decode(encoded).ok()?,
        None => text.to_vec(),
    };
    (key.len() >= SHORTEST_KEY).then_some(key)
}

/// One message, which can be sent several times.
struct Message {
    id: String,
    timestamp: i64,
    body: String,
}

impl Message {
    fn new(account: &Account, now: Timestamp) -> Message {
        let body = json!({ "type": TYPE, "timestamp": now.to_string(), "data": account });
        Message { id: account.update.clone(), timestamp: now.as_second(), body: body.to_string() }
    }

    fn signature(&self, key: &[u8]) -> String {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.body);
        format!("v1,{}", BASE64.encode(ring::hmac::sign(&key, signed.as_bytes())))
    }

    fn headers(&self, key: &[u8]) -> [(&'static str, String); 4] {
        [
            ("content-type", "application/json".to_owned()),
            ("webhook-id", self.id.clone()),
            ("webhook-timestamp", self.timestamp.to_string()),
            ("webhook-signature", self.signature(key)),
        ]
    }
}

/// Tells the app, and tries again for a while where it doesn't listen. Says how often
/// it had to.
pub async fn tell(
    engine: &Engine,
    plan: &Plan,
    notify: &Notify,
    account: &Account,
) -> Result<u32, NotifyError> {
    let mut tries = 0;
    loop {
        let tried = tell_once(engine, plan, notify, account).await;
        let Err(error) = tried else { return Ok(tries + 1) };
        // Gone is the one answer that asks us not to come again.
        let over = matches!(error, NotifyError::Status(410));
        let Some(pause) = PAUSES.get(tries as usize).filter(|_| !over) else { return Err(error) };
        tries += 1;
        tokio::time::sleep(Duration::from_millis(*pause)).await;
    }
}

async fn tell_once(
    engine: &Engine,
    plan: &Plan,
    notify: &Notify,
    account: &Account,
) -> Result<(), NotifyError> {
    let app = engine.container(&plan.app).await.map_err(|error| NotifyError::InApp {
        place: notify.key.clone(),
        source: FileError::Engine(error),
    })?;
    let app = app.filter(|app| app["State"]["Running"] == true);
    let app = app.ok_or_else(|| NotifyError::NotRunning(plan.app.clone()))?;
    let id = app["Id"].as_str().unwrap_or_default();
    let key = notify.read_key(engine, id, KEY.as_ref()).await?;
    // The time of the try is signed as well: an old message can't be played back.
    let message = Message::new(account, Timestamp::now());
    let headers = message.headers(&key);
    let body = message.body.into();
    post(engine, plan, &app, &notify.to, Post { headers: &headers, body, limit: TRY_LIMIT }).await
}

/// What is posted.
pub(crate) struct Post<'a> {
    /// Headers besides `Host`.
    pub(crate) headers: &'a [(&'static str, String)],
    /// The body.
    pub(crate) body: bytes::Bytes,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Posts something to the app, in whatever way the host reaches it, or to somebody else.
pub(crate) async fn post(
    engine: &Engine,
    plan: &Plan,
    app: &Value,
    to: &Target,
    post: Post<'_>,
) -> Result<(), NotifyError> {
    let Post { headers, body, limit } = post;
    let request = || Request {
        method: "POST",
        headers,
        body: body.clone(),
        limit,
        most: 64 * 1024,
        trust: None,
    };
    let mut last = NotifyError::NoAddress(plan.app.clone());
    match to {
        Target::Url(url) => return judge(http::send(url, request()).await?.status),
        Target::App { port, path } => {
            for at in ways(engine, plan, app, port.unwrap_or(80)).await {
                let (host, path) = (at.ip().to_string(), path.clone());
                let url = Url { tls: false, host, port: at.port(), path };
                let told = match connect_as_probe(at, TRY_LIMIT).await {
                    Ok(stream) => http::converse(stream, &url, &request()).await,
                    Err(source) => Err(HttpError::Connect { at: at.to_string(), source }),
                };
                match told {
                    // Another way leads to the same app, and the same answer.
                    Ok(answer) => return judge(answer.status),
                    // It has heard it, perhaps: no other way to hear it again.
                    Err(error @ HttpError::Slow { .. }) => return Err(error.into()),
                    Err(error) => last = error.into(),
                }
            }
        }
    }
    Err(last)
}

/// Where the host reaches a port of the app: by its own address, or else as visitors do.
async fn ways(engine: &Engine, plan: &Plan, app: &Value, port: u16) -> Vec<SocketAddr> {
    let direct = addresses(engine, app).await.into_iter().map(|ip| SocketAddr::new(ip, port));
    let published = plan.handover.published.iter().filter(|at| at.container_port == port);
    let visits = published.flat_map(|at| {
        at.host.as_seen_locally().into_iter().map(|ip| SocketAddr::new(ip, at.port))
    });
    direct.chain(visits).collect()
}

fn judge(status: u16) -> Result<(), NotifyError> {
    match status {
        200..300 => Ok(()),
        status => Err(NotifyError::Status(status)),
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if text.contains("://") {
            let url: Url = text.parse()?;
            // The helper has no list of authorities by whose word it could believe anybody.
            return match url.tls {
                true => Err(format!(
                    "`{text}` can't be told: the helper has nobody by whose word it could believe an https:// address; write /path for the app itself, or http://… of a relay on a network that you trust"
                )),
                false => Ok(Target::Url(url)),
            };
        }
        let wrong = || {
            format!(
                "`{text}` is no place: write /path or :port/path for the app itself, or a whole http:// address"
            )
        };
        let (port, path) = match text.strip_prefix(':') {
            None => (None, text),
            Some(rest) => {
                let at = rest.find('/').ok_or_else(wrong)?;
                let port: u16 = rest[..at].parse().map_err(|_| wrong())?;
                (Some(port), &rest[at..])
            }
        };
        match path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()) {
            true => Ok(Target::App { port, path: path.to_owned() }),
            false => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Target::App { port: Some(port), path } => write!(f, ":{port}{path}"),
            Target::App { port: None, path } => f.write_str(path),
            Target::Url(url) => write!(f, "{url}"),
        }
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Target, String> {
        text.parse()
    }
}

impl From<Target> for String {
    fn from(target: Target) -> String {
        target.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_every_library_expects() {
        // The example of the specification's own libraries.
        let key = key_of(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").expect("a key");
        let message = Message {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek".into(),
            timestamp: 1_614_265_330,
            body: r#"{"test": 2432232314}"#.into(),
        };
        assert_eq!(message.signature(&key), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_key_is_long_enough_and_ends_where_its_text_does() {
        assert_eq!(key_of(b"0123456789abcdef\r\n").as_deref(), Some(&b"0123456789abcdef"[..]));
        assert_eq!(key_of(b"0123456789abcde\n\n"), None);
        assert_eq!(key_of(b"whsec_AAAA"), None);
        assert_eq!(key_of(b"whsec_not base64 at all, though long enough"), None);
        assert_eq!(key_of(b""), None);
    }

    #[test]
    fn the_app_is_named_by_a_path_or_a_port() {
        let app = |port, path: &str| Ok(Target::App { port, path: path.into() });
        assert_eq!("/hook".parse(), app(None, "/hook"));
        assert_eq!(":8080/a?b=c".parse(), app(Some(8080), "/a?b=c"));
        assert!(matches!("http://10.0.0.1:9/x".parse(), Ok(Target::Url(_))));
        for wrong in ["", "hook", ":80", ":x/y", "/a b", ":99999/x", "http://u:p@h/", "https://h/"]
        {
            assert!(wrong.parse::<Target>().is_err(), "{wrong}");
        }
        // The helper's image has no bundle of authorities.
        let https = "https://h/".parse::<Target>().expect_err("nobody could be believed");
        assert!(https.contains("https://h/") && https.contains("write /path"), "{https}");
    }

    #[test]
    fn a_label_reads_no_file_of_the_host() {
        let of = |to: &str, key: &str| {
            let labels = json!({ labels::NOTIFY: to, labels::NOTIFY_KEY: key });
            Notify::from_labels(&labels)
        };
        let read = of("/hook", "/data/key").expect("good").expect("there");
        assert_eq!(read.key, Place::App("/data/key".into()));
        assert!(of("/hook", "").is_err() && of("http://elsewhere/", "/data/key").is_err());
        assert_eq!(Notify::from_labels(&Value::Null), Ok(None));
    }
}
