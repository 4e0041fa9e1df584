//! The ask: everything up to the moment when the helper takes over.
//!
//! All that can be refused is refused here, while the app still serves and
//! nothing has been touched.

mod backup;
mod certificate;
mod compose;
mod dependants;
pub mod doctor;
mod errand;
mod error;
mod helper;
mod image;
mod layer;
mod leftovers;
mod planning;
mod podman;
mod preflight;
mod reach;
mod remark;
mod told;

use std::path::PathBuf;
use std::time::Duration;

pub use backup::{BackupRequest, Wanted};
pub use compose::Pin;
pub use errand::Backups;
pub use error::LaunchError;
pub(crate) use helper::{CERTIFICATE, KEY, PAGE_FOLDER, is_leaving};
pub use helper::{HelperOptions, is_finished, is_settled};
pub use image::PullPolicy;
pub(crate) use image::{canonical, stored_credentials};
pub(crate) use reach::listen_in;
pub use remark::{Remark, Remarked};

use serde_json::Value;

use crate::certificate::Certificate;
use crate::engine::{Credentials, Endpoint, Engine, EngineError, Wishes};
use crate::events::Event;
use crate::face::Face;
use crate::identity::{Own, own_container, path_on_host};
use crate::notify::Notify;
use crate::place::Place;
use crate::plan::{ExpectedStatus, HandoverMode, Plan};
use crate::successor::{Difference, Loss};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name or id of the container.
    pub app: String,
    /// The image that it should run, say `ghcr.io/acme/web:2`.
    pub image: String,
    /// When the image is fetched.
    pub pull: PullPolicy,
    /// `os/arch`, where it isn't the engine's own.
    pub platform: Option<String>,
    /// What opens the registry, where the docker config doesn't say.
    pub credentials: Option<Credentials>,
    /// A hand-over to insist on; otherwise the best that is possible.
    pub handover: Option<HandoverMode>,
    /// Ports of an app on the host network, on which the page is shown.
    pub page_ports: Vec<u16>,
    /// How long the new version may take to become healthy, from its start.
    pub health_timeout: Duration,
    /// For how long it must then keep answering before the old version goes.
    pub stable: Duration,
    /// What to ask the new version, where the default won't do.
    pub health: HealthRequest,
    /// The app's name on the page, instead of the container's.
    pub title: Option<String>,
    /// The app's own face, where its labels don't say or somebody knows better.
    pub face: Face,
    /// With which the page speaks TLS, where the app's labels don't say.
    pub certificate: Option<Certificate>,
    /// Files and folders in the container itself that the new one gets as well.
    pub carry: Vec<String>,
    /// Whether, and which, reference is to mean the new image afterwards.
    pub retag: Retag,
    /// Where the app is told how it ended, where its labels don't say.
    pub notify: Option<Notify>,
    /// Where it is written down how it ended, where the app's labels don't say.
    pub history: Option<Place>,
    /// What of the app's data is kept, to be put back if the new version fails.
    pub backup: BackupRequest,
    /// Whether the image is that of the version before, so that it is told as a way back.
    pub goes_back: bool,
    /// Losses and oddities that the operator accepts, by their code.
    pub allow: Vec<String>,
}

impl Request {
    /// An update of `app` to `image`, as the program does it where nobody says more.
    pub fn new(app: &str, image: &str) -> Request {
        Request {
            app: app.to_owned(),
            image: image.to_owned(),
            pull: PullPolicy::Always,
            platform: None,
            credentials: None,
            handover: None,
            page_ports: Vec::new(),
            health_timeout: Duration::from_secs(120),
            stable: Duration::from_secs(3),
            health: HealthRequest::default(),
            title: None,
            face: Face::default(),
            certificate: None,
            carry: Vec::new(),
            retag: Retag::No,
            backup: BackupRequest::default(),
            notify: None,
            history: None,
            goes_back: false,
            allow: Vec::new(),
        }
    }
}

/// What becomes of the user's own tag, where the new image is called otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Retag {
    /// It stays what it is.
    #[default]
    No,
    /// The one that the Compose file names, or that the container was made with, is to
    /// mean the new image.
    Own,
    /// This one is.
    To(String),
}

/// An HTTP check, by its deviations from the default.
#[derive(Debug, Clone, Default)]
pub struct HealthRequest {
    /// Path and query.
    pub path: Option<String>,
    /// Port inside the container.
    pub port: Option<u16>,
    /// The only status that counts.
    pub status: Option<u16>,
}

