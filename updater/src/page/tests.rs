//! The page over real sockets.

use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hyper::{Request, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

use super::assets::Assets;
use super::connection::Answers;
use super::tls::tests::made;
use super::{Limits, Page, Serving, Tls};
use crate::status::{Phase, SCHEMA, Status, StepState, StepStatus};

#[tokio::test]
async fn every_path_and_method_is_503_and_says_that_it_is_us() {
    let (_page, serving) = serve();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"] {
        for path in ["/", "/deep/link?with=query", "/.changeover/", "/%00%ff", "*"] {
            let answer =
                ask(&serving, &format!("{method} {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
            assert_eq!(answer.status, 503, "{method} {path}");
            for (name, value) in [
                ("retry-after", "5"),
                ("cache-control", "no-store"),
                ("x-changeover", "0195f3c2"),
                ("connection", "close"),
                ("x-content-type-options", "nosniff"),
                ("x-robots-tag", "noindex, nofollow"),
                ("referrer-policy", "same-origin"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{method} {path}");
            }
            assert!(answer.header("vary").is_some_and(|vary| vary.contains("Accept")));
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(policy.starts_with("default-src 'none'"), "{policy}");
        }
    }
}

#[tokio::test]
async fn our_own_addresses_answer_only_to_those_who_read() {
    let (_page, serving) = serve();
    for path in ["/.changeover/status", "/.changeover/events"] {
        let answer = ask(&serving, &format!("POST {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        assert_eq!(answer.status, 503, "{path}");
    }
    let answer = ask(&serving, "GET /.changeover/status HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-changeover"), Some("0195f3c2"));
    let status: Status = serde_json::from_str(&answer.body).expect("a status");
    assert_eq!(status, sample(Phase::Updating));
}

#[tokio::test]
async fn browsers_get_html_programs_get_a_problem_and_curl_gets_a_line() {
    let (_page, serving) = serve();
    let get = |accept: &str| format!("GET /x HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n");

    let html = ask(&serving, &get("text/html,*/*;q=0.8")).await;
    assert_eq!(html.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(html.body.starts_with("<!doctype html>"));
    assert!(html.body.contains("Acme Wiki is being updated"));
    assert!(html.body.contains("id=\"sent\" class=\"note\" hidden"));

    let problem = ask(&serving, &get("application/json")).await;
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    let body: Value = serde_json::from_str(&problem.body).expect("JSON");
    assert_eq!(body["status"], 503);
    assert_eq!(body["type"], "about:blank");
    assert_eq!(body["title"], "Service Unavailable");
    assert_eq!(body["detail"], "Acme Wiki is being updated. Try again in 5 s.");
    assert_eq!(body["changeover"]["phase"], "updating");

    let text = ask(&serving, &get("*/*")).await;
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.body, "Acme Wiki is being updated. Try again in 5 s.\n");
}

#[tokio::test]
async fn everybody_is_answered_in_their_language() {
    let (_page, serving) = serve();
    for (accept, expected) in [
        ("text/html", "dir=\"rtl\""),
        ("application/json", "\u{2068}Acme Wiki\u{2069}"),
        ("*/*", "\u{2068}Acme Wiki\u{2069}"),
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\naccept-language: he-IL\r\n\r\n"
        );
        let answer = ask(&serving, &request).await;
        assert_eq!(answer.header("content-language"), Some("he"));
        assert!(answer.header("vary").is_some_and(|vary| vary.contains("Accept-Language")));
        assert!(answer.body.contains(expected), "{accept}: {}", answer.body);
    }
    let request = "GET /?a=b&changeover-lang=de HTTP/1.1\r\nhost: a\r\naccept: text/html\r\naccept-language: he\r\n\r\n";
    let answer = ask(&serving, request).await;
    assert_eq!(answer.header("content-language"), Some("de"));
    assert!(answer.body.contains("<html lang=\"de\" dir=\"ltr\""));
    // Only the language needed is sent.
    assert!(!answer.body.contains("is being updated"));
}

#[tokio::test]
async fn the_document_comes_compressed_to_those_who_unpack_it() {
    let (_page, serving) = serve();
    for code in Assets::ours().languages.iter().map(|words| words.code.clone()) {
        let get = |encoding: &str| {
            format!(
                "GET /?changeover-lang={code} HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n{encoding}\r\n"
            )
        };
        let plain = ask(&serving, &get("")).await;
        assert_eq!(plain.header("content-encoding"), None);
        let refused = ask(&serving, &get("accept-encoding: br, gzip;q=0\r\n")).await;
        assert_eq!(refused.header("content-encoding"), None);

        let packed = exchange(&serving, get("accept-encoding: br, gzip\r\n").as_bytes()).await;
        let at = packed.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        let head = String::from_utf8_lossy(&packed[..at]);
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        assert!(packed.len() <= 14 * 1024, "{code}: {} bytes, head included", packed.len());
        let mut body = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[at..]), &mut body)
            .expect("gzip");
        assert_eq!(body, plain.body);
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let (_page, serving) = serve();
    for path in ["/", "/.changeover/status"] {
        let rest = format!("{path} HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n");
        let get = ask(&serving, &format!("GET {rest}")).await;
        let head = ask(&serving, &format!("HEAD {rest}")).await;
        assert_eq!(head.status, get.status);
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), Some(get.body.len().to_string().as_str()));
        assert_eq!(head.body, "");
    }
}

