//! The suite's own measuring instruments: a load that missed failures, or an
//! app that made some, would prove nothing about an update.

use changeover_tests::load::{
    Class, Load, Options, Record, Report, Story, Target, download, first_answer, get, open_page,
    thread_at,
};
use changeover_tests::sample::DATA_IS_NEWER;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(10);

/// Visits `serve` at 100 a second for a while, each with 300 ms of patience.
fn visit(serve: impl Fn(TcpStream) + Send + Sync + Copy + 'static) -> Report {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.expect("accepted");
            thread::spawn(move || serve(stream));
        }
    });
    visit_addr(addr)
}

fn visit_addr(addr: SocketAddr) -> Report {
    let options = Options {
        rate_per_second: 100,
        timeout: Duration::from_millis(300),
        ..Options::new(vec![Target::new("server", addr)])
    };
    let load = Load::start(options).expect("started");
    thread::sleep(Duration::from_millis(500));
    load.stop()
}

fn assert_all(report: &Report, class: Class) {
    assert!(report.records.len() >= 40, "{report}");
    assert_eq!(report.count(&class), report.records.len(), "{report}");
    assert_eq!(report.failures().is_empty(), !class.is_failure());
}

fn reads_request(mut stream: &TcpStream) {
    let mut request = [0; 1024];
    let length = stream.read(&mut request).expect("a request");
    assert!(request[..length].ends_with(b"\r\n\r\n"));
}

fn says(mut stream: &TcpStream, answer: &str) {
    reads_request(stream);
    stream.write_all(answer.as_bytes()).expect("sent");
}

#[test]
fn a_refused_connection_counts_as_refused() {
    let addr = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    assert_all(&visit_addr(addr), Class::Refused);
}

#[test]
fn a_reset_connection_counts_as_reset() {
    // Closing with something unread in the buffer is what resets.
    assert_all(&visit(|stream| drop(stream.peek(&mut [0]))), Class::Reset);
}

#[test]
fn a_reset_in_the_middle_of_an_answer_counts_as_reset() {
    let serve = |stream: TcpStream| {
        says(&stream, "HTTP/1.1 200 OK\r\nX-App-Version: 1\r\nContent-Length: 9\r\n\r\nvers");
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
    };
    assert_all(&visit(serve), Class::Reset);
}

#[test]
fn a_close_without_an_answer_counts_as_empty() {
    assert_all(&visit(|stream| reads_request(&stream)), Class::Empty);
}

#[test]
fn a_close_in_the_middle_of_an_answer_counts_as_truncated() {
    let in_head = |stream: TcpStream| says(&stream, "HTTP/1.1 200 OK\r\nX-App-Version: 1\r\n");
    assert_all(&visit(in_head), Class::Truncated);
    let in_body = |stream: TcpStream| {
        says(&stream, "HTTP/1.1 200 OK\r\nX-App-Version: 1\r\nContent-Length: 9\r\n\r\nvers")
    };
    assert_all(&visit(in_body), Class::Truncated);
    let in_chunks = |stream: TcpStream| {
        says(
            &stream,
            "HTTP/1.1 200 OK\r\nX-App-Version: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nvers\r\n",
        );
    };
    assert_all(&visit(in_chunks), Class::Truncated);
}

#[test]
fn a_server_that_hangs_counts_as_timed_out_and_holds_nobody_else_up() {
    let report = visit(|stream| {
        thread::sleep(LIMIT);
        drop(stream);
    });
    assert_all(&report, Class::Timeout);
    let first = report.records.iter().map(|record| record.ended).min().expect("visitors");
    let under_way = report.records.iter().filter(|record| record.started < first).count();
    assert!(under_way > 1, "visitors must not wait for each other");
}

#[test]
fn answers_are_told_apart_by_their_headers() {
    let whole = |head: &str| format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
    assert_all(
        &visit(move |stream| says(&stream, &whole("200 OK\r\nx-app-version: 1"))),
        Class::Old,
    );
    assert_all(
        &visit(move |stream| says(&stream, &whole("200 OK\r\nX-App-Version: 2"))),
        Class::New,
    );
    assert_all(
        &visit(move |stream| says(&stream, &whole("503 Busy\r\nX-Changeover: page"))),
        Class::Page,
    );
    let third = Class::Version("7".to_owned());
    assert_all(&visit(move |stream| says(&stream, &whole("200 OK\r\nX-App-Version: 7"))), third);
    let broken = Class::Other("status 500 by version 2".to_owned());
    assert_all(&visit(move |stream| says(&stream, &whole("500 Oh\r\nX-App-Version: 2"))), broken);
    // A page that says 200 would be taken for the app, so it isn't one.
    let wrong_page = Class::Other("status 200".to_owned());
    assert_all(
        &visit(move |stream| says(&stream, &whole("200 OK\r\nX-Changeover: page"))),
        wrong_page,
    );
    assert_all(
        &visit(|stream| says(&stream, "SSH-2.0-x\r\n\r\n")),
        Class::Other("not HTTP".to_owned()),
    );
}

