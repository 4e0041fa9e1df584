//! Clients that do as they please: odd requests, slow ones, none at all.

use super::*;

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
