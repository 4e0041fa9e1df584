//! Who answers while there is a redirect, and that it goes when it should.

use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::*;
use crate::handover::redirect::Ownership;
use crate::handover::{Redirect, RedirectError, connect_as_probe};

#[test]
fn a_wildcard_port_is_captured_and_released_on_every_address() {
    Network::new().run(|| {
        ip("addr add 10.1.1.1/32 dev lo");
        let everywhere = [at("127.0.0.1"), at("::1"), at("127.0.0.5"), at("10.1.1.1")];
        serve_app_everywhere();
        let mut redirect = redirect_to_page(&[HostAddress::Any]);
        assert!(redirect.is_owned());
        assert_eq!(everywhere.map(who_answers), ["app"; 4]);
        for _ in 0..2 {
            redirect.capture().expect("capture");
            redirect.capture().expect("capture again");
            assert_eq!(everywhere.map(who_answers), ["page"; 4]);
            redirect.release().expect("release");
            redirect.release().expect("release again");
            assert_eq!(everywhere.map(who_answers), ["app"; 4]);
        }
        redirect.capture().expect("capture");
        redirect.close().expect("close");
        assert_eq!(everywhere.map(who_answers), ["app"; 4]);
        assert_eq!(tables(), "");
    });
}

#[test]
fn one_family_is_captured_without_the_other() {
    for (host, seen) in
        [(HostAddress::AnyV4, ["page", "app"]), (HostAddress::AnyV6, ["app", "page"])]
    {
        Network::new().run(move || {
            serve_app_everywhere();
            let mut redirect = redirect_to_page(&[host]);
            redirect.capture().expect("capture");
            assert_eq!([at("127.0.0.1"), at("::1")].map(who_answers), seen);
        });
    }
}

#[test]
fn a_port_on_one_address_leaves_the_neighbours_alone() {
    Network::new().run(|| {
        ip("addr add fd00::2/128 dev lo nodad");
        let ours = [at("127.0.0.1"), at("::1")];
        let neighbours = [at("127.0.0.2"), at("fd00::2")];
        for address in ours {
            serve(listen_on(address), "app");
        }
        for address in neighbours {
            serve(listen_on(address), "neighbour");
            wait_until_reachable(address);
        }
        let mut redirect = redirect_to_page(&ours.map(|a| HostAddress::One(a.ip())));
        redirect.capture().expect("capture");
        assert_eq!(ours.map(who_answers), ["page"; 2]);
        assert_eq!(neighbours.map(who_answers), ["neighbour"; 2]);
        // Not another port either.
        let other = SocketAddr::new(V4, 8081);
        serve(listen_on(other), "other");
        assert_eq!(who_answers(other), "other");
    });
}

#[test]
fn established_connections_stay_where_they_are() {
    Network::new().run(|| {
        serve_app_everywhere();
        // Made before there is any table: nothing tracks connections here yet, and
        // the table is what makes the kernel begin.
        let mut on_app = [at("127.0.0.1"), at("::1")].map(Visitor::arrive);
        let mut redirect = redirect_to_page(&[HostAddress::Any]);
        redirect.capture().expect("capture");
        let mut on_page = [at("127.0.0.1"), at("::1")].map(Visitor::arrive);
        for visitor in &mut on_app {
            assert_eq!(visitor.ask(), "app");
        }
        redirect.release().expect("release");
        for visitor in &mut on_page {
            assert_eq!(visitor.ask(), "page");
        }
        for visitor in &mut on_app {
            assert_eq!(visitor.ask(), "app");
        }
    });
}

#[test]
fn our_own_probes_see_the_app_behind_the_page() {
    Network::new().run(|| {
        serve_app_everywhere();
        let mut redirect = redirect_to_page(&[HostAddress::Any, HostAddress::One(V4)]);
        redirect.capture().expect("capture");
        for address in [at("127.0.0.1"), at("::1")] {
            assert_eq!(who_answers(address), "page");
            assert_eq!(who_answers_our_probe(address), "app");
        }
    });
}

#[test]
fn a_probe_gives_up_in_time() {
    Network::new().run(|| {
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
        full.bind(&at("127.0.0.1").into()).expect("bind");
        full.listen(0).expect("listen");
        let _first_in_line = TcpStream::connect(at("127.0.0.1")).expect("connect");
        let limit = Duration::from_millis(50);
        let error = runtime()
            .block_on(connect_as_probe(at("127.0.0.1"), limit))
            .expect_err("nobody accepts");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    });
}

