//! Serves the page by hand, for people who work on it:
//! `cargo run -p changeover --example page-preview -- rolling-back 8090`.
//!
//! The phase `story` tells a whole update in about twenty seconds, leaves the
//! port and ends, so that an app started on it there and then gets the visitors.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use changeover::page::Page;
use changeover::status::{Phase, SCHEMA, Status, StepState, StepStatus};

const STEPS: [(&str, &str); 5] = [
    ("create-new", "create the new container"),
    ("stop-old", "stop the old container"),
    ("promote-new", "promote the new container"),
    ("start-new", "start the new container"),
    ("gate", "check the new container"),
];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let phase = arguments.next().unwrap_or_else(|| "story".into());
    let port: u16 = arguments.next().unwrap_or_else(|| "8090".into()).parse()?;
    let elapsed: u64 = arguments.next().unwrap_or_else(|| "7".into()).parse()?;

    let is_story = phase == "story";
    let phase: Phase = serde_json::from_value(if is_story { "updating" } else { &*phase }.into())?;
    let page = Page::new(status(
        phase,
        if phase.is_over() { STEPS.len() } else { 3 },
        elapsed,
    ));
    let serving = page.serve(TcpListener::bind(("127.0.0.1", port))?)?;
    eprintln!("http://{}/some/page?of=it", serving.address());
    if !is_story {
        std::future::pending::<()>().await;
    }
    for done in 0..STEPS.len() {
        page.publish(status(Phase::Updating, done, elapsed + 4 * done as u64));
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    serving.stop().await;
    page.publish(status(Phase::Updated, STEPS.len(), 20));
    page.drained(Duration::from_secs(3)).await;
    Ok(())
}

fn status(phase: Phase, done: usize, elapsed_seconds: u64) -> Status {
    let state = |index| match index {
        index if index < done => StepState::Done,
        index if index == done => StepState::Active,
        _ => StepState::Waiting,
    };
    let steps = STEPS
        .iter()
        .enumerate()
        .map(|(index, (key, name))| StepStatus {
            key: (*key).into(),
            name: (*name).into(),
            state: state(index),
        });
    Status {
        schema: SCHEMA,
        update: "0195f3c2".into(),
        title: "Acme Wiki".into(),
        from: "1.4.2".into(),
        to: "1.5.0".into(),
        phase,
        steps: steps.collect(),
        started_at: "2026-11-21T10:00:00Z".into(),
        elapsed_seconds,
        retry_after_seconds: 5,
    }
}
