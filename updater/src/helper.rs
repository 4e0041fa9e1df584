//! The helper: the short-lived container that carries a plan out.
//!
//! It finds its plan in its own labels, does what the facts call for, and stands
//! down: after an update it deletes itself; after a rollback it gives up its
//! restart policy and exits, so that its log and exit code stay readable.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tracing::{error, info, warn};

use crate::certificate::CertificateError;
use crate::engine::{Endpoint, Engine, EngineError, FileError};
use crate::events::Event;
use crate::follow::Said;
use crate::handover::Switch;
use crate::history::FOLDER;
use crate::launch::{CERTIFICATE, KEY, PAGE_FOLDER, is_finished, listen_in};
use crate::notify;
use crate::page::Page;
use crate::place::Place;
use crate::plan::{HandoverMode, Plan, SCHEMA, labels};
use crate::progress::{Progress, initial_status};
use crate::swap::Outcome;
use crate::swap::observe::observe;
use crate::swap::run::{EngineLost, Runner};

/// How long visitors may take to leave the page at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Tries to stand down before the engine is left to find the helper gone.
const GOODBYES: u32 = 10;

/// How much of the log of a failed version is kept where the container can't be.
const COMPOSE_LOG_LINES: usize = 1000;

/// Why a helper could not do its work at all.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The engine can't be reached.
    #[error("the helper cannot reach the engine")]
    Engine(#[source] EngineError),
    /// The engine went away for good.
    #[error(transparent)]
    Lost(#[from] EngineLost),
    /// Visitors may be left without an answer.
    #[error("the page has broken down")]
    Page,
    /// There is no such container.
    #[error("there is no helper container `{0}`")]
    NoSuchHelper(String),
    /// Its plan is missing or strange.
    #[error("the helper `{helper}` carries no plan that this version understands: {why}")]
    NoPlan {
        /// The container.
        helper: String,
        /// What is wrong.
        why: String,
    },
}

/// Runs the plan of the helper container `name` to its end. Events go to `emit`.
pub async fn run(
    endpoint: Endpoint,
    name: &str,
    emit: impl Fn(&Event) + Send + 'static,
) -> Result<Outcome, HelperError> {
    let engine = connect(endpoint).await?;
    let me = engine.container(name).await.map_err(HelperError::Engine)?;
    let me = me.ok_or_else(|| HelperError::NoSuchHelper(name.to_owned()))?;
    let plan = match read_plan(&me) {
        Ok(plan) => plan,
        Err(error) => {
            // Started again, it would understand as little.
            let reason = error.to_string();
            stand_down(&engine, &me, &Outcome::NeedsAPerson { reason }).await;
            return Err(error);
        }
    };
    let said = Said::by(&engine, me["Id"].as_str().unwrap_or_default()).await;
    if is_finished(&me) {
        // It has stood down, and whoever starts it again, by hand or by a call that comes
        // late, has been told how it ended: only `resume` means that it is to go on.
        if let Some(outcome) = said.ended {
            return Ok(outcome);
        }
        let always = json!({ "Name": "always", "MaximumRetryCount": 0 });
        let id = me["Id"].as_str().unwrap_or_default();
        engine.set_policy(id, &always).await.map_err(HelperError::Engine)?;
    }
    let plan = with_reach(&engine, plan).await;
    info!(update = plan.update, app = plan.app, "starting");

    let page = page(&plan);
    let mut progress = Progress::new(&plan, page.clone(), emit);
    progress.remember(&said.events);
    if let Err(error) = speak_tls(&engine, &plan, &page).await {
        if let Some(outcome) = refuse_untouched(&engine, &plan, &error).await {
            progress.finish(&outcome);
            tell(&engine, &plan, &mut progress).await;
            stand_down(&engine, &me, &outcome).await;
            return Ok(outcome);
        }
        warn!(error = chain(&error), "the page speaks no TLS");
    }
    let table = format!("changeover-{}", plan.app);
    let (switch, because) = match Switch::prepare(&plan.handover, &table, page.clone()) {
        Ok(prepared) => prepared,
        Err(error) => match refuse_untouched(&engine, &plan, &error).await {
            Some(outcome) => {
                progress.finish(&outcome);
                tell(&engine, &plan, &mut progress).await;
                stand_down(&engine, &me, &outcome).await;
                return Ok(outcome);
            }
            None => (Switch::none(page.clone()), Some(chain(&error))),
        },
    };
    progress.emit(Event::Started {
        update: plan.update.clone(),
        app: plan.app.clone(),
        handover: match switch.mode() {
            HandoverMode::Redirect => "redirect",
            HandoverMode::Bind => "bind",
            HandoverMode::None => "none",
        }
        .to_owned(),
        because,
    });
    let mut runner = Runner::new(&engine, &plan, &me, switch, progress);
    let outcome = unless_breaks(&page, runner.run()).await??;
    if matches!(outcome, Outcome::Updated | Outcome::RolledBack) {
        runner.clear().await;
    }
    runner.drain(DRAIN_LIMIT).await;
    tell(&engine, &plan, runner.progress()).await;
    stand_down(&engine, &me, &outcome).await;
    if matches!(outcome, Outcome::RolledBack | Outcome::Refused { .. }) {
        clear_from_compose(&engine, &plan).await;
    }
    Ok(outcome)
}

/// Does this for as long as the page answers. A helper that has none begins anew, between
/// two engine calls or within one: it is started again, and looks again.
async fn unless_breaks<T>(page: &Page, work: impl Future<Output = T>) -> Result<T, HelperError> {
    tokio::select! {
        done = work => Ok(done),
        () = page.breaks() => Err(HelperError::Page),
    }
}

/// Compose counts a service's containers by their labels, and nobody can take those from
/// a container: it would see a second one of the service in a failed new version, and at
/// the next `up` remove one of the two, perhaps the one that serves. So of a failed version
/// that was Compose's, only the log stays: in ours. Done last, since until the helper has
/// given up its restart policy this container is the verdict.
async fn clear_from_compose(engine: &Engine, plan: &Plan) {
    let Ok(seen) = observe(engine, plan).await else { return };
    for new in seen.new.iter().flatten() {
        let label = &new["Config"]["Labels"][labels::COMPOSE_SERVICE];
        if !label.is_string() || new["State"]["Running"] == true {
            continue;
        }
        let name = new["Name"].as_str().unwrap_or_default().trim_start_matches('/');
        let id = new["Id"].as_str().unwrap_or_default();
        let log = engine.log_tail(id, COMPOSE_LOG_LINES).await.unwrap_or_default();
        info!("`{name}` is removed, or Compose would count it. Its log ends:\n{}", log.join("\n"));
        if let Err(error) = engine.remove(id).await {
            warn!(%error, "cannot remove `{name}`; do so before the next `docker compose up`");
        }
    }
}

/// Writes down how it ended, and tells the app. Neither is worth an update: what fails
/// is said, and that is all.
async fn tell(engine: &Engine, plan: &Plan, progress: &mut Progress) {
    let Some(account) = progress.account(plan) else { return };
    if let Some(history) = &plan.history
        && let Err(error) = history.add(Path::new(FOLDER), &account)
    {
        let text = format!("cannot write the history to {}: {error}", history.place);
        progress.emit(Event::Warning { text });
    }
    if let Some(notify) = &plan.notify {
        let to = notify.to.to_string();
        progress.emit(match notify::tell(engine, plan, notify, &account).await {
            Ok(tries) => Event::Told { to, tries },
            Err(error) => Event::Warning {
                text: format!("the app could not be told ({to}): {}", chain(&error)),
            },
        });
    }
}

/// The page as the plan has it. The app comes before a page of its own: where that
/// can't be shown, ours is.
fn page(plan: &Plan) -> Page {
    let (status, face) = (initial_status(plan), &plan.page.face);
    if face.folder.is_some() {
        match Page::from_folder(status.clone(), face, Path::new(PAGE_FOLDER)) {
            Ok(page) => return page,
            Err(error) => warn!(error = chain(&error), "the usual page is shown"),
        }
    }
    Page::with_face(status, face)
}

/// Lets the page speak TLS, where the plan has a certificate. It is read from old, or
/// from new once old is gone; by then they have the same volumes.
async fn speak_tls(engine: &Engine, plan: &Plan, page: &Page) -> Result<(), CertificateError> {
    let (Some(certificate), Some(lead)) = (&plan.page.certificate, plan.members.first()) else {
        return Ok(());
    };
    let on_host = |place: &Place, _: &Path| match *place == certificate.certificate {
        true => PathBuf::from(CERTIFICATE),
        false => PathBuf::from(KEY),
    };
    let tls = match certificate.read(engine, &lead.old.id, on_host).await {
        Err(CertificateError::InApp { source: FileError::Missing, .. }) => {
            certificate.read(engine, &lead.name, on_host).await
        }
        read => read,
    };
    tls.map(|tls| page.speak_tls(tls))
}

/// The plan in a helper's labels.
pub fn read_plan(helper: &Value) -> Result<Plan, HelperError> {
    let name = helper["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    let no_plan = |why: String| HelperError::NoPlan { helper: name.to_owned(), why };
    let label = helper["Config"]["Labels"][labels::PLAN].as_str();
    let text = label.ok_or_else(|| no_plan(format!("the label {} is missing", labels::PLAN)))?;
    let plan: Plan = serde_json::from_str(text).map_err(|error| no_plan(error.to_string()))?;
    match plan.schema {
        SCHEMA => Ok(plan),
        other => Err(no_plan(format!("schema {other} instead of {SCHEMA}"))),
    }
}

/// Completes what only the host sees: through which published ports the old version
/// answers. Whoever asked may sit in a container, from where none of them can be
/// reached. Once the old version is away, the new container's record tells.
async fn with_reach(engine: &Engine, mut plan: Plan) -> Plan {
    let Ok(seen) = observe(engine, &plan).await else { return plan };
    let labels = seen.new.iter().flatten().map(|new| &new["Config"]["Labels"]);
    let record = labels.into_iter().find_map(Plan::recorded_in);
    match record {
        Some(record) => plan.handover.published = record.handover.published,
        None if seen.facts.members.iter().all(|m| m.old.as_ref().is_some_and(|o| o.running)) => {
            let Plan { members, handover, .. } = &mut plan;
            listen_in(&mut handover.published, |member| &members[member].probe).await;
        }
        None => {}
    }
    plan
}

async fn connect(endpoint: Endpoint) -> Result<Engine, HelperError> {
    let mut last = None;
    for _ in 0..50 {
        match Engine::connect(endpoint.clone()).await {
            Ok(engine) => return Ok(engine),
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(HelperError::Engine(last.unwrap_or(EngineError::Stalled { seconds: 10 })))
}

/// A page that cannot be shown as the operator insisted refuses the update, unless
/// an earlier run has begun it: then the app comes before the page.
async fn refuse_untouched(
    engine: &Engine,
    plan: &Plan,
    error: &(dyn std::error::Error + Send + Sync),
) -> Option<Outcome> {
    let seen = observe(engine, plan).await.ok()?;
    let untouched = seen.new.iter().all(Option::is_none);
    untouched.then(|| Outcome::Refused { reason: chain(error) })
}

async fn stand_down(engine: &Engine, me: &Value, outcome: &Outcome) {
    let id = me["Id"].as_str().unwrap_or_default();
    if me["HostConfig"]["AutoRemove"] == true {
        return;
    }
    for _ in 0..GOODBYES {
        let done = match outcome {
            // The engine kills us on the way, so success is not coming back here.
            Outcome::Updated => engine.remove_by_force(id).await,
            _ => engine.set_policy(id, &json!({ "Name": "no", "MaximumRetryCount": 0 })).await,
        };
        match done {
            Ok(()) => return,
            Err(error) => warn!(%error, "cannot stand down yet"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    error!("the helper stays behind; `changeover gc` clears it away");
}

/// An error and its causes, and at the end the way out that the last of them knows.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let (mut text, mut hint) = (String::new(), String::new());
    let mut next = Some(error);
    while let Some(cause) = next {
        let said = cause.to_string();
        let said = match said.split_once("\nhint: ") {
            Some((said, way_out)) => {
                hint = format!("\nhint: {way_out}");
                said.to_owned()
            }
            None => said,
        };
        text = if text.is_empty() { said } else { format!("{text}: {said}") };
        next = cause.source();
    }
    text + &hint
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::cli::CliError;

    #[tokio::test]
    async fn a_helper_whose_page_breaks_down_asks_to_be_started_again() {
        let plan = serde_json::from_value(crate::fuzzed::plan()).expect("a plan");
        let page = page(&plan);
        assert!(unless_breaks(&page, ready(())).await.is_ok());
        page.break_down();
        let ended = unless_breaks(&page, pending::<()>()).await.expect_err("it ends");
        assert!(matches!(ended, HelperError::Page));
        assert_eq!(CliError::Helper(ended).code(), 75);
    }
}
