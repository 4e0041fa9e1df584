//! What earlier updates left behind: ours is cleared away, somebody else's refuses.

use std::time::Duration;

use serde_json::Value;

use super::helper::{is_finished, is_leaving, is_settled};
use super::{LaunchError, text};
use crate::engine::Engine;
use crate::helper::read_plan;
use crate::plan::{Plan, helper_name, labels};
use crate::swap::is_owed;
use crate::swap::observe::observe;

/// How often, and how long apart, one looks whether a helper has gone.
const LEAVING_TRIES: u32 = 100;
/// So often one may be seen `dead` on its way.
const DEAD_TRIES: u32 = 5;
const LEAVING_PAUSE: Duration = Duration::from_millis(100);

/// Finds containers under the names that an update needs: name and id of those
/// that are ours and done with.
pub(super) async fn find(
    engine: &Engine,
    app: &str,
    old: &Value,
) -> Result<Vec<(String, String)>, LaunchError> {
    let mut ours = Vec::new();
    let interrupted = || LaunchError::Interrupted { app: app.to_owned() };
    let taken = |name: &str| LaunchError::NameTaken { app: app.to_owned(), name: name.to_owned() };

    let mut ended = false;
    let name = helper_name(app);
    if let Some(helper) = helper_that_stays(engine, &name).await? {
        if text(&helper, "/Config/Labels/io.changeover.role") != "helper" {
            return Err(taken(&name));
        }
        let id = text(&helper, "/Id").to_owned();
        let status = text(&helper, "/State/Status");
        if matches!(status, "running" | "restarting") {
            return Err(LaunchError::AlreadyUnderWay { app: app.to_owned() });
        }
        // One that never started has touched nothing; one that has ended says so
        // by its restart policy. Anything else was killed on the way.
        // Of one in whose removal the engine has died, the other containers tell.
        let leaving = is_leaving(&helper);
        ended = is_finished(&helper) && !leaving;
        if status != "created" && !ended && !leaving {
            return Err(interrupted());
        }
        // One that has called for a person may still owe the old version its place.
        if !is_settled(&helper)
            && let Ok(plan) = read_plan(&helper)
        {
            let seen = observe(engine, &plan).await.map_err(LaunchError::engine)?;
            if is_owed(&plan, &seen.facts) {
                return Err(interrupted());
            }
        }
        ours.push((name, id));
    }

    let record = Plan::recorded_in(&old["Config"]["Labels"]);
    for suffix in ["next", "failed", "old"] {
        let name = format!("{app}.{suffix}");
        let Some(found) = inspect(engine, &name).await? else { continue };
        let is_ours = found["Config"]["Labels"][labels::UPDATE].is_string();
        match suffix {
            "old" => {
                let id = text(&found, "/Id");
                let parked_by_us =
                    record.as_ref().is_some_and(|r| r.members.iter().any(|m| m.old.id == id));
                return Err(if parked_by_us { interrupted() } else { taken(&name) });
            }
            _ if !is_ours => return Err(taken(&name)),
            _ if found["State"]["Running"] == true => return Err(interrupted()),
            // Its helper may have gone before it had begun, or when it had stopped
            // the old version already. A helper that has ended owes nothing.
            _ if !ended && owes(engine, &found).await? => return Err(interrupted()),
            _ => ours.push((name, text(&found, "/Id").to_owned())),
        }
    }
    Ok(ours)
}

/// Whether this is what an earlier update of ours has set aside: its ties to others
/// don't count.
pub(super) fn is_set_aside(container: &Value) -> bool {
    let name = text(container, "/Name");
    container["Config"]["Labels"][labels::UPDATE].is_string()
        && (name.ends_with(".failed") || name.ends_with(".next"))
}

/// Whether an update of `app` that nobody works on has taken its name away.
pub(super) async fn name_is_owed(engine: &Engine, app: &str) -> Result<bool, LaunchError> {
    for suffix in ["next", "failed"] {
        if let Some(found) = inspect(engine, &format!("{app}.{suffix}")).await?
            && owes(engine, &found).await?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the update that made this container has left its old one displaced.
async fn owes(engine: &Engine, new: &Value) -> Result<bool, LaunchError> {
    let Some(plan) = Plan::recorded_in(&new["Config"]["Labels"]) else { return Ok(false) };
    let seen = observe(engine, &plan).await.map_err(LaunchError::engine)?;
    Ok(is_owed(&plan, &seen.facts))
}

/// The helper of an earlier update, unless it is leaving: after a good update it removes
/// itself, and whoever sees the new version may ask for the next one in that moment. One in
/// whose removal the engine has died stays `dead`.
async fn helper_that_stays(engine: &Engine, name: &str) -> Result<Option<Value>, LaunchError> {
    for tries in 0..LEAVING_TRIES {
        let helper = inspect(engine, name).await?;
        let is_dead = helper.as_ref().is_some_and(|one| one["State"]["Status"] == "dead");
        if !helper.as_ref().is_some_and(is_leaving) || is_dead && tries >= DEAD_TRIES {
            return Ok(helper);
        }
        tokio::time::sleep(LEAVING_PAUSE).await;
    }
    inspect(engine, name).await
}

async fn inspect(engine: &Engine, name: &str) -> Result<Option<Value>, LaunchError> {
    let found = engine.container(name).await.map_err(LaunchError::engine)?;
    // The engine finds containers by a prefix of their id as well.
    Ok(found.filter(|found| text(found, "/Name").trim_start_matches('/') == name))
}
