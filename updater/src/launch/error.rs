//! Why an update isn't started. In every case nothing has been touched.

use crate::certificate::CertificateError;
use crate::engine::EngineError;
use crate::notify::NotifyError;
use crate::successor::Loss;

/// A refusal, or nothing to do.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The app runs that image already.
    #[error("`{app}` already runs {image}")]
    NothingToDo {
        /// The app.
        app: String,
        /// The image.
        image: String,
    },
    /// Whatever the engine's trouble is.
    #[error("nothing was touched")]
    Engine(#[source] EngineError),
    /// There is no such container.
    #[error("there is no container `{app}`\nhint: `docker ps -a` lists them{like}")]
    NoSuchContainer {
        /// The name that was given.
        app: String,
        /// Names that look alike, as a sentence.
        like: String,
    },
    /// This container can't be updated this way.
    #[error("`{app}` cannot be updated: {why}\nhint: {hint}")]
    Unsuitable {
        /// The app.
        app: String,
        /// What about it.
        why: String,
        /// The way out.
        hint: String,
    },
    /// There are none.
    #[error(
        "there are no backups of `{app}` in {place}\nhint: `changeover update {app} --backup …` makes one; if there are some elsewhere, say with --backup-to where"
    )]
    NoBackups {
        /// The app.
        app: String,
        /// Where it was looked.
        place: String,
    },
    /// What was asked of the backups can't be done.
    #[error("the backups of `{app}`: {why}\nhint: {hint}")]
    NoErrand {
        /// The app.
        app: String,
        /// What about them.
        why: String,
        /// The way out.
        hint: String,
    },
    /// A helper works on it right now.
    #[error(
        "an update of `{app}` is already under way\nhint: `changeover status {app}` shows how far it is"
    )]
    AlreadyUnderWay {
        /// The app.
        app: String,
    },
    /// Somebody was faster.
    #[error(
        "`{app}` was changed while its update was being prepared; it keeps running as it is now\nhint: look at it, then ask again"
    )]
    ChangedMeanwhile {
        /// The app.
        app: String,
    },
    /// An earlier update was interrupted.
    #[error(
        "an earlier update of `{app}` was interrupted and has not ended\nhint: `changeover resume {app}` brings it to its end"
    )]
    Interrupted {
        /// The app.
        app: String,
    },
    /// A name that we need belongs to somebody else.
    #[error(
        "the name `{name}` is taken by a container that isn't ours\nhint: rename or remove it (`docker rename {name} …`); an update of `{app}` needs that name for a moment"
    )]
    NameTaken {
        /// The app.
        app: String,
        /// The name.
        name: String,
    },
    /// The image can't be had.
    #[error("cannot get `{image}`; `{app}` keeps running as it is\nhint: {hint}")]
    Pull {
        /// The image.
        image: String,
        /// The app.
        app: String,
        /// The way out.
        hint: String,
        /// The engine's words.
        #[source]
        source: EngineError,
    },
    /// The image is there but can't run here.
    #[error(
        "`{image}` is built for {found}, but `{app}` runs on {wanted}\nhint: publish the image for {wanted}, or name a platform with --platform"
    )]
    WrongArchitecture {
        /// The image.
        image: String,
        /// The app.
        app: String,
        /// Its architecture.
        found: String,
        /// The engine's.
        wanted: String,
    },
    /// Not enough room.
    #[error(
        "only {free} MB are free on the engine's disk ({path}); at least {needed} MB are needed to fetch an image safely\nhint: `docker system df` shows what can be cleared"
    )]
    NoSpace {
        /// Free, in MB.
        free: u64,
        /// Wanted, in MB.
        needed: u64,
        /// Where.
        path: String,
    },
    /// Something would be lost.
    #[error("{loss}\nhint: {way_out} `--allow {code}` accepts that")]
    Loss {
        /// What.
        loss: String,
        /// What to do instead.
        way_out: &'static str,
        /// Its code.
        code: String,
    },
    /// The page can't be shown as asked.
    #[error("`{app}`: the page cannot be shown by {mode}: {why}\nhint: {hint}")]
    Handover {
        /// The app.
        app: String,
        /// The mode that was forced.
        mode: String,
        /// Why not.
        why: String,
        /// The way out.
        hint: String,
    },
    /// The page can't speak TLS as asked.
    #[error("the page of `{app}` cannot speak TLS; nothing was touched")]
    Certificate {
        /// The app.
        app: String,
        /// Why not.
        #[source]
        source: Box<CertificateError>,
    },
    /// The app can't be told as asked.
    #[error("`{app}` could not be told how its update ended; nothing was touched")]
    Notify {
        /// The app.
        app: String,
        /// Why not.
        #[source]
        source: Box<NotifyError>,
    },
    /// Nobody knows whether the helper runs.
    #[error(
        "the engine was lost while the helper for `{app}` was started; it may be at work\nhint: `changeover status {app}` shows it once the engine answers"
    )]
    OutOfSight {
        /// The app.
        app: String,
        /// What went wrong.
        #[source]
        source: EngineError,
    },
    /// The helper can't be made.
    #[error("cannot start the helper for `{app}`, which keeps running as it is: {why}")]
    Helper {
        /// The app.
        app: String,
        /// Why.
        why: String,
        /// The engine's words.
        #[source]
        source: Option<EngineError>,
    },
}

impl LaunchError {
    pub(super) fn engine(error: EngineError) -> LaunchError {
        LaunchError::Engine(error)
    }

    /// Refuses because of what would be lost.
    pub fn of_loss(loss: &Loss) -> LaunchError {
        LaunchError::Loss {
            loss: loss.to_string(),
            way_out: loss.way_out(),
            code: loss.name().to_owned(),
        }
    }
}
