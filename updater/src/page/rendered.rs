//! The answers, rendered at most once a second however many ask.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY,
    VARY, X_CONTENT_TYPE_OPTIONS,
};
use serde_json::json;

use super::answer::X_CHANGEOVER;
use super::compress::gzip;
use super::document::Document;
use super::look::Look;
use super::reply;
use crate::status::Status;

/// One status in every form that somebody may ask for.
pub(super) struct Rendered {
    /// Which publication, and how many seconds after it.
    pub(super) of: (usize, u64),
    status: Status,
    /// What every answer of ours carries, as it is written.
    pub(super) lines: Vec<u8>,
    /// When to ask again, for all but those who are told.
    pub(super) retry_after: HeaderValue,
    pub(super) json: Bytes,
    pub(super) event: Bytes,
    /// As many as there are languages; most of them are never asked for.
    translations: Vec<OnceLock<Translation>>,
    look: Arc<Look>,
}

/// What is different in each language.
pub(super) struct Translation {
    pub(super) language: HeaderValue,
    pub(super) problem: Bytes,
    pub(super) text: Bytes,
    pub(super) html: Html,
    /// The document for those who sent something that is lost now.
    pub(super) html_after_sending: Html,
}

/// The document, as it is and compressed.
pub(super) struct Html {
    pub(super) plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Rendered {
    pub(super) fn new(status: Status, of: (usize, u64), look: Arc<Look>) -> Rendered {
        let json = json!(status).to_string();
        Rendered {
            of,
            lines: reply::lines(&headers(&status, &look)),
            retry_after: status.retry_after_seconds.max(1).into(),
            event: format!("retry: 2000\nevent: status\ndata: {json}\n\n").into(),
            json: json.into(),
            translations: look.assets.languages.iter().map(|_| OnceLock::new()).collect(),
            look,
            status,
        }
    }

    /// The answers in one of the languages.
    pub(super) fn translated(&self, language: usize) -> &Translation {
        self.translations[language].get_or_init(|| {
            let words = &self.look.assets.languages[language];
            let document = Document { look: &self.look, words, status: &self.status };
            let text = document.plain();
            Translation {
                language: HeaderValue::from_str(&words.code)
                    .unwrap_or(HeaderValue::from_static("und")),
                problem: problem(&self.status, &text).into(),
                text: format!("{text}\n").into(),
                html: Html::new(document.html(false)),
                html_after_sending: Html::new(document.html(true)),
            }
        })
    }
}

impl Html {
    fn new(plain: String) -> Html {
        Html { plain: plain.into(), gzip: OnceLock::new() }
    }

    pub(super) fn gzip(&self) -> Bytes {
        self.gzip.get_or_init(|| gzip(&self.plain).into()).clone()
    }
}

fn headers(status: &Status, look: &Look) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(CACHE_CONTROL, "no-store");
    set(
        VARY,
        "Accept, Accept-Encoding, Accept-Language, Content-Type, Origin, Sec-Fetch-Dest, X-Requested-With",
    );
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "same-origin");
    // Of robots.txt as well: a 503 there makes crawlers wait.
    set(HeaderName::from_static("x-robots-tag"), "noindex, nofollow");
    headers.insert(CONTENT_SECURITY_POLICY, look.policy.clone());
    let update = HeaderValue::from_str(&status.update);
    headers.insert(X_CHANGEOVER, update.unwrap_or(HeaderValue::from_static("unknown")));
    headers
}

/// The problem document. The type is `about:blank`, which means "just the HTTP
/// status"; what is ours sits in one member of its own, since `title` and
/// `status` already mean something there.
fn problem(status: &Status, detail: &str) -> String {
    json!({
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": detail,
        "changeover": status,
    })
    .to_string()
}
