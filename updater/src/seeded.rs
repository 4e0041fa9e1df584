//! The proof by a thousand mishaps: whole updates, by the program as it is, against an
//! engine that delays, refuses, cuts, garbles, answers late or never, and restarts,
//! while helpers die and people meddle. All of it by a seed.
//!
//! Where the model (`swap/model.rs`) walks all states of the table with one call at a
//! time and no wire, this has the wire, the errors and the time, and a sample of the
//! ways through them. Engine and time are simulated: a run of minutes takes
//! milliseconds, and the same seed goes the same way again.
//!
//! **What holds whatever goes wrong**, in the words of the model:
//! 1. Never do two versions run at the same time, and never would two come back by
//!    themselves at a boot.
//! 2. The old container is removed only after the new one has passed the gate.
//! 3. It ends: exactly one version has the app's name, its own restart policy and its
//!    volumes, and runs if the app ran before. A good version that meets nothing worse
//!    than delays and broken connections is in the end the one.
//! 4. The outcome is known: `status` says it, and it is what is there.
//! 5. A person is called, or has to `resume`, only where a person interfered, or the
//!    engine refuses or hangs again and again; doing what `status` says then ends it.
//! 6. Nothing that is left blocks the next update, and after that nothing is left.
//!
//! `CHANGEOVER_SEED=17 make seeds` runs one and tells its story, `make seeds
//! SEEDS=100000` runs many.

mod containers;
mod course;
mod dice;
mod engine;
mod faults;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) use dice::Dice;
pub(crate) use engine::Dial;

use course::Told;

/// So many are run where nobody says otherwise.
const SEEDS: u64 = 1000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.trim().parse().ok()
}

/// One seed in a time of its own.
fn play(seed: u64) -> (Told, Result<(), String>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime");
    let played = catch_unwind(AssertUnwindSafe(|| runtime.block_on(course::run(seed))));
    played.unwrap_or_else(|_| (Told::default(), Err("it panicked".to_owned())))
}

fn failure(seed: u64, told: &Told, why: &str) -> String {
    format!(
        "{}\nseed {seed}: {why}\nagain: CHANGEOVER_SEED={seed} make seeds\n",
        told.story.join("\n")
    )
}

#[test]
fn whatever_goes_wrong_an_update_ends_well() {
    if let Some(seed) = number("CHANGEOVER_SEED") {
        let (told, held) = play(seed);
        println!("{}\n{} after {:.1} minutes", told.story.join("\n"), told.outcome, told.minutes);
        if let Err(why) = held {
            panic!("{}", failure(seed, &told, &why));
        }
        return;
    }
    let seeds = number("CHANGEOVER_SEEDS").unwrap_or(SEEDS);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let parts: Vec<_> = (0..threads)
        .map(|part| {
            std::thread::spawn(move || {
                let (mut tally, mut failures) = (BTreeMap::<String, u64>::new(), Vec::new());
                for seed in (part..seeds).step_by(threads as usize) {
                    let (told, held) = play(seed);
                    match held {
                        Ok(()) => {
                            if told.lost_the_port {
                                *tally.entry("port lost".to_owned()).or_default() += 1;
                            }
                            *tally.entry(told.outcome).or_default() += 1;
                        }
                        Err(why) => failures.push((seed, why.clone(), failure(seed, &told, &why))),
                    }
                }
                (tally, failures)
            })
        })
        .collect();
    let (mut tally, mut failures) = (BTreeMap::<String, u64>::new(), Vec::new());
    for part in parts {
        let (some, failed) = part.join().expect("a part of the seeds ends");
        failures.extend(failed);
        for (outcome, count) in some {
            *tally.entry(outcome).or_default() += count;
        }
    }
    println!("{seeds} seeds: {tally:?}");
    failures.sort();
    if let Some((_, _, story)) = failures.first() {
        let list: Vec<String> =
            failures.iter().map(|(seed, why, _)| format!("{seed}: {why}")).collect();
        panic!("{story}\n{} of {seeds} seeds fail:\n{}", failures.len(), list.join("\n"));
    }
    if seeds >= SEEDS {
        for outcome in ["updated", "rolled-back", "untouched", "port lost"] {
            assert!(tally.contains_key(outcome), "no seed with {outcome}: {tally:?}");
        }
    }
}

#[test]
fn the_same_seed_goes_the_same_way() {
    for seed in 0..20 {
        let (first, second) = (play(seed).0.story, play(seed).0.story);
        assert_eq!(first, second, "seed {seed}");
    }
}
