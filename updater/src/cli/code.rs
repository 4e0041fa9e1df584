//! The words by which programs tell errors apart. They stay what they are, whatever
//! becomes of the sentences.

use serde::Serialize;

use super::{CliError, ParseError};
use crate::available::AvailableError;
use crate::engine::EngineError;
use crate::helper::HelperError;
use crate::http::HttpError;
use crate::identity::IdentityError;
use crate::launch::LaunchError;

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The command line is wrong.
    Usage,
    /// The config file can't be read, or says something that doesn't exist.
    ConfigFile,
    /// The app runs that image already.
    NothingToDo,
    /// No update of this app was interrupted.
    NothingToResume,
    /// There is no version to go back to.
    NothingToRollBack,
    /// There is no such backup.
    NoSuchBackup,
    /// There is no container of this name.
    NoSuchContainer,
    /// `self` was given, outside of a container.
    NotInAContainer,
    /// `self` was given, and it can't be proven which container that is.
    IdentityUnproven,
    /// There is no engine where it was looked for.
    NoEngine,
    /// The engine's socket is not for this user.
    NotAllowed,
    /// The engine can't be reached, or doesn't answer in time.
    EngineUnreachable,
    /// The Docker context, or what DOCKER_HOST says, leads to no engine.
    NoSuchContext,
    /// The engine can't prove who it is, or doesn't take our certificate.
    EngineUntrusted,
    /// Who answers is no engine.
    NotAnEngine,
    /// The engine is older than Docker 20.10.
    EngineTooOld,
    /// The engine said no; the message has its words.
    EngineRefused,
    /// The engine's answer can't be read.
    EngineGarbled,
    /// This container can't be updated this way; the message says what about it.
    Unsuitable,
    /// An update of this app is under way.
    UnderWay,
    /// An earlier update of this app was interrupted, and `resume` goes on with it.
    Interrupted,
    /// The container was changed while its update was prepared.
    ChangedMeanwhile,
    /// A name that an update needs belongs to a container of somebody else's.
    NameTaken,
    /// The image can't be fetched.
    ImageUnavailable,
    /// The image is for another processor.
    WrongArchitecture,
    /// The engine's disk is too full.
    NoSpace,
    /// Something would be lost that nobody has accepted by `--allow`.
    WouldLose,
    /// The page can't be shown in the way that was insisted on.
    PageImpossible,
    /// The page's certificate or key can't be used.
    BadCertificate,
    /// The page's own files can't be used.
    BadPage,
    /// The app couldn't be told as asked by `--notify`.
    BadNotify,
    /// A file with a password, a token or a certificate can't be read.
    PasswordFile,
    /// What was asked of the backups can't be done.
    BackupFailed,
    /// The helper can't be made or doesn't come up; the app runs as it is.
    HelperFailed,
    /// Somebody removed the helper before the end.
    HelperGone,
    /// Somebody stopped the helper before the end.
    HelperStopped,
    /// The engine was lost while an update went on, which goes on without a witness.
    OutOfSight,
    /// A helper carries no plan that this version understands.
    NoPlan,
    /// The feed or registry can't be reached, or doesn't answer in time.
    SourceUnreachable,
    /// The feed or registry can't prove who it is, or leads astray.
    SourceUntrusted,
    /// The feed or registry says no: an error of its own, or nothing there for this asker.
    SourceRefused,
    /// What the feed or registry answers makes no sense.
    SourceGarbled,
    /// The feed or registry wants no more questions for a while; the message says until when.
    RateLimited,
    /// What was to be written or shown here can't be.
    Output,
}

impl From<&CliError> for Code {
    fn from(error: &CliError) -> Code {
        match error {
            CliError::Engine(error) => error.into(),
            CliError::Available(error) => error.into(),
            CliError::Launch(error) => error.into(),
            CliError::Identity(error) => error.into(),
            CliError::Helper(error) => error.into(),
            CliError::NothingToResume(_) => Code::NothingToResume,
            CliError::NothingToRollBack { .. } => Code::NothingToRollBack,
            CliError::NoSuchContainer(_) => Code::NoSuchContainer,
            CliError::NoBackup { .. } => Code::NoSuchBackup,
            CliError::HelperGone(_) => Code::HelperGone,
            CliError::HelperStopped(_) => Code::HelperStopped,
            CliError::OutOfSight { .. } => Code::OutOfSight,
            CliError::HelperFails { .. } => Code::HelperFailed,
            CliError::Half { .. } => Code::Usage,
            CliError::PasswordFile { .. } => Code::PasswordFile,
            CliError::Preview { .. } | CliError::ManualPage { .. } => Code::Output,
            CliError::PageFolder(_) => Code::BadPage,
        }
    }
}

