//! The event stream: the status at once, then each change, then the end.
//!
//! Three kinds of event: `status` holds the status document, `alive` the elapsed
//! seconds. That one is an event rather than a comment so that a script hears it,
//! and notices when a proxy or a sleeping laptop swallowed the stream. `spread`
//! comes before each of them and says over how many milliseconds those who listen
//! should spread when they go over, or look what has become of us: a new version
//! that has just come up shouldn't meet everybody in the same instant.

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

use super::{Page, Published};

/// So many may go over at once: each of them sees the new version without delay.
const AT_ONCE: usize = 20;
/// However many they are, nobody waits longer.
const LONGEST_SPREAD_MS: usize = 2000;

/// One who listens.
pub(super) struct Listener {
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
    /// Somebody who hears everything from now on, or none if there are too many already.
    pub(super) fn new(page: &Page) -> Option<Listener> {
        Some(Listener {
            permit: page.permit_for_a_stream()?,
            published: page.watch(),
            heard: None,
            until: Instant::now() + page.limits().stream,
            page: page.clone(),
        })
    }

    /// What is said next; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
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
                let spread = spread(self.page.streams());
                Some(format!("{spread}event: alive\ndata: {elapsed}\n\n").into())
            }
            // The script asks for another one, unless it is gone by now.
            Err(_) => None,
        }
    }

    fn tell(&mut self) -> Bytes {
        let (over, had) = {
            let published = self.published.borrow_and_update();
            (published.status.phase.is_over(), published.streams)
        };
        self.heard = Some(if over { Heard::TheEnd } else { Heard::More });
        // At the end they go one by one, and the last one mustn't think it was alone.
        let spread = spread(self.page.streams().max(if over { had } else { 0 }));
        [spread.as_bytes(), &self.page.rendered().event].concat().into()
    }
}

/// About a thousand a second go over, or more where that would take too long.
fn spread(streams: usize) -> String {
    let milliseconds = if streams <= AT_ONCE { 0 } else { streams.min(LONGEST_SPREAD_MS) };
    format!("event: spread\ndata: {milliseconds}\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_go_at_once_and_thousands_over_two_seconds() {
        for (streams, expected) in [(0, 0), (1, 0), (20, 0), (200, 200), (10_000, 2000)] {
            assert_eq!(spread(streams), format!("event: spread\ndata: {expected}\n\n"));
        }
    }
}
