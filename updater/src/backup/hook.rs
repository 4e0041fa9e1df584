//! What the app is made to do before it is stopped for its backup: flush what it holds in
//! memory, end what a stop would tear apart.
//!
//! It is done when the first pass is over and nothing has been touched yet, so that a no
//! is a refusal. It may be done more than once, if the helper is killed, and the app may
//! have to serve on after it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{Engine, EngineError};
use crate::helper::chain;
use crate::http::HttpError;
use crate::notify::{NotifyError, Post, Target, post};
use crate::plan::Plan;

/// The status by which the engine refuses for good; so does a hook.
const REFUSED: u16 = 409;
/// So much of what a command has written is told, from its end.
const TOLD: usize = 400;

/// A command in the app's container, or a POST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Hook {
    /// A line for the container's shell.
    Shell(String),
    /// A program and its arguments: not every container has a shell.
    Program(Vec<String>),
    /// Somebody who is to be called.
    Call(Target),
}

impl Hook {
    /// What a label of the app says: nothing that leads out of it. Whoever makes an image
    /// has no say in whom the host calls.
    pub fn in_app(label: &str) -> Result<Hook, String> {
        match label.parse()? {
            Hook::Call(Target::Url(url)) => Err(format!("{url} is not in the app")),
            hook => Ok(hook),
        }
    }
}

impl FromStr for Hook {
    type Err = String;

    fn from_str(text: &str) -> Result<Hook, String> {
        let text = text.trim();
        let is_address = |scheme: &str| text.to_ascii_lowercase().starts_with(scheme);
        if text.starts_with(':') || is_address("http://") || is_address("https://") {
            return text.parse().map(Hook::Call);
        }
        if text.starts_with('[') {
            let program: Vec<String> = serde_json::from_str(text).map_err(|error| {
                format!("`{text}` is no program: write [\"/program\", \"argument\"] ({error})")
            })?;
            return match program.is_empty() {
                true => Err("it names no program".to_owned()),
                false => Ok(Hook::Program(program)),
            };
        }
        match text.is_empty() {
            true => Err("write a command, :port/path or an http:// address".to_owned()),
            false => Ok(Hook::Shell(text.to_owned())),
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Shell(line) => f.write_str(line),
            Hook::Program(program) => write!(f, "{}", Value::from(program.clone())),
            Hook::Call(target) => write!(f, "{target}"),
        }
    }
}

impl TryFrom<String> for Hook {
    type Error = String;

    fn try_from(text: String) -> Result<Hook, String> {
        text.parse()
    }
}

impl From<Hook> for String {
    fn from(hook: Hook) -> String {
        hook.to_string()
    }
}

/// Does what the plan says, if it says something and the app runs.
pub(crate) async fn run(engine: &Engine, plan: &Plan) -> Result<(), EngineError> {
    let before = plan.backup.as_ref().and_then(|backup| backup.before.as_ref());
    let lead = plan.members.first().filter(|lead| lead.old.running);
    let (Some(before), Some(lead)) = (before, lead) else { return Ok(()) };
    let limit = Duration::from_secs(before.limit_seconds);
    let refused = |why: &str| {
        Err(EngineError::Reply {
            status: REFUSED,
            message: format!(
                "what the app is to do before its backup (`{}`) {why}\nhint: --before-backup says what that is, --before-backup-timeout how long it may take",
                before.what
            ),
        })
    };
    let late = || refused(&format!("has not ended within {} s", before.limit_seconds));
    let command = match &before.what {
        Hook::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line.clone()],
        Hook::Program(program) => program.clone(),
        Hook::Call(target) => {
            let Some(app) = engine.container(&lead.old.id).await? else { return Ok(()) };
            let message = Post { headers: &[], body: bytes::Bytes::new(), limit };
            return match post(engine, plan, &app, target, message).await {
                Ok(()) => Ok(()),
                Err(NotifyError::Http(HttpError::Slow { .. })) => late(),
                Err(error) => refused(&format!("fails: {}", chain(&error))),
            };
        }
    };
    match engine.exec_and_hear(&lead.old.id, &command.into(), limit).await {
        Ok((0, _)) => Ok(()),
        Ok((code, said)) => {
            let said = said.trim();
            let from = said.len().saturating_sub(TOLD);
            let from = (from..said.len()).find(|at| said.is_char_boundary(*at)).unwrap_or(0);
            let said = if said.is_empty() { "nothing" } else { &said[from..] };
            refused(&format!("ends with exit code {code}, and says: {said}"))
        }
        Err(error) if error.is_silence() => late(),
        Err(error) if error.is_refusal() => refused(&format!("can't be run: {error}")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_a_command_or_an_address() {
        let read = |text: &str| text.parse::<Hook>();
        assert_eq!(read("sync; sync"), Ok(Hook::Shell("sync; sync".into())));
        // A program by its path, not a path of the app's.
        assert_eq!(read("/flush now"), Ok(Hook::Shell("/flush now".into())));
        let program = Hook::Program(vec!["/flush".into(), "a b".into()]);
        assert_eq!(read(r#"["/flush", "a b"]"#), Ok(program));
        let target = |text: &str| Hook::Call(text.parse().expect("a target"));
        assert_eq!(read(":8080/flush"), Ok(target(":8080/flush")));
        assert_eq!(read("http://10.0.0.1:9/x"), Ok(target("http://10.0.0.1:9/x")));
        for text in ["", " ", "[]", "[1]", "[\"a\"", ":x/y", "http://u:p@h/", "https://h/"] {
            assert!(read(text).is_err(), "{text}");
        }
        for text in ["a \"b\"", r#"["/flush","a b"]"#, ":80/x?y", "http://h/x"] {
            let hook = read(text).expect("good");
            assert_eq!(read(&hook.to_string()), Ok(hook), "{text}");
        }
        assert!(Hook::in_app("http://h/x").is_err() && Hook::in_app(":80/x").is_ok());
    }
}
