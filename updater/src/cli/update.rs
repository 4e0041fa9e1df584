//! `update`, `check`, `resume` and `rollback`.

use serde_json::{Value, json};

use super::documents::{Checked, Lost, SCHEMA};
use super::output::Output;
use super::{Check, CliError, Exit, Helper, How, Resume, Rollback, Update};
use crate::certificate::Certificate;
use crate::engine::{Credentials, Engine};
use crate::events::Event;
use crate::follow::{Followed, follow, judge};
use crate::helper::read_plan;
use crate::identity::own_name;
use crate::launch::{
    BackupRequest, HealthRequest, HelperOptions, LaunchError, Prepared, PullPolicy, Remark,
    Request, Retag, Surroundings, is_finished, is_leaving, is_settled, launch, prepare,
};
use crate::notify::Notify;
use crate::plan::{BeforeBackup, Image, Plan, helper_name, labels};
use crate::successor::Loss;
use crate::swap::Outcome;

pub(super) async fn update(
    engine: &Engine,
    args: Update,
    output: &Output,
) -> Result<Exit, CliError> {
    let app = name_of(engine, &args.what.name).await?;
    let request = request(&app, &args.what.image, &args.what.how)?;
    bring_in(engine, &request, &args.helper, output).await
}

pub(super) async fn check(engine: &Engine, args: Check, output: &Output) -> Result<Exit, CliError> {
    let app = name_of(engine, &args.name).await?;
    let request = request(&app, &args.image, &args.how)?;
    let prepared = prepare(engine, &request, |event| output.event(&event)).await?;
    output.done();
    if output.is_json() {
        output.json(&Checked {
            event: "check",
            schema: SCHEMA,
            plan: &prepared.plan,
            differences: &prepared.differences,
            losses: prepared.losses.iter().map(|loss| lost(loss, &request)).collect(),
            remarks: prepared.remarks.iter().map(Remark::for_programs).collect(),
            leftovers: prepared.leftovers.iter().map(|(name, _)| name.as_str()).collect(),
        });
    } else {
        explain(&prepared, &request, output);
    }
    Ok(match prepared.refusing(&request) {
        Some(_) => Exit::Refused,
        None => Exit::Done,
    })
}

fn lost(loss: &Loss, request: &Request) -> Lost {
    let accepted = request.allow.iter().any(|code| code == loss.name());
    Lost { code: loss.name(), text: loss.to_string(), accepted }
}

/// Prints the plan and everything that a person should know before saying yes.
fn explain(prepared: &Prepared, request: &Request, output: &Output) {
    let plan = &prepared.plan;
    output.event(&planned(plan));
    for member in &plan.members {
        let state = if member.old.running { "running" } else { "stopped, and is left stopped" };
        output.say(&format!("container: {} ({state})", member.name));
        output.say(&format!("gate: {}", gate_in_words(member)));
        if let Some(reference) = &member.retag {
            output.say(&format!("tag: {reference} will mean the new image"));
        }
        for path in &member.carry {
            output.say(&format!("carried over: {path}, which is in the container itself"));
        }
    }
    for kept in plan.backup.iter().flat_map(|backup| &backup.sources) {
        output.say(&format!("backed up, and put back if need be: {}", kept.path));
    }
    if let Some(backup) = &plan.backup {
        if let Some(before) = &backup.before {
            let BeforeBackup { what, limit_seconds } = before;
            output.say(&format!("before the backup, within {limit_seconds} s: {what}"));
        }
        output.say(&format!("backups: in {}, the newest {} stay", backup.to, backup.keep));
    }
    for published in &plan.handover.published {
        let answers = if published.answers { "answers now" } else { "does not answer now" };
        output.say(&format!("port: {}:{} ({answers})", published.host, published.port));
    }
    for (name, _) in &prepared.leftovers {
        output.say(&format!("cleared away first: {name}, of an earlier update"));
    }
    match prepared.differences.is_empty() {
        true => output.say("no differences but the image"),
        false => output.say("what will differ from the container as it is:"),
    }
    for difference in &prepared.differences {
        output.say(&format!("  {difference}"));
    }
    for remark in &prepared.remarks {
        output.say(&format!("good to know: {remark}"));
    }
    for loss in &prepared.losses {
        output.say(&format!("lost: {loss} ({})", loss.name()));
    }
    match prepared.refusing(request) {
        Some(loss) => output.say(&format!(
            "nothing was touched; `changeover update` will refuse because of what would be lost: {} `--allow {}` accepts it",
            loss.way_out(),
            loss.name()
        )),
        None => output.say("nothing was touched; `changeover update` with the same arguments does it"),
    }
}

