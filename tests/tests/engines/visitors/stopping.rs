//! Visitors who are with the old version when it has to go.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::thread::JoinHandle;

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Load, Options, Story};
use changeover_tests::sample;
use changeover_tests::world::{World, web};

use super::{a_few_visitors, assert_story, case, from_host, image, let_some_more_come, update};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(a_download_that_fits_the_stop_time_ends_whole),
        case!(an_app_that_ignores_its_stop_signal_gets_its_time_and_is_replaced),
        case!(alone short_requests_to_an_app_that_drops_everything_on_sigterm_end_whole),
    ]
}

fn a_download_that_fits_the_stop_time_ends_whole(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    const BYTES: usize = 500_000;
    let download = begin_download(&world, &format!("/download?bytes={BYTES}&ms=2000"));
    update(&world, 2, &[]).expect(0);
    let body = download.join().expect("a visitor doesn't panic");
    assert_eq!(body.len(), BYTES, "the download is whole");
    assert!((0..).zip(&body).all(|(n, byte)| *byte == sample::content(n)), "every byte is right");
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
}

fn an_app_that_ignores_its_stop_signal_gets_its_time_and_is_replaced(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("ON_TERM", "ignore")]);
    image(&world, 2, &[]);
    let mut body = web("app:1");
    body["StopTimeout"] = 2.into();
    world.run("web", &body);
    world.wait_for_http(8080);
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    let done = update(&world, 2, &[]).expect(0);
    let stop = done
        .events
        .iter()
        .find(|e| e["event"] == "step" && e["key"] == "stop-old")
        .expect("it was stopped");
    assert!(stop["milliseconds"].as_u64() >= Some(2000), "its own stop time: {stop}");
    // Its visitors have waited for that, so its operator hears of it, and how to mend it.
    let warnings = done.events.iter().filter(|event| event["event"] == "warning");
    let said: Vec<&str> = warnings.filter_map(|event| event["text"].as_str()).collect();
    let killed = said.iter().find(|said| said.contains("was killed after 2 s"));
    let killed = killed.unwrap_or_else(|| panic!("not a word of it: {said:?}"));
    for words in ["old container of `web`", "did not end at SIGTERM", "STOPSIGNAL", "--init"] {
        assert!(killed.contains(words), "no {words:?} in: {killed}");
    }
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
    // One that heeds it is nobody's concern.
    let done = update(&world, 1, &[]).expect(0);
    assert_eq!(done.event("warning"), None, "{:#?}", done.events);
}

/// Between the page's coming and the stop signal everybody who came before has an
/// answer, although the app wouldn't wait for them.
fn short_requests_to_an_app_that_drops_everything_on_sigterm_end_whole(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("ON_TERM", "abrupt"), ("DELAY_MS", "40")]);
    image(&world, 2, &[]);
    world.run_web("app:1");
    let options = Options::new(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let load = Load::start(options).expect("the load starts");
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    let report = assert_story(&world, load, Story::Update);
    println!("{kind}: away for {:?}", report.away(Story::Update));
    world.assert_settled("2", false);
}

/// Returns once the first bytes have come; the rest is the thread's.
fn begin_download(world: &World, path: &str) -> JoinHandle<Vec<u8>> {
    let mut stream = world
        .lab
        .host_netns()
        .run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).expect("the old version listens"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the old version reads");
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut some = [0; 512];
        let read = stream.read(&mut some).expect("the old version answers");
        assert!(read > 0, "the connection ended early");
        bytes.extend_from_slice(&some[..read]);
    }
    std::thread::spawn(move || {
        // What is missing shows in the length.
        let _ = stream.read_to_end(&mut bytes);
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        bytes.split_off(head + 4)
    })
}
