//! The corpus: containers of every kind, each made as a user would make it, updated by
//! the program on real engines, and compared with what the same command makes of the
//! new image.
//!
//! The cases are tables in `cases/`: a name, a command line, and what is different on
//! purpose. [`prove`] is the course of one case, [`oracle`] the comparison; it shares no
//! code with the program. A run of one case: `make corpus CASES=28.5::env`.
//!
//! `make test` takes every case to one version of Docker and some to Podman, see
//! [`case::Case::is_sampled`]; `make corpus` takes all to all.

mod case;
mod cases;
mod flags;
mod oracle;
mod prove;
mod stage;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use changeover_tests::lab::{self, EngineKind};
use libtest_mimic::{Arguments, Failed, Trial};

/// The engines, each a column of the table. Podman 4 isn't among them: the program refuses
/// it, for it can't change a container's restart policy.
const ENGINES: [EngineKind; 4] =
    [EngineKind::V20_10, EngineKind::V26_1, EngineKind::V28_5, EngineKind::Podman5];

/// What came of each case, by engine.
type Results = BTreeMap<(usize, &'static str), BTreeMap<&'static str, &'static str>>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(4);
    if !arguments.list
        && let Err(error) = lab::install(&ENGINES)
    {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let results: Arc<Mutex<Results>> = Arc::default();
    let conclusion = libtest_mimic::run(&arguments, trials(&results));
    stage::take_down();
    print_table(&results.lock().unwrap_or_else(PoisonError::into_inner));
    println!("{} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    conclusion.exit_code()
}

fn trials(results: &Arc<Mutex<Results>>) -> Vec<Trial> {
    let cases = cases::all();
    let mut trials = vec![Trial::test("no_two_cases_have_one_name", || {
        let mut names: Vec<_> = cases::all().iter().map(|case| case.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(all >= 120, "only {all} cases");
        assert_eq!(all, names.len());
        let not = cases::podman::NOT.iter().map(|(name, _)| *name);
        let mut podmans = not.chain(cases::podman::OTHERWISE.iter().map(|one| one.name));
        assert_eq!(podmans.find(|name| !names.contains(name)), None, "no such case");
        Ok(())
    })];
    for kind in ENGINES {
        if !kind.is_podman() {
            trials.push(Trial::test(format!("{kind}::every_flag_is_covered"), move || {
                caught(|| flags::every_flag_is_covered(kind))
            }));
        }
        for (number, case) in cases.iter().enumerate() {
            let key = (number, case.name);
            let record = move |results: &Mutex<Results>, result| {
                let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                results.entry(key).or_default().insert(kind.version(), result);
            };
            if !case.runs_on(kind) {
                record(results, "-");
                continue;
            }
            if !case.is_sampled(kind) {
                record(results, ".");
                continue;
            }
            let (case, results) = (case.clone().on(kind), results.clone());
            trials.push(Trial::test(format!("{kind}::{}", case.name), move || {
                let done = caught(|| prove::prove(&case, kind));
                record(&results, if done.is_ok() { "ok" } else { "FAILED" });
                done
            }));
        }
    }
    trials
}

fn caught(run: impl FnOnce()) -> Result<(), Failed> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "panicked".to_owned()).into()
    })
}

fn is_run(result: &str) -> bool {
    ["ok", "FAILED"].contains(&result)
}

/// Engine × case. A dash is a case that this engine can't have; why is in its table. A dot
/// is one that is left to `make corpus`.
fn print_table(results: &Results) {
    let engines = ENGINES.map(EngineKind::version);
    let rows = results.iter().filter(|(_, row)| row.values().any(|result| is_run(result)));
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return;
    }
    println!("\n{:<60}{}", "case", engines.map(|engine| format!("{engine:>10}")).join(""));
    for ((_, case), row) in &rows {
        let cells = engines.map(|engine| format!("{:>10}", row.get(engine).unwrap_or(&"")));
        println!("{:<60}{}", case.replace('_', " "), cells.join(""));
    }
    let totals = engines.map(|engine| {
        let cells = rows.iter().filter_map(|(_, row)| row.get(engine));
        let run: Vec<_> = cells.filter(|result| is_run(result)).collect();
        let good = run.iter().filter(|result| ***result == "ok").count();
        format!("{:>10}", format!("{good}/{}", run.len()))
    });
    println!("{:<60}{}\n", format!("{} cases, good ones", rows.len()), totals.join(""));
}
