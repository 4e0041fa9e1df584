//! `backup`: what a person does with the backups of an app.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::output::Output;
use super::update::name_of;
use super::{CliError, Exit};
use crate::backup::errand::{Listed, Word};
use crate::engine::Engine;
use crate::events::Event;
use crate::launch::Backups;
use crate::plan::Store;

/// How much of an id people are shown, and have to give.
const SHORT: usize = 8;

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Say which there are, the newest first.
    #[command(
        after_help = "Examples:\n  changeover backup list web\n  changeover backup list web --backup-to /srv/backups --json"
    )]
    List(Which),
    /// Read all of them, and compare each byte with what was written.
    #[command(after_help = "Example:\n  changeover backup verify web")]
    Verify(Which),
    /// Make the data of the app, which has to be stopped, what it was then.
    #[command(
        after_help = "Examples:\n  docker stop web && changeover backup restore web && docker start web\n  changeover backup restore web --snapshot 4f0c2d17"
    )]
    Restore(Restore),
    /// Remove all but the newest, and what only they needed.
    #[command(after_help = "Example:\n  changeover backup prune web --keep-backups 1")]
    Prune(Prune),
}

/// Where backups are, and what opens them.
#[derive(Debug, Args)]
pub struct Vault {
    /// Where backups are kept: a volume's name, or a folder on the engine's host.
    #[arg(
        long,
        env = "CHANGEOVER_BACKUP_TO",
        value_name = "VOLUME|DIR",
        default_value = "changeover-backups"
    )]
    pub backup_to: Store,
    /// A file on the engine's host with the key that the backups are encrypted with. They
    /// can't be read without it; without one, whoever may read their folder can.
    #[arg(long, env = "CHANGEOVER_BACKUP_KEY_FILE", value_name = "FILE")]
    pub backup_key_file: Option<PathBuf>,
}

/// Which backups.
#[derive(Debug, Args)]
pub struct Which {
    /// The app, or `self`.
    pub name: String,
    /// Where they are.
    #[command(flatten)]
    pub vault: Vault,
    /// An image of ours from your registry; otherwise one is made from this program.
    #[arg(long, env = "CHANGEOVER_HELPER_IMAGE", value_name = "REF")]
    pub helper_image: Option<String>,
}

/// Which backup is put back.
#[derive(Debug, Args)]
pub struct Restore {
    /// Which backups.
    #[command(flatten)]
    pub which: Which,
    /// The backup, by the start of its id [default: the newest].
    #[arg(long, env = "CHANGEOVER_SNAPSHOT", value_name = "ID")]
    pub snapshot: Option<String>,
}

/// How many stay.
#[derive(Debug, Args)]
pub struct Prune {
    /// Which backups.
    #[command(flatten)]
    pub which: Which,
    /// How many stay, the newest ones.
    #[arg(long, env = "CHANGEOVER_KEEP_BACKUPS", value_name = "N", default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub keep_backups: usize,
}

pub(super) async fn backup(
    engine: &Engine,
    command: &BackupCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let (BackupCommand::List(which)
    | BackupCommand::Verify(which)
    | BackupCommand::Restore(Restore { which, .. })
    | BackupCommand::Prune(Prune { which, .. })) = command;
    let backups = Backups {
        app: name_of(engine, &which.name).await?,
        to: which.vault.backup_to.clone(),
        key_file: which.vault.backup_key_file.clone(),
        image: which.helper_image.clone(),
    };
    let tell = |word: Word| match output.is_json() {
        true => output.json(&word),
        false => match word {
            Word::Data { done_bytes, total_bytes: Some(total_bytes) } => {
                output.event(&Event::Data { done_bytes, total_bytes });
            }
            word => {
                output.done();
                in_words(&word).iter().for_each(|line| output.result(line));
            }
        },
    };
    match command {
        BackupCommand::List(_) => {
            let found = backups.list(engine).await?;
            output.done();
            if found.is_empty() {
                output.say(&format!("there are no backups of {}", backups.app));
            }
            found.into_iter().rev().for_each(|one| tell(Word::Backup(one)));
        }
        BackupCommand::Verify(_) => backups.verify(engine, tell).await?,
        BackupCommand::Prune(prune) => backups.prune(engine, prune.keep_backups, tell).await?,
        BackupCommand::Restore(restore) => {
            let app = engine.container(&backups.app).await?;
            let app = app.ok_or_else(|| CliError::NoSuchContainer(backups.app.clone()))?;
            let found = backups.list(engine).await?;
            let wanted = choose(&found, restore.snapshot.as_deref(), &backups.app)?;
            backups.restore(engine, &app, wanted, tell).await?;
        }
    }
    Ok(Exit::Done)
}

