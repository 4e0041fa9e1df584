//! The page's own end, wanted or not.

use std::panic::resume_unwind;

use super::*;

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
    fn answer(&self, request: &Request<()>) -> crate::page::answer::Answer {
        if request.uri().path() == "/flaw" {
            // As `panic!`, without a word on standard error.
            resume_unwind(Box::new("a mistake of ours"));
        }
        if request.uri().path() == "/worse" {
            resume_unwind(Box::new(Worse));
        }
        self.0.answer(request)
    }

    fn refuse(&self, status: StatusCode) -> crate::page::reply::Reply {
        self.0.refuse(status)
    }
}

fn serve_flawed(limits: Limits) -> (Page, Serving) {
    let page = Page::with_limits(sample(Phase::Updating), limits);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let serving = Serving::start(&page, Flawed(page.clone()), listener).expect("served");
    (page, serving)
}

#[tokio::test]
async fn a_visitor_whose_answer_panics_takes_no_other_along_and_leaves_nothing() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let (page, serving) = serve_flawed(limits);
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
    let (page, serving) = serve_flawed(limits);
    let inside = connect(&serving).await;
    // It waits outside until it has asked: the thread looks itself then, not its runtime.
    let mut stream = connect(&serving).await;
    stream.write_all(b"GET /worse HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("sent");
    assert!(page.breaks().now_or_never().is_none(), "nobody has come in yet");
    drop(inside);
    timeout(SOON, page.breaks()).await.expect("it is noticed");
}