/// A report of requests that started and ended at these milliseconds.
fn report(records: &[(u64, u64, Class)]) -> Report {
    let record = |(started, ended, class): &(u64, u64, Class)| {
        let started = Duration::from_millis(*started);
        Record {
            target: 0,
            due: started,
            started,
            ended: Duration::from_millis(*ended),
            class: class.clone(),
        }
    };
    Report {
        began: Instant::now(),
        targets: vec!["app".to_owned()],
        records: records.iter().map(record).collect(),
    }
}

#[test]
fn an_update_reads_old_then_page_then_new() {
    use Class::{New, Old, Page};
    // The request at 4 was under way when the page came, that at 14 when new did.
    let good = report(&[
        (0, 1, Old),
        (4, 12, Old),
        (5, 6, Page),
        (14, 15, New),
        (13, 16, Page),
        (20, 21, New),
    ]);
    assert_eq!(good.check(Story::Update), Ok(()));
    assert_eq!(good.away(Story::Update), Some(Duration::from_millis(3)));

    let back_to_old = report(&[(0, 1, Old), (5, 6, Page), (7, 8, Old), (14, 15, New)]);
    let back_to_page = report(&[(0, 1, Old), (5, 6, Page), (14, 15, New), (16, 17, Page)]);
    let new_before_page = report(&[(0, 1, Old), (2, 3, New), (5, 6, Page), (14, 15, New)]);
    let another =
        report(&[(0, 1, Old), (5, 6, Page), (8, 9, Class::Version("7".to_owned())), (14, 15, New)]);
    let without_page = report(&[(0, 1, Old), (14, 15, New)]);
    for wrong in [back_to_old, back_to_page, new_before_page, another, without_page] {
        assert!(wrong.check(Story::Update).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_rollback_reads_old_then_page_then_old() {
    use Class::{New, Old, Page};
    let good = report(&[
        (0, 1, Old),
        (4, 12, Old),
        (5, 6, Page),
        (14, 15, Old),
        (13, 16, Page),
        (20, 21, Old),
    ]);
    assert_eq!(good.check(Story::Rollback), Ok(()));
    assert_eq!(good.away(Story::Rollback), Some(Duration::from_millis(3)));

    let flapping = report(&[(0, 1, Old), (5, 6, Page), (7, 8, Old), (9, 10, Page), (14, 15, Old)]);
    let new_was_seen = report(&[(0, 1, Old), (5, 6, Page), (9, 10, New), (14, 15, Old)]);
    let still_away = report(&[(0, 1, Old), (5, 6, Page), (9, 10, Page)]);
    for wrong in [flapping, new_was_seen, still_away] {
        assert!(wrong.check(Story::Rollback).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_single_failure_shows_in_the_table() {
    let mut records = vec![(0, 1, Class::Refused)];
    records.extend((0..999).map(|n| (n, n + 1, Class::Old)));
    let report = report(&records);
    assert_eq!(report.rows().len(), 1);
    assert_eq!((report.rows()[0].old, report.rows()[0].failed), (999, 1));
    assert!(report.table().lines().nth(1).expect("a row").ends_with('✗'), "{report}");
}

#[test]
fn visitors_who_cannot_go_there_are_an_error() {
    let enter = std::sync::Arc::new(|| Err(std::io::Error::other("no such place")));
    let target = Target::new("nowhere", SocketAddr::from(([127, 0, 0, 1], 1))).from(enter);
    assert!(Load::start(Options::new(vec![target])).is_err());
}

#[test]
fn an_open_page_hears_of_the_end_and_shows_the_app() {
    let serve = |stream: TcpStream| {
        let mut first = String::new();
        BufReader::new(&stream).read_line(&mut first).expect("a request");
        if first.starts_with("GET /.changeover/events ") {
            // A status that is cut in two by a chunk is still one status.
            let chunks =
                ["data: {\"phase\":\"updating\"}\n\ndata: {\"pha", "se\":\"updated\"}\n\n"];
            let body: String =
                chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            (&stream).write_all(format!("{head}{body}").as_bytes()).expect("sent");
        } else {
            let answer = b"HTTP/1.1 200 OK\r\nX-App-Version: 2\r\nContent-Length: 0\r\n\r\n";
            (&stream).write_all(answer).expect("sent");
        }
        let _ = (&stream).read(&mut [0; 1024]);
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let target = Target::new("page", listener.local_addr().expect("bound"));
    thread::spawn(move || listener.incoming().flatten().for_each(serve));

    let page = open_page(&target, LIMIT).join().expect("no panic").expect("started");
    let phases: Vec<_> = page.phases.iter().map(|(_, phase)| phase.as_str()).collect();
    assert_eq!(phases, ["updating", "updated"]);
    let (shown, version) = page.shown.clone().expect("the app was shown");
    assert_eq!(version, "2");
    assert!(page.opened < page.heard("updated") && page.heard("updated") < Some(shown));
}

/// A sample app on a free port of loopback.
struct App {
    child: Child,
    addr: SocketAddr,
}

fn sample_app(settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample-app"));
    command.envs([("HOST", "127.0.0.1"), ("PORT", "0")]).envs(settings.iter().copied());
    command.stdout(Stdio::piped());
    command
}

impl App {
    fn start(settings: &[(&str, &str)]) -> App {
        let mut child = sample_app(settings).spawn().expect("started");
        let mut lines =
            BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("listens on")).expect("it listens");
        let addr = line.rsplit(' ').next().and_then(|addr| addr.parse().ok()).expect("an address");
        App { child, addr }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("sent");
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("ended").code()
    }

    /// The status of `path` and its body.
    fn get(&self, path: &str) -> (u16, String) {
        let (addr, path) = (self.addr, path.to_owned());
        let answer = run(move || async move { get(addr, &path, LIMIT).await }).expect("an answer");
        assert!(answer.header("x-app-version").is_some());
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run<T: Send + 'static, W: Future<Output = T>>(work: impl FnOnce() -> W + Send + 'static) -> T {
    thread_at(None, work).join().expect("no panic").expect("a runtime")
}

#[test]
fn the_app_listens_after_its_boot_and_tells_its_version() {
    let began = Instant::now();
    let app = App::start(&[("VERSION", "7"), ("BOOT_MS", "300")]);
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!(app.get("/"), (200, "version 7\n".to_owned()));
    assert_eq!(app.get("/health"), (200, "healthy\n".to_owned()));
    assert_eq!(app.get("/nowhere").0, 404);
    assert!(app.get("/env").1.contains(r#""BOOT_MS":"300""#));
    let (began, slow) = (Instant::now(), app.get("/slow?ms=200"));
    assert_eq!(slow, (200, "version 7\n".to_owned()));
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_ne!(app.get("/boot"), App::start(&[]).get("/boot"));
}

#[test]
fn the_app_is_unhealthy_when_told() {
    let app = App::start(&[("UNHEALTHY_MS", "0-400"), ("BROKEN_MS", "always")]);
    assert_eq!(app.get("/health").0, 503);
    assert_eq!(app.get("/").0, 500);
    thread::sleep(Duration::from_millis(450));
    assert_eq!(app.get("/health").0, 200);
    assert_eq!(app.get("/").0, 500);
}

#[test]
fn the_app_crashes_when_told() {
    let began = Instant::now();
    let mut app = App::start(&[("EXIT_MS", "300"), ("EXIT_CODE", "7")]);
    assert_eq!(app.get("/").0, 200);
    assert_eq!(app.exit_code(), Some(7));
    assert!(began.elapsed() >= Duration::from_millis(300));
    let at_once = sample_app(&[]).args(["--exit-ms", "0", "--exit-code=9"]).output().expect("ran");
    assert_eq!((at_once.status.code(), at_once.stdout.len()), (Some(9), 0));
}

#[test]
fn a_setting_that_makes_no_sense_is_refused() {
    let output = sample_app(&[("BOOT_MS", "soon")]).output().expect("ran");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "BOOT_MS cannot be `soon`\n");
    assert!(!sample_app(&[]).arg("--bot-ms=1").status().expect("ran").success());
}

#[test]
fn a_graceful_stop_under_load_answers_everyone_who_came_before() {
    for _ in 0..5 {
        let mut app = App::start(&[("DELAY_MS", "20")]);
        let options =
            Options { rate_per_second: 500, ..Options::new(vec![Target::new("app", app.addr)]) };
        let load = Load::start(options).expect("started");
        thread::sleep(Duration::from_millis(300));
        let stopped = load.report().began.elapsed();
        app.send(Signal::TERM);
        assert_eq!(app.exit_code(), Some(0));
        let report = load.stop();
        let lost = report.failures().iter().filter(|record| record.started < stopped).count();
        assert_eq!(lost, 0, "{report}");
        assert!(report.count(&Class::Old) > 100, "{report}");
    }
}

#[test]
fn a_graceful_stop_serves_those_who_wait_to_be_accepted() {
    let mut app = App::start(&[]);
    // Frozen, the app finds them and the signal at the same moment.
    app.send(Signal::STOP);
    let waiting: Vec<_> = (0..300)
        .map(|_| {
            let mut stream = TcpStream::connect(app.addr).expect("connected");
            let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
            stream.write_all(request).expect("sent");
            stream
        })
        .collect();
    app.send(Signal::TERM);
    app.send(Signal::CONT);
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.ends_with("version 1\n"), "{answer}");
    }
    assert_eq!(app.exit_code(), Some(0));
}

#[test]
fn a_graceful_stop_serves_a_visitor_who_has_yet_to_ask_and_closes_idle_ones() {
    let mut app = App::start(&[]);
    let mut fresh = TcpStream::connect(app.addr).expect("connected");
    let mut idle = TcpStream::connect(app.addr).expect("connected");
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    assert!(idle.read(&mut [0; 1024]).expect("answered") > 0);
    thread::sleep(Duration::from_millis(50));
    app.send(Signal::TERM);
    assert_eq!(idle.read(&mut [0; 1024]).expect("closed"), 0);
    fresh.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("sent");
    let mut answer = String::new();
    fresh.read_to_string(&mut answer).expect("answered and closed");
    assert!(answer.ends_with("version 1\n"), "{answer}");
    assert_eq!(app.exit_code(), Some(0));
}

#[test]
fn a_download_under_way_ends_whole_after_a_graceful_stop_and_torn_after_an_abrupt_one() {
    for (on_term, whole, code) in [("graceful", true, 0), ("abrupt", false, 143)] {
        let mut app = App::start(&[("ON_TERM", on_term)]);
        let addr = app.addr;
        let under_way = thread_at(None, move || async move {
            download(addr, "/download?bytes=1000003&ms=600", LIMIT).await
        });
        thread::sleep(Duration::from_millis(300));
        app.send(Signal::TERM);
        let result = under_way.join().expect("no panic").expect("a runtime");
        assert_eq!(result.as_ref().ok(), whole.then_some(&1_000_003), "{result:?}");
        assert_eq!(app.exit_code(), Some(code));
    }
}

#[test]
fn a_wrong_byte_in_a_download_is_noticed() {
    let serve = |stream: TcpStream| {
        says(&stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\u{0}\u{1}\u{3}")
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    thread::spawn(move || listener.incoming().flatten().for_each(serve));
    let result = run(move || async move { download(addr, "/", LIMIT).await });
    assert_eq!(result, Err(Class::Other("byte 2 is wrong".to_owned())));
}

#[test]
fn the_app_ignores_sigterm_when_told() {
    let app = App::start(&[("ON_TERM", "ignore")]);
    app.send(Signal::TERM);
    thread::sleep(Duration::from_millis(200));
    assert_eq!(app.get("/").0, 200);
}

#[test]
fn the_app_migrates_its_data_and_refuses_what_is_newer() {
    let path: PathBuf =
        std::env::temp_dir().join(format!("changeover-data-{}", std::process::id()));
    let data = path.to_str().expect("text");
    std::fs::write(&path, "schema 1\nwhat people wrote\n").expect("written");
    let app = App::start(&[("VERSION", "2"), ("DATA", data)]);
    let seen = app.get(&format!("/files?path={data}"));
    assert_eq!(seen, (200, "schema 2\nwhat people wrote\n".to_owned()));
    // An app that doesn't refuse must end too, for this test to fail.
    let older =
        sample_app(&[("VERSION", "1"), ("DATA", data), ("EXIT_MS", "2000")]).output().expect("ran");
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(older.status.code(), Some(DATA_IS_NEWER.into()));
    assert_eq!(
        String::from_utf8_lossy(&older.stderr),
        "the data has schema 2, this is version 1\n"
    );
}

#[test]
fn the_healthcheck_says_what_the_app_says() {
    let app = App::start(&[("UNHEALTHY_MS", "always")]);
    let port = app.addr.port().to_string();
    let check = |arguments: &[&str]| {
        let mut command = sample_app(&[("PORT", &port)]);
        command.arg("healthcheck").args(arguments).status().expect("ran").code()
    };
    assert_eq!(check(&[]), Some(1));
    assert_eq!(check(&[&format!("http://127.0.0.1:{port}/")]), Some(0));
    assert_eq!(check(&["http://127.0.0.1:1/"]), Some(1));
}

#[test]
fn the_first_answer_of_a_version_is_noticed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("bound");
    drop(listener);
    let noticed = first_answer(&Target::new("app", addr), "2", LIMIT);
    thread::sleep(Duration::from_millis(100));
    let before = Instant::now();
    let _app = App::start(&[("VERSION", "2"), ("PORT", &addr.port().to_string())]);
    let noticed = noticed.join().expect("no panic").expect("a runtime").expect("in time");
    assert!(noticed > before);
}
