//! What the visitors saw, for tests and for people.

use super::Class;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::{Duration, Instant};

/// Everything the visitors saw, in no particular order.
#[derive(Debug, Clone)]
pub struct Report {
    /// When the load began; all times count from here.
    pub began: Instant,
    /// The targets' labels; records refer to them by position.
    pub targets: Vec<String>,
    /// One a request.
    pub records: Vec<Record>,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Record {
    /// Position in [`Report::targets`].
    pub target: usize,
    /// When it should have started. Far from `started`, the machine is overloaded.
    pub due: Duration,
    /// Just before it connected.
    pub started: Duration,
    /// When the answer was whole, or the failure known.
    pub ended: Duration,
    /// What came of it.
    pub class: Class,
}

/// The order in which answers may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// Old, then the page, then new.
    Update,
    /// Old, then the page, then old again; new never.
    Rollback,
}

impl Story {
    fn phases(self) -> [Class; 3] {
        match self {
            Story::Update => [Class::Old, Class::Page, Class::New],
            Story::Rollback => [Class::Old, Class::Page, Class::Old],
        }
    }
}

impl Report {
    /// Requests whose visitor would complain.
    pub fn failures(&self) -> Vec<&Record> {
        self.records.iter().filter(|record| record.class.is_failure()).collect()
    }

