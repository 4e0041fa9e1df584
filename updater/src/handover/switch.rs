//! The switch: visitors see the page, or they see the app.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::conntrack::open_connections;
use super::{Bind, Redirect, RedirectError, page_listener};
use crate::page::{Page, Serving};
use crate::plan::{HandoverMode, HandoverPlan, Published};

/// How often the ports are tried while the old container lets go of them.
const BIND_PAUSE: Duration = Duration::from_millis(4);
/// How often it is looked whether the visitors of before are through.
const SETTLE_PAUSE: Duration = Duration::from_millis(3);
/// How often connections that are no more are forgotten, as long as the page is shown.
/// The kernel would keep those that matter for ten seconds.
const FORGET_PAUSE: Duration = Duration::from_secs(1);

/// Puts the page on the app's port and takes it off again. It lives in the
/// helper's process: a dead helper holds nothing.
pub struct Switch {
    page: Page,
    way: Way,
    shown: bool,
    settled: bool,
}

enum Way {
    Redirect {
        redirect: Redirect,
        published: Vec<Published>,
        page_port: u16,
        forgot: Option<Instant>,
        _serving: Serving,
    },
    Bind {
        published: Vec<Published>,
        binding: Option<JoinHandle<()>>,
    },
    None,
}

/// The page cannot be shown in the way that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The kernel refuses.
    #[error("visitors cannot be redirected to the page")]
    Redirect(#[from] RedirectError),
    /// No port is left for the page.
    #[error("the page finds no port to listen on")]
    Listen(#[from] std::io::Error),
}

impl Switch {
    /// Prepares the planned way, or the next best where the plan allows that. The
    /// second value says why it isn't the planned one.
    pub fn prepare(
        plan: &HandoverPlan,
        table: &str,
        page: Page,
    ) -> Result<(Switch, Option<String>), SwitchError> {
        let bind = || {
            let ever_free = plan.published.iter().filter(|port| !port.lent);
            let published: Vec<Published> = ever_free.copied().collect();
            match published.is_empty() {
                true => Way::None,
                false => Way::Bind { published, binding: None },
            }
        };
        let (way, because) = match plan.mode {
            HandoverMode::None => (Way::None, None),
            HandoverMode::Bind => (bind(), None),
            HandoverMode::Redirect => match prepare_redirect(plan, table, &page) {
                Ok(way) => (way, None),
                Err(error) if plan.may_fall_back => {
                    let cause = match &error {
                        SwitchError::Redirect(cause) => cause.to_string(),
                        SwitchError::Listen(cause) => cause.to_string(),
                    };
                    warn!(%error, cause, "falling back to binding the port");
                    (bind(), Some(cause))
                }
                Err(error) => return Err(error),
            },
        };
        Ok((Switch { page, way, shown: false, settled: false }, because))
    }

    /// No page at all.
    pub fn none(page: Page) -> Switch {
        Switch { page, way: Way::None, shown: false, settled: false }
    }

    /// The way in use.
    pub fn mode(&self) -> HandoverMode {
        match self.way {
            Way::Redirect { .. } => HandoverMode::Redirect,
            Way::Bind { .. } => HandoverMode::Bind,
            Way::None => HandoverMode::None,
        }
    }

    /// Shows the page or the app to everybody who connects from now on. `idle`
    /// says that no version holds the port or that the one that does is going:
    /// only then may the port be bound. Returns whether that is a change.
    pub async fn set(&mut self, page: bool, idle: bool) -> bool {
        match &mut self.way {
            Way::None => return false,
            Way::Redirect { redirect, forgot, .. } => {
                let done = if page { redirect.capture() } else { redirect.release() };
                if let Err(error) = done {
                    warn!(%error, page, "cannot change what visitors see");
                    return false;
                }
                let again = page && forgot.is_none_or(|last| last.elapsed() > FORGET_PAUSE);
                if page != self.shown || again {
                    redirect.forget_dead();
                    *forgot = Some(Instant::now());
                }
            }
            Way::Bind { published, binding } => match (page && idle, &binding) {
                (true, None) => {
                    *binding = Some(tokio::spawn(bind_all(published.clone(), self.page.clone())));
                }
                (false, Some(_)) => release(binding).await,
                _ => {}
            },
        }
        let changed = std::mem::replace(&mut self.shown, page) != page;
        self.settled &= !changed;
        changed
    }

    /// Waits until those who connected before the page came have their answers, at
    /// most for `limit`: not every app lets its visitors finish when it is stopped.
    /// Connections that are kept open without a question look the same from here
    /// and cost the whole limit, so that should be a short one.
    pub async fn settle(&mut self, limit: Duration) {
        let Way::Redirect { published, page_port, .. } = &self.way else { return };
        if !self.shown || std::mem::replace(&mut self.settled, true) {
            return;
        }
        let end = Instant::now() + limit;
        while Instant::now() < end {
            match open_connections(published, *page_port) {
                Ok(0) => return,
                Ok(open) => debug!(open, "visitors of before"),
                Err(error) => return debug!(%error, "cannot see the visitors of before"),
            }
            tokio::time::sleep(SETTLE_PAUSE).await;
        }
    }

    /// Makes sure that nothing of ours holds the port: somebody is about to be started.
    pub async fn make_way(&mut self) {
        if let Way::Bind { binding, .. } = &mut self.way {
            release(binding).await;
        }
    }

    /// Waits for visitors of the page to leave it, at most for `limit`: taking the
    /// redirect's table away resets those who are still on it.
    pub async fn drain(&mut self, limit: Duration) {
        if !self.page.drained(limit).await {
            debug!("some visitors did not leave the page in time");
        }
    }
}

fn prepare_redirect(plan: &HandoverPlan, table: &str, page: &Page) -> Result<Way, SwitchError> {
    let listener = page_listener()?;
    let port = listener.local_addr()?.port();
    let redirect = Redirect::prepare(table, &plan.published, port)?;
    let (published, _serving) = (plan.published.clone(), page.serve(listener)?);
    Ok(Way::Redirect { redirect, published, page_port: port, forgot: None, _serving })
}

async fn release(binding: &mut Option<JoinHandle<()>>) {
    if let Some(task) = binding.take() {
        task.abort();
        // Its listeners are closed once it is gone.
        let _ = task.await;
    }
}

/// Takes every port of the app as soon as it is free, for as long as this runs.
async fn bind_all(published: Vec<Published>, page: Page) {
    let mut bind = Bind::new(&published);
    let mut serving = Vec::new();
    loop {
        for listener in bind.try_bind() {
            match page.serve(listener) {
                Ok(server) => serving.push(server),
                Err(error) => warn!(%error, "cannot serve the page"),
            }
        }
        tokio::time::sleep(BIND_PAUSE).await;
    }
}