impl HealthRequest {
    fn expect(&self) -> ExpectedStatus {
        self.status.map_or(ExpectedStatus::Below500, ExpectedStatus::Exactly)
    }
}

/// What [`prepare`] found: the plan, and what a person should know before saying yes.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// How the new container will differ from the old one.
    pub differences: Vec<Difference>,
    /// What can't be carried over. Refuses the update, unless it is allowed.
    pub losses: Vec<Loss>,
    /// What else is good to know.
    pub remarks: Vec<Remark>,
    /// Containers of earlier updates of ours that will be cleared away: name and id.
    pub leftovers: Vec<(String, String)>,
    /// Where this program runs, as far as the helper must know.
    pub surroundings: Surroundings,
}

impl Prepared {
    /// A loss that nobody has accepted.
    pub fn refusing(&self, request: &Request) -> Option<&Loss> {
        self.losses.iter().find(|loss| !request.allow.iter().any(|code| code == loss.name()))
    }
}

/// Where an engine's socket is on its own host.
const SOCKET: &str = "/var/run/docker.sock";
const PODMANS_SOCKET: &str = "/run/podman/podman.sock";

/// Where this program runs.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether on the engine's machine, and in no container.
    on_host: bool,
    /// The engine's socket on its host, for the helper; none where that one has to call the
    /// address that we call.
    socket: Option<PathBuf>,
}

impl Surroundings {
    /// Finds out.
    pub async fn look(engine: &Engine) -> Surroundings {
        // Where nothing can be found out, the helper will say so.
        let own = own_container(engine).await.ok().and_then(Own::into_container);
        Surroundings::of(engine, own.as_ref())
    }

    fn of(engine: &Engine, own: Option<&Value>) -> Surroundings {
        let on_host = |path| own.and_then(|own| path_on_host(own, path));
        let socket = match engine.endpoint() {
            // Certificates don't travel: it is at home, and has the socket.
            Endpoint::Tls { .. } if engine.podman().is_some() => Some(PODMANS_SOCKET.into()),
            Endpoint::Tls { .. } => Some(SOCKET.into()),
            endpoint => {
                let socket = endpoint.socket();
                socket.map(|path| on_host(path).unwrap_or_else(|| path.to_owned()))
            }
        };
        let on_host = own.is_none() && engine.endpoint().is_here();
        Surroundings { on_host, socket }
    }
}

/// Connects to this engine, or to the one that the environment or Docker's context names.
pub async fn connect(host: Option<&Endpoint>) -> Result<Engine, EngineError> {
    let endpoint = match host {
        Some(host) => host.clone(),
        None => Wishes::of_environment()?.choose()?.endpoint,
    };
    Engine::connect(endpoint).await
}

/// Looks at everything, fetches the image and fixes the plan. Touches nothing.
pub async fn prepare(
    engine: &Engine,
    request: &Request,
    mut on_event: impl FnMut(Event),
) -> Result<Prepared, LaunchError> {
    let found = preflight::look(engine, request).await?;
    podman::remark(engine, &found.app).into_iter().for_each(&mut on_event);
    let new_image = image::fetch(engine, request, &found, &mut on_event).await?;
    planning::plan(engine, request, found, new_image).await
}

/// The whole ask in one call: [`prepare`] and [`launch`], unless something would be lost that
/// [`Request::allow`] doesn't name.
pub async fn update(
    engine: &Engine,
    request: &Request,
    options: &HelperOptions,
    mut on_event: impl FnMut(Event),
) -> Result<(Plan, String), LaunchError> {
    let prepared = prepare(engine, request, &mut on_event).await?;
    match prepared.refusing(request) {
        Some(loss) => Err(LaunchError::of_loss(loss)),
        None => launch(engine, prepared, options, on_event).await,
    }
}

/// Starts the helper. From here on it decides; returns its container's id.
pub async fn launch(
    engine: &Engine,
    prepared: Prepared,
    options: &HelperOptions,
    mut on_event: impl FnMut(Event),
) -> Result<(Plan, String), LaunchError> {
    for (_, id) in &prepared.leftovers {
        engine.remove(id).await.map_err(LaunchError::engine)?;
    }
    let (plan, id) = helper::start(engine, prepared.plan, &prepared.surroundings, options).await?;
    on_event(Event::Launched { helper: plan.helper_name() });
    Ok((plan, id))
}

/// Text at a JSON pointer, or nothing.
fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
