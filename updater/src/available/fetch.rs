//! One question to a feed or a registry: redirects, limits, and what its answer means.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::http::{Answer, HttpError, Request, Trust, Url, send};

/// The largest that is read: a page of releases with long notes.
const MOST: usize = 16 << 20;
/// So often may an address lead to another.
const REDIRECTS: usize = 4;
/// Where nobody says for how long to leave them alone.
const USUAL_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// Why it can't be said what is available. Nothing is kept of such an answer.
#[derive(Debug, thiserror::Error)]
pub enum AvailableError {
    /// No answer.
    #[error("cannot ask what is available")]
    Http(#[from] HttpError),
    /// It wants us to wait.
    #[error(
        "{host} wants no more questions before {until}\nhint: ask less often; a token (--token-file, or `docker login` for a registry) allows more"
    )]
    RateLimited {
        /// Who.
        host: String,
        /// Until when.
        until: Timestamp,
    },
    /// It says no.
    #[error("{url} answers with status {status}\nhint: {hint}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
        /// The way out.
        hint: &'static str,
    },
    /// It says something else than it should.
    #[error(
        "what {url} answers makes no sense: {what}\nhint: is this the address of the forge or registry itself, with no proxy or log-in page in between?"
    )]
    Garbled {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        what: String,
    },
    /// It leads somewhere else than it may.
    #[error("{from} leads to {to}, where it may not lead\nhint: name the place itself")]
    Astray {
        /// From where.
        from: String,
        /// Where to.
        to: String,
    },
    /// What was asked for makes no sense.
    #[error("{what}\nhint: {hint}")]
    Asked {
        /// What is wrong.
        what: String,
        /// The way out.
        hint: &'static str,
    },
    /// A file of ours.
    #[error("cannot read {file}\nhint: is the path right, and may you read it?")]
    File {
        /// Which.
        file: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Asks, and follows where it leads. What proves who we are (`secret`) is only said to
/// the very server that was meant, and never in the clear over a network.
pub(super) async fn ask(
    method: &'static str,
    url: &Url,
    headers: &[(&'static str, String)],
    secret: Option<&(&'static str, String)>,
    limit: Duration,
    trust: Option<&Trust>,
) -> Result<(Url, Answer), AvailableError> {
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        let mut all = headers.to_vec();
        let proven = at.tls && !trust.is_some_and(|trust| trust.is_blind(&at));
        let private = proven || is_loopback(&at.host);
        all.extend(secret.filter(|_| at.same_origin(url) && private).cloned());
        let request =
            Request { method, headers: &all, body: Default::default(), limit, most: MOST, trust };
        let answer = send(&at, request).await?;
        if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
            return Ok((at, answer));
        }
        let to = answer.header("location").unwrap_or_default().to_owned();
        let astray = || AvailableError::Astray { from: at.to_string(), to: to.clone() };
        let next = at.join(&to).map_err(|_| astray())?;
        // What began in secret doesn't go on in the open, and nobody leads us home.
        let into_the_open = at.tls && !next.tls;
        let inwards = is_loopback(&next.host) && !is_loopback(&at.host);
        if into_the_open || inwards {
            return Err(astray());
        }
        at = next;
    }
    Err(AvailableError::Astray { from: url.to_string(), to: "one address after the other".into() })
}

/// Whether it never leaves this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The answer, if it is one that can be used.
pub(super) fn good(url: &Url, answer: Answer) -> Result<Answer, AvailableError> {
    if let Some(until) = asked_to_wait(&answer, Timestamp::now()) {
        return Err(AvailableError::RateLimited { host: url.host.clone(), until });
    }
    let hint = match answer.status {
        200..300 | 304 => return Ok(answer),
        401 | 403 => {
            "it wants to know who asks: --token-file for a forge, `docker login` for a registry"
        }
        404 => "is the name right? what is private is not found without a token",
        500..600 => "it has troubles of its own; ask again later",
        _ => "is this the right address?",
    };
    Err(AvailableError::Status { url: url.to_string(), status: answer.status, hint })
}

/// The body as JSON.
pub(super) fn json(url: &Url, answer: &Answer) -> Result<Value, AvailableError> {
    serde_json::from_slice(&answer.body).map_err(|error| garbled(url, &error.to_string()))
}

pub(super) fn garbled(url: &Url, what: &str) -> AvailableError {
    AvailableError::Garbled { url: url.to_string(), what: what.to_owned() }
}

/// Until when not to ask again: the seconds or the date that it names, or when its count
/// begins anew.
fn asked_to_wait(answer: &Answer, now: Timestamp) -> Option<Timestamp> {
    let number = |name: &str| answer.header(name)?.trim().parse::<i64>().ok();
    let used_up = number("x-ratelimit-remaining").or(number("ratelimit-remaining")) == Some(0);
    let after = number("retry-after");
    if !(answer.status == 429 || (answer.status == 403 && (used_up || after.is_some()))) {
        return None;
    }
    // A day is the most that anybody is believed.
    let limit = now + SignedDuration::from_hours(24);
    let reset = number("x-ratelimit-reset").or(number("ratelimit-reset"));
    let reset = reset.and_then(|at| Timestamp::from_second(at).ok());
    let after = after.map(|seconds| now + SignedDuration::from_secs(seconds.clamp(0, 86_400)));
    let until = after.or(reset.filter(|at| *at > now)).unwrap_or(now + USUAL_WAIT);
    Some(until.min(limit))
}

/// Where the next page is, by the header `Link`. Only on the same server: whoever is asked
/// for a list doesn't decide whom we ask next.
pub(super) fn next_page(url: &Url, answer: &Answer) -> Option<Url> {
    let links = answer.header("link")?;
    let next = links.split(',').find(|link| {
        link.split(';').skip(1).any(|part| {
            let part = part.trim();
            part.eq_ignore_ascii_case("rel=next") || part.eq_ignore_ascii_case("rel=\"next\"")
        })
    })?;
    let address = next.split_once('<')?.1.split_once('>')?.0;
    url.join(address).ok().filter(|next| next.same_origin(url))
}
