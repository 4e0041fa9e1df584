//! `history`: which updates there were.

use std::collections::BTreeSet;

use serde_json::Value;

use super::look::ours;
use super::output::{Output, to_the_second};
use super::update::name_of;
use super::{CliError, Exit, HistoryCommand};
use crate::account::{Account, Teller};
use crate::engine::Engine;
use crate::events::{Event, ended_in_words};
use crate::follow::{Followed, Said, judge};
use crate::helper::read_plan;
use crate::history::{merge, read};
use crate::identity::{Own, own_container};
use crate::launch::is_finished;
use crate::place::Place;
use crate::plan::{Plan, labels};
use crate::swap::Outcome;

pub(super) async fn history(
    engine: &Engine,
    args: &HistoryCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let app = &name_of(engine, &args.name).await?;
    let known = of_docker(engine, app).await?;
    let serving = engine.container(app).await?;
    if serving.is_none() && known.accounts.is_empty() {
        return Err(CliError::NoSuchContainer(app.to_owned()));
    }
    let label = || {
        let path = serving.as_ref()?["Config"]["Labels"][labels::HISTORY].as_str()?;
        Some(Place::App(path.strip_prefix("app:").unwrap_or(path).to_owned()))
    };
    let place = args.history.clone().or(known.place).or_else(label);
    let kept = match &place {
        None => Vec::new(),
        Some(place) => {
            match file(engine, serving.as_ref(), place).await {
                Ok(bytes) => read(&bytes),
                Err(why) => {
                    output.event(&Event::Warning {
                    text: format!("the history in {place} can't be read ({why}); this is what Docker knows"),
                });
                    Vec::new()
                }
            }
        }
    };
    let kept = kept.into_iter().filter(|account| account.app == *app);
    let accounts = merge(kept.chain(known.accounts));
    output.done();
    for account in &accounts {
        match output.is_json() {
            true => output.json(account),
            false => output.result(&in_words(account)),
        }
    }
    if accounts.is_empty() {
        output.say("no update of it has ended, as far as Docker knows");
    } else if place.is_none() {
        output.say("earlier ones aren't kept; `--history FILE`, given to each update, keeps them");
    }
    Ok(Exit::Done)
}

/// What Docker still knows of updates that have ended.
#[derive(Default)]
struct Known {
    accounts: Vec<Account>,
    /// Where the last one was told to keep the history.
    place: Option<Place>,
}

async fn of_docker(engine: &Engine, app: &str) -> Result<Known, CliError> {
    let mut known = Known::default();
    let mut plans = Vec::new();
    for helper in ours(engine, &format!("{}={app}", labels::APP)).await? {
        let Ok(plan) = read_plan(&helper) else { continue };
        if helper["State"]["Running"] != true && is_finished(&helper) {
            let mut teller = Teller::default();
            let said = Said::by(engine, helper["Id"].as_str().unwrap_or_default()).await;
            said.events.iter().for_each(|event| teller.hear(event));
            let ended = helper["State"]["FinishedAt"].as_str().and_then(|at| at.parse().ok());
            known.accounts.extend(teller.tell(&plan).map(|account| match ended {
                Some(at) => account.ended_at(at),
                None => account,
            }));
        }
        plans.push(plan);
    }
    for container in ours(engine, labels::UPDATE).await? {
        plans.extend(Plan::recorded_in(&container["Config"]["Labels"]));
    }
    plans.retain(|plan| plan.app == app);
    plans.sort_by(|a, b| b.update.cmp(&a.update));
    known.place = plans.iter().find_map(|plan| Some(plan.history.as_ref()?.place.clone()));
    let mut judged = BTreeSet::new();
    for plan in plans {
        if !judged.insert(plan.update.clone()) {
            continue;
        }
        let ending = match judge(engine, &plan).await? {
            // Somebody has yet to bring it to its end.
            Followed::Ended(Outcome::NeedsAPerson { .. }) => continue,
            Followed::Ended(outcome) => outcome.ending(),
            // It goes on.
            _ => continue,
        };
        known.accounts.push(Account::of_plan(&plan, ending));
    }
    Ok(known)
}

async fn file(engine: &Engine, serving: Option<&Value>, place: &Place) -> Result<Vec<u8>, String> {
    match place {
        Place::App(path) => {
            let id = serving.and_then(|app| app["Id"].as_str()).ok_or("the app is not there")?;
            engine.file(id, path).await.map_err(|error| error.to_string())
        }
        Place::Host(path) => match own_container(engine).await {
            Ok(Own::None) => std::fs::read(path).map_err(|error| error.to_string()),
            _ => Err("it is on the host, and this is a container".to_owned()),
        },
    }
}

fn in_words(account: &Account) -> String {
    let Account { outcome, from, to, asked_at, .. } = account;
    let outcome = ended_in_words(outcome.word(), account.goes_back);
    let mut line = format!("{}: {outcome}, {from} → {to}", to_the_second(asked_at));
    if let Some(seconds) = account.seconds {
        line.push_str(&format!(" ({seconds:.1} s)"));
    }
    if account.left_stopped {
        line.push_str("\n  it was stopped, so the new version was not started");
    }
    if let Some(reason) = &account.reason {
        line.push_str(&format!("\n  reason: {reason}"));
    }
    account.log.iter().for_each(|text| line.push_str(&format!("\n  | {text}")));
    line
}
