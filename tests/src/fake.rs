//! Servers that aren't what they seem: an engine too old, no engine at all, a gate in
//! front of a registry.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Answers every request on a socket in the same way, for as long as the process lives.
pub fn answer_always(socket: &Path, answer: &'static str) {
    let listener = UnixListener::bind(socket).expect("the socket's folder is writable");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            // Whoever hangs up in the middle has no use for the answer.
            let _ = answer_one(&stream, answer);
        }
    });
}

/// An engine that speaks API 1.40 at most, as Docker 19.03 does.
pub const TOO_OLD: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.40\r\nServer: Docker/19.03.15\r\n\
    Content-Length: 2\r\nConnection: close\r\n\r\nOK";

/// An engine as far as its greeting goes, and then no JSON.
pub const GARBLED: &str = "HTTP/1.1 200 OK\r\nApi-Version: 1.51\r\nServer: Docker/28.5.2\r\n\
    Content-Length: 2\r\nConnection: close\r\n\r\nOK";

/// A web server that knows nothing of containers.
pub const NOT_AN_ENGINE: &str =
    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn answer_one(stream: &UnixStream, answer: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut stream = stream;
    stream.write_all(answer.as_bytes())
}

/// Stands in front of a server and lets nobody through until it is told to.
pub struct Gatekeeper {
    address: SocketAddr,
    waiting: Arc<AtomicUsize>,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gatekeeper {
    /// Listens in this thread's network, on a port of its own, for `server`.
    pub fn start(server: &str) -> Gatekeeper {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        let gatekeeper = Gatekeeper { address, waiting: Arc::default(), open: Arc::default() };
        let (server, waiting, open) =
            (server.to_owned(), gatekeeper.waiting.clone(), gatekeeper.open.clone());
        // A thread keeps the network of the one that started it.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (server, waiting, open) = (server.clone(), waiting.clone(), open.clone());
                thread::spawn(move || {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    let shut = open.0.lock().expect("nobody panics with it");
                    drop(open.1.wait_while(shut, |open| !*open).expect("nobody panics with it"));
                    // Whoever hangs up is gone, and the other side learns it.
                    let _ = TcpStream::connect(server).and_then(|server| join(&client, &server));
                });
            }
        });
        gatekeeper
    }

    /// Where it listens: `127.0.0.1:41234`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many have come so far.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Lets everybody through from now on.
    pub fn open(&self) {
        *self.open.0.lock().expect("nobody panics with it") = true;
        self.open.1.notify_all();
    }
}

/// Listens in this thread's network for a server that only has a socket file; says where.
pub fn tcp_in_front_of(socket: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    let socket = socket.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let socket = socket.clone();
            thread::spawn(move || {
                let _ = UnixStream::connect(socket).and_then(|server| join(&client, &server));
            });
        }
    });
    address
}

/// Copies in both directions, until the server has said everything.
fn join<S>(client: &TcpStream, server: &S) -> std::io::Result<()>
where
    S: AsFd,
{
    let both =
        |end: &dyn AsFd| Ok::<_, std::io::Error>(File::from(end.as_fd().try_clone_to_owned()?));
    let (mut from_client, mut to_client) = (both(client)?, both(client)?);
    let (mut from_server, mut to_server) = (both(server)?, both(server)?);
    thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = rustix::net::shutdown(&to_server, rustix::net::Shutdown::Write);
    });
    std::io::copy(&mut from_server, &mut to_client)?;
    client.shutdown(Shutdown::Both)
}
