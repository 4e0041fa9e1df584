//! Podman, which has no daemon: what can't be done there, and what can't be promised.

use super::LaunchError;
use crate::engine::{Engine, Podman};
use crate::events::Event;

/// Refuses a Podman that can't change restart policies: they are what decides who comes
/// back after a crash, and new gets the app's own only once it has proved itself.
pub(super) fn refuse_too_old(engine: &Engine, app: &str) -> Result<(), LaunchError> {
    match engine.podman() {
        Some(podman) if podman < Podman::OLDEST => Err(LaunchError::Unsuitable {
            app: app.to_owned(),
            why: format!("Podman {podman} cannot change a container's restart policy"),
            hint: format!("update Podman to {} or later", Podman::OLDEST),
        }),
        _ => Ok(()),
    }
}

/// What an operator should know before an update on Podman.
pub(super) fn remark(engine: &Engine, app: &str) -> Option<Event> {
    engine.podman()?;
    Some(Event::Warning {
        text: format!(
            "this is Podman, where nobody starts containers at boot: should the machine go down \
             during the update, `changeover resume {app}` brings it to its end (with \
             podman-restart.service enabled, the helper does)"
        ),
    })
}
