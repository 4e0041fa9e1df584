//! Who comes from an address and a port from which somebody came before.

use super::*;
use crate::handover::redirect::Ownership;

/// From where everybody comes.
const FROM: u16 = 20_000;

fn everywhere() -> [SocketAddr; 2] {
    [at("127.0.0.1"), at("::1")]
}

/// Who answers somebody from there, who leaves last: their port is free at once.
fn who_answers_from(port: u16, address: SocketAddr) -> String {
    let mut visitor = Visitor::arrive_from(port, address);
    let name = visitor.ask();
    visitor.be_reset();
    name
}

#[test]
fn a_connection_that_was_reset_leads_nobody_to_where_it_went() {
    for address in everywhere() {
        Network::new().run(move || {
            serve_app_everywhere();
            let mut redirect = redirect_to_page(&[HostAddress::Any]);
            assert_eq!(who_answers_from(FROM, address), "app");
            redirect.capture().expect("capture");
            redirect.forget_dead();
            assert_eq!(who_answers_from(FROM, address), "page", "{address}");
            redirect.release().expect("release");
            redirect.forget_dead();
            assert_eq!(who_answers_from(FROM, address), "app", "{address}");
        });
    }
}

/// The kernel tracks connections of a family only while a table needs it. Here that is
/// ours alone, so it doesn't see the end of those that are open when we go.
#[test]
fn a_connection_whose_end_nobody_saw_leads_nobody_to_where_it_went() {
    for address in everywhere() {
        Network::new().run(move || {
            serve_app_everywhere();
            let mut before = redirect_to_page(&[HostAddress::Any]);
            let mut on_app = Visitor::arrive_from(FROM, address);
            assert_eq!(on_app.ask(), "app");
            before.capture().expect("capture");
            let mut on_page = Visitor::arrive_from(FROM + 1, address);
            assert_eq!(on_page.ask(), "page");
            drop(before);
            on_app.be_reset();
            // It is on a page that is gone, so this one has to go first.
            SockRef::from(on_page.0.get_ref()).set_linger(Some(Duration::ZERO)).expect("linger");
            drop(on_page);

            let mut redirect = redirect_to_page(&[HostAddress::Any]);
            assert_eq!(who_answers_from(FROM + 1, address), "app", "{address}");
            redirect.capture().expect("capture");
            assert_eq!(who_answers_from(FROM, address), "page", "{address}");
        });
    }
}

/// What is known of somebody who was on a page that is long gone is in the way of whoever
/// comes from the same port, as soon as tracking begins: an answer that is sent just then
/// would leave from another port, to be clear of it, and never arrive.
#[test]
fn whoever_waits_while_tracking_begins_gets_the_answer() {
    const VISITORS: u16 = 200;
    for address in everywhere() {
        Network::new().run(move || {
            serve_after_a_moment(listen_on(address));
            let from = || FROM..FROM + VISITORS;
            let (mut before, page) = redirect_to_silent_page();
            before.capture().expect("capture");
            let on_page: Vec<_> = from()
                .map(|port| (Visitor::arrive_from(port, address), page.accept().expect("accept").0))
                .collect();
            // Nobody tracks the end of them, and their ports are free at once.
            drop((before, page));
            for (visitor, page) in &on_page {
                for end in [visitor.0.get_ref(), page] {
                    SockRef::from(end).set_linger(Some(Duration::ZERO)).expect("linger");
                }
            }
            drop(on_page);
            // The kernel goes on tracking for a moment after the table is gone.
            thread::sleep(Duration::from_millis(500));

            let mut waiting: Vec<Visitor> =
                from().map(|port| Visitor::arrive_from(port, address)).collect();
            for visitor in &mut waiting {
                visitor.0.get_mut().write_all(b"?").expect("ask");
            }
            let redirect = redirect_to_page(&[HostAddress::Any]);
            let without = waiting.iter_mut().position(|visitor| {
                let mut answer = String::new();
                visitor.0.read_line(&mut answer).is_err() || answer != "app\n"
            });
            assert_eq!(without, None, "somebody at {address} has no answer");
            drop(redirect);
        });
    }
}

