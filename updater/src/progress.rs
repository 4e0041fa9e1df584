//! Telling everybody: events for the one who follows, the status for the page.

use jiff::Timestamp;
use tokio::time::Instant;

use crate::account::{Account, Teller};
use crate::events::Event;
use crate::page::Page;
use crate::plan::Plan;
use crate::status::{Phase, SCHEMA, Status, StepState, StepStatus};
use crate::swap::{Direction, Next, Outcome, SERVE, STEPS};

/// Where progress goes to.
pub struct Progress {
    page: Page,
    begun: Instant,
    goes_back: bool,
    emit: Box<dyn Fn(&Event) + Send>,
    shown: Option<(Phase, usize)>,
    /// What happened, in this run of the helper or an earlier one.
    teller: Teller,
}

impl Progress {
    /// `emit` gets every event.
    pub fn new(plan: &Plan, page: Page, emit: impl Fn(&Event) + Send + 'static) -> Progress {
        Progress {
            page,
            begun: Instant::now(),
            goes_back: plan.goes_back,
            emit: Box::new(emit),
            shown: None,
            teller: Teller::default(),
        }
    }

    /// Why the new version was given up, where it wasn't the helper that did it.
    pub fn explain(&mut self, reason: &str) {
        self.teller.explain(reason);
    }

    /// Passes an event on.
    pub fn emit(&mut self, event: Event) {
        self.teller.hear(&event);
        (self.emit)(&event);
    }

    /// How far reading or writing the data is. Visitors see it while that is what they
    /// wait for; the first pass they don't notice.
    pub fn data(&mut self, done_bytes: u64, total_bytes: u64) {
        self.emit(Event::Data { done_bytes, total_bytes });
        let mut status = self.page.status();
        let active = status.steps.iter_mut().find(|step| step.state == StepState::Active);
        if let Some(step) = active.filter(|step| step.key == DATA[0]) {
            tell_part(step, done_bytes, total_bytes);
            self.page.publish(status);
        }
    }

    /// Takes in what an earlier run has emitted.
    pub fn remember(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.teller.hear(event));
    }

    /// How it went, once it has ended.
    pub fn account(&self, plan: &Plan) -> Option<Account> {
        self.teller.tell(plan).map(|account| account.ended_at(Timestamp::now()))
    }

    /// Shows on the page what is decided now.
    pub fn show(&mut self, decided: &Next) {
        let now = match decided {
            // Beyond the check the new version serves.
            Next::Do { direction: Direction::Forward, step, .. } if *step > gate() => {
                (Phase::Updated, *step)
            }
            Next::Do { direction: Direction::Forward, step, .. } => (Phase::Updating, *step),
            // In front of the stop the old version serves again.
            Next::Do { direction: Direction::Back, step, .. } if *step < SERVE => {
                (Phase::RolledBack, *step)
            }
            Next::Do { direction: Direction::Back, step, .. } => (Phase::RollingBack, *step),
            Next::Condemn { .. } => (Phase::RollingBack, STEPS.len() - 1),
            Next::Finish(_) => return,
        };
        if self.shown != Some(now) {
            self.shown = Some(now);
            self.publish(now.0, now.1);
        }
    }

    /// Shows the end, and says it.
    pub fn finish(&mut self, outcome: &Outcome) {
        self.end(outcome, false);
    }

    /// The same where it isn't over for us: we go on once that is possible.
    pub fn wait(&mut self, outcome: &Outcome) {
        self.end(outcome, true);
    }

    fn end(&mut self, outcome: &Outcome, waits: bool) {
        let (phase, reason) = match outcome {
            Outcome::Updated => (Phase::Updated, None),
            Outcome::RolledBack => (Phase::RolledBack, self.teller.condemned()),
            Outcome::Refused { reason } => (Phase::RolledBack, Some(reason.clone())),
            Outcome::NeedsAPerson { reason } => (Phase::NeedsAPerson, Some(reason.clone())),
        };
        self.publish(phase, STEPS.len());
        self.emit(Event::Finished {
            outcome: outcome.ending().word().to_owned(),
            reason,
            goes_back: self.goes_back,
            seconds: self.begun.elapsed().as_secs_f64(),
            waits,
        });
    }

    fn publish(&self, phase: Phase, step: usize) {
        let mut status = self.page.status();
        status.phase = phase;
        let keeps_data = status.steps.iter().any(|step| step.key == DATA[0]);
        status.steps = steps(phase, step, keeps_data);
        status.elapsed_seconds = self.begun.elapsed().as_secs();
        status.retry_after_seconds = if phase == Phase::NeedsAPerson { 30 } else { 2 };
        self.page.publish(status);
    }
}

