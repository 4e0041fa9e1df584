//! Matrices of faults and places: what to run of them, and what came of it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use changeover_tests::lab::EngineKind;

use super::{Bench, PORT_LOST};

/// Whether everything is run instead of a sample.
pub(crate) fn torture() -> bool {
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
    kind: EngineKind,
    /// Matrices of one sheet share a table: the same places, other faults.
    sheet: &'static str,
    title: String,
    cells: Vec<Cell>,
    failures: Vec<String>,
}

/// One fault at one place.
struct Cell {
    place: String,
    fault: String,
    outcome: String,
}

/// All that was run, for the table at the end.
static RUN: Mutex<Vec<Matrix>> = Mutex::new(Vec::new());

impl Matrix {
    pub(super) fn new(kind: EngineKind, sheet: &'static str, what: &str) -> Matrix {
        let title = format!("{kind}: {what}");
        Matrix { kind, sheet, title, cells: Vec::new(), failures: Vec::new() }
    }

    /// Runs one cell: `fault` in the row `place`. After a failure the others go on, on a
    /// fresh engine, unless it is the third and all that is wanted is to know.
    pub(super) fn cell(
        &mut self,
        place: &str,
        fault: &str,
        bench: &mut Bench,
        run: impl FnOnce(&mut Bench) -> String,
    ) {
        if self.failures.len() > 2 && !torture() {
            return;
        }
        let begun = Instant::now();
        let outcome = match catch_unwind(AssertUnwindSafe(|| run(bench))) {
            Ok(outcome) => format!("{outcome} {:.0} s", begun.elapsed().as_secs_f64()),
            Err(panic) => {
                let words = crate::words_of(&*panic);
                // There may be no machine left to ask.
                let remains = catch_unwind(AssertUnwindSafe(|| bench.remains()));
                let remains = remains.unwrap_or_default();
                let first = words.lines().next().unwrap_or_default().to_owned();
                self.failures.push(format!("{place}, {fault}: {words}\n{remains}"));
                bench.anew();
                if torture() {
                    println!("{}: {place}, {fault}: {first}", self.kind);
                }
                "FAILED".to_owned()
            }
        };
        if torture() {
            println!("{}: {place}, {fault}: {outcome}", self.kind);
        }
        self.cells.push(Cell { place: place.to_owned(), fault: fault.to_owned(), outcome });
    }

    /// Keeps the cells for the table at the end; panics if any of them failed.
    pub(super) fn conclude(self) {
        let failed = (!self.failures.is_empty())
            .then(|| format!("{}\n{}", self.title, self.failures.join("\n")));
        RUN.lock().unwrap_or_else(PoisonError::into_inner).push(self);
        if let Some(why) = failed {
            panic!("{why}");
        }
    }
}

/// All matrices that were run, engine by engine: places down, faults across.
pub(super) fn tables() -> String {
    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut text = String::new();
    for kind in EngineKind::ALL {
        let mut sheets: Vec<&str> =
            run.iter().filter(|matrix| matrix.kind == kind).map(|matrix| matrix.sheet).collect();
        sheets.sort_unstable();
        sheets.dedup();
        for sheet in sheets {
            let of_it = |matrix: &&Matrix| matrix.kind == kind && matrix.sheet == sheet;
            let cells = || run.iter().filter(of_it).flat_map(|matrix| &matrix.cells);
            let _ = write!(text, "\nengine {kind}, {sheet}\n{}", table(cells()));
            let lost = cells().filter(|cell| cell.outcome.starts_with(PORT_LOST)).count();
            if lost > 0 {
                let all = cells().count();
                let _ = writeln!(text, "  in {lost} of {all} the engine lost track of the port");
            }
        }
    }
    text
}

fn table<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let (mut places, mut faults) = (Vec::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for cell in cells {
        for (list, what) in [(&mut places, &cell.place), (&mut faults, &cell.fault)] {
            if !list.contains(what) {
                list.push(what.clone());
            }
        }
        seen.insert((cell.place.clone(), cell.fault.clone()), cell.outcome.as_str());
    }
    let mut text = String::new();
    for (n, fault) in faults.iter().enumerate() {
        let _ = writeln!(text, "  {}: {fault}", letter(n));
    }
    let wide = places.iter().map(|place| place.chars().count()).max().unwrap_or(0);
    let head = (0..faults.len()).map(|n| format!("{:<18}", letter(n)));
    let _ = writeln!(text, "  {:wide$}  {}", "", head.collect::<String>().trim_end());
    for place in &places {
        let row = faults.iter().map(|fault| {
            let outcome = seen.get(&(place.clone(), fault.clone())).copied().unwrap_or("-");
            format!("{outcome:<18}")
        });
        let _ = writeln!(text, "  {place:wide$}  {}", row.collect::<String>().trim_end());
    }
    text
}

fn letter(n: usize) -> char {
    char::from(b'A' + u8::try_from(n).unwrap_or(0))
}
