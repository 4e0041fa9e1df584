//! Visitors: fresh connections at a steady rate, each answer classified.
//!
//! The schedule is open: a request starts on time even if earlier ones hang,
//! as real visitors do. A loop that waits for each answer would stand still
//! exactly while the app is away and count that as one failure.
//!
//! Each target has an own OS thread, since a network namespace belongs to a
//! thread. It is entered before the thread's runtime starts.

mod report;
mod request;
mod visitors;

pub use report::{Record, Report, Row, Story};
pub use request::{Answer, Class, get, get_by};
pub use visitors::{OpenPage, download, first_answer, open_page};

use crate::tls::Trust;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval_at, timeout_at};

/// Moves the calling thread to where its requests shall come from.
pub type Enter = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

/// Where visitors go, and from where.
#[derive(Clone)]
pub struct Target {
    /// What reports call it.
    pub label: String,
    /// Where the app is published.
    pub addr: SocketAddr,
    /// Called in the visitors' thread first.
    pub enter: Option<Enter>,
    /// Whom they trust who come by TLS.
    pub tls: Option<Trust>,
}

impl Target {
    /// A target reached from the namespace of the caller.
    pub fn new(label: impl Into<String>, addr: SocketAddr) -> Self {
        Target { label: label.into(), addr, enter: None, tls: None }
    }

    /// The same, from elsewhere.
    pub fn from(self, enter: Enter) -> Self {
        Target { enter: Some(enter), ..self }
    }

    /// The same, by TLS.
    pub fn by_tls(self, trust: &Trust) -> Self {
        Target { label: format!("{} by TLS", self.label), tls: Some(trust.clone()), ..self }
    }
}

/// Enters a network namespace made by `ip netns add`.
pub fn netns(name: &str) -> Enter {
    let path = format!("/run/netns/{name}");
    Arc::new(move || {
        Ok(move_into_link_name_space(File::open(&path)?.as_fd(), Some(LinkNameSpaceType::Network))?)
    })
}

/// What the visitors do.
#[derive(Clone)]
pub struct Options {
    /// Where they go, all at the same time.
    pub targets: Vec<Target>,
    /// Fresh connections a second, on each target.
    pub rate_per_second: u32,
    /// What they ask for.
    pub path: String,
    /// How long they wait, from the start of the connection to the last byte.
    pub timeout: Duration,
    /// The version that answers first; see [`Class::Old`].
    pub old: String,
    /// The version that is to come; see [`Class::New`].
    pub new: String,
    /// When the load ends by itself: a forgotten one must not go on for ever.
    pub limit: Duration,
}

impl Options {
    /// 200 a second asking for `/`, each waiting up to 5 s, on an update 1 → 2.
    pub fn new(targets: Vec<Target>) -> Self {
        Options {
            targets,
            rate_per_second: 200,
            path: "/".to_owned(),
            timeout: Duration::from_secs(5),
            old: "1".to_owned(),
            new: "2".to_owned(),
            limit: Duration::from_secs(600),
        }
    }
}

/// Visitors under way. Dropping it sends no more of them.
pub struct Load {
    report: Arc<Mutex<Report>>,
    leave: watch::Sender<bool>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Load {
    /// Starts, and returns once every thread is where it should be.
    pub fn start(options: Options) -> io::Result<Load> {
        allow_many_descriptors();
        let (leave, leaving) = watch::channel(false);
        let began = Instant::now();
        let labels = options.targets.iter().map(|target| target.label.clone()).collect();
        let report = Arc::new(Mutex::new(Report { began, targets: labels, records: Vec::new() }));
        let (ready, all_ready) = mpsc::channel();
        let mut threads = Vec::new();
        for (index, target) in options.targets.iter().enumerate() {
            let visitors = Visitors {
                index,
                addr: target.addr,
                tls: target.tls.clone(),
                options: options.clone(),
                began,
                report: report.clone(),
                leaving: leaving.clone(),
            };
            let ready = ready.clone();
            threads.push(thread_at(target.enter.clone(), move || {
                // Fails if the start was given up; then this ends by `leave`.
                let _ = ready.send(());
                visitors.come()
            }));
        }
        drop(ready);
        let arrived = all_ready.iter().take(threads.len()).count();
        let load = Load { report, leave, threads };
        if arrived == load.threads.len() {
            return Ok(load);
        }
        Err(load
            .finish()
            .err()
            .unwrap_or_else(|| io::Error::other("a thread of visitors ended at once")))
    }

    /// What was seen so far; requests under way aren't in it.
    pub fn report(&self) -> Report {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends no more visitors, waits for those under way (at most their
    /// timeout) and reports. Blocks the thread.
    pub fn stop(self) -> Report {
        let report = self.report.clone();
        self.finish().expect("every thread said that it was ready");
        let report = report.lock().unwrap_or_else(PoisonError::into_inner);
        report.clone()
    }

    fn finish(self) -> io::Result<()> {
        self.leave.send_replace(true);
        self.threads.into_iter().try_for_each(|thread| thread.join().expect("visitors don't panic"))
    }
}

/// Runs `work` on a thread of its own, in the namespace that `enter` leads to.
/// The runtime starts after that, so its every socket is there.
pub fn thread_at<T, W>(
    enter: Option<Enter>,
    work: impl FnOnce() -> W + Send + 'static,
) -> JoinHandle<io::Result<T>>
where
    T: Send + 'static,
    W: Future<Output = T>,
{
    thread::spawn(move || {
        if let Some(enter) = enter {
            enter()?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(work()))
    })
}

/// The visitors of one target.
struct Visitors {
    index: usize,
    addr: SocketAddr,
    tls: Option<Trust>,
    options: Options,
    began: Instant,
    report: Arc<Mutex<Report>>,
    leaving: watch::Receiver<bool>,
}

impl Visitors {
    async fn come(self) {
        let mut leaving = self.leaving.clone();
        let period = Duration::from_secs(1) / self.options.rate_per_second.max(1);
        // Targets take turns, so that the machine's load is even.
        let turn = period * self.index as u32 / self.options.targets.len() as u32;
        let first = Instant::now() + turn;
        let end = (self.began + self.options.limit).into();
        let mut schedule = interval_at(first.into(), period);
        // Late ones are caught up with: the number of visitors is a promise.
        schedule.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut under_way = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                due = schedule.tick() => under_way.spawn(self.visit(due.into_std())),
                Some(_) = under_way.join_next() => continue,
                _ = timeout_at(end, leaving.wait_for(|leaving| *leaving)) => break,
            };
        }
        under_way.join_all().await;
    }

    fn visit(&self, due: Instant) -> impl Future<Output = ()> + Send + 'static {
        let (index, addr, began, report) = (self.index, self.addr, self.began, self.report.clone());
        let Options { path, timeout, old, new, .. } = self.options.clone();
        let tls = self.tls.clone();
        async move {
            let started = Instant::now();
            let result = get_by(tls.as_ref(), addr, &path, timeout).await;
            let record = Record {
                target: index,
                due: due - began,
                started: started - began,
                ended: began.elapsed(),
                class: Class::of(result, &old, &new),
            };
            report.lock().unwrap_or_else(PoisonError::into_inner).records.push(record);
        }
    }
}

/// Visitors that hang hold a socket each: 1000 a second for 5 s are more than
/// the usual 1024. Where this fails, the report names "too many open files".
pub fn allow_many_descriptors() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