/// The status before anything has happened.
pub fn initial_status(plan: &Plan) -> Status {
    Status {
        schema: SCHEMA,
        update: plan.update.clone(),
        title: plan.page.title.clone(),
        from: plan.page.from.clone(),
        to: plan.page.to.clone(),
        phase: Phase::Updating,
        steps: steps(Phase::Updating, 0, plan.keeps_data()),
        started_at: Timestamp::now().to_string(),
        elapsed_seconds: 0,
        retry_after_seconds: 2,
    }
}

/// What an update looks like while this step is under way, for those who design the page.
pub fn sample_status(title: &str, phase: Phase, step: &str, elapsed_seconds: u64) -> Status {
    let current = STEPS.iter().position(|known| known.key == step).unwrap_or(0);
    let mut steps = steps(phase, current, DATA.contains(&step));
    if let Some(step) = steps.iter_mut().find(|known| known.key == DATA[0]) {
        tell_part(step, 412_345_678, 1_034_567_890);
    }
    Status {
        schema: SCHEMA,
        update: "preview".into(),
        title: title.into(),
        from: "1.4.2".into(),
        to: "1.5.0".into(),
        phase,
        steps,
        started_at: Timestamp::now().to_string(),
        elapsed_seconds,
        retry_after_seconds: 2,
    }
}

fn gate() -> usize {
    STEPS.iter().position(|step| step.key == "gate").unwrap_or(0)
}

/// What visitors are told of: the steps that mean something to them. Arming and
/// parking happen within the next one.
const VISIBLE: [&str; 5] = ["create-new", "stop-old", "promote-new", "start-new", "gate"];
/// The same for the data, where it is kept: on the way forward, and on the way back.
const DATA: [&str; 2] = ["back-up", "put-back"];

/// Says how far this step is, where anything is known of that.
fn tell_part(step: &mut StepStatus, done_bytes: u64, total_bytes: u64) {
    let Some(percent) = done_bytes.saturating_mul(100).checked_div(total_bytes) else { return };
    // Reading back what was written comes after the last byte.
    step.percent = Some(percent.min(99) as u8);
    step.done_bytes = Some(done_bytes);
    step.total_bytes = Some(total_bytes);
}

