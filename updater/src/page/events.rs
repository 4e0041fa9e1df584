//! The event stream: the status at once, then each change, then the end.
//!
//! Two kinds of event: `status` holds the status document, `alive` the elapsed
//! seconds. The second one is an event rather than a comment so that a script
//! hears it, and notices when a proxy or a sleeping laptop swallowed the stream.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::answer::Body;
use super::{Page, Published};

/// A stream of what happens, or none if there are too many already.
pub(super) fn stream(page: &Page) -> Option<Body> {
    let limits = page.limits();
    let listener = Listener {
        permit: page.permit_for_a_stream()?,
        published: page.watch(),
        heard: None,
        until: Instant::now() + limits.stream,
        page: page.clone(),
    };
    let frames = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(Frame::data(event)), listener))
    });
    Some(StreamBody::new(frames).boxed_unsync())
}

struct Listener {
    page: Page,
    published: watch::Receiver<Published>,
    heard: Option<Heard>,
    until: Instant,
    #[expect(dead_code, reason = "held for as long as the stream goes on")]
    permit: OwnedSemaphorePermit,
}

/// What the last event said.
enum Heard {
    More,
    TheEnd,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        match self.heard {
            None => return Some(self.tell()),
            Some(Heard::TheEnd) => return None,
            Some(Heard::More) => {}
        }
        let heartbeat = Instant::now() + self.page.limits().heartbeat;
        match timeout_at(heartbeat.min(self.until), self.published.changed()).await {
            Ok(Ok(())) => Some(self.tell()),
            Ok(Err(_)) => None,
            Err(_) if heartbeat < self.until => {
                let elapsed = self.page.status().elapsed_seconds;
                Some(format!("event: alive\ndata: {elapsed}\n\n").into())
            }
            // The script asks for another one, unless it is gone by now.
            Err(_) => None,
        }
    }

    fn tell(&mut self) -> Bytes {
        let over = self.published.borrow_and_update().status.phase.is_over();
        self.heard = Some(if over { Heard::TheEnd } else { Heard::More });
        self.page.rendered().event.clone()
    }
}