fn gate_in_words(member: &crate::plan::Member) -> String {
    use crate::plan::{ExpectedStatus, Probe};
    if !member.old.running {
        return "none, as it isn't started".to_owned();
    }
    match &member.probe {
        Probe::Http { port, path, expect } => {
            let expect = match expect {
                ExpectedStatus::Exactly(status) => format!("status {status}"),
                ExpectedStatus::Below500 => "a status below 500".to_owned(),
                ExpectedStatus::Any => "any status, as the old version has errors here".to_owned(),
            };
            format!("GET {path} on port {port} inside answers with {expect}")
        }
        Probe::Auto { port } => format!("port {port} inside answers"),
        Probe::Tcp { port } => format!("port {port} inside accepts connections"),
        Probe::Running => "it keeps running".to_owned(),
    }
}

pub(super) async fn resume(
    engine: &Engine,
    args: Resume,
    output: &Output,
) -> Result<Exit, CliError> {
    let app = &name_of(engine, &args.name).await?;
    let helper = engine.container(&helper_name(app)).await?;
    let (leaving, helper): (Vec<_>, Vec<_>) = helper.into_iter().partition(is_leaving);
    if let Some(helper) = helper.first() {
        let plan = read_plan(helper)?;
        let id = helper["Id"].as_str().unwrap_or_default();
        if helper["State"]["Running"] != true {
            if is_finished(helper) && is_settled(helper) {
                return Err(CliError::NothingToResume(app.to_owned()));
            }
            engine.set_policy(id, &json!({ "Name": "always", "MaximumRetryCount": 0 })).await?;
            engine.start(id).await?;
        }
        return end_of(engine, &plan, id, &args.helper, output).await;
    }
    let plan = interrupted_plan(engine, app)
        .await?
        .ok_or_else(|| CliError::NothingToResume(app.to_owned()))?;
    let prepared = Prepared {
        plan,
        differences: Vec::new(),
        losses: Vec::new(),
        remarks: Vec::new(),
        // The engine may have died in its removal, and its name is needed.
        leftovers: leaving
            .iter()
            .filter_map(|helper| Some((helper_name(app), helper["Id"].as_str()?.to_owned())))
            .collect(),
        surroundings: Surroundings::look(engine).await,
    };
    start(engine, prepared, &args.helper, output).await
}

/// The container's name, whether it was given by name, by id or as `self`. A name that
/// nobody has at the moment may be that of an interrupted update.
pub(super) async fn name_of(engine: &Engine, given: &str) -> Result<String, CliError> {
    /// Shorter than this, the start of an id is more likely somebody's name.
    const SHORT_ID: usize = 12;
    if given == "self" {
        return Ok(own_name(engine).await?);
    }
    let given = given.trim_start_matches('/');
    if given.len() < SHORT_ID {
        return Ok(given.to_owned());
    }
    let found = engine.container(given).await?;
    let name = found.as_ref().and_then(|found| found["Name"].as_str());
    Ok(name.map_or(given, |name| name.trim_start_matches('/')).to_owned())
}

/// The plan of an update whose helper is gone, from the record that its new
/// container carries, if the old one is still there.
async fn interrupted_plan(engine: &Engine, app: &str) -> Result<Option<Plan>, CliError> {
    for summary in engine.containers_labelled(labels::UPDATE).await? {
        let Some(plan) = Plan::recorded_in(&summary["Labels"]) else { continue };
        if plan.app != app {
            continue;
        }
        let Followed::HelperGone = judge(engine, &plan).await? else { continue };
        return Ok(Some(plan));
    }
    Ok(None)
}

/// The plan of an update that has not ended, whether its helper runs, was stopped or
/// is gone.
async fn unfinished_plan(engine: &Engine, app: &str) -> Result<Option<Plan>, CliError> {
    let helper = engine.container(&helper_name(app)).await?;
    match helper.filter(|helper| !is_leaving(helper)) {
        Some(helper) if !is_finished(&helper) => Ok(Some(read_plan(&helper)?)),
        Some(_) => Ok(None),
        None => interrupted_plan(engine, app).await,
    }
}

