//! The page: what everybody gets on the app's port while neither version can answer.
//!
//! [`Page::publish`] says what is going on, [`Page::serve`] answers on a listener;
//! there may be several. To end it without a lost request:
//!
//! 1. Release the port: take the redirect away, or [`Serving::stop`] where the page
//!    holds the port itself. New connections now reach the app.
//! 2. Publish [`Phase::Updated`](crate::status::Phase::Updated) or the like. Event streams get
//!    it and end; open pages go over to the app.
//! 3. [`Page::drained`], then stop and leave.
//!
//! Publishing before the release works as well, but then every open page asks us
//! once more. Nothing here knows about the engine or the plan, and everything
//! that leaves is in [`Status`].

mod answer;
mod assets;
mod colour;
mod compress;
mod connection;
mod cors;
mod document;
mod events;
mod head;
mod language;
mod look;
mod preview;
mod rendered;
mod reply;
mod serving;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hyper::{Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

use self::answer::Answer;
pub use self::answer::X_CHANGEOVER;
pub use self::assets::FolderError;
use self::connection::{Answers, Limits};
use self::look::Look;
pub use self::preview::Preview;
use self::rendered::Rendered;
use self::reply::Reply;
pub use self::serving::Serving;
pub use self::tls::{Tls, TlsError};
use crate::face::Face;
use crate::status::Status;

/// The languages that the page speaks.
pub fn languages() -> Vec<String> {
    assets::Assets::ours().languages.iter().map(|words| words.code.clone()).collect()
}

/// The page. Clones are the same page.
#[derive(Clone)]
pub struct Page {
    shared: Arc<Shared>,
}

struct Shared {
    published: watch::Sender<Published>,
    rendered: Mutex<Option<Arc<Rendered>>>,
    look: Arc<Look>,
    tls: OnceLock<Tls>,
    limits: Limits,
    room: Arc<Semaphore>,
    room_for_streams: Arc<Semaphore>,
    open: watch::Sender<usize>,
    broken: watch::Sender<bool>,
}

/// A status and when it was true.
struct Published {
    status: Status,
    at: Instant,
    /// How many event streams were open then.
    streams: usize,
    /// How many there were before.
    number: usize,
}

impl Page {
    /// A page that shows this status. It isn't served yet.
    pub fn new(status: Status) -> Page {
        Page::with_face(status, &Face::default())
    }

    /// The same with the app's own face. Its folder is not looked at.
    pub fn with_face(status: Status, face: &Face) -> Page {
        Page::with(status, Look::new(face.clone()), Limits::default())
    }

    /// The same with the files of a folder in place of ours.
    pub fn from_folder(status: Status, face: &Face, folder: &Path) -> Result<Page, FolderError> {
        let look = Look::from_folder(folder, face.clone())?;
        Ok(Page::with(status, look, Limits::default()))
    }

    #[cfg(test)]
    fn with_limits(status: Status, limits: Limits) -> Page {
        Page::with(status, Look::new(Face::default()), limits)
    }

    fn with(status: Status, look: Look, limits: Limits) -> Page {
        Page {
            shared: Arc::new(Shared {
                published: watch::Sender::new(Published {
                    status,
                    at: Instant::now(),
                    streams: 0,
                    number: 0,
                }),
                rendered: Mutex::new(None),
                look: Arc::new(look),
                tls: OnceLock::new(),
                room: Arc::new(Semaphore::new(limits.connections)),
                room_for_streams: Arc::new(Semaphore::new(limits.streams)),
                open: watch::Sender::new(0),
                broken: watch::Sender::new(false),
                limits,
            }),
        }
    }

    /// Answers those who speak TLS as well, on the same ports, from now on.
    pub fn speak_tls(&self, tls: Tls) {
        // Whoever came first stays: nothing changes in the middle of an update.
        let _ = self.shared.tls.set(tls);
    }

    /// Shows another status from now on. Whoever watches sees it at once.
    pub fn publish(&self, status: Status) {
        let (at, streams) = (Instant::now(), self.streams());
        self.shared.published.send_modify(|published| {
            *published = Published { status, at, streams, number: published.number + 1 };
        });
    }

    /// What the page says now. Time passes in it between two publications.
    pub fn status(&self) -> Status {
        self.shared.published.borrow().now()
    }

    /// Answers on this listener until it is told to stop, by threads of its own.
    pub fn serve(&self, listener: std::net::TcpListener) -> io::Result<Serving> {
        Serving::start(self, self.clone(), listener)
    }

    /// How many connections are open now, over all listeners.
    pub fn connections(&self) -> usize {
        *self.shared.open.borrow()
    }

    /// Waits until every visitor has had an answer and is gone, at most `limit`.
    /// Says whether they are.
    pub async fn drained(&self, limit: Duration) -> bool {
        // A handshake that is under way is a connection a moment later.
        const QUIET: Duration = Duration::from_millis(200);
        let mut open = self.shared.open.subscribe();
        let quiet = async {
            loop {
                let _ = open.wait_for(|open| *open == 0).await;
                if timeout(QUIET, open.changed()).await.is_err() {
                    return;
                }
            }
        };
        timeout(limit, quiet).await.is_ok()
    }

    /// Waits until one of the threads that answer has ended without being told to: from
    /// then on visitors may be left without an answer, and nobody here can mend that.
    pub async fn breaks(&self) {
        let mut broken = self.shared.broken.subscribe();
        let _ = broken.wait_for(|broken| *broken).await;
    }

    /// One of those threads has.
    pub(crate) fn break_down(&self) {
        self.shared.broken.send_replace(true);
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn look(&self) -> &Arc<Look> {
        &self.shared.look
    }

    fn watch(&self) -> watch::Receiver<Published> {
        self.shared.published.subscribe()
    }

    /// How many event streams are open.
    fn streams(&self) -> usize {
        self.limits().streams - self.shared.room_for_streams.available_permits()
    }

    fn permit_for_a_stream(&self) -> Option<OwnedSemaphorePermit> {
        self.shared.room_for_streams.clone().try_acquire_owned().ok()
    }

    fn rendered(&self) -> Arc<Rendered> {
        let published = self.shared.published.borrow();
        let mut kept = self.shared.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let moment = published.moment();
        match &*kept {
            // Whoever asks within the same second gets the same.
            Some(rendered) if rendered.of == moment => rendered.clone(),
            _ => {
                let rendered = Rendered::new(published.now(), moment, self.look().clone());
                kept.insert(Arc::new(rendered)).clone()
            }
        }
    }
}

impl Published {
    /// What is different as soon as something else has to be said.
    fn moment(&self) -> (usize, u64) {
        let over = self.status.phase.is_over();
        (self.number, if over { 0 } else { self.at.elapsed().as_secs() })
    }

    fn now(&self) -> Status {
        let mut status = self.status.clone();
        if !status.phase.is_over() {
            status.elapsed_seconds += self.at.elapsed().as_secs();
            // What has lasted long is likely to last a while longer.
            let patience = status.elapsed_seconds / 10;
            status.retry_after_seconds = status.retry_after_seconds.max(patience.min(30));
        }
        status
    }
}

impl Answers for Page {
    fn answer(&self, request: &Request<()>) -> Answer {
        answer::answer(self, request)
    }

    fn refuse(&self, status: StatusCode) -> Reply {
        answer::malformed(self, status)
    }
}

#[cfg(test)]
use tests::sample;