#[test]
fn we_come_before_the_engine_s_own_translation() {
    Network::new().run(|| {
        // What engines make of `-p 8080:80`, with the container at 127.0.0.9.
        let chain = |hook| {
            format!(
                "chain {hook} {{ type nat hook {hook} priority -100; \
                 fib daddr type local tcp dport {PORT} dnat to 127.0.0.9:80; }}\n"
            )
        };
        let engine = format!("table ip engine {{ {}{} }}", chain("prerouting"), chain("output"));
        assert!(nft(&[&engine]).0);
        serve(listen_on("127.0.0.9:80".parse().expect("an address")), "container");
        let address = at("127.0.0.1");
        let mut redirect = redirect_to_page(&[HostAddress::Any]);
        assert_eq!(who_answers(address), "container");
        let mut on_container = Visitor::arrive(address);
        assert_eq!(on_container.ask(), "container");

        redirect.capture().expect("capture");
        assert_eq!(who_answers(address), "page");
        assert_eq!(who_answers_our_probe(address), "container");
        assert_eq!(on_container.ask(), "container");
        redirect.release().expect("release");
        assert_eq!(who_answers(address), "container");
    });
}

#[test]
fn a_killed_process_leaves_no_table() {
    // The process to be killed is this very test in a process of its own.
    const CHILD: &str = "CHANGEOVER_TEST_HOLDS_THE_REDIRECT";
    if std::env::var_os(CHILD).is_some() {
        let mut redirect = redirect_to_page(&[HostAddress::Any]);
        redirect.capture().expect("capture");
        println!("captured");
        thread::sleep(Duration::from_secs(60));
        return;
    }
    Network::new().run(|| {
        serve_app_everywhere();
        let mut child = Command::new(std::env::current_exe().expect("this test's own program"))
            .args(["--exact", "handover::tests::redirect::a_killed_process_leaves_no_table"])
            .arg("--nocapture")
            .env(CHILD, "yes")
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the child");
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let mut lines = output.lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("captured")));
        assert_eq!(who_answers(at("127.0.0.1")), "page");

        // Nobody but the owner can delete it.
        let table = "inet changeover-test";
        assert!(!nft(&["delete", "table", table]).0);
        let theirs = Redirect::prepare("changeover-test", &[], 1);
        assert!(matches!(theirs, Err(RedirectError::NotOurs { .. })));
        nft(&["flush", "ruleset"]);
        assert_eq!(who_answers(at("127.0.0.1")), "page");

        child.kill().expect("kill");
        child.wait().expect("wait");
        assert_eq!(who_answers(at("127.0.0.1")), "app");
        assert_eq!(tables(), "");
    });
}

