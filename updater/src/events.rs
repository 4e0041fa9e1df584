//! What happens, one line at a time: on the helper's standard output as JSON,
//! followed from there by the command that started it, and shown to people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event {
    /// The image is being fetched.
    Pull {
        /// The image.
        image: String,
        /// What the engine says.
        status: String,
        /// Bytes fetched so far, of the layers whose size is known.
        done_bytes: u64,
        /// Their size in all.
        total_bytes: u64,
    },
    /// Everything that can be refused has been looked at; the plan stands.
    Planned {
        /// The update's id.
        update: String,
        /// The app.
        app: String,
        /// The image it runs.
        from: String,
        /// The image that comes.
        to: String,
        /// Who answers visitors in the meantime.
        handover: String,
    },
    /// The helper runs.
    Launched {
        /// Its name.
        helper: String,
    },
    /// The helper has found the plan and knows how it will show the page.
    Started {
        /// The update's id.
        update: String,
        /// The app.
        app: String,
        /// The way of showing the page.
        #[cfg_attr(test, schemars(with = "crate::plan::HandoverMode"))]
        handover: String,
        /// Why this one, if it isn't the planned one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        because: Option<String>,
    },
    /// A step is under way.
    Begun {
        /// Its stable key.
        key: String,
        /// Its words.
        name: String,
        /// The container it is about.
        member: String,
    },
    /// How far reading or writing the app's data is.
    Data {
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, as far as that is known.
        total_bytes: u64,
    },
    /// A step is done, or taken back.
    Step {
        /// Its stable key.
        key: String,
        /// Its words.
        name: String,
        /// The container it is about.
        member: String,
        /// Milliseconds that it took.
        milliseconds: u64,
    },
    /// Visitors see the page from now on, or no longer.
    Page {
        /// Whether they do.
        shown: bool,
    },
    /// The new version is given up.
    Condemned {
        /// Why.
        reason: String,
        /// The last lines that it wrote.
        log: Vec<String>,
    },
    /// Something that a person should look at.
    Warning {
        /// What.
        text: String,
    },
    /// Something failed and is tried again.
    Retrying {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// The app knows how it ended.
    Told {
        /// Where it was told.
        to: String,
        /// How often it had to be tried.
        tries: u32,
    },
    /// The end.
    Finished {
        /// How.
        #[cfg_attr(test, schemars(with = "crate::swap::Ending"))]
        outcome: String,
        /// Why, unless updated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Whether the version that came is the one before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        goes_back: bool,
        /// Seconds from the start of the helper.
        seconds: f64,
        /// Whether the helper stays all the same, and goes on by itself once it can.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        waits: bool,
    },
}

/// How an update ended, for people: going back to the version before is carried out as an
/// update, and nobody calls it one.
pub fn ended_in_words(outcome: &str, goes_back: bool) -> &str {
    match (outcome, goes_back) {
        ("updated", true) => "gone back",
        ("rolled-back", true) => "not gone back",
        (outcome, _) => outcome,
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Pull { image, status, done_bytes, total_bytes } => {
                write!(f, "pull {image}: {status}")?;
                match total_bytes {
                    0 => Ok(()),
                    total => write!(f, " ({} of {} MB)", done_bytes / 1_000_000, total / 1_000_000),
                }
            }
            Event::Planned { app, from, to, handover, .. } => {
                write!(f, "plan: {app} goes from {from} to {to}; {handover}")
            }
            Event::Launched { helper } => write!(f, "the helper `{helper}` has taken over"),
            Event::Started { handover, because: Some(why), .. } => {
                write!(f, "hand-over by {handover}: {why}")
            }
            Event::Started { handover, .. } => write!(f, "hand-over by {handover}"),
            Event::Begun { name, member, .. } => write!(f, "{name} ({member}) …"),
            Event::Data { done_bytes, total_bytes } => {
                write!(f, "data: {} of {} MB", done_bytes / 1_000_000, total_bytes / 1_000_000)?;
                match done_bytes.saturating_mul(100).checked_div(*total_bytes) {
                    Some(percent) => write!(f, " ({percent} %)"),
                    None => Ok(()),
                }
            }
            Event::Step { name, member, milliseconds, .. } => {
                write!(f, "{name} ({member}, {milliseconds} ms)")
            }
            Event::Page { shown: true } => f.write_str("visitors see the page"),
            Event::Page { shown: false } => f.write_str("visitors see the app"),
            Event::Condemned { reason, log } => {
                write!(f, "the new version is given up: {reason}")?;
                log.iter().try_for_each(|line| write!(f, "\n  | {line}"))
            }
            Event::Warning { text } => write!(f, "warning: {text}"),
            Event::Retrying { what, why } => write!(f, "{what} failed, trying again: {why}"),
            Event::Told { to, tries: 1 } => write!(f, "the app was told ({to})"),
            Event::Told { to, tries } => write!(f, "the app was told ({to}, {tries} tries)"),
            Event::Finished { outcome, reason, goes_back, seconds, .. } => {
                write!(f, "{} after {seconds:.1} s", ended_in_words(outcome, *goes_back))?;
                reason.iter().try_for_each(|reason| write!(f, ": {reason}"))
            }
        }
    }
}
