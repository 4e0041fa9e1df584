//! `status`, `doctor` and `gc`.

use serde_json::Value;

use super::documents::{AppStatus, Cleared, Kind, SCHEMA, State};
use super::output::{Output, to_the_second};
use super::update::name_of;
use super::{CliError, Exit};
use crate::engine::{Chosen, Engine};
use crate::events::ended_in_words;
use crate::follow::{Followed, Said, judge};
use crate::helper::read_plan;
use crate::launch::doctor::{Health, examine};
use crate::launch::{is_finished, is_leaving, is_settled};
use crate::plan::{Plan, labels};
use crate::swap::observe::observe;
use crate::swap::{Ending, Outcome, is_owed};

pub(super) async fn status(
    engine: &Engine,
    name: Option<&str>,
    output: &Output,
) -> Result<Exit, CliError> {
    let found = look(engine, name).await?;
    output.done();
    for status in &found {
        match output.is_json() {
            true => output.json(status),
            false => output.result(&in_words(status)),
        }
    }
    if found.is_empty() {
        output.say("no update is under way, and none has ended, as far as Docker knows");
    }
    Ok(Exit::Done)
}

/// The states alone, as `status` has them.
#[cfg(test)]
pub(crate) async fn states_of(
    engine: &Engine,
    name: Option<&str>,
) -> Result<Vec<&'static str>, CliError> {
    Ok(look(engine, name).await?.iter().map(|status| status.state.word()).collect())
}

async fn look(engine: &Engine, name: Option<&str>) -> Result<Vec<AppStatus>, CliError> {
    let mut found: Vec<AppStatus> = Vec::new();
    for helper in ours(engine, &format!("{}=helper", labels::ROLE)).await? {
        let Ok(plan) = read_plan(&helper) else { continue };
        found.push(of_helper(engine, &helper, &plan).await?);
    }
    for container in ours(engine, labels::UPDATE).await? {
        let Some(plan) = Plan::recorded_in(&container["Config"]["Labels"]) else { continue };
        if found.iter().any(|status| status.update == plan.update) {
            continue;
        }
        found.push(of_record(engine, &plan).await?);
    }
    // The newest first: ids sort by time.
    found.sort_by(|a, b| b.update.cmp(&a.update));
    // A version that serves still tells how it came in; what was tried since is news.
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|status| seen.insert(status.app.clone()));
    if let Some(given) = name {
        let name = &name_of(engine, given).await?;
        found.retain(|status| status.app == *name);
        if found.is_empty() && engine.container(name).await?.is_none() {
            return Err(CliError::NoSuchContainer(name.to_owned()));
        }
    }
    Ok(found)
}

pub(super) async fn doctor(
    engine: &Engine,
    chosen: &Chosen,
    output: &Output,
) -> Result<Exit, CliError> {
    let findings = examine(engine, chosen).await?;
    for finding in &findings {
        match output.is_json() {
            true => output.json(finding),
            false => output.result(&finding.to_string()),
        }
    }
    let is_bad = findings.iter().any(|finding| finding.health == Health::Bad);
    Ok(if is_bad { Exit::Refused } else { Exit::Done })
}

fn in_words(status: &AppStatus) -> String {
    let AppStatus { app, state, from, to, asked_at, .. } = status;
    let state = ended_in_words(state.word(), status.goes_back);
    let mut line =
        format!("{app}: {state}, {from} → {to} (asked for at {})", to_the_second(asked_at));
    if status.left_stopped {
        line.push_str(
            "\n  it was stopped, so the new version was not started and hasn't been tried",
        );
    }
    let rest = [("step", &status.step), ("reason", &status.reason), ("hint", &status.hint)];
    for (what, text) in rest {
        if let Some(text) = text {
            line.push_str(&format!("\n  {what}: {text}"));
        }
    }
    line
}

async fn of_helper(engine: &Engine, helper: &Value, plan: &Plan) -> Result<AppStatus, CliError> {
    if helper["State"]["Status"] == "created" {
        return never_begun(engine, plan).await;
    }
    if is_leaving(helper) {
        return of_record(engine, plan).await;
    }
    let id = helper["Id"].as_str().unwrap_or_default();
    let said = Said::by(engine, id).await;
    let running = helper["State"]["Running"] == true;
    let state = match &said.ended {
        // One that waits for a person stays.
        Some(Outcome::NeedsAPerson { .. }) if running => State::Ended(Ending::NeedsAPerson),
        _ if running => State::Updating,
        _ if !is_finished(helper) => State::Interrupted,
        Some(outcome) => State::Ended(outcome.ending()),
        // A full disk takes the end of a log with it, but not the exit code.
        None => state_of_code(&helper["State"]["ExitCode"]),
    };
    let lost = said.ended.is_none() && is_finished(helper) && !running;
    let lost = lost.then(|| "the helper's log is lost, and with it the reason".to_owned());
    let reason = said.reason.or(said.condemned).or(lost);
    let hint = (state == State::Interrupted).then(|| format!("changeover resume {}", plan.app));
    Ok(AppStatus { step: said.step.filter(|_| running), reason, hint, ..base(plan, state) })
}

/// A helper that was created and never started: its start was refused, or it was to
/// come too late.
async fn never_begun(engine: &Engine, plan: &Plan) -> Result<AppStatus, CliError> {
    let seen = observe(engine, plan).await?;
    if seen.new.iter().any(Option::is_some) {
        // Another one has carried the plan out, or was about to.
        return of_record(engine, plan).await;
    }
    let reason = "its helper was never started, so nothing was touched".to_owned();
    Ok(AppStatus { reason: Some(reason), ..base(plan, State::Ended(Ending::Refused)) })
}

