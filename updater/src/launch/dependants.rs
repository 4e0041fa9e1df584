//! Who goes along: containers that live in the app's namespaces, are linked to it or
//! take its volumes would be left on a dead id, so they are recreated with it.

use serde_json::Value;

use super::{LaunchError, leftovers, preflight, text};
use crate::engine::Engine;
use crate::plan::Member;

/// Finds everybody who depends on the app, directly or through others, in an order in
/// which they can be started. Inspect documents.
pub(super) async fn find(engine: &Engine, app: &Value) -> Result<Vec<Value>, LaunchError> {
    let mut others = Vec::new();
    for summary in engine.containers().await.map_err(LaunchError::engine)? {
        let id = text(&summary, "/Id");
        if id == text(app, "/Id") {
            continue;
        }
        let other = engine.container(id).await.map_err(LaunchError::engine)?;
        others.extend(other.filter(|other| !leftovers::is_set_aside(other)));
    }
    let mut found = vec![app.clone()];
    loop {
        let is_new = |other: &Value| {
            !found.iter().any(|known| known["Id"] == other["Id"])
                && found.iter().any(|known| depends_on(other, known))
        };
        let Some(next) = others.iter().find(|other| is_new(other)).cloned() else { break };
        let name = text(&next, "/Name").trim_start_matches('/').to_owned();
        preflight::refuse_unsuitable(&name, &next)?;
        found.push(next);
    }
    found.remove(0);
    Ok(found)
}

/// Whether `other` can't live without `target`.
fn depends_on(other: &Value, target: &Value) -> bool {
    let is_target = |reference: &str| names(target, reference);
    let host = &other["HostConfig"];
    let shares = ["NetworkMode", "IpcMode", "PidMode"].iter().any(|mode| {
        let mode = host[*mode].as_str().unwrap_or_default();
        mode.strip_prefix("container:").is_some_and(is_target)
    });
    let items = |key: &str| host[key].as_array().cloned().unwrap_or_default();
    let linked = items("Links").iter().filter_map(Value::as_str).any(|link| {
        link.split(':').next().is_some_and(|name| is_target(name.trim_start_matches('/')))
    });
    let takes_volumes = items("VolumesFrom")
        .iter()
        .filter_map(Value::as_str)
        .any(|from| from.split(':').next().is_some_and(is_target));
    shares || linked || takes_volumes
}

fn names(target: &Value, reference: &str) -> bool {
    !reference.is_empty()
        && (text(target, "/Id").starts_with(reference) && reference.len() >= 12
            || text(target, "/Name").trim_start_matches('/') == reference)
}

/// Points a create request at the new containers of the set instead of the old ones.
/// The engine resolves the names to ids when it creates the container, and by then
/// those before it exist under their first names.
pub(super) fn redirect_references(create: &mut Value, before: &[Member]) {
    let renamed = |reference: &str| {
        let member = before.iter().find(|member| {
            member.old.id == reference
                || member.name == reference
                || reference.len() >= 12 && member.old.id.starts_with(reference)
        });
        member.map(Member::next_name)
    };
    let host = &mut create["HostConfig"];
    for mode in ["NetworkMode", "IpcMode", "PidMode"] {
        let target = host[mode].as_str().and_then(|mode| mode.strip_prefix("container:"));
        if let Some(name) = target.and_then(renamed) {
            host[mode] = format!("container:{name}").into();
        }
    }
    for link in host["Links"].as_array_mut().into_iter().flatten() {
        let Some((target, alias)) = link.as_str().and_then(|link| link.split_once(':')) else {
            continue;
        };
        if let Some(name) = renamed(target.trim_start_matches('/')) {
            *link = format!("/{name}:{alias}").into();
        }
    }
    // Volumes are taken when the container is created, and then old still has its name
    // and the same volumes as new. The text stays as the user wrote it.
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_kind_of_tie_is_seen() {
        let app = json!({ "Id": ID, "Name": "/web" });
        let ties = [
            json!({ "NetworkMode": format!("container:{ID}") }),
            json!({ "IpcMode": "container:web" }),
            json!({ "PidMode": format!("container:{ID}") }),
            json!({ "Links": ["/web:/side/w"] }),
            json!({ "VolumesFrom": ["web:ro"] }),
        ];
        for tie in ties {
            assert!(depends_on(&json!({ "HostConfig": tie }), &app), "{tie}");
        }
        let none = json!({ "NetworkMode": "bridge", "Links": ["/web2:/side/web"] });
        assert!(!depends_on(&json!({ "HostConfig": none }), &app));
    }
}
