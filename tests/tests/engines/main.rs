//! The engine suite: cases on real engines, with a table at the end.
//!
//! Where the engine has a say, a case runs on each of them; where it has none, on one that
//! the case's name draws. `CHANGEOVER_EVERYWHERE=1`, as `make engines` sets it, takes all of
//! them to all.
//!
//! Cases that put the machine under load run alone; the others side by side.

mod browser;
mod button;
mod commands;
mod compose;
mod crashes;
mod data;
mod examples;
mod image;
mod podman;
mod rootless;
mod same;
mod schema;
mod security;
mod sets;
mod soak;
mod visitors;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use changeover_tests::lab::{self, EngineKind};
use changeover_tests::world;
use libtest_mimic::{Arguments, Failed, Trial};

/// One case. Its name is a sentence that holds.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// The sentence, in snake case.
    pub(crate) name: &'static str,
    /// Whether the load that it makes would disturb others, or be disturbed.
    pub(crate) alone: bool,
    /// Panics if it doesn't hold.
    pub(crate) run: fn(EngineKind),
}

/// By case and engine: how long it took, unless it failed.
type Results = BTreeMap<&'static str, BTreeMap<&'static str, Option<Duration>>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(2);
    schema::assert_strict();
    world::JUDGE.get_or_init(|| schema::judge);
    let mut cases: Vec<Case> = visitors::cases()
        .into_iter()
        .chain(commands::cases())
        .chain(crashes::cases())
        .chain(image::cases())
        .chain(security::cases())
        .chain(sets::cases())
        .chain(same::cases())
        .chain(compose::cases())
        .chain(soak::cases())
        .chain(data::cases())
        .collect();
    let mut on_any: Vec<Case> =
        [visitors::on_any(), commands::on_any(), browser::cases(), button::cases()].concat();
    let mut on_podman = podman::cases();
    let mut on_newest =
        [data::on_newest(), commands::on_newest(), crashes::on_newest(), rootless::cases()]
            .concat();
    if crashes::torture() {
        (on_any, on_podman, on_newest) = Default::default();
        cases = crashes::cases();
        cases.extend(data::torture());
    }
    let on_one = examples::cases();
    if !arguments.list
        && let Err(error) = lab::install(&EngineKind::EVERY)
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let results: Arc<Mutex<Results>> = Arc::default();
    let machine = Arc::new(RwLock::new(()));
    let mut trials = Vec::new();
    if std::env::var_os("CHANGEOVER_EVERYWHERE").is_some() {
        cases.append(&mut on_any);
    }
    let any = on_any.iter().map(|case| (case, drawn_by(case.name)));
    let docker = cases.iter().flat_map(|case| EngineKind::ALL.map(|kind| (case, kind)));
    let podman = on_podman.iter().flat_map(|case| EngineKind::PODMAN.map(|kind| (case, kind)));
    let engines = examples::engines();
    let examples = on_one.iter().flat_map(|case| engines.iter().map(move |kind| (case, *kind)));
    let newest = on_newest.iter().map(|case| (case, EngineKind::V28_5));
    for (case, kind) in docker.chain(any).chain(podman).chain(newest).chain(examples) {
        let (name, alone, run) = (case.name, case.alone, case.run);
        let (results, machine) = (results.clone(), machine.clone());
        trials.push(Trial::test(format!("{kind}::{name}"), move || {
            let run = || {
                let begun = Instant::now();
                (std::panic::catch_unwind(|| run(kind)), begun.elapsed())
            };
            // A lock that a failed case has poisoned is still a lock.
            let (done, took) = match alone {
                true => {
                    let _all = machine.write().unwrap_or_else(|broken| broken.into_inner());
                    run()
                }
                false => {
                    let _part = machine.read().unwrap_or_else(|broken| broken.into_inner());
                    run()
                }
            };
            let mut results = results.lock().unwrap_or_else(|broken| broken.into_inner());
            let result = done.is_ok().then_some(took);
            results.entry(name).or_default().insert(kind.version(), result);
            done.map_err(|panic| Failed::from(words_of(&*panic)))
        }));
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    println!("{}", crashes::tables());
    print_table(&results.lock().unwrap_or_else(|broken| broken.into_inner()));
    println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}

/// One of Docker's versions, always the same for a name.
fn drawn_by(name: &str) -> EngineKind {
    let sum: usize = name.bytes().map(usize::from).sum();
    EngineKind::ALL[sum % EngineKind::ALL.len()]
}

pub(crate) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "panicked".to_owned())
}

fn print_table(results: &Results) {
    if results.is_empty() {
        return;
    }
    let engines = EngineKind::EVERY.map(EngineKind::version);
    println!("\n{:<78}{}", "case", engines.map(|engine| format!("{engine:>10}")).join(""));
    for (case, by_engine) in results {
        let cell = |engine| match by_engine.get(engine) {
            Some(Some(took)) => format!("ok {:.0} s", took.as_secs_f64()),
            Some(None) => "FAILED".to_owned(),
            None => "-".to_owned(),
        };
        let row = engines.map(|engine| format!("{:>10}", cell(engine))).join("");
        println!("{:<78}{row}", case.replace('_', " "));
    }
    println!();
}
