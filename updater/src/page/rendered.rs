//! The answers, rendered at most once a second however many ask.

use std::sync::OnceLock;

use bytes::Bytes;
use hyper::header::HeaderValue;
use serde_json::json;

use super::document;
use crate::status::Status;

/// One status in every form that somebody may ask for.
pub(super) struct Rendered {
    pub(super) status: Status,
    /// The value of our own header.
    pub(super) update: HeaderValue,
    pub(super) retry_after: u64,
    pub(super) json: Bytes,
    pub(super) problem: Bytes,
    pub(super) text: Bytes,
    pub(super) event: Bytes,
    html: OnceLock<Bytes>,
    html_after_sending: OnceLock<Bytes>,
}

impl Rendered {
    pub(super) fn new(status: Status) -> Rendered {
        let json = json!(status).to_string();
        let text = document::plain(&status);
        Rendered {
            update: HeaderValue::from_str(&status.update)
                .unwrap_or(HeaderValue::from_static("unknown")),
            retry_after: status.retry_after_seconds.max(1),
            problem: problem(&status, &text).into(),
            event: format!("retry: 2000\nevent: status\ndata: {json}\n\n").into(),
            text: format!("{text}\n").into(),
            json: json.into(),
            html: OnceLock::new(),
            html_after_sending: OnceLock::new(),
            status,
        }
    }

    /// The document; `sent` says that it answers something the visitor sent.
    pub(super) fn html(&self, sent: bool) -> Bytes {
        let kept = if sent { &self.html_after_sending } else { &self.html };
        kept.get_or_init(|| document::html(&self.status, sent).into()).clone()
    }
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