pub(super) async fn rollback(
    engine: &Engine,
    args: Rollback,
    output: &Output,
) -> Result<Exit, CliError> {
    let app = name_of(engine, &args.name).await?;
    if let Some(plan) = unfinished_plan(engine, &app).await?
        && condemn(engine, &plan).await?
    {
        // The verdict stands; somebody has to carry it out.
        let resume = Resume { name: app, helper: args.helper };
        return match self::resume(engine, resume, output).await {
            // It was asked for, so it is no failure.
            Ok(Exit::RolledBack) => Ok(Exit::Done),
            // It came too late, or is over by now. Which of them, the engine knows.
            Ok(Exit::Done) | Err(CliError::NothingToResume(_)) => {
                match judge(engine, &plan).await {
                    Ok(Followed::Ended(Outcome::RolledBack | Outcome::Refused { .. })) => {
                        Ok(Exit::Done)
                    }
                    _ => Err(CliError::NothingToRollBack {
                        app: plan.app.clone(),
                        why: "the update had just ended; ask again to go back behind it".into(),
                    }),
                }
            }
            other => other,
        };
    }
    let Some(container) = engine.container(&app).await? else {
        return Err(CliError::NoSuchContainer(app));
    };
    let Some(record) = Plan::recorded_in(&container["Config"]["Labels"]) else {
        return Err(CliError::NothingToRollBack {
            app,
            why: "it has not been updated by Changeover, so no version before is known".into(),
        });
    };
    let Some(member) = record.members.iter().find(|member| member.name == app) else {
        return Err(CliError::NothingToRollBack { app, why: "its record is of another".into() });
    };
    let Some(image) = image_before(engine, &member.old.image).await? else {
        return Err(CliError::NothingToRollBack { app, why: "its image is gone".into() });
    };
    let mut request = Request { goes_back: true, ..request(&app, &image, &args.how)? };
    // A tag that the update has moved goes back as well.
    if let Some(retagged) = &member.retag {
        request.retag = Retag::To(retagged.clone());
    }
    if request.pull == PullPolicy::Always {
        request.pull = PullPolicy::Missing;
    }
    bring_in(engine, &request, &args.helper, output).await
}

/// The reference that leads to the image of before: the user's own as long as it
/// still means the same image, then the image's id, then its digest in the registry.
async fn image_before(engine: &Engine, image: &Image) -> Result<Option<String>, CliError> {
    let is_same = |found: &Value| found["Id"].as_str() == Some(image.id.as_str());
    if engine.image(&image.reference).await?.as_ref().is_some_and(is_same) {
        return Ok(Some(image.reference.clone()));
    }
    if engine.image(&image.id).await?.is_some() {
        return Ok(Some(image.id.clone()));
    }
    Ok(image.digest.clone())
}

