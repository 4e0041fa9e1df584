//! Event streams.

use super::*;

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
