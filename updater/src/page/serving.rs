//! A listener on which the page answers, by threads of its own.
//!
//! So a crowd of visitors never holds up the swap, nor the swap a visitor. At least half of
//! the processors is left to the engine and the new version; one of them answers more
//! visitors than most have. Each thread takes in whom it can, and keeps them.

use std::future::Future as _;
use std::io;
use std::net::{self, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{Builder, available_parallelism};
use std::time::Duration;

use rustix::io::retry_on_intr;
use rustix::net::{SocketFlags, accept_with};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::Page;
use super::connection::{self, Answers};

/// More threads than this would wait for the kernel rather than for each other.
const MOST_THREADS: usize = 4;

/// So many new visitors, at most, before those who are here have their turn again.
const IN_A_ROW: usize = 64;

/// A listener on which the page answers. Dropping it stops it too.
pub struct Serving {
    address: SocketAddr,
    /// Closed, it tells the threads to stop.
    stop: watch::Sender<()>,
    /// Closed as soon as none of them listens any more.
    listening: mpsc::Receiver<()>,
}

impl Serving {
    /// Begins to give these answers; the page counts its visitors and knows its limits.
    pub(super) fn start(
        page: &Page,
        answers: impl Answers + Send + Sync + 'static,
        listener: net::TcpListener,
    ) -> io::Result<Serving> {
        let answers = Arc::new(answers);
        make_room_for_files(page.limits().connections);
        connection::prepare(&listener, page.limits())?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(());
        let (listens, listening) = mpsc::channel(1);
        let processors = available_parallelism().map_or(1, usize::from);
        let threads = (processors / 2).clamp(1, MOST_THREADS);
        for _ in 0..threads {
            let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
            let thread = Thread {
                page: page.clone(),
                answers: answers.clone(),
                listener: listener.try_clone()?,
            };
            let (stopped, listens) = (stopped.clone(), listens.clone());
            let page = page.clone();
            Builder::new().name("page".to_owned()).spawn(move || {
                // As a task: what is run here directly is woken by way of the kernel.
                let run = async { tokio::spawn(thread.run(stopped, listens)).await };
                let run = AssertUnwindSafe(|| runtime.block_on(run));
                if !matches!(catch_unwind(run), Ok(Ok(Ok(())))) {
                    page.break_down();
                }
            })?;
        }
        Ok(Serving { address, stop, listening })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes the listener; when this returns the port is free. Whoever got
    /// through still gets an answer, for which [`Page::drained`] waits.
    pub async fn stop(mut self) {
        drop(self.stop);
        let _ = self.listening.recv().await;
    }

    /// Goes on for good.
    pub(super) async fn forever(mut self) {
        let _ = self.listening.recv().await;
    }
}

/// What one of the threads does.
struct Thread<A> {
    page: Page,
    answers: Arc<A>,
    listener: net::TcpListener,
}

impl<A: Answers + Send + Sync + 'static> Thread<A> {
    async fn run(
        self,
        mut stopped: watch::Receiver<()>,
        listens: mpsc::Sender<()>,
    ) -> io::Result<()> {
        let listener = watched(self.listener.try_clone()?)?;
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => break,
                received = self.receive_some(&listener) => match received {
                    // Those who are here already have their turn in between.
                    Ok(()) => yield_now().await,
                    // Out of descriptors, most likely: those who are here leave soon.
                    Err(_) => sleep(Duration::from_millis(20)).await,
                },
            }
        }
        // The kernel has let these in already; closing the listener would reset them.
        while let Ok(socket) = accept(&self.listener) {
            self.receive(socket, None);
        }
        let Thread { page, listener: last, .. } = self;
        drop((listener, last, listens));
        // Whoever is here stays until they have their answer.
        let mut open = page.shared.open.subscribe();
        let _ = open.wait_for(|open| *open == 0).await;
        Ok(())
    }

    /// Waits for somebody, and takes in all who wait by then, up to a number of them.
    async fn receive_some(&self, listener: &AsyncFd<net::TcpListener>) -> io::Result<()> {
        let places = &self.page.shared.room;
        let mut room = places.clone().acquire_owned().await.ok();
        let receiving = listener.async_io(Interest::READABLE, |listener| {
            for _ in 0..IN_A_ROW {
                self.receive(accept(listener)?, room.take());
                room = places.clone().try_acquire_owned().ok();
                if room.is_none() {
                    break;
                }
            }
            Ok(())
        });
        receiving.await
    }

    fn receive(&self, socket: net::TcpStream, room: Option<OwnedSemaphorePermit>) {
        let open = Open::new(&self.page);
        let answers = self.answers.clone();
        let mut visit = Box::pin(async move {
            let page = &open.0;
            connection::serve(page.limits(), &*answers, page.shared.tls.get(), socket).await;
            drop(room);
        });
        // Most have asked already and are gone with this. The others are looked at again
        // by the runtime, which then knows whom to wake. A panic is the visitor's alone, as
        // the runtime has it too.
        let mut look = || visit.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Ok(Poll::Pending) = catch_unwind(AssertUnwindSafe(&mut look)) {
            tokio::spawn(visit);
        }
    }
}

/// Has the runtime say when somebody waits.
#[expect(
    deprecated,
    reason = "unsound for what answers with another descriptor each time; its successor is unsafe"
)]
fn watched(listener: net::TcpListener) -> io::Result<AsyncFd<net::TcpListener>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

/// Lets somebody in who waits, if anybody does. Their socket doesn't block.
fn accept(listener: &net::TcpListener) -> io::Result<net::TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(retry_on_intr(|| accept_with(listener, flags))?.into())
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