#[tokio::test]
async fn grpc_learns_that_nothing_was_done_and_that_it_may_try_again() {
    let (_page, serving) = serve();
    let hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let frames = exchange(&serving, hello).await;
    // SETTINGS, and GOAWAY: the last stream that was looked at is 0, no error.
    assert_eq!(frames[..9], [0, 0, 0, 4, 0, 0, 0, 0, 0]);
    assert_eq!(frames[9..26], [0, 0, 30, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(frames.len(), 9 + 9 + 30);

    let web = "POST /a.B/C HTTP/1.1\r\nhost: a\r\ncontent-type: application/grpc-web+proto\r\n\r\n";
    let answer = ask(&serving, web).await;
    assert_eq!((answer.status, answer.header("grpc-status")), (503, Some("14")));
}

#[tokio::test]
async fn front_ends_elsewhere_may_read_but_get_leave_for_nothing_that_changes() {
    let (_page, serving) = serve();
    let ask_from = |method: &str, more: &str| {
        let request =
            format!("{method} /api HTTP/1.1\r\nhost: a\r\norigin: https://b.example\r\n{more}\r\n");
        let serving = &serving;
        async move { ask(serving, &request).await }
    };
    let read = ask_from("GET", "").await;
    assert_eq!(read.status, 503);
    assert_eq!(read.header("access-control-allow-origin"), Some("https://b.example"));
    assert_eq!(read.header("access-control-allow-credentials"), Some("true"));
    assert!(
        read.header("access-control-expose-headers").is_some_and(|e| e.contains("Retry-After"))
    );
    assert!(read.header("vary").is_some_and(|vary| vary.contains("Origin")));

    let get = ask_from("OPTIONS", "access-control-request-method: GET\r\n").await;
    assert_eq!(get.status, 204);
    assert_eq!(get.header("access-control-allow-origin"), Some("https://b.example"));
    assert_eq!(get.header("access-control-max-age"), Some("0"));
    assert_eq!(get.header("access-control-allow-credentials"), None);

    for method in ["POST", "DELETE", "PUT", "PATCH"] {
        let more = format!("access-control-request-method: {method}\r\n");
        let refused = ask_from("OPTIONS", &more).await;
        assert_eq!(refused.status, 503, "{method}");
        assert_eq!(refused.header("access-control-allow-methods"), None);
    }
}

#[tokio::test]
async fn nothing_can_be_cached_or_compared_later() {
    let (_page, serving) = serve();
    for path in ["/", "/robots.txt", "/favicon.ico", "/.changeover/status"] {
        let answer = ask(&serving, &format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        for header in ["etag", "last-modified", "expires", "age"] {
            assert_eq!(answer.header(header), None, "{path}");
        }
        assert_eq!(answer.header("x-robots-tag"), Some("noindex, nofollow"));
    }
}

#[tokio::test]
async fn many_who_listen_are_told_to_spread() {
    let (page, serving) = serve();
    let mut streams = Vec::new();
    for _ in 0..30 {
        streams.push(Events::open(&serving).await);
    }
    for events in &mut streams {
        events.next().await;
    }
    page.publish(sample(Phase::Updated));
    let (event, spread) = streams[0].next().await;
    assert!(event.contains("\"updated\""));
    assert_eq!(spread, "30");
}

#[tokio::test]
async fn a_websocket_is_refused_in_plain_http() {
    let (_page, serving) = serve();
    let answer = ask(
        &serving,
        "GET /socket HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("connection"), Some("close"));
    assert_eq!(answer.header("upgrade"), None);
}

#[tokio::test]
async fn a_client_that_sends_a_lot_gets_the_answer_and_no_reset() {
    let (_page, serving) = serve();
    let mut stream = connect(&serving).await;
    let size = 32 << 20;
    let head = format!(
        "POST /upload HTTP/1.1\r\nhost: a\r\naccept: text/html\r\ncontent-length: {size}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    // As a browser does it: everything out before anything is read.
    let chunk = vec![b'x'; 1 << 16];
    for _ in 0..size / chunk.len() {
        stream.write_all(&chunk).await.expect("it is taken");
    }
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 503);
    assert!(answer.body.ends_with("</html>\n"));
    assert!(answer.body.contains("id=\"sent\" class=\"note\">What you just sent"));
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_spared_the_trouble() {
    let (_page, serving) = serve();
    let answer = ask(
        &serving,
        "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n",
    )
    .await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_client_that_closes_its_side_first_gets_the_answer() {
    let (_page, serving) = serve();
    let mut stream = connect(&serving).await;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.expect("sent");
    stream.shutdown().await.expect("half closed");
    assert_eq!(Answer::read(&mut stream).await.status, 503);
}

#[tokio::test]
async fn of_several_requests_in_a_row_the_first_is_answered() {
    let (_page, serving) = serve();
    let answer = ask(&serving, &"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(500)).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body.matches("HTTP/1.1").count(), 0);
}

#[tokio::test]
async fn nonsense_is_refused_and_the_next_visitor_served() {
    let (page, serving) = serve();
    let huge = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    for (nonsense, status) in [
        ("\r\n\r\nnonsense\r\n\r\n", 400),
        ("GET\0/ HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\ntransfer-encoding: nonsense\r\n\r\n", 400),
        (&huge, 431),
    ] {
        let answer = ask(&serving, nonsense).await;
        assert_eq!(answer.status, status, "{nonsense:.20}");
        // Nobody takes even this for an answer of the app.
        assert_eq!(answer.header("x-changeover"), Some("0195f3c2"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_browser_with_many_cookies_still_gets_the_page() {
    let (_page, serving) = serve();
    let cookie = "x".repeat(4000);
    let cookies = format!("cookie: a={cookie}\r\n").repeat(8);
    let answer = ask(&serving, &format!("GET / HTTP/1.1\r\nhost: a\r\n{cookies}\r\n")).await;
    assert_eq!(answer.status, 503);
}

#[tokio::test]
async fn a_tls_client_gets_a_clean_end() {
    let (_page, serving) = serve();
    let hello = [&[0x16, 3, 1, 2, 0, 1][..], &[0; 512]].concat();
    assert_eq!(exchange(&serving, &hello).await, b"");
}

#[tokio::test]
async fn with_a_certificate_one_port_answers_both_who_speak_tls_and_who_do_not() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for protocols in [&[][..], &["http/1.1"], &["h2", "http/1.1"]] {
            let stream = secure(&serving, &certificate, version, protocols).await;
            let mut stream = stream.expect("they agree");
            let request = "GET /x HTTP/1.1\r\nhost: localhost\r\naccept: text/html\r\n\r\n";
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            // Without a proper farewell, this would be an error.
            stream.read_to_string(&mut answer).await.expect("read to its end");
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert!(answer.ends_with("</html>\n") && answer.contains("x-changeover: "));
        }
    }
    let plain = ask(&serving, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(plain.status, 503);
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn an_event_stream_goes_by_tls_as_well() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let stream = secure(&serving, &certificate, &rustls::version::TLS13, &[]).await;
    let mut stream = stream.expect("they agree");
    let request = "GET /.changeover/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut heard = String::new();
    let mut hear = async |word: &str| {
        while !heard.contains(word) {
            let mut some = [0; 4096];
            let read = timeout(SOON, stream.read(&mut some)).await.expect("soon").expect("read");
            assert!(read > 0, "{heard}");
            heard.push_str(&String::from_utf8_lossy(&some[..read]));
        }
    };
    hear("\"updating\"").await;
    page.publish(sample(Phase::Updated));
    hear("\"updated\"").await;
}

#[tokio::test]
async fn who_speaks_tls_in_a_way_that_we_do_not_is_told_so_by_an_alert() {
    let (page, serving) = serve();
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let h2 = secure(&serving, &certificate, &rustls::version::TLS13, &["h2"]).await;
    let error = h2.expect_err("no protocol in common").to_string();
    assert!(error.contains("NoApplicationProtocol"), "{error}");
    let hello = [&[0x16, 3, 1, 2, 0, 1][..], &[0; 512]].concat();
    let answer = exchange(&serving, &hello).await;
    assert_eq!(answer.first(), Some(&0x15), "an alert: {answer:?}");
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_tls_client_that_stops_in_its_handshake_is_cut() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let (certificate, key) = made();
    page.speak_tls(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).expect("usable"));
    let mut stream = connect(&serving).await;
    stream.write_all(&[0x16, 3, 1]).await.expect("sent");
    let mut rest = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it is closed");
    assert!(page.drained(SOON).await);
}

/// A visitor who trusts this certificate.
async fn secure(
    serving: &Serving,
    certificate: &str,
    version: &'static rustls::SupportedProtocolVersion,
    protocols: &[&str],
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let certificate = rustls::pki_types::CertificateDer::from_pem_slice(certificate.as_bytes());
    roots.add(certificate.expect("PEM")).expect("a root");
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "localhost".try_into().expect("a name");
    connector.connect(name, connect(serving).await).await
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_request_is_cut() {
    let limits = Limits { head: Duration::from_millis(200), ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let mut silent = connect(&serving).await;
    let mut slow = connect(&serving).await;
    slow.write_all(b"GET / HTTP/1.1\r\nhost:").await.expect("sent");
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.expect("it is closed");
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"));
    }
    drop((silent, slow));
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_head_that_comes_in_pieces_is_answered_once_it_is_whole() {
    let (_page, serving) = serve();
    for head in ["GET /x HTTP/1.1\r\nhost: a\r\naccept: text/html\r\n\r\n", "GET / HTTP/1.0\n\n"] {
        for at in 1..head.len() {
            let mut stream = connect(&serving).await;
            stream.set_nodelay(true).expect("at once");
            for part in [&head[..at], &head[at..]] {
                stream.write_all(part.as_bytes()).await.expect("sent");
                sleep(Duration::from_millis(1)).await;
            }
            assert_eq!(Answer::read(&mut stream).await.status, 503, "cut at {at} of {head:?}");
        }
    }
}

#[tokio::test]
async fn who_has_said_everything_is_let_go_at_once() {
    // Nobody waits for a client that keeps its side open, as many do.
    let limits = Limits { linger_silence: SOON * 2, ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let mut stream = connect(&serving).await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    assert_eq!(Answer::read(&mut stream).await.status, 503);
    assert!(page.drained(SOON).await);
    drop(stream);
}

#[tokio::test]
async fn a_visitor_never_waits_for_the_swap() {
    let (_page, serving) = serve();
    // This thread, which is the swap's, does nothing else in the meantime.
    let mut stream = std::net::TcpStream::connect(serving.address()).expect("connected");
    stream.set_read_timeout(Some(SOON)).expect("a limit");
    io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
    let mut answer = String::new();
    io::Read::read_to_string(&mut stream, &mut answer).expect("answered");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(1024).expect("a small buffer");
    let mut stream = socket.connect(serving.address()).await.expect("connected");
    let request = "GET /.changeover/events HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    while page.connections() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    // More than the kernel keeps for us.
    let mut status = sample(Phase::Updating);
    status.title = "x".repeat(1 << 20);
    for elapsed in 0..16 {
        status.elapsed_seconds = elapsed;
        page.publish(status.clone());
        sleep(Duration::from_millis(5)).await;
    }
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_stream_tells_each_change_and_ends_with_the_update() {
    let (page, serving) = serve();
    let mut events = Events::open(&serving).await;
    assert!(events.head.starts_with("HTTP/1.1 200"));
    assert!(events.head.contains("content-type: text/event-stream\r\n"));
    assert!(events.head.contains("cache-control: no-store\r\n"));
    assert!(events.head.contains("x-changeover: 0195f3c2\r\n"));
    assert_eq!(events.next_status().await.phase, Phase::Updating);

    let mut status = sample(Phase::Updating);
    status.steps[1].state = StepState::Done;
    page.publish(status.clone());
    assert_eq!(events.next_status().await, status);

    page.publish(sample(Phase::RollingBack));
    assert_eq!(events.next_status().await.phase, Phase::RollingBack);
    page.publish(sample(Phase::RolledBack));
    assert_eq!(events.next_status().await.phase, Phase::RolledBack);
    assert!(events.ended().await);
    drop(events);
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_change_reaches_a_hundred_streams_at_once() {
    let (page, serving) = serve();
    let mut streams = Vec::new();
    for _ in 0..100 {
        let mut events = Events::open(&serving).await;
        events.next_status().await;
        streams.push(events);
    }
    assert_eq!(page.connections(), 100);
    page.publish(sample(Phase::Updated));
    for events in &mut streams {
        assert_eq!(events.next_status().await.phase, Phase::Updated);
    }
    for mut events in streams {
        assert!(events.ended().await);
    }
    assert!(page.drained(SOON).await);
}

#[tokio::test]
async fn a_quiet_stream_shows_that_it_is_alive_and_ends_in_time() {
    let limits = Limits {
        heartbeat: Duration::from_millis(100),
        stream: Duration::from_secs(2),
        ..Limits::default()
    };
    let (_page, serving) = serve_within(limits);
    let mut events = Events::open(&serving).await;
    events.next_status().await;
    for _ in 0..3 {
        assert_eq!(events.next().await.0, "event: alive\ndata: 3");
    }
    // How many more there are depends on how busy the machine is.
    let _ = timeout(SOON, events.ended()).await.expect("an end in time");
}

#[tokio::test]
async fn streams_never_keep_the_page_away() {
    let limits = Limits { connections: 4, streams: 2, ..Limits::default() };
    let (page, serving) = serve_within(limits);
    let one = Events::open(&serving).await;
    let two = Events::open(&serving).await;
    let three = ask(&serving, "GET /.changeover/events HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(three.status, 503);
    assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
    drop((one, two));
    assert!(page.drained(SOON).await);
    assert!(Events::open(&serving).await.head.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_full_page_serves_those_who_wait_once_others_leave() {
    let limits = Limits { connections: 2, head: Duration::from_millis(300), ..Limits::default() };
    let (_page, serving) = serve_within(limits);
    let _silent = (connect(&serving).await, connect(&serving).await);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
}

#[tokio::test]
async fn stopping_frees_the_port_and_answers_everybody_who_got_through() {
    let (page, serving) = serve();
    let address = serving.address();
    let mut waiting = Vec::new();
    for _ in 0..50 {
        // Without giving the page a chance to accept it before it is stopped.
        let stream = std::net::TcpStream::connect(address).expect("connected");
        stream.set_nonblocking(true).expect("nonblocking");
        waiting.push(TcpStream::from_std(stream).expect("a stream"));
    }
    timeout(SOON, serving.stop()).await.expect("it stops at once");
    std::net::TcpListener::bind(address).expect("the port is free");
    for stream in &mut waiting {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        assert_eq!(Answer::read(stream).await.status, 503);
    }
    drop(waiting);
    assert!(page.drained(SOON).await);
    assert_eq!(page.connections(), 0);
}

#[tokio::test]
async fn a_full_page_can_be_stopped() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let (_page, serving) = serve_within(limits);
    let _silent = (connect(&serving).await, connect(&serving).await);
    sleep(Duration::from_millis(50)).await;
    timeout(SOON, serving.stop()).await.expect("it stops at once");
}

/// The page, with mistakes in it.
struct Flawed(Page);

/// What whoever catches the panic with it panics with in turn.
struct Worse;

impl Drop for Worse {
    fn drop(&mut self) {
        resume_unwind(Box::new("another mistake of ours"));
    }
}

impl Answers for Flawed {
    fn answer(&self, request: &Request<()>) -> super::answer::Answer {
        if request.uri().path() == "/flaw" {
            // As `panic!`, without a word on standard error.
            resume_unwind(Box::new("a mistake of ours"));
        }
        if request.uri().path() == "/worse" {
            resume_unwind(Box::new(Worse));
        }
        self.0.answer(request)
    }

    fn refuse(&self, status: StatusCode) -> super::reply::Reply {
        self.0.refuse(status)
    }
}

#[tokio::test]
async fn a_visitor_whose_answer_panics_takes_no_other_along_and_leaves_nothing() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let page = Page::with_limits(sample(Phase::Updating), limits);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let serving = Serving::start(&page, Flawed(page.clone()), listener).expect("served");
    // More of them than there may be at a time; every other waits outside until it has asked.
    for asks_outside in [true, false, true, false, true, false] {
        let mut inside = Vec::new();
        for _ in 0..if asks_outside { 2 } else { 0 } {
            inside.push(connect(&serving).await);
        }
        let mut stream = connect(&serving).await;
        if !asks_outside {
            sleep(Duration::from_millis(20)).await;
        }
        stream.write_all(b"GET /flaw HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
        drop(inside);
        let answer = read_to_end(&mut stream).await.unwrap_or_default();
        assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
    }
    assert!(page.drained(SOON).await, "{} connections are still open", page.connections());
    timeout(SOON, serving.stop()).await.expect("it stops at once");
    assert!(page.breaks().now_or_never().is_none(), "nothing has come of it");
}

#[tokio::test]
async fn a_page_that_loses_a_thread_says_so() {
    let limits = Limits { connections: 1, ..Limits::default() };
    let page = Page::with_limits(sample(Phase::Updating), limits);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let serving = Serving::start(&page, Flawed(page.clone()), listener).expect("served");
    let inside = connect(&serving).await;
    // It waits outside until it has asked: the thread looks itself then, not its runtime.
    let mut stream = connect(&serving).await;
    stream.write_all(b"GET /worse HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    assert!(page.breaks().now_or_never().is_none(), "nobody has come in yet");
    drop(inside);
    timeout(SOON, page.breaks()).await.expect("it is noticed");
}

#[tokio::test]
async fn several_listeners_show_the_same_page_over_both_families() {
    let (page, first) = serve();
    let listener = std::net::TcpListener::bind("[::1]:0").expect("a listener");
    let second = page.serve(listener).expect("served");
    page.publish(sample(Phase::NeedsAPerson));
    for serving in [&first, &second] {
        let answer = ask(serving, "GET /.changeover/status HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.body.contains("needs-a-person"));
    }
}

#[tokio::test(start_paused = true)]
async fn time_passes_between_two_publications_until_it_is_over() {
    let page = Page::new(sample(Phase::Updating));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(page.status().elapsed_seconds, 64);
    assert_eq!(page.status().retry_after_seconds, 6);
    tokio::time::advance(Duration::from_secs(1000)).await;
    assert_eq!(page.status().retry_after_seconds, 30);
    page.publish(sample(Phase::Updated));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(page.status().elapsed_seconds, 3);
}

/// Longer than anything here should take.
const SOON: Duration = Duration::from_secs(4);

fn serve() -> (Page, Serving) {
    serve_within(Limits::default())
}

fn serve_within(limits: Limits) -> (Page, Serving) {
    let page = Page::with_limits(sample(Phase::Updating), limits);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let serving = page.serve(listener).expect("served");
    (page, serving)
}

async fn connect(serving: &Serving) -> TcpStream {
    TcpStream::connect::<SocketAddr>(serving.address()).await.expect("connected")
}

/// Sends these bytes and reads until the other side is done.
async fn exchange(serving: &Serving, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect(serving).await;
    stream.write_all(bytes).await.expect("sent");
    read_to_end(&mut stream).await.expect("a clean end")
}

async fn ask(serving: &Serving, request: &str) -> Answer {
    let mut stream = connect(serving).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    Answer::read(&mut stream).await
}

async fn read_to_end(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    timeout(SOON, stream.read_to_end(&mut bytes)).await.expect("it ends in time")?;
    Ok(bytes)
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    async fn read(stream: &mut TcpStream) -> Answer {
        let bytes = read_to_end(stream).await.expect("a clean end");
        let text = String::from_utf8(bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Answer { status: status.expect("a status"), head: head.into(), body: body.into() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

/// An event stream, read as it comes.
struct Events {
    stream: TcpStream,
    buffer: String,
    head: String,
}

impl Events {
    async fn open(serving: &Serving) -> Events {
        let mut stream = connect(serving).await;
        let request = "GET /.changeover/events HTTP/1.1\r\nhost: a\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut events = Events { stream, buffer: String::new(), head: String::new() };
        events.head = events.until("\r\n\r\n").await + "\r\n";
        events
    }

    /// The next event, and over how long to spread.
    async fn next(&mut self) -> (String, String) {
        let spread = self.until("\n\n").await;
        let spread = spread.strip_prefix("event: spread\ndata: ").expect("how long to spread");
        (self.until("\n\n").await, spread.to_owned())
    }

    async fn next_status(&mut self) -> Status {
        let (event, _) = self.next().await;
        let data = event.strip_prefix("retry: 2000\nevent: status\ndata: ").expect(&event);
        serde_json::from_str(data).expect("a status")
    }

    /// Whether nothing but the end of the connection comes now.
    async fn ended(&mut self) -> bool {
        let rest = read_to_end(&mut self.stream).await.expect("a clean end");
        self.buffer.push_str(&String::from_utf8_lossy(&rest));
        self.buffer.is_empty()
    }

    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, after)) = self.buffer.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.buffer = after;
                return before;
            }
            let mut bytes = [0; 4096];
            let read = timeout(SOON, self.stream.read(&mut bytes)).await.expect("in time");
            let read = read.expect("readable");
            assert!(read > 0, "the stream ended early: {:?}", self.buffer);
            self.buffer.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
    }
}

/// A status in the middle of things.
pub(super) fn sample(phase: Phase) -> Status {
    let step = |key: &str, name: &str, state| StepStatus {
        key: key.into(),
        name: name.into(),
        state,
        percent: None,
        done_bytes: None,
        total_bytes: None,
    };
    Status {
        schema: SCHEMA,
        update: "0195f3c2".into(),
        title: "Acme Wiki".into(),
        from: "1.4.2".into(),
        to: "1.5.0".into(),
        phase,
        steps: vec![
            step("create-new", "create the new container", StepState::Done),
            step("stop-old", "stop the old container", StepState::Active),
            step("start-new", "start the new container", StepState::Waiting),
        ],
        started_at: "2026-11-21T10:00:00Z".into(),
        elapsed_seconds: 3,
        retry_after_seconds: 5,
    }
}

/// Whatever is sent, the connection ends, and the next visitor gets the page.
#[tokio::test]
async fn no_input_makes_the_page_panic() {
    let limits = Limits {
        head: Duration::from_millis(50),
        linger_silence: Duration::from_millis(5),
        ..Limits::default()
    };
    let (page, serving) = serve_within(limits);
    let samples: [&[u8]; 6] = [
        b"GET /?changeover-lang=de HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\nAccept-Language: de;q=0.5\r\n\r\n",
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nOrigin: https://b\r\nAccess-Control-Request-Method: GET\r\n\r\n",
        b"GET /.changeover/status HTTP/1.0\r\nAccept-Encoding: gzip;q=1.0\r\n\r\n",
        b"GET /.changeover/events HTTP/1.1\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    let panics = Arc::new(AtomicUsize::new(0));
    let count = panics.clone();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        // Other tests run in this process, and some of them are to panic.
        let at = panic.location().map(|at| at.file().to_owned()).unwrap_or_default();
        if at.contains("/page/") && !at.ends_with("tests.rs") || at.contains("httparse") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        before(panic);
    }));
    let mut inputs = Vec::new();
    crate::fuzzed::bytes(20, &samples, |input| inputs.push(input.to_vec()));
    for some in inputs.chunks(64) {
        let visits = some.iter().map(|input| async {
            let mut stream = connect(&serving).await;
            // It may be closed before all of it is sent.
            let _ = stream.write_all(input).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = timeout(Duration::from_millis(100), stream.read_to_end(&mut answer)).await;
        });
        futures_util::future::join_all(visits).await;
    }
    assert_eq!(ask(&serving, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.status, 503);
    assert!(page.drained(Duration::from_secs(30)).await, "somebody is still there");
    assert_eq!(panics.load(Ordering::SeqCst), 0, "the page has panicked; see above");
}
