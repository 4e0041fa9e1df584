//! What commands print with `--json` beside events: one object a line. Their schemas are
//! published, see `docs/json.md`.

use serde::Serialize;

use super::code::Code;
use crate::launch::Remarked;
use crate::plan::Plan;
use crate::successor::Difference;
use crate::swap::Ending;

/// The version of what `status` and `check` say.
pub(super) const SCHEMA: u32 = 1;

/// What `check` has found.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Checked<'a> {
    /// `check`.
    #[cfg_attr(test, schemars(extend("const" = "check")))]
    pub(super) event: &'static str,
    /// Version of this document.
    pub(super) schema: u32,
    /// What would be done.
    pub(super) plan: &'a Plan,
    /// How the new container would differ from the old one.
    pub(super) differences: &'a [Difference],
    /// What can't be carried over.
    pub(super) losses: Vec<Lost>,
    /// What else is good to know.
    pub(super) remarks: Vec<Remarked>,
    /// Containers of earlier updates that would be cleared away.
    pub(super) leftovers: Vec<&'a str>,
}

/// One thing that can't be carried over.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Lost {
    /// What `--allow` takes.
    pub(super) code: &'static str,
    /// In words.
    pub(super) text: String,
    /// Whether it was accepted. Otherwise an update is refused.
    pub(super) accepted: bool,
}

/// What is or was going on with one app.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct AppStatus {
    /// Version of this document.
    pub(super) schema: u32,
    /// The app.
    pub(super) app: String,
    /// How far it is, or how it ended.
    pub(super) state: State,
    /// The update's id: hexadecimal, sorts by time.
    pub(super) update: String,
    /// The image that is or was replaced.
    pub(super) from: String,
    /// The image that comes or came.
    pub(super) to: String,
    /// When it was asked for, RFC 3339.
    pub(super) asked_at: String,
    /// Whether it was asked for as the way back to the version before (`rollback`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) goes_back: bool,
    /// Whether the app was stopped, so that the version which came was not started.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) left_stopped: bool,
    /// What is being done, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<String>,
    /// Why, unless updated, and as far as it is still known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// The command that goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

/// How far an update is, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum State {
    /// It is under way.
    Updating,
    /// Its helper was stopped or removed before the end.
    Interrupted,
    /// It has ended.
    #[serde(untagged)]
    Ended(Ending),
}

impl State {
    pub(super) fn word(self) -> &'static str {
        match self {
            State::Updating => "updating",
            State::Interrupted => "interrupted",
            State::Ended(ending) => ending.word(),
        }
    }
}

/// What `gc` has cleared away, or would.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Cleared<'a> {
    /// What it is.
    pub(super) cleared: Kind,
    /// Its name.
    pub(super) name: &'a str,
    /// Whether it was only looked at.
    pub(super) dry_run: bool,
}

/// What `gc` clears away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    /// A container.
    Container,
    /// An image.
    Image,
}

/// Why a command could not do what it is for: its last line.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Failed<'a> {
    /// `error`.
    #[cfg_attr(test, schemars(extend("const" = "error")))]
    pub event: &'static str,
    /// What it is, for programs.
    pub code: Code,
    /// The exit code.
    pub exit: u8,
    /// What it is, for people.
    pub error: &'a str,
    /// The way out; empty where there is none.
    pub hint: &'a str,
}
