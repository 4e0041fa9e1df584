//! The sample app's life: migrate, boot, listen, answer, stop.
//!
//! A graceful stop must lose nobody, or the suite would blame the update for
//! what the app did: whoever is in the accept backlog is served, and whoever is
//! connected but hasn't asked yet gets a moment to do so.

use super::answers::App;
use super::{DATA_IS_NEWER, OnTerm, Settings, Speaks};
use crate::tls;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::process::exit;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};

/// How long a fresh connection may take to ask once the app is leaving.
const LAST_ORDERS: Duration = Duration::from_secs(1);

/// Lives from start to exit and returns the exit code.
pub async fn run(settings: Settings) -> io::Result<u8> {
    // PID 1 has no default action for signals: unhandled is unheard.
    let signals = StopSignals::listen()?;
    if let Err(newer) = migrate(&settings)? {
        eprintln!("{newer}");
        return Ok(DATA_IS_NEWER);
    }
    if let Some(after) = settings.exit {
        if after.is_zero() {
            return Ok(settings.exit_code);
        }
        let code = settings.exit_code;
        tokio::spawn(async move {
            sleep(after).await;
            say(format_args!("exits with {code}, as told"));
            exit(code.into());
        });
    }
    let (leave, leaving) = watch::channel(false);
    tokio::spawn(signals.obey(settings.on_term, leave));

    let mut left = leaving.clone();
    tokio::select! {
        () = told(&mut left) => return Ok(0),
        () = sleep(settings.boot) => {}
    }
    let stop = settings.stop;
    serve(settings, leaving).await?;
    sleep(stop).await;
    say(format_args!("stopped"));
    Ok(0)
}

async fn serve(settings: Settings, leaving: watch::Receiver<bool>) -> io::Result<()> {
    let listeners = settings
        .ports
        .iter()
        .map(|port| listen(settings.host, *port))
        .collect::<io::Result<Vec<_>>>()?;
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/uuid")
        .unwrap_or_else(|_| format!("{:?}", Instant::now()));
    let tls = match settings.speaks {
        Speaks::Https => {
            Some(tls::acceptor(&fs::read("/tls/cert.pem")?, &fs::read("/tls/key.pem")?)?)
        }
        _ => None,
    };
    for listener in &listeners {
        say(format_args!("version {} listens on {}", settings.version, listener.local_addr()?));
    }
    let app = Arc::new(App {
        settings,
        tls,
        listening_since: Instant::now(),
        boot_id,
        heard: Default::default(),
    });
    // Nothing is ever sent: the channel closes when the last connection has.
    let (alive, mut all_done) = mpsc::channel::<()>(1);
    for listener in listeners {
        tokio::spawn(accept(listener, app.clone(), leaving.clone(), alive.clone()));
    }
    drop(alive);
    all_done.recv().await;
    Ok(())
}

async fn accept(
    listener: TcpListener,
    app: Arc<App>,
    leaving: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let serve = |stream: TcpStream, peer| {
        // A failure to set it leaves the app a little slower, no more.
        let _ = stream.set_nodelay(true);
        let (app, leaving, alive) = (app.clone(), leaving.clone(), alive.clone());
        tokio::spawn(async move {
            match app.settings.speaks {
                Speaks::Http => converse(stream, peer, app, leaving).await,
                Speaks::Https => {
                    let Some(tls) = app.tls.clone() else { return };
                    if let Ok(Ok(stream)) = timeout(LAST_ORDERS * 5, tls.accept(stream)).await {
                        converse(stream, peer, app, leaving).await;
                    }
                }
                Speaks::Lines => exchange_lines(stream, app, leaving).await,
            }
            drop(alive);
        });
    };
    let mut left = leaving.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => serve(stream, peer),
                // Out of descriptors, say. It passes.
                Err(_) => sleep(Duration::from_millis(5)).await,
            },
            () = told(&mut left) => break,
        }
    }
    // Tokio knows only of what its last poll reported, so the backlog is
    // emptied on the socket itself; closing it resets whoever is still in it.
    let Ok(listener) = listener.into_std() else {
        return;
    };
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            serve(stream, peer);
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    peer: SocketAddr,
    app: Arc<App>,
    mut leaving: watch::Receiver<bool>,
) {
    let asked = Notify::new();
    let service = service_fn(|request| {
        asked.notify_one();
        app.answer(request, peer)
    });
    let mut connection =
        pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = connection.as_mut() => return,
        () = told(&mut leaving) => {}
    }
    // Hyper would hang up on a connection that hasn't asked anything yet.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = timeout(LAST_ORDERS, asked.notified()) => {}
    }
    connection.as_mut().graceful_shutdown();
    // A visitor who went away is no error of ours.
    let _ = connection.await;
}

/// Answers line by line until somebody has had enough.
async fn exchange_lines(stream: TcpStream, app: Arc<App>, mut leaving: watch::Receiver<bool>) {
    let mut stream = BufStream::new(stream);
    let mut line = String::new();
    loop {
        line.clear();
        tokio::select! {
            read = stream.read_line(&mut line) => if !matches!(read, Ok(1..)) { return },
            () = told(&mut leaving) => return,
        }
        let answer = match line.trim() {
            "VERSION" => format!("+{}\r\n", app.settings.version),
            _ => "-ERR unknown command\r\n".to_owned(),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Waits until the app is to leave.
async fn told(leaving: &mut watch::Receiver<bool>) {
    let _ = leaving.wait_for(|leaving| *leaving).await;
}

/// Listens on `host`, or on every address of both families, or of IPv4 where
/// the kernel has no other.
fn listen(host: Option<IpAddr>, port: u16) -> io::Result<TcpListener> {
    let open = |host: IpAddr| {
        let addr = SocketAddr::new(host, port);
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(!host.is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        socket.listen(4096)?;
        TcpListener::from_std(socket.into())
    };
    match host {
        Some(host) => open(host),
        None => match open(Ipv6Addr::UNSPECIFIED.into()) {
            Err(error) if error.kind() != ErrorKind::AddrInUse => {
                open(Ipv4Addr::UNSPECIFIED.into())
            }
            listening => listening,
        },
    }
}

/// Brings the data to this version's schema. The inner error is a refusal:
/// going back needs the data from before, and that is what it proves.
fn migrate(settings: &Settings) -> io::Result<Result<(), String>> {
    let Some(path) = &settings.data else {
        return Ok(Ok(()));
    };
    let before = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let (first, rest) = before.split_once('\n').unwrap_or((&before, ""));
    let schema: u64 = first.trim_start_matches("schema ").parse().unwrap_or(0);
    if schema > settings.version {
        return Ok(Err(format!(
            "the data has schema {schema}, this is version {}",
            settings.version
        )));
    }
    if schema < settings.version {
        fs::write(path, format!("schema {}\n{rest}", settings.version))?;
        say(format_args!("migrated from schema {schema} to {}", settings.version));
    }
    Ok(Ok(()))
}

/// Prints, and goes on without a reader: `println!` would panic where the
/// engine that held the other end has gone.
fn say(line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stdout(), "{line}");
}

struct StopSignals {
    term: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl StopSignals {
    fn listen() -> io::Result<Self> {
        Ok(StopSignals {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn obey(mut self, on_term: OnTerm, leave: watch::Sender<bool>) {
        loop {
            let name = tokio::select! {
                _ = self.term.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.quit.recv() => "SIGQUIT",
            };
            say(format_args!("{name}: {on_term:?}"));
            match on_term {
                OnTerm::Graceful => drop(leave.send(true)),
                OnTerm::Abrupt => exit(143),
                OnTerm::Ignore => {}
            }
        }
    }
}
