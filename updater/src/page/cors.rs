//! Front ends on another origin may read what we say: there are no secrets in it.
//!
//! A preflight is another matter. It asks whether a request may be made, we say yes,
//! and the request that follows may reach the app, which has never agreed to it. So
//! we only agree to what changes nothing, without cookies, and to be forgotten at
//! once. Everything else a browser refuses for us, as it does when we answer 503.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use hyper::{Method, Request};

use super::reply::Reply;

/// Lets the origin that asks read this answer.
pub(super) fn let_read(asked: &HeaderMap, reply: Reply) -> Reply {
    let Some(origin) = asked.get(ORIGIN) else { return reply };
    // Whoever sends cookies along may read the answer nonetheless.
    let headers = [
        (ACCESS_CONTROL_ALLOW_CREDENTIALS, "true"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, X-Changeover, Grpc-Status"),
    ];
    with(headers, reply.with(ACCESS_CONTROL_ALLOW_ORIGIN, origin))
}

/// Who asks, if it is a preflight that may be agreed to.
pub(super) fn harmless_preflight<B>(request: &Request<B>) -> Option<&HeaderValue> {
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD)?;
    let harmless = request.method() == Method::OPTIONS && (wanted == "GET" || wanted == "HEAD");
    request.headers().get(ORIGIN).filter(|_| harmless)
}

/// Agrees.
pub(super) fn preflight(origin: &HeaderValue, reply: Reply) -> Reply {
    let headers = [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Cache-Control, Content-Type"),
        (ACCESS_CONTROL_MAX_AGE, "0"),
    ];
    with(headers, reply.with(ACCESS_CONTROL_ALLOW_ORIGIN, origin))
}

fn with<const N: usize>(headers: [(HeaderName, &'static str); N], reply: Reply) -> Reply {
    headers
        .into_iter()
        .fold(reply, |reply, (name, value)| reply.with(name, &HeaderValue::from_static(value)))
}
