//! A matrix of faults and moments: what to run of it, and what came of it.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use changeover_tests::lab::EngineKind;

use super::Bench;

/// Whether everything is run instead of a sample.
pub(super) fn torture() -> bool {
    std::env::var_os("CHANGEOVER_TORTURE").is_some_and(|value| value != "0" && !value.is_empty())
}

/// At most `size` of `all`, always the same ones for one seed, engine and matter.
pub(super) fn sample<T: Copy>(
    kind: EngineKind,
    matter: &str,
    all: impl IntoIterator<Item = T>,
    size: usize,
) -> Vec<T> {
    let all: Vec<T> = all.into_iter().collect();
    if torture() {
        return all;
    }
    let seed = std::env::var("CHANGEOVER_SEED").unwrap_or_default();
    let rank = |n: usize| {
        let mut hasher = DefaultHasher::new();
        (&seed, kind.version(), matter, n).hash(&mut hasher);
        hasher.finish()
    };
    let mut chosen: Vec<usize> = (0..all.len()).collect();
    chosen.sort_by_key(|n| rank(*n));
    chosen.truncate(size);
    chosen.sort_unstable();
    chosen.into_iter().map(|n| all[n]).collect()
}

/// What came of it, cell by cell.
pub(super) struct Matrix {
    title: String,
    rows: Vec<(String, String)>,
    failures: Vec<String>,
}

impl Matrix {
    pub(super) fn new(kind: EngineKind, what: &str) -> Matrix {
        Matrix { title: format!("{kind}: {what}"), rows: Vec::new(), failures: Vec::new() }
    }

    /// Runs one cell. After a failure the others go on, on a fresh engine, unless
    /// it is the third and all that is wanted is to know.
    pub(super) fn cell(
        &mut self,
        name: &str,
        bench: &mut Bench,
        run: impl FnOnce(&mut Bench) -> String,
    ) {
        if self.failures.len() > 2 && !torture() {
            return;
        }
        let begun = Instant::now();
        match catch_unwind(AssertUnwindSafe(|| run(bench))) {
            Ok(outcome) => {
                let seconds = begun.elapsed().as_secs_f64();
                self.rows.push((name.to_owned(), format!("{outcome:<12} {seconds:>5.1} s")));
            }
            Err(panic) => {
                let words = crate::words_of(&*panic);
                self.rows.push((name.to_owned(), "FAILED".to_owned()));
                // There may be no machine left to ask.
                let remains = catch_unwind(AssertUnwindSafe(|| bench.remains()));
                self.failures.push(format!("{name}: {words}\n{}", remains.unwrap_or_default()));
                bench.anew();
            }
        }
    }

    /// Prints the table if all of it was run, or anything failed; panics then.
    pub(super) fn conclude(self) {
        let mut table = format!("\n{}\n", self.title);
        for (name, outcome) in &self.rows {
            let _ = writeln!(table, "  {name:<72}{outcome}");
        }
        if torture() || !self.failures.is_empty() {
            println!("{table}");
        }
        assert!(self.failures.is_empty(), "{}\n{}", self.title, self.failures.join("\n"));
    }
}
