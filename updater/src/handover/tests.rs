//! The hand-over against the real kernel, in networks made for the purpose.
//!
//! Needs root, `ip` and `nft`. Each test moves threads into network namespaces of
//! their own; the machine's own network is never touched.

mod bind;
mod redirect;
mod reused;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::{Redirect, connect_as_probe, page_listener};
use crate::plan::{HostAddress, Published};

const PORT: u16 = 8080;
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A network namespace of its own, with a thread that lives in it.
struct Network {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    thread_id: i32,
}

impl Network {
    fn new() -> Network {
        let (work, todo) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (ready, is_ready) = mpsc::channel();
        thread::spawn(move || {
            let outcome = leave_the_network();
            if outcome.is_ok() {
                ip("link set lo up");
            }
            let id = rustix::thread::gettid().as_raw_nonzero().get();
            ready.send(outcome.map(|()| id)).expect("report");
            for job in todo {
                job();
            }
        });
        let outcome = is_ready.recv().expect("the thread comes up");
        let thread_id = outcome.expect("these tests make network namespaces: run them as root");
        Network { work, thread_id }
    }

    /// Runs something in this network; threads and processes that it starts are in it too.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (result, results) = mpsc::channel();
        let job = Box::new(move || {
            let job = std::panic::AssertUnwindSafe(job);
            let _ = result.send(std::panic::catch_unwind(job));
        });
        self.work.send(job).expect("the thread is there");
        match results.recv().expect("the job ends") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Lays a cable; both of its ends are called `wire`.
    fn wire_to(&self, other: &Network) {
        let peer = other.thread_id;
        self.run(move || {
            ip(&format!("link add wire type veth peer name wire netns {peer}"));
            ip("link set wire up");
        });
        other.run(|| _ = ip("link set wire up"));
        // Addresses are of no use before the kernel has noticed.
        for end in [self, other] {
            end.run(|| while !ip("-o link show wire").contains("state UP") {});
        }
    }
}

/// A host and somebody outside, .1 and .2 of the same cable.
fn host_with_an_outside() -> (Network, Network) {
    let (host, outside) = (Network::new(), Network::new());
    host.wire_to(&outside);
    for (end, n) in [(&host, 1), (&outside, 2)] {
        end.run(move || {
            ip(&format!("addr add 10.9.0.{n}/24 dev wire"));
            ip(&format!("addr add fd09::{n}/64 dev wire nodad"));
        });
    }
    (host, outside)
}

#[expect(
    deprecated,
    reason = "it can be unsound for descriptors only, and its successor is an unsafe function"
)]
fn leave_the_network() -> rustix::io::Result<()> {
    rustix::thread::unshare(rustix::thread::UnshareFlags::NEWNET)
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.expect("run ip");
    assert!(output.status.success(), "ip {arguments}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn nft(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("nft").args(arguments).output().expect("run nft");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

fn tables() -> String {
    nft(&["list", "tables"]).1
}

fn at(ip: &str) -> SocketAddr {
    (ip.parse::<IpAddr>().expect("an address"), PORT).into()
}

fn published(host: HostAddress, port: u16) -> Published {
    Published { host, port, container_port: 80, member: 0, answers: true, only: None, lent: false }
}

fn redirect_to_page(hosts: &[HostAddress]) -> Redirect {
    let ports: Vec<_> = hosts.iter().map(|host| published(*host, PORT)).collect();
    Redirect::prepare("changeover-test", &ports, page()).expect("prepare")
}

/// Starts a page and returns its port.
fn page() -> u16 {
    let listener = page_listener().expect("listen for the page");
    let port = listener.local_addr().expect("its address").port();
    listener.set_nonblocking(false).expect("blocking");
    serve(listener, "page");
    port
}

fn serve_app_everywhere() {
    serve(listen_on(at("0.0.0.0")), "app");
    serve(listen_on(at("::")), "app");
}

/// A new IPv6 address takes a moment until it works, even on this host.
fn wait_until_reachable(address: SocketAddr) {
    while TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_err() {}
}

fn listen_on(address: SocketAddr) -> TcpListener {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
    socket.set_reuse_address(true).expect("reuse address");
    if address.is_ipv6() {
        socket.set_only_v6(true).expect("only IPv6");
    }
    socket.bind(&address.into()).expect("bind");
    socket.listen(1024).expect("listen");
    socket.into()
}

fn serve(listener: TcpListener, name: &'static str) {
    thread::spawn(move || answer_all(listener, name));
}

/// Answers whatever comes with a name, but resets the connection where that is a `!`.
fn answer_all(listener: TcpListener, name: &'static str) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        thread::spawn(move || {
            let mut buffer = [0; 16];
            while stream.read(&mut buffer).is_ok_and(|n| n > 0) {
                if buffer[0] == b'!' {
                    // To be closed without a farewell.
                    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("linger");
                    return;
                }
                let _ = writeln!(stream, "{name}");
            }
        });
    }
}

/// Somebody with a connection, who can ask who is at its other end.
struct Visitor(BufReader<TcpStream>);

impl Visitor {
    fn arrive(address: SocketAddr) -> Visitor {
        let limit = Duration::from_millis(900);
        let stream = TcpStream::connect_timeout(&address, limit);
        let stream = stream.unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        Visitor::on(stream)
    }

    /// Arrives from a certain port.
    fn arrive_from(port: u16, address: SocketAddr) -> Visitor {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("socket");
        socket.set_reuse_address(true).expect("reuse address");
        socket.bind(&SocketAddr::new(address.ip(), port).into()).expect("the port is free again");
        let limit = Duration::from_millis(900);
        let connected = socket.connect_timeout(&address.into(), limit);
        connected.unwrap_or_else(|error| panic!("connect to {address} from {port}: {error}"));
        Visitor::on(socket.into())
    }

    /// Has the other end reset the connection.
    fn be_reset(mut self) {
        self.0.get_mut().write_all(b"!").expect("ask");
        let error = self.0.read_line(&mut String::new()).expect_err("be reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    fn on(stream: TcpStream) -> Visitor {
        let limit = Some(Duration::from_secs(2));
        stream.set_read_timeout(limit).expect("set a limit");
        SockRef::from(&stream).set_tcp_nodelay(true).expect("no delay");
        Visitor(BufReader::new(stream))
    }

    fn ask(&mut self) -> String {
        self.0.get_mut().write_all(b"?").expect("ask");
        self.hear()
    }

    fn hear(&mut self) -> String {
        let mut answer = String::new();
        self.0.read_line(&mut answer).expect("be answered");
        answer.trim_end().to_owned()
    }
}

fn who_answers(address: SocketAddr) -> String {
    Visitor::arrive(address).ask()
}

fn who_answers_our_probe(address: SocketAddr) -> String {
    runtime().block_on(async {
        let stream = connect_as_probe(address, Duration::from_secs(1)).await;
        let stream = stream.expect("connect").into_std().expect("a plain stream");
        stream.set_nonblocking(false).expect("blocking");
        Visitor::on(stream).ask()
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}