    /// Whether each target's answers came in the order of `story`, each of its
    /// phases at least once. Failures are left to [`Report::failures`].
    ///
    /// A phase begins, for one target, when its first answer has been
    /// **received**; where the same class occurs in an earlier phase, only
    /// requests started after the phase between them began count. A request
    /// **started** after a phase began must be answered by this phase or a
    /// later one. So whoever was under way while the phase changed may get
    /// either answer, and nobody who could have heard of the later one gets
    /// the earlier one.
    pub fn check(&self, story: Story) -> Result<(), String> {
        let phases = story.phases();
        let mut wrong = String::new();
        for (target, label) in self.targets.iter().enumerate() {
            let begins = self.phases_begin(target, &phases);
            for (phase, begin) in phases.iter().zip(begins) {
                if begin.is_none() {
                    let _ =
                        writeln!(wrong, "{label}: {phase} is missing from its place in {phases:?}");
                }
            }
            let late = |record: &&Record| {
                let current = begins
                    .iter()
                    .rposition(|begin| begin.is_some_and(|begin| begin < record.started));
                !phases[current.unwrap_or(0)..].contains(&record.class)
            };
            let answers = self.of(target).filter(|record| is_answer(&record.class));
            let mut late: Vec<_> = answers.filter(late).collect();
            late.sort_by_key(|record| record.started);
            if let Some(first) = late.first() {
                let count = late.len();
                let _ = writeln!(
                    wrong,
                    "{label}: {count} out of order, the first is {first:?}; phases began {begins:?}"
                );
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// How long the app was away: from the end of the first phase's last answer to that
    /// of the last phase's first answer, where it was longest. `None` if the
    /// story isn't whole.
    pub fn away(&self, story: Story) -> Option<Duration> {
        let phases = story.phases();
        let away = |target| {
            let [_, page, back] = self.phases_begin(target, &phases);
            let before =
                |record: &&Record| record.class == phases[0] && Some(record.started) <= page;
            let last = self.of(target).filter(before).map(|record| record.ended).max()?;
            Some(back?.saturating_sub(last))
        };
        (0..self.targets.len()).map(away).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// The first answer of a class to be received on a target.
    pub fn first(&self, target: &str, class: &Class) -> Option<&Record> {
        self.of_class(target, class).min_by_key(|record| record.ended)
    }

    /// The last answer of a class to be received on a target.
    pub fn last(&self, target: &str, class: &Class) -> Option<&Record> {
        self.of_class(target, class).max_by_key(|record| record.ended)
    }

    /// How many requests ended in `class`.
    pub fn count(&self, class: &Class) -> usize {
        self.records.iter().filter(|record| record.class == *class).count()
    }

    /// How many of each class, target by target.
    pub fn totals(&self) -> BTreeMap<&str, BTreeMap<&Class, usize>> {
        let mut totals = BTreeMap::new();
        for record in &self.records {
            let target: &mut BTreeMap<_, _> =
                totals.entry(self.targets[record.target].as_str()).or_default();
            *target.entry(&record.class).or_default() += 1;
        }
        totals
    }

    /// Second by second, by the start of the requests.
    pub fn rows(&self) -> Vec<Row> {
        let seconds =
            self.records.iter().map(|record| record.started.as_secs() + 1).max().unwrap_or(0);
        let mut rows: Vec<_> =
            (0..seconds).map(|second| Row { second, ..Row::default() }).collect();
        for record in &self.records {
            let row = &mut rows[record.started.as_secs() as usize];
            *match record.class {
                Class::Old => &mut row.old,
                Class::Page => &mut row.page,
                Class::New => &mut row.new,
                _ => &mut row.failed,
            } += 1;
        }
        rows
    }

    /// The rows as a table with a legend, for people.
    pub fn table(&self) -> String {
        let mut table = format!("{}\n", Row::HEADER);
        for row in self.rows() {
            let _ = writeln!(table, "{row}");
        }
        table
    }

    /// The begin of each phase on a target; see [`Report::check`].
    fn phases_begin(&self, target: usize, phases: &[Class; 3]) -> [Option<Duration>; 3] {
        let first = |phase: usize, after: Option<Duration>| {
            let answers = self.of(target).filter(|record| record.class == phases[phase]);
            answers.filter(|record| after < Some(record.started)).map(|record| record.ended).min()
        };
        let page = first(1, None);
        let back = if phases[2] == phases[0] {
            page.and_then(|page| first(2, Some(page)))
        } else {
            first(2, None)
        };
        [first(0, None), page, back]
    }

    fn of(&self, target: usize) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.target == target)
    }

    fn of_class(&self, target: &str, class: &Class) -> impl Iterator<Item = &Record> {
        self.records
            .iter()
            .filter(move |record| self.targets[record.target] == target && record.class == *class)
    }
}

fn is_answer(class: &Class) -> bool {
    matches!(class, Class::Old | Class::Page | Class::New | Class::Version(_))
}

/// The table, the totals and how slow the slowest answer was.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table())?;
        let width = self.targets.iter().map(String::len).max().unwrap_or(0);
        for (target, classes) in self.totals() {
            let classes: Vec<_> =
                classes.iter().map(|(class, count)| format!("{count} {class}")).collect();
            writeln!(f, "{target:<width$}  {}", classes.join(", "))?;
        }
        let slowest = self
            .records
            .iter()
            .map(|record| record.ended - record.started)
            .max()
            .unwrap_or_default();
        let latest =
            self.records.iter().map(|record| record.started.saturating_sub(record.due)).max();
        let latest = latest.unwrap_or_default().as_millis();
        write!(f, "{} failed; the slowest took {} ms", self.failures().len(), slowest.as_millis())?;
        // Beyond this, it is the machine that was slow to ask.
        if latest > 100 { write!(f, "; visitors came up to {latest} ms late") } else { Ok(()) }
    }
}

/// One second of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// Since the load began; requests count where they started.
    pub second: u64,
    /// Answers by the old version.
    pub old: usize,
    /// Answers by the page.
    pub page: usize,
    /// Answers by the new version.
    pub new: usize,
    /// Everything else.
    pub failed: usize,
}

impl Row {
    /// What stands above rows.
    pub const HEADER: &str =
        " second     old    page     new  failed   ▒ old  · page  █ new  ✗ failed";
    const BAR: usize = 40;
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.old, "▒"), (self.page, "·"), (self.new, "█"), (self.failed, "✗")];
        let all = parts.iter().map(|(count, _)| count).sum::<usize>().max(1);
        let mut done = 0;
        let mut drawn = 0;
        let mut bar = String::new();
        for (count, mark) in parts {
            done += count;
            // The smallest part is still a mark: one failure must be seen.
            let until = (done * Self::BAR / all).max(drawn + usize::from(count > 0));
            bar += &mark.repeat(until - drawn);
            drawn = until;
        }
        let [old, page, new, failed] =
            parts.map(|(count, _)| if count == 0 { "–".to_owned() } else { count.to_string() });
        write!(f, "{:>7} {old:>7} {page:>7} {new:>7} {failed:>7}   {bar}", self.second)
    }
}
