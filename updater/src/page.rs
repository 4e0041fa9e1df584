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
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::answer::Answer;
pub use self::answer::X_CHANGEOVER;
pub use self::assets::FolderError;
use self::connection::{Answers, Limits};
use self::look::Look;
pub use self::preview::Preview;
use self::rendered::Rendered;
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

    /// Answers on this listener until it is told to stop. Needs a tokio runtime.
    pub fn serve(&self, listener: std::net::TcpListener) -> io::Result<Serving> {
        make_room_for_files(self.limits().connections);
        connection::prepare(&listener, self.limits())?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(self.clone().accept(listener, stopped));
        Ok(Serving { address, stop, task })
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

    async fn accept(self, listener: TcpListener, mut stopped: oneshot::Receiver<()>) {
        loop {
            let accepted = async {
                let room = self.shared.room.clone().acquire_owned().await;
                (listener.accept().await, room.ok())
            };
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                (stream, room) = accepted => match stream {
                    Ok((stream, _)) => self.receive(stream, room),
                    // Out of descriptors, most likely: those who are here leave soon.
                    Err(_) => sleep(Duration::from_millis(20)).await,
                },
            }
        }
        // The kernel has let these in already; closing the listener would reset them.
        if let Ok(listener) = listener.into_std() {
            while let Ok((stream, _)) = listener.accept() {
                let nonblocking = stream.set_nonblocking(true);
                if let Ok(stream) = nonblocking.and_then(|()| TcpStream::from_std(stream)) {
                    self.receive(stream, None);
                }
            }
        }
    }

    fn receive(&self, stream: TcpStream, room: Option<OwnedSemaphorePermit>) {
        let open = Open::new(self);
        tokio::spawn(async move {
            let page = &open.0;
            connection::serve(page.limits(), page, page.shared.tls.get(), stream).await;
            drop(room);
        });
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

    fn refuse(&self, status: StatusCode) -> Response<Bytes> {
        answer::malformed(self, status)
    }
}

/// A listener on which the page answers. Dropping it stops it too.
pub struct Serving {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener; when this returns the port is free. Whoever got
    /// through still gets an answer, for which [`Page::drained`] waits.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

/// Every connection is a file, and some systems begin with a thousand of them.
fn make_room_for_files(wanted: usize) {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = wanted as u64 + 200;
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Counts a connection for as long as it is open.
struct Open(Page);

impl Open {
    fn new(page: &Page) -> Open {
        page.shared.open.send_modify(|open| *open += 1);
        Open(page.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.shared.open.send_modify(|open| *open -= 1);
    }
}

#[cfg(test)]
use tests::sample;