/// The hidden command: what the container runs.
pub(super) fn errand(order: &str) -> Exit {
    let say = |word: &Word| Output::new(true, false).json(word);
    let done = match serde_json::from_str(order) {
        Ok(order) => crate::backup::errand::run(
            &order,
            std::path::Path::new(crate::backup::errand::STORE),
            &say,
        ),
        Err(error) => {
            say(&Word::Failed { reason: format!("the order can't be read: {error}") });
            false
        }
    };
    if done { Exit::Done } else { Exit::Refused }
}

fn choose<'a>(found: &'a [Listed], asked: Option<&str>, app: &str) -> Result<&'a Listed, CliError> {
    let whole = || found.iter().rev().filter(|one| !one.unfinished);
    let mut fitting = whole().filter(|one| asked.is_none_or(|asked| one.id.starts_with(asked)));
    match (fitting.next(), asked) {
        (Some(one), None) => Ok(one),
        (Some(one), Some(_)) if fitting.next().is_none() => Ok(one),
        (None, None) => Err(CliError::NoBackup { app: app.to_owned(), which: String::new() }),
        (found, Some(asked)) => Err(CliError::NoBackup {
            app: app.to_owned(),
            which: match found {
                Some(_) => format!(" that alone begins with {asked}"),
                None => format!(" that begins with {asked}"),
            },
        }),
    }
}

fn in_words(word: &Word) -> Option<String> {
    let mb = |bytes: &u64| format!("{:.1} MB", *bytes as f64 / 1e6);
    Some(match word {
        Word::Backup(one) => format!(
            "{} {} before update {}: {}{}",
            &one.id[..SHORT.min(one.id.len())],
            one.time,
            one.update,
            one.paths.join(", "),
            if one.unfinished { " (unfinished)" } else { "" },
        ),
        Word::Data { .. } | Word::None | Word::Failed { .. } => return None,
        Word::Verified { backups, bytes } => {
            format!("{backups} backups are as they were written ({} read)", mb(bytes))
        }
        Word::Restored { id, bytes, written, left_out } => {
            let mut line = format!(
                "the data is what it was in {} ({}, of which {} were written)",
                &id[..SHORT.min(id.len())],
                mb(bytes),
                mb(written)
            );
            for name in left_out {
                line.push_str(&format!(
                    "\nnot put back, since nothing of the app's is there: {name}"
                ));
            }
            line
        }
        Word::Pruned { left, freed_bytes } => {
            format!("{left} backups are left; {} were freed", mb(freed_bytes))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: &str, unfinished: bool) -> Listed {
        let (time, update) = ("2026-01-01T00:00:00Z".into(), "u".into());
        Listed { id: id.into(), time, update, paths: vec!["/data".into()], unfinished }
    }

    #[test]
    fn the_newest_whole_one_is_meant_unless_one_is_named() {
        let found = [listed("aa11", false), listed("ab22", false), listed("cc33", true)];
        let id = |asked: Option<&str>| choose(&found, asked, "web").map(|one| one.id.clone()).ok();
        assert_eq!(id(None).as_deref(), Some("ab22"));
        assert_eq!(id(Some("aa")).as_deref(), Some("aa11"));
        // Of two that fit, and of one that is no more than a beginning, none.
        assert_eq!((id(Some("a")), id(Some("cc")), id(Some("x"))), (None, None, None));
    }
}
