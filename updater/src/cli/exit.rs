//! How a command ends: its exit code and its last words.

use std::path::PathBuf;

use crate::available::AvailableError;
use crate::engine::EngineError;
use crate::helper::HelperError;
use crate::identity::IdentityError;
use crate::launch::LaunchError;
use crate::page::FolderError;
use crate::swap::{Ending, Outcome};

const NOTHING_TO_DO: u8 = 10;

/// The end of a command that did what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Updated, or done.
    Done,
    /// There is nothing to do.
    NothingToDo,
    /// The old version is back.
    RolledBack,
    /// Nothing was touched.
    Refused,
    /// A person is needed.
    NeedsAPerson,
}

impl Exit {
    /// The process's exit code.
    pub fn code(self) -> u8 {
        let like = match self {
            Exit::NothingToDo => return NOTHING_TO_DO,
            Exit::Done => Ending::Updated,
            Exit::RolledBack => Ending::RolledBack,
            Exit::Refused => Ending::Refused,
            Exit::NeedsAPerson => Ending::NeedsAPerson,
        };
        like.code()
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Exit {
        match outcome.ending() {
            Ending::Updated => Exit::Done,
            Ending::RolledBack => Exit::RolledBack,
            Ending::Refused => Exit::Refused,
            Ending::NeedsAPerson => Exit::NeedsAPerson,
        }
    }
}

/// A command that could not do what it is for.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// It can't be said what is new.
    #[error(transparent)]
    Available(#[from] AvailableError),
    /// The update was not started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Who are we?
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The helper.
    #[error(transparent)]
    Helper(#[from] HelperError),
    /// No update to resume.
    #[error("no update of `{0}` was interrupted; there is nothing to resume")]
    NothingToResume(String),
    /// No version to go back to.
    #[error(
        "`{app}` cannot be rolled back: {why}\nhint: `changeover update {app} --image …` brings any version in"
    )]
    NothingToRollBack {
        /// The app.
        app: String,
        /// Why.
        why: String,
    },
    /// Nobody by that name.
    #[error("there is no container `{0}`\nhint: `docker ps -a` lists them")]
    NoSuchContainer(String),
    /// No such backup.
    #[error(
        "there is no backup of `{app}`{which}\nhint: `changeover backup list {app}` shows them"
    )]
    NoBackup {
        /// The app.
        app: String,
        /// Which one was asked for.
        which: String,
    },
    /// Somebody removed the helper.
    #[error(
        "somebody removed the helper before the update of `{0}` had ended\nhint: `changeover resume {0}` brings it to its end, `changeover rollback {0}` goes back"
    )]
    HelperGone(String),
    /// Somebody stopped the helper.
    #[error(
        "somebody stopped the helper before the update of `{0}` had ended\nhint: `changeover resume {0}` brings it to its end"
    )]
    HelperStopped(String),
    /// The engine went away while we followed.
    #[error(
        "the engine is out of reach, and the update of `{app}` goes on without a witness\nhint: `changeover status {app}` shows it once the engine is back"
    )]
    OutOfSight {
        /// The app.
        app: String,
        /// What went wrong.
        #[source]
        source: EngineError,
    },
    /// The helper does not come up.
    #[error(
        "the helper for `{app}` does not come up, and was removed; `{app}` keeps running as it is: {said}\nhint: --socket names the engine's socket on the host, --helper-image another image"
    )]
    HelperFails {
        /// The app.
        app: String,
        /// Its last words.
        said: String,
    },
    /// Two flags that belong together.
    #[error(
        "{given} is of no use without {missing}; nothing was touched\nhint: give both, as flags, in the environment or in the config file"
    )]
    Half {
        /// The one that is there.
        given: &'static str,
        /// The other.
        missing: &'static str,
    },
    /// The password file.
    #[error(
        "cannot read the password file {file}; nothing was touched\nhint: is the path right, and may you read it?"
    )]
    PasswordFile {
        /// The file.
        file: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No preview.
    #[error("cannot show the page on {address}\nhint: another port by --port")]
    Preview {
        /// Where.
        address: std::net::SocketAddr,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// No manual page.
    #[error(
        "cannot write the manual pages to {}\nhint: --dir names a directory in which you may write", dir.as_deref().unwrap_or("standard output".as_ref()).display()
    )]
    ManualPage {
        /// Where.
        dir: Option<PathBuf>,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A page of one's own that can't be shown.
    #[error(transparent)]
    PageFolder(#[from] FolderError),
}

impl CliError {
    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            CliError::Launch(LaunchError::NothingToDo { .. }) | CliError::NothingToResume(_) => {
                NOTHING_TO_DO
            }
            // As for any command line that makes no sense.
            CliError::Half { .. } | CliError::Available(AvailableError::Asked { .. }) => 2,
            CliError::HelperGone(_)
            | CliError::HelperStopped(_)
            | CliError::OutOfSight { .. }
            | CliError::Launch(LaunchError::OutOfSight { .. })
            | CliError::Helper(HelperError::NoPlan { .. }) => Ending::NeedsAPerson.code(),
            // The engine starts the helper again, with a fresh mount of the socket and a
            // page that answers.
            CliError::Helper(HelperError::Lost(_) | HelperError::Engine(_) | HelperError::Page) => {
                75
            }
            _ => Ending::Refused.code(),
        }
    }
}
