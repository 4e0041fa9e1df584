//! The app's data in the swap: what the plan says about it, carried out by [`backup`] on
//! threads of its own, so that the page goes on.
//!
//! [`backup`]: crate::backup

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::facts::Facts;
use crate::backup::errand::{KEY, STORE, source};
use crate::backup::{BackupError, Backups, Counter, Job, Report, Source, key};
use crate::engine::EngineError;
use crate::events::Event;
use crate::plan::Plan;
use crate::progress::Progress;

/// How often it is looked how far it is: the stopped time is short, and visitors see it pass …
const LOOK: Duration = Duration::from_millis(20);
/// … and in how many parts that is told, at most: what was told is read again from the
/// helper's log, which is not long.
const PARTS: u64 = 50;
/// The status by which the engine refuses for good; so do we.
const REFUSED: u16 = 409;

/// Keeps the data of one plan, and puts it back.
pub struct Keeper {
    job: Job,
    keep: usize,
    folder: PathBuf,
    key_file: Option<&'static str>,
    /// Opened when first needed, which takes a moment.
    open: Arc<Mutex<Option<Backups>>>,
}

impl Keeper {
    /// For a plan that says so.
    pub fn new(plan: &Plan) -> Option<Keeper> {
        let backup = plan.backup.as_ref().filter(|_| plan.keeps_data())?;
        let kept = backup.sources.iter().enumerate();
        let sources = kept.map(|(n, kept)| Source {
            name: kept.name.clone(),
            path: kept.path.clone(),
            here: source(n).into(),
        });
        Some(Keeper {
            job: Job {
                app: plan.app.clone(),
                update: plan.update.clone(),
                sources: sources.collect(),
                exclude: backup.exclude.clone(),
            },
            keep: backup.keep,
            folder: Path::new(STORE).join(&plan.app),
            key_file: backup.key_file.is_some().then_some(KEY),
            open: Arc::default(),
        })
    }

    /// The pass while the app serves.
    pub(super) async fn first_pass(&self, progress: &mut Progress) -> Result<(), EngineError> {
        let report =
            self.work(progress, |backups, job, counter| backups.first_pass(job, counter)).await?;
        for text in report.remarks {
            progress.emit(Event::Warning { text });
        }
        Ok(())
    }

    /// The snapshot. Nobody writes any more.
    pub(super) async fn back_up(
        &self,
        progress: &mut Progress,
        facts: &Facts,
    ) -> Result<(), EngineError> {
        let state = state(facts);
        self.work(progress, move |backups, job, counter| backups.snapshot(job, &state, counter))
            .await
            .map(drop)
    }

    /// Whether there is a snapshot of this very state. It is an error if there is none.
    pub(super) async fn find(&self, facts: &Facts) -> Result<(), EngineError> {
        let state = state(facts);
        self.blocking(move |backups, job| backups.find(job, &state)).await
    }

    /// The way back. Without a snapshot of this very state there is nothing to put back.
    pub(super) async fn put_back(
        &self,
        progress: &mut Progress,
        facts: &Facts,
    ) -> Result<(), EngineError> {
        let state = state(facts);
        self.work(progress, move |backups, job, counter| {
            backups.restore(job, &state, counter).map(Option::unwrap_or_default)
        })
        .await
        .map(drop)
    }

    /// Afterwards: only as many backups stay as the plan says.
    pub async fn clear(&self) -> Result<(), EngineError> {
        let keep = self.keep;
        self.blocking(move |backups, _| backups.keep_newest(keep)).await.map(drop)
    }

    async fn work(
        &self,
        progress: &mut Progress,
        work: impl FnOnce(&mut Backups, &Job, &Counter) -> Result<Report, BackupError> + Send + 'static,
    ) -> Result<Report, EngineError> {
        let counter = Arc::new(Counter::default());
        let shared = counter.clone();
        let working = self.blocking(move |backups, job| work(backups, job, &shared));
        tokio::pin!(working);
        let mut told = 0;
        loop {
            tokio::select! {
                done = &mut working => return done,
                () = tokio::time::sleep(LOOK) => {
                    let done_bytes = counter.done.load(Ordering::Relaxed);
                    let total_bytes = counter.total.load(Ordering::Relaxed);
                    let part = (done_bytes * PARTS).checked_div(total_bytes).unwrap_or(0);
                    if part > told {
                        told = part;
                        progress.data(done_bytes, total_bytes);
                    }
                }
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Backups, &Job) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, EngineError> {
        let (open, job, folder) = (self.open.clone(), self.job.clone(), self.folder.clone());
        let key_file = self.key_file;
        let done = tokio::task::spawn_blocking(move || {
            let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
            let mut backups = match open.take() {
                Some(backups) => backups,
                None => Backups::open(&folder, &key(key_file)?)?,
            };
            let done = work(&mut backups, &job);
            // What has failed is looked at afresh the next time.
            if done.is_ok() {
                *open = Some(backups);
            }
            done
        });
        let refused = |message| EngineError::Reply { status: REFUSED, message };
        match done.await {
            Ok(done) => done.map_err(|error| refused(error.to_string())),
            Err(error) => Err(refused(error.to_string())),
        }
    }
}

/// The state that the data is in: none of the old containers that there are has run since
/// these starts. What was kept in one state is never put back in another, whatever else we
/// believe.
pub(super) fn state(facts: &Facts) -> Vec<String> {
    let old = facts.members.iter().filter_map(|member| member.old.as_ref());
    old.map(|old| format!("{} {}", old.id, old.started_at)).collect()
}
