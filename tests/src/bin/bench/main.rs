//! `make bench`: our figures against what people do otherwise, measured in the same run.
//!
//! `bench [--only page|backup|engines] [--engine 20.10|26.1|28.5|all|none] [--runs 5]`. It only prints: a busy machine
//! makes figures worse, and that must not fail anything.

mod data;
mod page;
mod runs;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use changeover_tests::lab::{self, EngineKind};

use runs::Bench;
use table::{Row, Table};

const USAGE: &str =
    "usage: bench [--only page|backup|engines] [--engine 20.10|26.1|28.5|all|none] [--runs 5]";

fn main() -> ExitCode {
    let Wanted { page, backup, engines, runs } = match read(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if page {
        println!("The page, medians of {runs} runs{}", busy());
        print(page::measure(runs));
    }
    if backup {
        println!("The backup of an app's data, one run{}", busy());
        print(data::measure());
    }
    if let Err(error) = lab::install(&engines) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    for engine in engines {
        println!("Docker {engine}, medians of {runs} runs{}", busy());
        measure(&Bench::start(engine), runs).print();
    }
    ExitCode::SUCCESS
}

fn print(measured: Result<Table, String>) {
    match measured {
        Ok(table) => table.print(),
        Err(error) => println!("  not measured: {error}\n"),
    }
}

fn measure(bench: &Bench, runs: usize) -> Table {
    let mut table = Table::default();
    let mut page_up = Vec::new();
    for boot in [0, 1000] {
        // By turns, so that whatever else the machine does burdens both.
        let (updates, restarts): (Vec<_>, Vec<_>) =
            (0..runs).map(|_| (bench.update(boot), bench.stop_and_start(boot))).unzip();
        let ours = median(updates.iter().map(|update| update.away).collect());
        let theirs = median(restarts);
        table.add(Row {
            what: format!("app away, boots for {boot} ms"),
            ours: ms(ours),
            alternative: format!("{} docker stop + docker start", ms(theirs)),
            ratio: Some(ratio(ours, theirs)),
            claim: "ratio ≤ 1.1",
            holds: Some(ratio(ours, theirs) <= 1.1),
        });
        let part =
            |pick: fn(&runs::Update) -> Duration| ms(median(updates.iter().map(pick).collect()));
        table.note(format!(
            "of it, boot {boot} ms: stop {}, start {}, gate {}, all else {}",
            part(|u| u.stop),
            part(|u| u.start),
            part(|u| u.gate),
            part(|u| u.away.saturating_sub(u.stop + u.start + u.gate)),
        ));
        page_up.extend(updates.iter().map(|update| update.page_up));
        let shown = median(updates.iter().map(|update| update.shown_after).collect());
        table.add(Row {
            what: format!("open page shows the new version, {boot} ms"),
            ours: ms(shown),
            alternative: "– after the app listens".to_owned(),
            ratio: None,
            claim: "≤ 150 ms",
            holds: Some(shown <= Duration::from_millis(150)),
        });
    }
    let ours = median(page_up);
    let theirs = median((0..runs).map(|_| bench.docker_run()).collect());
    table.add(Row {
        what: "from the command to the page".to_owned(),
        ours: ms(ours),
        alternative: format!("{} docker run --detach", ms(theirs)),
        ratio: Some(ratio(ours, theirs)),
        claim: "≤ 500 ms",
        holds: Some(ours <= Duration::from_millis(500)),
    });
    let (size, memory) = bench.helper();
    let (their_size, their_memory) = bench.busybox_httpd();
    for (what, ours, theirs, limit, claim) in [
        ("helper's image", size, their_size, 10.0, "≤ 10 MB"),
        ("helper's memory at its peak", memory, their_memory, 12.0, "≤ 12 MB"),
    ] {
        table.add(Row {
            what: what.to_owned(),
            ours: format!("{ours:.1} MB"),
            alternative: format!("{theirs:.1} MB busybox httpd"),
            ratio: Some(ours / theirs),
            claim,
            holds: Some(ours <= limit),
        });
    }
    let (ours, engines) = bench.create_request(runs * 20);
    table.add(Row {
        what: "create request, 500 variables, 300 labels".to_owned(),
        ours: format!("{:.2} ms", ours.as_secs_f64() * 1000.0),
        alternative: format!("{} docker inspect", ms(engines)),
        ratio: Some(ratio(ours, engines)),
        claim: "≤ 5 ms",
        holds: Some(ours <= Duration::from_millis(5)),
    });
    let (ours, theirs) = (bench.failed_by_update(), bench.failed_by_recreation());
    table.add(Row {
        what: format!("failed requests at {}/s", runs::LOAD),
        ours: ours.to_string(),
        alternative: format!("{theirs} docker stop, rm, run"),
        ratio: None,
        claim: "0",
        holds: Some(ours == 0),
    });
    table
}

/// A remark on figures that other programs have worsened.
fn busy() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    match load > processors as f64 {
        true => format!("; the machine is busy (load {load} on {processors} processors)"),
        false => String::new(),
    }
}

fn median<T: Ord>(mut list: Vec<T>) -> T {
    list.sort();
    let middle = list.len() / 2;
    list.into_iter().nth(middle).expect("there is at least one run")
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

/// What to measure.
struct Wanted {
    page: bool,
    backup: bool,
    engines: Vec<EngineKind>,
    runs: usize,
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { page: true, backup: true, engines: vec![EngineKind::V28_5], runs: 5 };
    let mut only = None;
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("`{flag}` needs a value"))?;
        match (flag.as_str(), value.as_str()) {
            ("--only", "page" | "backup" | "engines") => only = Some(value),
            ("--engine", "none") => wanted.engines.clear(),
            ("--engine", "all") => wanted.engines = EngineKind::ALL.to_vec(),
            ("--engine", engine) => {
                wanted.engines = vec![engine.parse().map_err(|error| format!("{error}"))?];
            }
            ("--runs", runs) => {
                let runs = runs.parse().ok().filter(|runs| *runs > 0);
                wanted.runs = runs.ok_or("not a number of runs")?;
            }
            _ => return Err(format!("no such flag: `{flag} {value}`")),
        }
    }
    if let Some(only) = only.as_deref() {
        wanted.page = only == "page";
        wanted.backup = only == "backup";
        if only != "engines" {
            wanted.engines.clear();
        }
    }
    Ok(wanted)
}