#[test]
fn no_visitor_is_lost_while_ports_are_captured_and_released() {
    Network::new().run(|| {
        ip("addr add 10.1.1.1/32 dev lo");
        serve_app_everywhere();
        let mut redirect = redirect_to_page(&[HostAddress::Any]);
        let over = Arc::new(AtomicBool::new(false));
        let crowds = [at("127.0.0.1"), at("::1"), at("10.1.1.1")].map(|address| {
            let over = over.clone();
            thread::spawn(move || {
                let (mut on_app, mut on_page) = (0, 0);
                while !over.load(Ordering::Relaxed) {
                    let mut visitor = Visitor::arrive(address);
                    match visitor.ask().as_str() {
                        "app" => on_app += 1,
                        _ => on_page += 1,
                    }
                }
                (on_app, on_page)
            })
        });
        for _ in 0..100 {
            redirect.capture().expect("capture");
            thread::sleep(Duration::from_millis(5));
            redirect.release().expect("release");
            thread::sleep(Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
        for crowd in crowds {
            // A visitor who was refused, cut off or moved in between has panicked.
            let (on_app, on_page) = crowd.join().expect("no visitor is lost");
            println!("{on_app} on the app, {on_page} on the page");
            assert!(on_app > 100 && on_page > 100, "{on_app} and {on_page}");
        }
    });
}

#[test]
fn visitors_from_outside_are_captured_and_our_own_way_out_is_not() {
    let (host, outside) = host_with_an_outside();
    host.run(serve_app_everywhere);
    outside.run(|| {
        serve(listen_on(at("0.0.0.0")), "remote");
        serve(listen_on(at("::")), "remote");
    });
    let ask_from_outside = || outside.run(|| [at("10.9.0.1"), at("fd09::1")].map(who_answers));
    let ask_the_remote = || host.run(|| [at("10.9.0.2"), at("fd09::2")].map(who_answers));
    outside.run(|| wait_until_reachable(at("fd09::1")));
    assert_eq!(ask_from_outside(), ["app"; 2]);

    let addresses = ["10.9.0.1", "fd09::1"].map(|ip| HostAddress::One(at(ip).ip()));
    for published in [vec![HostAddress::Any], addresses.to_vec()] {
        let mut redirect = host.run(move || redirect_to_page(&published));
        redirect.capture().expect("capture");
        assert_eq!(ask_from_outside(), ["page"; 2]);
        assert_eq!(ask_the_remote(), ["remote"; 2]);
        redirect.release().expect("release");
        assert_eq!(ask_from_outside(), ["app"; 2]);
    }
}

#[test]
fn an_address_that_moved_to_another_host_is_no_longer_captured() {
    let (host, outside) = (Network::new(), Network::new());
    host.wire_to(&outside);
    let floating = HostAddress::One(at("10.9.0.9").ip());
    let mut redirect = host.run(move || {
        ip("addr add 10.9.0.1/24 dev wire");
        ip("addr add 10.9.0.9/32 dev wire");
        serve(listen_on(at("0.0.0.0")), "app");
        redirect_to_page(&[floating])
    });
    redirect.capture().expect("capture");
    assert_eq!(host.run(|| who_answers(at("10.9.0.9"))), "page");
    host.run(|| _ = ip("addr del 10.9.0.9/32 dev wire"));
    outside.run(|| {
        ip("addr add 10.9.0.9/24 dev wire");
        serve(listen_on(at("0.0.0.0")), "remote");
    });
    assert_eq!(host.run(|| who_answers(at("10.9.0.9"))), "remote");
}

#[test]
fn visitors_are_captured_on_an_interface_without_an_address() {
    let (host, outside) = (Network::new(), Network::new());
    host.wire_to(&outside);
    let mut redirect = host.run(|| {
        ip("addr add 10.9.7.7/32 dev lo");
        ip("route add 10.9.0.2 dev wire src 10.9.7.7");
        serve(listen_on(at("0.0.0.0")), "app");
        redirect_to_page(&[HostAddress::Any])
    });
    outside.run(|| {
        ip("addr add 10.9.0.2/24 dev wire");
        ip("route add 10.9.7.7 dev wire");
    });
    assert_eq!(outside.run(|| who_answers(at("10.9.7.7"))), "app");
    redirect.capture().expect("capture");
    assert_eq!(outside.run(|| who_answers(at("10.9.7.7"))), "page");
}

#[test]
fn a_long_range_of_ports_is_captured_at_one_stroke() {
    Network::new().run(|| {
        let range: Vec<_> = (1..=3000).map(|port| published(HostAddress::Any, port)).collect();
        let mut redirect = Redirect::prepare("changeover-test", &range, page()).expect("prepare");
        redirect.capture().expect("capture");
        for port in [1, 1000, 1001, 3000] {
            assert_eq!(who_answers((V4, port).into()), "page");
            assert_eq!(who_answers((V6, port).into()), "page");
        }
        redirect.release().expect("release");
        assert!(TcpStream::connect((V4, 3000)).is_err());
    });
}

#[test]
fn the_kernel_understood_what_we_meant() {
    const MEANT: &str = "\
        table inet changeover-test {
            set ports_v4 { type inet_service; elements = { 8080 }; }
            set ports_v6 { type inet_service; elements = { 8080 }; }
            set addresses_v4 { type ipv4_addr . inet_service; elements = { 127.0.0.1 . 81 }; }
            set addresses_v6 { type ipv6_addr . inet_service; elements = { ::1 . 82 }; }
            chain prerouting { type nat hook prerouting priority -101; RULES }
            chain output { type nat hook output priority -101; RULES }
        }";
    const RULES: &str = "
        meta nfproto ipv4 OPENS fib daddr type local tcp dport @ports_v4 counter dnat to :999
        meta nfproto ipv6 OPENS fib daddr type local tcp dport @ports_v6 counter dnat to :999
        OPENS fib daddr type local ip daddr . tcp dport @addresses_v4 counter dnat to :999
        OPENS fib daddr type local ip6 daddr . tcp dport @addresses_v6 counter dnat to :999
        ";
    const OPENS: &str = "tcp flags & (fin|syn|rst|ack) == syn meta mark != 0x10c7";

    // Versions of nft differ in how they print a rule, so both are printed by the
    // one that is here.
    let list = || nft(&["list", "table", "inet", "changeover-test"]).1;
    let ours = Network::new().run(move || {
        let published = [
            published(HostAddress::Any, PORT),
            published(HostAddress::One(V4), 81),
            published(HostAddress::One(V6), 82),
        ];
        let mut redirect = Redirect::prepare("changeover-test", &published, 999).expect("prepare");
        redirect.capture().expect("capture");
        list()
    });
    let theirs = Network::new().run(move || {
        let rules = MEANT.replace("RULES", RULES).replace("OPENS", OPENS);
        assert!(nft(&[&rules]).0);
        list()
    });
    // nft has no way to ask for an owner that outlives it, nor to name the family
    // in `dnat` where it can do without.
    assert!(ours.contains("flags owner"));
    let ours: String = ours
        .replace("dnat ip to", "dnat to")
        .replace("dnat ip6 to", "dnat to")
        .replace("\tflags owner\n\n", "")
        .split_inclusive('\n')
        .map(|line| match line.split_once(" # progname") {
            Some((line, _)) => format!("{line}\n"),
            None => line.to_owned(),
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[test]
fn only_the_rules_that_are_needed_are_made() {
    Network::new().run(|| {
        let _redirect = redirect_to_page(&[HostAddress::One(V4)]);
        let (_, listing) = nft(&["list", "table", "inet", "changeover-test"]);
        assert_eq!(listing.matches("dnat").count(), 2, "{listing}");
        assert_eq!(listing.matches("set ").count(), 1, "{listing}");
    });
}

#[test]
fn without_owners_the_next_helper_clears_up_what_a_dead_one_left() {
    Network::new().run(|| {
        serve_app_everywhere();
        let page = page();
        let prepare = || {
            let published = [published(HostAddress::Any, PORT)];
            Redirect::prepare_owned_by(Ownership::Successor, "changeover-test", &published, page)
                .expect("prepare")
        };
        let mut died = prepare();
        assert!(!died.is_owned());
        died.capture().expect("capture");
        std::mem::forget(died);
        assert_eq!(who_answers(at("127.0.0.1")), "page");

        let mut redirect = prepare();
        assert_eq!(who_answers(at("127.0.0.1")), "app");
        redirect.capture().expect("capture");
        assert_eq!(who_answers(at("127.0.0.1")), "page");
        redirect.release().expect("release");
        redirect.close().expect("close");
        assert_eq!(tables(), "");

        drop(prepare());
        assert_eq!(tables(), "");

        let mut redirect = prepare();
        nft(&["flush", "ruleset"]);
        let gone = redirect.capture().expect_err("the table is gone");
        assert!(matches!(gone, RedirectError::Gone { .. }), "{gone:?}");
    });
}

#[test]
fn a_look_whether_a_redirect_is_possible_leaves_nothing() {
    Network::new().run(|| {
        Redirect::possible().expect("it is, here");
        assert_eq!(tables(), "");
    });
}

#[test]
fn without_the_capability_the_error_says_so() {
    Network::new().run(|| {
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).expect("capabilities");
        sets.effective.remove(CapabilitySet::NET_ADMIN);
        set_capabilities(None, sets).expect("give one up");

        let error = Redirect::possible().expect_err("not permitted");
        assert!(matches!(error, RedirectError::NotPermitted { .. }), "{error:?}");
        assert!(error.to_string().contains("--cap-add NET_ADMIN"));

        // And probes go on without a mark.
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).expect("give another up");
        serve_app_everywhere();
        assert_eq!(who_answers_our_probe(at("127.0.0.1")), "app");
    });
}
