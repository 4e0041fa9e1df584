//! How an update went, as it is told afterwards: to the app ([`crate::notify`]), to a
//! file, and to whoever asks for the history ([`crate::history`]).
//!
//! It is made of the events that the helper writes. They stay in its log when it is
//! killed, so one that is started again tells the same story as if nothing had happened.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::events::Event;
use crate::plan::Plan;
use crate::swap::Ending;

/// The version of the account's JSON.
pub const SCHEMA: u32 = 1;
/// How much of the failed version's log is told.
const LOG_LINES: usize = 20;
/// A line of the log that is longer is cut.
const LOG_LINE: usize = 500;

/// How one update went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Account {
    /// Version of this document, [`SCHEMA`].
    pub schema: u32,
    /// The update's id: hexadecimal, sorts by time.
    pub update: String,
    /// The app's name.
    pub app: String,
    /// How it ended.
    pub outcome: Ending,
    /// Why, unless updated; in words, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The image that was replaced, or was to be.
    pub from: String,
    /// The image that came, or was to come.
    pub to: String,
    /// When it was asked for, RFC 3339.
    pub asked_at: String,
    /// When it ended, if anybody knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Seconds between the two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Milliseconds for which visitors saw the page, as far as it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page_milliseconds: Option<u64>,
    /// Whether it was the way back from an update that had ended, to the version before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub goes_back: bool,
    /// Whether the app was stopped, so that the version which came was not started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_stopped: bool,
    /// What was done, in order, and how long it took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepTaken>,
    /// The last lines that a version wrote which was given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<String>,
}

/// One step that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepTaken {
    /// Its stable key.
    pub key: String,
    /// The container it was about.
    pub member: String,
    /// How long it took.
    pub milliseconds: u64,
}

impl Account {
    /// What is known of an update from its plan alone.
    pub fn of_plan(plan: &Plan, outcome: Ending) -> Account {
        let (from, to) = plan.images();
        Account {
            schema: SCHEMA,
            update: plan.update.clone(),
            app: plan.app.clone(),
            outcome,
            reason: None,
            from: from.to_owned(),
            to: to.to_owned(),
            asked_at: plan.asked_at.clone(),
            finished_at: None,
            seconds: None,
            page_milliseconds: None,
            goes_back: plan.goes_back,
            left_stopped: outcome == Ending::Updated && plan.leaves_it_stopped(),
            steps: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Says that it ended just now.
    pub fn ended_at(mut self, now: Timestamp) -> Account {
        let asked: Option<Timestamp> = self.asked_at.parse().ok();
        self.seconds = asked.map(|asked| now.duration_since(asked).as_secs_f64().max(0.0));
        self.finished_at = Some(now.to_string());
        self
    }
}

/// Gathers what the events of one update tell.
#[derive(Debug, Default)]
pub struct Teller {
    condemned: Option<(String, Vec<String>)>,
    ended: Option<(Ending, Option<String>)>,
    steps: Vec<StepTaken>,
    page: bool,
    page_milliseconds: u64,
}

impl Teller {
    /// Takes an event in.
    pub fn hear(&mut self, event: &Event) {
        match event {
            // An earlier run has said how it ended, and then somebody resumed it.
            Event::Started { .. } => (self.ended, self.page) = (None, false),
            Event::Condemned { reason, log } => {
                self.condemned = Some((reason.clone(), log.clone()));
            }
            Event::Page { shown } => self.page = *shown,
            Event::Step { key, member, milliseconds, .. } => {
                if self.page {
                    self.page_milliseconds += milliseconds;
                }
                let (key, member) = (key.clone(), member.clone());
                self.steps.push(StepTaken { key, member, milliseconds: *milliseconds });
            }
            // It goes on from there.
            Event::Finished { waits: true, .. } => {}
            Event::Finished { outcome, reason, .. } => {
                self.ended = Ending::of_word(outcome).map(|ending| (ending, reason.clone()));
            }
            _ => {}
        }
    }

    /// Says why the new version was given up, where no event has.
    pub fn explain(&mut self, reason: &str) {
        self.condemned.get_or_insert_with(|| (reason.to_owned(), Vec::new()));
    }

    /// Why the new version was given up, if that was seen.
    pub fn condemned(&self) -> Option<String> {
        self.condemned.as_ref().map(|(reason, _)| reason.clone())
    }

    /// How it went; `None` as long as it hasn't ended.
    pub fn tell(&self, plan: &Plan) -> Option<Account> {
        let (ending, reason) = self.ended.clone()?;
        let condemned = self.condemned.as_ref().filter(|_| ending != Ending::Updated);
        let log = condemned.map(|(_, log)| log.as_slice()).unwrap_or_default();
        let log = &log[log.len().saturating_sub(LOG_LINES)..];
        let untold = || {
            let by_hand = ending == Ending::RolledBack;
            by_hand.then(|| "a person asked for the old version".to_owned())
        };
        Some(Account {
            reason: reason
                .or_else(|| self.condemned())
                .or_else(untold)
                .filter(|_| ending != Ending::Updated),
            page_milliseconds: Some(self.page_milliseconds),
            steps: self.steps.clone(),
            log: log.iter().map(|line| line.chars().take(LOG_LINE).collect()).collect(),
            ..Account::of_plan(plan, ending)
        })
    }
}