/// The visible steps, in the order in which they are done or, on the way back, undone.
fn steps(phase: Phase, current: usize, keeps_data: bool) -> Vec<StepStatus> {
    let back = matches!(phase, Phase::RollingBack | Phase::RolledBack | Phase::NeedsAPerson);
    let is_visible = |key| VISIBLE.contains(&key) || keeps_data && key == DATA[usize::from(back)];
    let mut rows: Vec<usize> = (0..STEPS.len()).filter(|n| is_visible(STEPS[*n].key)).collect();
    let mut current = current;
    if back {
        // Preparing isn't taken back, and starting old lasts until it answers.
        rows.retain(|n| *n > SERVE);
        rows.reverse();
        current = current.max(SERVE + 1);
    }
    let ahead = |n: &usize| if back { *n <= current } else { *n >= current };
    let active = if phase.is_over() { None } else { rows.iter().copied().find(ahead) };
    let state = |n: usize| match active {
        Some(active) if n == active => StepState::Active,
        Some(_) if ahead(&n) => StepState::Waiting,
        _ => StepState::Done,
    };
    let row = |n: usize| StepStatus {
        // One word for the data, and its opposite.
        key: if STEPS[n].key == DATA[1] { DATA[0] } else { STEPS[n].key }.to_owned(),
        name: if back { STEPS[n].undo_name } else { STEPS[n].name }.to_owned(),
        state: state(n),
        percent: None,
        done_bytes: None,
        total_bytes: None,
    };
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(phase: Phase, key: &str) -> Vec<String> {
        let current = STEPS.iter().position(|step| step.key == key).expect("a step");
        let told = steps(phase, current, false);
        told.iter().map(|step| format!("{} {:?}", step.key, step.state)).collect()
    }

    #[test]
    fn visitors_see_how_far_it_is() {
        let parking = told(Phase::Updating, "park-old");
        let expected = [
            "create-new Done",
            "stop-old Done",
            "promote-new Active",
            "start-new Waiting",
            "gate Waiting",
        ];
        assert_eq!(parking, expected);
        assert!(told(Phase::Updated, "watch-new").iter().all(|step| step.ends_with("Done")));
    }

    #[test]
    fn data_is_a_step_where_it_is_kept() {
        let keys = |phase, current| -> Vec<String> {
            let current = STEPS.iter().position(|step| step.key == current).expect("a step");
            let told = steps(phase, current, true);
            told.iter().map(|step| format!("{} {:?}", step.key, step.state)).collect()
        };
        assert_eq!(keys(Phase::Updating, "back-up")[1..3], ["stop-old Done", "back-up Active"]);
        let back = keys(Phase::RollingBack, "put-back");
        assert_eq!(back[1..4], ["start-new Done", "back-up Active", "promote-new Waiting"]);
    }

    #[test]
    fn visitors_see_how_far_the_data_is_while_they_wait_for_it() {
        let mut plan: Plan = serde_json::from_value(crate::fuzzed::plan()).expect("a plan");
        plan.backup = Some(
            serde_json::from_value(serde_json::json!({
                "to": { "volume": "backups" }, "keep": 3, "sources": [],
            }))
            .expect("a backup"),
        );
        let page = Page::new(initial_status(&plan));
        let mut progress = Progress::new(&plan, page.clone(), |_| {});
        let shown = |page: &Page| -> Vec<(String, u8, Option<u64>, Option<u64>)> {
            let steps = page.status().steps.into_iter();
            let part = |s: StepStatus| Some((s.key, s.percent?, s.done_bytes, s.total_bytes));
            steps.filter_map(part).collect()
        };
        progress.data(10, 100);
        assert_eq!(shown(&page), [], "the app still serves");
        let step = |key: &str| STEPS.iter().position(|step| step.key == key).expect("a step");
        for (phase, key) in [(Phase::Updating, "back-up"), (Phase::RollingBack, "put-back")] {
            progress.publish(phase, step(key));
            assert_eq!(shown(&page), [], "nothing is known yet");
            progress.data(0, 0);
            assert_eq!(shown(&page), [], "nothing is known yet");
            for (done, percent) in [(84, 42), (200, 99)] {
                progress.data(done, 200);
                let part = ("back-up".to_owned(), percent, Some(done), Some(200));
                assert_eq!(shown(&page), [part]);
            }
        }
        progress.publish(Phase::Updating, step("promote-new"));
        assert_eq!(shown(&page), [], "it is done");
    }

    #[test]
    fn going_back_is_shown_last_step_first() {
        let expected = ["gate Done", "start-new Active", "promote-new Waiting", "stop-old Waiting"];
        assert_eq!(told(Phase::RollingBack, "start-new"), expected);
        // Until the old version answers again, starting it is not over.
        assert_eq!(told(Phase::RollingBack, "serve-old")[3], "stop-old Active");
    }
}