async fn of_record(engine: &Engine, plan: &Plan) -> Result<AppStatus, CliError> {
    let state = match judge(engine, plan).await? {
        Followed::Ended(outcome) => State::Ended(outcome.ending()),
        Followed::HelperGone | Followed::HelperStopped | Followed::HelperFails(_) => {
            State::Interrupted
        }
    };
    let hint = (state == State::Interrupted).then(|| format!("changeover resume {}", plan.app));
    let reason = (state == State::Ended(Ending::RolledBack))
        .then(|| "its helper is gone, and with it what it knew about the reason".to_owned());
    Ok(AppStatus { reason, hint, ..base(plan, state) })
}

fn state_of_code(code: &Value) -> State {
    code.as_i64().and_then(Ending::of_code).map_or(State::Interrupted, State::Ended)
}

fn base(plan: &Plan, state: State) -> AppStatus {
    let (from, to) = plan.images();
    AppStatus {
        schema: SCHEMA,
        app: plan.app.clone(),
        state,
        update: plan.update.clone(),
        from: from.to_owned(),
        to: to.to_owned(),
        asked_at: plan.asked_at.clone(),
        goes_back: plan.goes_back,
        left_stopped: state == State::Ended(Ending::Updated) && plan.leaves_it_stopped(),
        step: None,
        reason: None,
        hint: None,
    }
}

pub(super) async fn gc(engine: &Engine, dry_run: bool, output: &Output) -> Result<Exit, CliError> {
    let (mut busy, mut over) = (Vec::new(), Vec::new());
    for helper in ours(engine, &format!("{}=helper", labels::ROLE)).await? {
        let state = helper["State"]["Status"].as_str().unwrap_or_default();
        // One that was killed on the way is needed by `resume`.
        // One that has called for a person, too, as long as the app isn't back.
        let unsolved = !is_settled(&helper)
            && match read_plan(&helper) {
                Ok(plan) => is_owed(&plan, &observe(engine, &plan).await?.facts),
                Err(_) => false,
            };
        // One in whose removal the engine has died stays `dead`.
        let ended = state == "exited" && is_finished(&helper) || state == "dead";
        if state == "created" || (ended && !unsolved) {
            if is_finished(&helper) {
                over.extend(read_plan(&helper).map(|plan| plan.update));
            }
            clear_container(engine, &helper, dry_run, output).await?;
        } else {
            busy.push(helper["Config"]["Labels"][labels::APP].as_str().unwrap_or("").to_owned());
        }
    }
    for container in ours(engine, labels::UPDATE).await? {
        let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/');
        let Some(plan) = Plan::recorded_in(&container["Config"]["Labels"]) else { continue };
        let set_aside =
            plan.members.iter().any(|m| m.failed_name() == name || m.next_name() == name);
        let runs = container["State"]["Running"] == true;
        // What still owes the old version its place is needed by `resume` as well.
        let done_with =
            over.contains(&plan.update) || !is_owed(&plan, &observe(engine, &plan).await?.facts);
        if set_aside && !runs && done_with && !busy.contains(&plan.app) {
            clear_container(engine, &container, dry_run, output).await?;
        }
    }
    // Who asks from beside the app may have been left by it when it was stopped, and who
    // was at the backups by a command that was killed.
    for role in ["asker", "errand"] {
        for left in ours(engine, &format!("{}={role}", labels::ROLE)).await? {
            if left["State"]["Status"] == "exited" {
                clear_container(engine, &left, dry_run, output).await?;
            }
        }
    }
    for image in engine.images_labelled(&format!("{}=helper-image", labels::ROLE)).await? {
        for name in names_of(&image) {
            if dry_run || engine.remove_image(name).await? {
                cleared(Kind::Image, name, dry_run, output);
            }
        }
    }
    output.done();
    Ok(Exit::Done)
}

/// By what an image is removed: its tags, or its id where they mean another one by now. Two
/// helpers that were made at the same time leave one like that.
fn names_of(image: &Value) -> Vec<&str> {
    let tags = image["RepoTags"].as_array().into_iter().flatten().filter_map(Value::as_str);
    // So says Docker before 25.
    let tags: Vec<&str> = tags.filter(|tag| *tag != "<none>:<none>").collect();
    match tags.is_empty() {
        true => image["Id"].as_str().into_iter().collect(),
        false => tags,
    }
}

async fn clear_container(
    engine: &Engine,
    container: &Value,
    dry_run: bool,
    output: &Output,
) -> Result<(), CliError> {
    if !dry_run {
        engine.remove(container["Id"].as_str().unwrap_or_default()).await?;
    }
    let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/');
    cleared(Kind::Container, name, dry_run, output);
    Ok(())
}

fn cleared(what: Kind, name: &str, dry_run: bool, output: &Output) {
    match output.is_json() {
        true => output.json(&Cleared { cleared: what, name, dry_run }),
        false => {
            let verb = if dry_run { "would clear away" } else { "cleared away" };
            let what = match what {
                Kind::Container => "container",
                Kind::Image => "image",
            };
            output.say(&format!("{verb} {what} {name}"));
        }
    }
}

/// Inspect documents of the containers with this label.
pub(super) async fn ours(engine: &Engine, label: &str) -> Result<Vec<Value>, CliError> {
    let mut found = Vec::new();
    for summary in engine.containers_labelled(label).await? {
        let id = summary["Id"].as_str().unwrap_or_default();
        found.extend(engine.container(id).await?);
    }
    Ok(found)
}