/// Where an answer is the first that the kernel sees of a connection, it takes the app for
/// the one who came, and whoever comes from there later for the one who answers.
#[test]
fn an_answer_sent_as_tracking_began_leads_nobody_past_the_page() {
    for address in everywhere() {
        Network::new().run(move || {
            serve_after_a_moment(listen_on(address));
            let mut visitor = Visitor::arrive_from(FROM, address);
            visitor.0.get_mut().write_all(b"?").expect("ask");
            let mut redirect = redirect_to_page(&[HostAddress::Any]);
            assert_eq!(visitor.hear(), "app");
            SockRef::from(visitor.0.get_ref()).set_linger(Some(Duration::ZERO)).expect("linger");
            drop(visitor);
            redirect.capture().expect("capture");
            redirect.forget_dead();
            assert_eq!(Visitor::arrive_from(FROM, address).ask(), "page", "{address}");
        });
    }
}

/// A redirect as of a helper that leaves its table behind, and the page that it leads to.
fn redirect_to_silent_page() -> (Redirect, TcpListener) {
    let page = page_listener().expect("listen for the page");
    let port = page.local_addr().expect("its address").port();
    page.set_nonblocking(false).expect("blocking");
    let (owner, ports) = (Ownership::Successor, [published(HostAddress::Any, PORT)]);
    let redirect = Redirect::prepare_owned_by(owner, "changeover-test", &ports, port);
    (redirect.expect("prepare"), page)
}

/// Answers each who asks within a tenth of a second.
fn serve_after_a_moment(listener: TcpListener) {
    thread::spawn(move || {
        for (n, stream) in (0..).zip(listener.incoming()) {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                if stream.read(&mut [0]).is_ok_and(|n| n > 0) {
                    thread::sleep(Duration::from_millis((50 + n * 7) % 100));
                    let _ = writeln!(stream, "app");
                    // It goes on, so that nobody takes it for dead.
                    let _ = stream.read(&mut [0]);
                }
            });
        }
    });
}

#[test]
fn the_page_of_a_helper_that_was_killed_awaits_nobody() {
    for address in everywhere() {
        Network::new().run(move || {
            serve_app_everywhere();
            let (mut killed, listener) = redirect_to_silent_page();
            killed.capture().expect("capture");
            let visitor = Visitor::arrive_from(FROM, address);
            let (on_page, _) = listener.accept().expect("the visitor");
            // All at once: the table, the page and its connections.
            std::mem::forget(killed);
            assert!(nft(&["delete", "table", "inet", "changeover-test"]).0);
            drop(listener);
            for end in [&on_page, visitor.0.get_ref()] {
                SockRef::from(end).set_linger(Some(Duration::ZERO)).expect("linger");
            }
            drop((on_page, visitor));

            let mut redirect = redirect_to_page(&[HostAddress::Any]);
            assert_eq!(who_answers_from(FROM, address), "app", "{address}");
            redirect.capture().expect("capture");
            redirect.forget_dead();
            assert_eq!(who_answers_from(FROM, address), "page", "{address}");
        });
    }
}

#[test]
fn nobody_who_is_there_is_forgotten() {
    let (host, outside) = host_with_an_outside();
    host.run(serve_app_everywhere);
    outside.run(|| {
        wait_until_reachable(at("fd09::1"));
    });
    let arrive = || {
        let mut visitors = host.run(|| Vec::from(everywhere().map(Visitor::arrive)));
        visitors.extend(outside.run(|| [at("10.9.0.1"), at("fd09::1")].map(Visitor::arrive)));
        visitors
    };
    let mut redirect = host.run(|| redirect_to_page(&[HostAddress::Any]));
    let mut on_app = arrive();
    redirect.capture().expect("capture");
    let mut on_page = arrive();
    for _ in 0..2 {
        let (visitors, answers) = (on_app.iter_mut().chain(&mut on_page), ["app"; 4]);
        let heard: Vec<_> = visitors.map(Visitor::ask).collect();
        assert_eq!(heard, [answers, ["page"; 4]].concat());
        redirect = host.run(move || {
            redirect.forget_dead();
            redirect
        });
    }
}
