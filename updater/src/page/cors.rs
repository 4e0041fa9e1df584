//! Front ends on another origin may read what we say: there are no secrets in it.
//!
//! A preflight is another matter. It asks whether a request may be made, we say yes,
//! and the request that follows may reach the app, which has never agreed to it. So
//! we only agree to what changes nothing, without cookies, and to be forgotten at
//! once. Everything else a browser refuses for us, as it does when we answer 503.

use bytes::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN,
};
use hyper::{Method, Request, Response, StatusCode};

/// Lets the origin that asks read this answer.
pub(super) fn allow_reading(asked: &HeaderMap, answer: &mut HeaderMap) {
    let Some(origin) = asked.get(ORIGIN) else { return };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    if !answer.contains_key(ACCESS_CONTROL_ALLOW_METHODS) {
        // Whoever sends cookies along may read the answer nonetheless.
        answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        answer.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Retry-After, X-Changeover, Grpc-Status"),
        );
    }
}

pub(super) fn is_harmless_preflight<B>(request: &Request<B>) -> bool {
    let wanted = request.headers().get(ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && wanted.is_some_and(|method| method == "GET" || method == "HEAD")
}

/// Agrees, with what every answer carries as its `head`.
pub(super) fn preflight(head: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = head.clone();
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Cache-Control, Content-Type"),
        (ACCESS_CONTROL_MAX_AGE, "0"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
