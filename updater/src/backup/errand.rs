//! What a person asks of the backups: to list, to verify, to put back, to clear away. It
//! is done by a container of its own, since only on the engine's host can they be read.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackupError, Backups, Counter, Job, Source};

/// Where the container finds the backups of all apps.
pub const STORE: &str = "/backup/to";
/// Where it finds the file with the key.
pub const KEY: &str = "/backup/key";

/// How often it is looked how far a restore is …
const LOOK: Duration = Duration::from_millis(20);
/// … and after how many bytes that is told.
const TELL: u64 = 64 << 20;

/// Where the container finds the `n`th volume or folder.
pub fn source(n: usize) -> String {
    format!("/backup/data/{n}")
}

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// Say which there are.
    List,
    /// Read all of it, and compare it with what was written.
    Verify,
    /// Make the data what it was.
    Restore {
        /// The snapshot, by its whole id.
        snapshot: String,
    },
    /// Keep the newest.
    Prune {
        /// So many.
        keep: usize,
    },
}

/// The errand with what it is about.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// What is to be done.
    pub errand: Errand,
    /// The app.
    pub app: String,
    /// What is called how in the backups and in the container; in the order of the mounts.
    pub sources: Vec<(String, String)>,
    /// There is a file with a key.
    pub has_key: bool,
}

/// What is said of it, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Word {
    /// One backup.
    Backup(Listed),
    /// How far it is.
    Data {
        /// Bytes so far.
        done_bytes: u64,
        /// Bytes in all, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total_bytes: Option<u64>,
    },
    /// All of them are as they were written.
    Verified {
        /// So many.
        backups: usize,
        /// That was read for it.
        bytes: u64,
    },
    /// The data is what it was.
    Restored {
        /// The backup's id.
        id: String,
        /// Bytes in all.
        bytes: u64,
        /// Bytes that had to be written.
        written: u64,
        /// What the backup holds and the app has no place for.
        left_out: Vec<String>,
    },
    /// Only the newest are left.
    Pruned {
        /// So many.
        left: usize,
        /// So many bytes were freed.
        freed_bytes: u64,
    },
    /// There are none.
    None,
    /// It could not be done.
    Failed {
        /// Why.
        reason: String,
    },
}

/// One backup, as it is listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(inline))]
pub struct Listed {
    /// Its id, also for `restic`.
    pub id: String,
    /// When it was taken.
    pub time: String,
    /// The update before which it was taken.
    pub update: String,
    /// What is in it: paths in the container.
    pub paths: Vec<String>,
    /// Whether it was taken while the app ran and is no more than a beginning.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

/// Runs the errand, and says what comes of it. `store` is where the backups of all apps are.
pub fn run(order: &Order, store: &Path, say: &(dyn Fn(&Word) + Sync)) -> bool {
    match attempt(order, store, say) {
        Ok(()) => true,
        Err(BackupError::None(_)) => {
            say(&Word::None);
            false
        }
        Err(error) => {
            say(&Word::Failed { reason: error.to_string() });
            false
        }
    }
}

fn attempt(order: &Order, store: &Path, say: &(dyn Fn(&Word) + Sync)) -> Result<(), BackupError> {
    let folder = store.join(&order.app);
    let key = super::key(order.has_key.then_some(KEY))?;
    let backups = Backups::open_existing(&folder, &key)?;
    match &order.errand {
        Errand::List => backups.list()?.into_iter().for_each(|one| say(&Word::Backup(one))),
        Errand::Verify => {
            let (backups, bytes) = backups
                .verify_all(&|done_bytes| say(&Word::Data { done_bytes, total_bytes: None }))?;
            say(&Word::Verified { backups, bytes });
        }
        Errand::Restore { snapshot } => {
            let named = order.sources.iter().enumerate();
            let job = Job {
                app: order.app.clone(),
                update: String::new(),
                sources: named
                    .map(|(n, (name, path))| Source {
                        name: name.clone(),
                        path: path.clone(),
                        here: source(n).into(),
                    })
                    .collect(),
                exclude: Vec::new(),
            };
            let counter = Counter::default();
            let (report, left_out) = std::thread::scope(|scope| {
                let work = scope.spawn(|| backups.restore_by_id(&job, snapshot, &counter));
                let mut told = 0;
                while !work.is_finished() {
                    let done_bytes = counter.done.load(Ordering::Relaxed);
                    let total_bytes = Some(counter.total.load(Ordering::Relaxed));
                    if done_bytes - told >= TELL {
                        told = done_bytes;
                        say(&Word::Data { done_bytes, total_bytes });
                    }
                    std::thread::sleep(LOOK);
                }
                work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
            let id = snapshot.clone();
            say(&Word::Restored { id, bytes: report.bytes, written: report.changed, left_out });
        }
        Errand::Prune { keep } => {
            let freed_bytes = backups.keep_newest(*keep)?;
            say(&Word::Pruned { left: backups.list()?.len(), freed_bytes });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_arrives_as_it_was_given() {
        let order = Order {
            errand: Errand::Restore { snapshot: "abc".into() },
            app: "web".into(),
            sources: vec![("web-data".into(), "/data".into())],
            has_key: true,
        };
        let text = serde_json::to_string(&order).expect("JSON");
        let arrived: Order = serde_json::from_str(&text).expect("an order");
        assert_eq!(format!("{arrived:?}"), format!("{order:?}"));
    }

    #[test]
    fn what_is_not_there_is_said_and_not_made() {
        let nowhere = std::env::temp_dir().join(format!("changeover-none-{}", std::process::id()));
        std::fs::create_dir_all(&nowhere).expect("a folder");
        let order =
            Order { errand: Errand::List, app: "web".into(), sources: Vec::new(), has_key: false };
        let said = std::sync::Mutex::new(Vec::new());
        assert!(!run(&order, &nowhere, &|word| said.lock().expect("ours").push(word.clone())));
        let said = said.into_inner().expect("ours");
        assert!(matches!(&said[..], [Word::None]), "{said:?}");
        assert_eq!(std::fs::read_dir(&nowhere).expect("a folder").count(), 0);
        std::fs::remove_dir(&nowhere).expect("ours");
    }
}
