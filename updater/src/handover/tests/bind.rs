//! Where the page listens, and whether a port is free.

use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::thread;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::handover::{Bind, port_is_free};

#[test]
fn the_page_is_found_over_both_families() {
    Network::new().run(|| {
        let port = page();
        for ip in [V4, V6] {
            assert_eq!(who_answers((ip, port).into()), "page");
        }
    });
}

#[test]
fn binding_takes_each_port_as_soon_as_it_is_free() {
    Network::new().run(|| {
        let held_on_v4 = listen_on(at("0.0.0.0"));
        let ports = [published(HostAddress::Any, PORT), published(HostAddress::One(V4), 81)];
        let mut bind = Bind::new(&ports);
        assert_eq!(bind.try_bind().len(), 2);
        let missing: Vec<_> = bind.missing().map(|(address, _)| address).collect();
        assert_eq!(missing, [at("0.0.0.0")]);
        assert_eq!(bind.try_bind().len(), 0);
        drop(held_on_v4);
        // Not at once if another test is just starting a process, which has a copy
        // of every socket until it becomes another program.
        while bind.missing().count() > 0 {
            bind.try_bind();
        }
        TcpStream::connect(at("127.0.0.1")).expect("we listen");
    });
}

#[test]
fn letting_go_of_a_port_frees_it_whatever_the_page_still_holds() {
    Network::new().run(|| {
        let ports = [published(HostAddress::Any, PORT)];
        let mut bind = Bind::new(&ports);
        let listeners = bind.try_bind();
        for listener in &listeners {
            let copy = listener.try_clone().expect("clone");
            copy.set_nonblocking(false).expect("blocking");
            thread::spawn(move || answer_all(copy, "page"));
        }
        let mut visitor = Visitor::arrive(at("127.0.0.1"));
        assert_eq!(visitor.ask(), "page");
        assert!(port_is_free(&ports[0]).is_err());

        bind.release();
        port_is_free(&ports[0]).expect("free");
        let error = listeners[0].accept().expect_err("accepting is over");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        // As an engine does: bind and listen, while the page's sockets are still there.
        serve_app_everywhere();
        assert_eq!(who_answers(at("127.0.0.1")), "app");
        assert_eq!(visitor.ask(), "page");

        assert_eq!(bind.try_bind().len(), 0, "the app has it now");
    });
}

#[test]
fn a_port_is_busy_exactly_if_an_engine_would_say_so() {
    // The table of conflicts that was measured on three engines.
    #[derive(Clone, Copy)]
    enum State {
        Listening,
        ListeningShared,
        Bound,
        BoundReusable,
    }
    use State::*;
    let any = HostAddress::Any;
    let other = HostAddress::One(Ipv4Addr::new(127, 0, 0, 2).into());
    for (holder, state, host, free) in [
        ("0.0.0.0", Listening, any, false),
        ("127.0.0.1", Listening, any, false),
        ("::", Listening, any, false),
        ("::1", Listening, any, false),
        ("0.0.0.0", ListeningShared, any, false),
        ("0.0.0.0", Bound, any, false),
        ("0.0.0.0", BoundReusable, any, true),
        ("0.0.0.0", Listening, HostAddress::One(V4), false),
        ("127.0.0.1", Listening, other, true),
        ("::", Listening, HostAddress::AnyV4, true),
    ] {
        Network::new().run(move || {
            let address = at(holder);
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None);
            let socket = socket.expect("socket");
            if address.is_ipv6() {
                socket.set_only_v6(true).expect("only IPv6");
            }
            let reusable = !matches!(state, Bound);
            socket.set_reuse_address(reusable).expect("reuse address");
            let shared = matches!(state, ListeningShared);
            socket.set_reuse_port(shared).expect("reuse port");
            socket.bind(&address.into()).expect("bind");
            if matches!(state, Listening | ListeningShared) {
                socket.listen(1).expect("listen");
            }
            let outcome = port_is_free(&published(host, PORT));
            assert_eq!(outcome.is_ok(), free, "{holder} and {host}: {outcome:?}");
        });
    }
}
