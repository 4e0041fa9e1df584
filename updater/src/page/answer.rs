//! One request in, one answer out.
//!
//! Every path and method gets 503, so that nobody takes the page for the app:
//! no monitor, crawler, cache or API client. Only our own two addresses under
//! `/.changeover/` answer 200.
//!
//! Who gets what:
//!
//! - HTML: whoever names `text/html` in `Accept`, unless a script asked. A script
//!   would put the document into a page of the app, under another policy.
//! - `application/problem+json` (RFC 9457): scripts (`Sec-Fetch-Dest: empty`,
//!   `X-Requested-With`), whoever names JSON, whoever sends JSON
//!   without naming a type, as API clients do.
//! - One line of plain text: everybody else, `curl` and images alike.

use hyper::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, RETRY_AFTER,
};
use hyper::{Method, Request, StatusCode};

use super::events::Listener;
use super::language::Wish;
use super::rendered::Rendered;
use super::reply::Reply;
use super::{Page, compress, cors};

/// Where scripts ask how far it is.
pub(super) const STATUS: &str = "/.changeover/status";
/// Where scripts are told.
pub(super) const EVENTS: &str = "/.changeover/events";

/// On everything that comes from us: who sees it has not reached the app.
pub const X_CHANGEOVER: HeaderName = HeaderName::from_static("x-changeover");

const X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// An answer.
pub(super) enum Answer {
    /// All of it.
    Whole(Reply),
    /// The head, and what follows from time to time.
    Stream(Reply, Listener),
}

/// Answers a request.
pub(super) fn answer<B>(page: &Page, request: &Request<B>) -> Answer {
    let reading = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let rendered = &page.rendered();
    if path == EVENTS && request.method() == Method::GET {
        // One of too many asks for the status instead.
        if let Some(listener) = Listener::new(page) {
            let reply = Reply::endless("text/event-stream").with_lines(&rendered.lines);
            let reply = cors::let_read(request.headers(), reply);
            // A proxy that collects the stream first would make it useless.
            let accel = HeaderName::from_static("x-accel-buffering");
            return Answer::Stream(reply.with(accel, &HeaderValue::from_static("no")), listener);
        }
    }
    if let Some(origin) = cors::harmless_preflight(request) {
        return Answer::Whole(cors::preflight(origin, carry(rendered, Reply::empty())));
    }
    let reply = match path {
        STATUS if reading => {
            let json = Reply::new(StatusCode::OK, "application/json", rendered.json.clone());
            carry(rendered, json)
        }
        EVENTS if reading => refusal(page, rendered, Kind::Text, request),
        _ => refusal(page, rendered, Kind::wanted_by(request), request),
    };
    Answer::Whole(cors::let_read(request.headers(), reply))
}

/// The answer to something that isn't a request as HTTP has it, or is too large.
pub(super) fn malformed(page: &Page, status: StatusCode) -> Reply {
    let text = format!("{status}\n").into();
    carry(&page.rendered(), Reply::new(status, "text/plain; charset=utf-8", text))
}

fn refusal<B>(page: &Page, rendered: &Rendered, kind: Kind, request: &Request<B>) -> Reply {
    let headers = request.headers();
    let wish = Wish {
        query: request.uri().query(),
        accept: headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()),
    };
    let words = rendered.translated(page.look().language(wish));
    let mut packed = false;
    let (kind, body) = match kind {
        Kind::Html => {
            let reading = matches!(*request.method(), Method::GET | Method::HEAD);
            let html = if reading { &words.html } else { &words.html_after_sending };
            packed = compress::is_wanted(headers);
            let body = if packed { html.gzip() } else { html.plain.clone() };
            ("text/html; charset=utf-8", body)
        }
        Kind::Json => ("application/problem+json", words.problem.clone()),
        Kind::Text => ("text/plain; charset=utf-8", words.text.clone()),
    };
    let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, kind, body);
    let mut reply = carry(rendered, reply).with(CONTENT_LANGUAGE, &words.language);
    if is_grpc(headers) {
        // UNAVAILABLE. Over HTTP/1.1 that is gRPC-Web, which reads it from the head.
        reply = reply.with(GRPC_STATUS, &HeaderValue::from_static("14"));
    }
    if packed {
        reply = reply.with(CONTENT_ENCODING, &HeaderValue::from_static("gzip"));
    }
    reply
}

/// What every answer carries, and when to ask again.
fn carry(rendered: &Rendered, reply: Reply) -> Reply {
    reply.with_lines(&rendered.lines).with(RETRY_AFTER, &rendered.retry_after)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Html,
    Json,
    Text,
}

impl Kind {
    fn wanted_by<B>(request: &Request<B>) -> Kind {
        let headers = request.headers();
        let is_script = headers.contains_key(X_REQUESTED_WITH)
            || headers.get(SEC_FETCH_DEST).is_some_and(|dest| dest == "empty");
        if is_script {
            return Kind::Json;
        }
        let (html, json) = (
            preference(headers, |range| matches!(range, "text/html" | "application/xhtml+xml")),
            preference(headers, |range| {
                range.starts_with("application/") && range.ends_with("json")
            }),
        );
        let sends_data = headers.get(CONTENT_TYPE).is_some_and(|kind| {
            let kind = kind.as_bytes();
            kind.starts_with(b"application/") && kind.windows(4).any(|part| part == b"json")
        });
        if html > 0 && html >= json {
            Kind::Html
        } else if json > 0 || sends_data {
            Kind::Json
        } else {
            Kind::Text
        }
    }
}

/// How much the client wants one of these types, in thousandths; 0 is not at all.
/// Wildcards don't count: `*/*` is what those say who haven't thought about it.
fn preference(headers: &HeaderMap, is_one: impl Fn(&str) -> bool) -> u16 {
    let ranges = headers.get_all(ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    ranges
        .flat_map(|value| value.split(','))
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let range = parts.next().unwrap_or_default().to_ascii_lowercase();
            is_one(&range).then(|| {
                let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
                (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0) as u16
            })
        })
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_what_they_can_read() {
        let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for (headers, wanted) in [
            (&[][..], Kind::Text),
            (&[("accept", "*/*")], Kind::Text),
            (&[("accept", chrome)], Kind::Html),
            (&[("accept", chrome), ("sec-fetch-dest", "document")], Kind::Html),
            (&[("accept", chrome), ("sec-fetch-dest", "iframe")], Kind::Html),
            (&[("accept", chrome), ("sec-fetch-dest", "empty")], Kind::Json),
            (&[("accept", chrome), ("x-requested-with", "XMLHttpRequest")], Kind::Json),
            (&[("accept", "image/avif,image/webp,*/*;q=0.8")], Kind::Text),
            (&[("accept", "application/json, text/plain, */*")], Kind::Json),
            (&[("accept", "application/vnd.api+json")], Kind::Json),
            (&[("accept", "application/problem+json")], Kind::Json),
            (&[("accept", "application/json, text/html;q=0.5")], Kind::Json),
            (&[("accept", "application/json;q=0.5, TEXT/HTML")], Kind::Html),
            (&[("accept", "text/html;q=0")], Kind::Text),
            (&[("accept", "*/*"), ("content-type", "application/json")], Kind::Json),
            (&[("accept", "text/html"), ("content-type", "application/json")], Kind::Html),
            (&[("accept", "text/event-stream")], Kind::Text),
            (&[("content-type", "application/grpc")], Kind::Text),
        ] {
            let mut request = Request::builder();
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).expect("a request");
            assert_eq!(Kind::wanted_by(&request), wanted, "{headers:?}");
        }
    }
}