impl From<&ParseError> for Code {
    fn from(error: &ParseError) -> Code {
        match error {
            ParseError::CommandLine(_) => Code::Usage,
            ParseError::Config(_) => Code::ConfigFile,
        }
    }
}

impl From<&AvailableError> for Code {
    fn from(error: &AvailableError) -> Code {
        match error {
            AvailableError::Http(HttpError::Untrusted { .. } | HttpError::NoAuthorities { .. })
            | AvailableError::Astray { .. } => Code::SourceUntrusted,
            AvailableError::Http(HttpError::Connect { .. } | HttpError::Slow { .. }) => {
                Code::SourceUnreachable
            }
            AvailableError::Http(HttpError::Garbled { .. } | HttpError::TooLarge { .. })
            | AvailableError::Garbled { .. } => Code::SourceGarbled,
            AvailableError::RateLimited { .. } => Code::RateLimited,
            AvailableError::Status { .. } => Code::SourceRefused,
            AvailableError::Asked { .. } => Code::Usage,
            AvailableError::File { .. } | AvailableError::Http(HttpError::File { .. }) => {
                Code::PasswordFile
            }
        }
    }
}

impl From<&LaunchError> for Code {
    fn from(error: &LaunchError) -> Code {
        match error {
            LaunchError::NothingToDo { .. } => Code::NothingToDo,
            LaunchError::Engine(error) => error.into(),
            LaunchError::NoSuchContainer { .. } => Code::NoSuchContainer,
            LaunchError::Unsuitable { .. } => Code::Unsuitable,
            LaunchError::AlreadyUnderWay { .. } => Code::UnderWay,
            LaunchError::ChangedMeanwhile { .. } => Code::ChangedMeanwhile,
            LaunchError::Interrupted { .. } => Code::Interrupted,
            LaunchError::NameTaken { .. } => Code::NameTaken,
            LaunchError::Pull { .. } => Code::ImageUnavailable,
            LaunchError::WrongArchitecture { .. } => Code::WrongArchitecture,
            LaunchError::NoSpace { .. } => Code::NoSpace,
            LaunchError::NoBackups { .. } => Code::NoSuchBackup,
            LaunchError::NoErrand { .. } => Code::BackupFailed,
            LaunchError::Loss { .. } => Code::WouldLose,
            LaunchError::Handover { .. } => Code::PageImpossible,
            LaunchError::Certificate { .. } => Code::BadCertificate,
            LaunchError::Notify { .. } => Code::BadNotify,
            LaunchError::OutOfSight { .. } => Code::OutOfSight,
            LaunchError::Helper { .. } => Code::HelperFailed,
        }
    }
}

impl From<&IdentityError> for Code {
    fn from(error: &IdentityError) -> Code {
        match error {
            IdentityError::NotInAContainer => Code::NotInAContainer,
            IdentityError::Unproven | IdentityError::NoProof { .. } => Code::IdentityUnproven,
            IdentityError::NoSuchContainer(_) => Code::NoSuchContainer,
            IdentityError::Engine(error) => error.into(),
        }
    }
}

impl From<&HelperError> for Code {
    fn from(error: &HelperError) -> Code {
        match error {
            HelperError::Engine(error) => error.into(),
            HelperError::Lost(_) => Code::EngineUnreachable,
            HelperError::Page => Code::HelperFailed,
            HelperError::NoSuchHelper(_) => Code::NoSuchContainer,
            HelperError::NoPlan { .. } => Code::NoPlan,
        }
    }
}

impl From<&EngineError> for Code {
    fn from(error: &EngineError) -> Code {
        match error {
            EngineError::NoSocket { .. } => Code::NoEngine,
            EngineError::NotAllowed { .. } => Code::NotAllowed,
            EngineError::Unreachable { .. }
            | EngineError::Proxy { .. }
            | EngineError::Silent { .. }
            | EngineError::Stalled { .. } => Code::EngineUnreachable,
            EngineError::Host { .. } | EngineError::Context { .. } => Code::NoSuchContext,
            EngineError::Untrusted { .. }
            | EngineError::Unknown { .. }
            | EngineError::WantsTls { .. }
            | EngineError::Certificate { .. } => Code::EngineUntrusted,
            EngineError::NotAnEngine { .. } => Code::NotAnEngine,
            EngineError::TooOld { .. } => Code::EngineTooOld,
            EngineError::Reply { .. } => Code::EngineRefused,
            EngineError::Garbled { .. } => Code::EngineGarbled,
        }
    }
}
