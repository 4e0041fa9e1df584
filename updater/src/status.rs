//! What an update looks like from outside: the one document behind the page,
//! its event stream and `/.changeover/status`.
//!
//! Anonymous visitors see it, so it holds nothing but what they may know: no
//! ids, paths, host names, image repositories or engine errors.

use serde::{Deserialize, Serialize};

/// The version of the status JSON.
pub const SCHEMA: u32 = 1;

/// How far an update is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Status {
    /// Version of this document, [`SCHEMA`].
    pub schema: u32,
    /// The update's id. Another id means another update.
    pub update: String,
    /// The app's name for people.
    pub title: String,
    /// The version that is replaced.
    pub from: String,
    /// The version that comes.
    pub to: String,
    /// What is going on.
    pub phase: Phase,
    /// What is done, under way and still to do, in order: first what happens
    /// first. On the way back these are the steps that are undone, last one first.
    pub steps: Vec<StepStatus>,
    /// When the update started, RFC 3339 in UTC.
    pub started_at: String,
    /// Seconds since then, by the helper's clock.
    pub elapsed_seconds: u64,
    /// In how many seconds it is worth asking again; also the `Retry-After`.
    pub retry_after_seconds: u64,
}

/// What is going on, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// The new version is on its way.
    Updating,
    /// The new version was given up; the old one is on its way back.
    RollingBack,
    /// The new version answers.
    Updated,
    /// The old version answers again.
    RolledBack,
    /// Neither could be brought up without a person.
    NeedsAPerson,
}

impl Phase {
    /// Whether this is the end: whoever waits should look at the app itself now.
    pub fn is_over(self) -> bool {
        matches!(self, Phase::Updated | Phase::RolledBack | Phase::NeedsAPerson)
    }
}

/// One step as visitors see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StepStatus {
    /// A stable key for translations, say `stop-old`. The page has words for
    /// visitors under `step.stop-old`, and under `back.stop-old` on the way back.
    pub key: String,
    /// The step in English, for those without such words.
    pub name: String,
    /// How far it is.
    pub state: StepState,
    /// How much of it is done, of a hundred, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// The same in bytes…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_bytes: Option<u64>,
    /// … and how many there are in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
}

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StepState {
    /// Still to come.
    Waiting,
    /// Under way.
    Active,
    /// Done.
    Done,
}
