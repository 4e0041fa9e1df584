//! What is answered, to whom, in which form and language.

use serde_json::Value;

use super::*;

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
