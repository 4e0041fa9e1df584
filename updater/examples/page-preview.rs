//! Serves the page by hand, for people who work on it:
//! `cargo run -p changeover --example page-preview -- rolling-back 8090`.
//!
//! Each line on standard input is the next thing to show: a phase, how many
//! steps are done, and the seconds gone, say `updating 3 70`. `stop` frees the
//! port, waits for the visitors to leave and ends. To send them to an app on
//! the same port, start it there after `stop` and a final phase.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use changeover::page::Page;
use changeover::status::{Phase, SCHEMA, Status, StepState, StepStatus};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};

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
    let phase = arguments.next().unwrap_or_else(|| "updating".into());
    let port: u16 = arguments.next().unwrap_or_else(|| "8090".into()).parse()?;
    let rest: Vec<String> = arguments.collect();

    let page = Page::new(status(&format!("{phase} {}", rest.join(" ")))?);
    let mut serving = Some(page.serve(TcpListener::bind(("127.0.0.1", port))?)?);
    eprintln!("http://127.0.0.1:{port}/some/page?of=it");

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match (line.trim(), serving.take()) {
            ("stop", Some(open)) => open.stop().await,
            ("stop", None) => break,
            (line, open) => {
                serving = open;
                page.publish(status(line)?);
            }
        }
    }
    if serving.is_some() {
        std::future::pending::<()>().await;
    }
    page.drained(Duration::from_secs(3)).await;
    Ok(())
}

fn status(line: &str) -> Result<Status, Box<dyn Error>> {
    let mut words = line.split_whitespace();
    let phase: Phase = serde_json::from_value(words.next().unwrap_or("updating").into())?;
    let done =
        words.next().map_or(Ok(if phase.is_over() { STEPS.len() } else { 3 }), str::parse)?;
    let elapsed_seconds = words.next().map_or(Ok(7), str::parse)?;

    let state = |index| match index {
        index if index < done => StepState::Done,
        index if index == done => StepState::Active,
        _ => StepState::Waiting,
    };
    let mut steps = STEPS;
    if matches!(phase, Phase::RollingBack | Phase::RolledBack) {
        steps.reverse();
    }
    let steps = steps.iter().enumerate().map(|(index, (key, name))| StepStatus {
        key: (*key).into(),
        name: (*name).into(),
        state: state(index),
    });
    Ok(Status {
        schema: SCHEMA,
        update: "0195f3c2".into(),
        title: "Acme Wiki".into(),
        from: "1.4.2".into(),
        to: "1.5.0".into(),
        phase,
        steps: steps.take(if phase == Phase::RollingBack { 4 } else { 5 }).collect(),
        started_at: "2026-11-21T10:00:00Z".into(),
        elapsed_seconds,
        retry_after_seconds: 5,
    })
}
