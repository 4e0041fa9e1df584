//! The page's certificate before anything is touched: which one, and whether it works.

use std::path::{Path, PathBuf};

use tracing::warn;

use super::preflight::Found;
use super::{LaunchError, Request, text};
use crate::certificate::Certificate;
use crate::engine::Engine;
use crate::helper::chain;
use crate::place::Place;

/// The certificate to use, once it has been tried. One that was asked for and doesn't
/// work is a refusal; a label that is wrong costs the app its page over TLS, not its
/// update.
pub(super) async fn choose(
    engine: &Engine,
    request: &Request,
    found: &Found,
) -> Result<Option<Certificate>, LaunchError> {
    let (certificate, asked) = match &request.certificate {
        Some(certificate) => (Some(certificate.clone()), true),
        None => match Certificate::from_labels(&found.old["Config"]["Labels"]) {
            Ok(labelled) => (labelled, false),
            Err(complaint) => {
                warn!("{complaint}");
                return Ok(None);
            }
        },
    };
    let Some(certificate) = certificate else { return Ok(None) };
    if certificate.places().into_iter().any(|place| !is_seen(engine, found, place)) {
        // The helper is the first who can look, and it looks before it begins.
        return Ok(Some(certificate));
    }
    let here = |_: &Place, path: &Path| PathBuf::from(path);
    match certificate.read(engine, text(&found.old, "/Id"), here).await {
        Ok(_) => Ok(Some(certificate)),
        Err(source) if asked => {
            Err(LaunchError::Certificate { app: found.app.clone(), source: Box::new(source) })
        }
        Err(error) => {
            warn!("without TLS on the page: {}", chain(&error));
            Ok(None)
        }
    }
}

/// Whether we would look at the same file as the helper.
fn is_seen(engine: &Engine, found: &Found, place: &Place) -> bool {
    match place {
        Place::App(_) => true,
        Place::Host(path) => found.on_host && engine.endpoint().socket().is_some() && path.exists(),
    }
}