/// Renames the new container of an update under way, which condemns it; waits for
/// it to exist. `false` once the update is beyond its commit.
async fn condemn(engine: &Engine, plan: &Plan) -> Result<bool, CliError> {
    let Some(lead) = plan.members.first() else { return Ok(false) };
    for _ in 0..100 {
        let seen = crate::swap::observe::observe(engine, plan).await?;
        let Some(member) = seen.facts.members.first() else { return Ok(false) };
        if member.old.is_none() {
            return Ok(false);
        }
        if let Some(new) = &member.new {
            if new.name != lead.failed_name() {
                engine.rename(&new.id, &lead.failed_name()).await?;
            }
            return Ok(true);
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    Ok(false)
}

async fn bring_in(
    engine: &Engine,
    request: &Request,
    helper: &Helper,
    output: &Output,
) -> Result<Exit, CliError> {
    let prepared = prepare(engine, request, |event| output.event(&event)).await?;
    if let Some(loss) = prepared.refusing(request) {
        return Err(LaunchError::of_loss(loss).into());
    }
    let said = |which: fn(&Remark) -> bool| -> Vec<Event> {
        let remarks = prepared.remarks.iter().filter(|remark| which(remark));
        remarks.map(|remark| Event::Warning { text: remark.to_string() }).collect()
    };
    said(Remark::is_for_visitors).iter().for_each(|warning| output.event(warning));
    let lasting = said(Remark::is_lasting);
    let exit = start(engine, prepared, helper, output).await?;
    if matches!(exit, Exit::Done) {
        lasting.iter().for_each(|warning| output.event(warning));
    }
    Ok(exit)
}

async fn start(
    engine: &Engine,
    prepared: Prepared,
    helper: &Helper,
    output: &Output,
) -> Result<Exit, CliError> {
    output.event(&planned(&prepared.plan));
    let options = HelperOptions {
        image: helper.helper_image.clone(),
        socket: helper.socket.clone(),
        auto_remove: helper.auto_remove,
    };
    let (plan, id) = launch(engine, prepared, &options, |event| output.event(&event)).await?;
    end_of(engine, &plan, &id, helper, output).await
}

/// Follows the helper to the end and clears its image away, unless detached.
async fn end_of(
    engine: &Engine,
    plan: &Plan,
    id: &str,
    helper: &Helper,
    output: &Output,
) -> Result<Exit, CliError> {
    if helper.detach {
        output.done();
        output.say(&format!("`changeover status {}` shows how far it is", plan.app));
        return Ok(Exit::Done);
    }
    let followed = follow(engine, plan, id, |event| output.event(&event)).await;
    let followed =
        followed.map_err(|source| CliError::OutOfSight { app: plan.app.clone(), source })?;
    output.done();
    let outcome = match followed {
        Followed::Ended(outcome) => outcome,
        Followed::HelperGone => return Err(CliError::HelperGone(plan.app.clone())),
        Followed::HelperStopped => return Err(CliError::HelperStopped(plan.app.clone())),
        Followed::HelperFails(said) => {
            engine.remove_by_force(id).await?;
            return Err(CliError::HelperFails { app: plan.app.clone(), said });
        }
    };
    if outcome == Outcome::Updated
        && let Some(image) = &plan.own_helper_image
    {
        // Another update may be using it; then that one clears it away.
        let _ = engine.remove_image(image).await;
    }
    Ok(Exit::from(&outcome))
}

fn planned(plan: &Plan) -> Event {
    let lead = plan.members.first();
    let reference = |pick: fn(&crate::plan::Member) -> &Image| {
        lead.map(|member| pick(member).reference.clone()).unwrap_or_default()
    };
    let mode = format!("{:?}", plan.handover.mode).to_lowercase();
    Event::Planned {
        update: plan.update.clone(),
        app: plan.app.clone(),
        from: reference(|member| &member.old.image),
        to: reference(|member| &member.image),
        handover: format!("hand-over by {mode} ({})", plan.handover.because),
    }
}

fn request(app: &str, image: &str, how: &How) -> Result<Request, CliError> {
    if how.tls_cert.is_none() && how.tls_key.is_some() {
        return Err(CliError::Half { given: "--tls-key", missing: "--tls-cert" });
    }
    Ok(Request {
        app: app.trim_start_matches('/').to_owned(),
        image: image.to_owned(),
        pull: how.pull,
        platform: how.platform.clone(),
        credentials: credentials(how)?,
        handover: how.handover,
        page_ports: how.page_port.clone(),
        health_timeout: how.health_timeout,
        stable: how.stable,
        health: HealthRequest {
            path: how.health_path.clone(),
            port: how.health_port,
            status: how.health_status,
        },
        title: how.page.title.clone(),
        face: how.page.face(),
        certificate: how.tls_cert.clone().map(|file| Certificate::new(file, how.tls_key.clone())),
        notify: notify(how)?,
        history: how.history.clone(),
        carry: how.carry.clone(),
        retag: if how.retag { Retag::Own } else { Retag::No },
        backup: BackupRequest {
            what: how.backup.clone(),
            to: how.vault.backup_to.clone(),
            exclude: how.backup_exclude.clone(),
            keep: how.keep_backups,
            key_file: how.vault.backup_key_file.clone(),
            before: how.before_backup.clone(),
            before_limit: how.before_backup_timeout,
        },
        goes_back: false,
        allow: how.allow.clone(),
    })
}

/// Where the app is told. An unsigned word could be anybody's, so both belong together.
fn notify(how: &How) -> Result<Option<Notify>, CliError> {
    let both = both(("--notify", &how.notify), ("--notify-key-file", &how.notify_key_file))?;
    Ok(both.map(|(to, key)| Notify { to: to.clone(), key: key.clone() }))
}

/// Two flags that are of no use without each other, wherever each is set.
fn both<'a, A, B>(
    (one, a): (&'static str, &'a Option<A>),
    (other, b): (&'static str, &'a Option<B>),
) -> Result<Option<(&'a A, &'a B)>, CliError> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some((a, b))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(CliError::Half { given: one, missing: other }),
        (None, Some(_)) => Err(CliError::Half { given: other, missing: one }),
    }
}

fn credentials(how: &How) -> Result<Option<Credentials>, CliError> {
    let both = both(
        ("--registry-user", &how.registry_user),
        ("--registry-password-file", &how.registry_password_file),
    )?;
    let Some((user, file)) = both else { return Ok(None) };
    let password = std::fs::read_to_string(file)
        .map_err(|source| CliError::PasswordFile { file: file.clone(), source })?;
    Ok(Some(Credentials::Password {
        user: user.clone(),
        password: password.trim_end_matches(['\r', '\n']).to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn a_bare_command_asks_for_what_the_library_asks_for() {
        let cli = Cli::try_parse_from(["changeover", "update", "web", "--image", "web:2"]);
        let Command::Update(update) = cli.expect("a command line").command else {
            panic!("it is an update")
        };
        let asked = request("web", "web:2", &update.what.how).expect("a request");
        assert_eq!(format!("{asked:?}"), format!("{:?}", Request::new("web", "web:2")));
    }
}
