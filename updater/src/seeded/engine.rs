//! The engine on its socket: HTTP by hyper, over a pipe in memory, so that time is the
//! runtime's own and a run of minutes takes milliseconds and goes the same way again.

use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::containers::{Answer, Container, Containers, Fate, image, image_of, no};
use super::dice::Dice;
use super::faults::{Fault, Mischief};
use crate::cli::Exit;
use crate::clock;
use crate::engine::Endpoint;
use crate::events::Event;

/// How long the new version has to answer, in milliseconds.
pub(super) const HEALTH_TIMEOUT: u64 = 8_000;

/// Where clients dial: the engine itself.
#[derive(Clone)]
pub(crate) struct Dial(Arc<Engine>);

impl std::fmt::Debug for Dial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dial")
    }
}

impl PartialEq for Dial {
    fn eq(&self, other: &Dial) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Dial {}

pub(super) struct Engine {
    state: Mutex<State>,
    /// Counts outages: connections end with each.
    epoch: watch::Sender<u64>,
}

pub(super) struct State {
    pub(super) containers: Containers,
    pub(super) fates: Vec<(u32, Fate)>,
    pub(super) dice: Dice,
    /// How many faults there are still to be, and how likely each is, in a hundred.
    pub(super) faults: (u32, u64),
    /// What else happens: right before or after the nth write.
    pub(super) mischief: Vec<(usize, bool, Mischief)>,
    /// How often a request that changes something has failed, or any with its own fault.
    troubles: u32,
    /// For how long it has kept its callers waiting, in milliseconds.
    dawdled: u64,
    /// How late a call may take effect that nobody waits for any more, in milliseconds.
    pub(super) latest: u64,
    /// Until then it answers nobody.
    held_up: Option<Instant>,
    writes: usize,
    up: bool,
    /// Counts restarts of the engine: what was under way ends with each.
    pub(super) boots: u64,
    began: Instant,
    helper: Option<AbortHandle>,
    /// Whether the helper panics when it says something next.
    panics: bool,
    /// Whether the helper waits for a person.
    waits: bool,
    /// Whether the engine has ever lost track of the app's port.
    pub(super) has_lost_the_port: bool,
    /// Commands of people that are still under way.
    pub(super) pending: usize,
    /// What happened, for whoever has to find out why.
    pub(super) story: Vec<String>,
    /// Promises that were broken on the way.
    pub(super) broken: Vec<String>,
    /// Why an update need not have succeeded.
    pub(super) excuses: Vec<String>,
    /// Commands that were refused before anything was touched.
    pub(super) refusals: Vec<String>,
    /// Versions whose health command has succeeded once.
    proven: Vec<u32>,
    by_hand: bool,
}

impl Engine {
    pub(super) fn new(dice: Dice, fates: Vec<(u32, Fate)>) -> Arc<Engine> {
        Arc::new(Engine {
            state: Mutex::new(State {
                containers: Containers::default(),
                fates,
                dice,
                faults: (0, 0),
                mischief: Vec::new(),
                troubles: 0,
                dawdled: 0,
                latest: 1,
                held_up: None,
                writes: 0,
                up: true,
                boots: 0,
                began: Instant::now(),
                helper: None,
                panics: false,
                waits: false,
                has_lost_the_port: false,
                pending: 0,
                story: Vec::new(),
                broken: Vec::new(),
                excuses: Vec::new(),
                refusals: Vec::new(),
                proven: vec![1],
                by_hand: false,
            }),
            epoch: watch::Sender::new(0),
        })
    }

    pub(super) fn endpoint(self: &Arc<Engine>) -> Endpoint {
        Endpoint::InProcess(Dial(self.clone()))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on everybody is honest.
    pub(super) fn behave(&self) {
        let mut state = self.state();
        state.faults = (0, 0);
        state.mischief.clear();
    }

    /// Whether nothing goes on any more: no helper, no command, no engine restart.
    pub(super) fn is_quiet(&self) -> bool {
        let state = self.state();
        let helper = state.containers.list.iter().find(|c| c.is_helper());
        let works = helper.is_some_and(|helper| match helper.running {
            true => !state.waits,
            false => helper.started.is_some() && !helper.by_hand && helper.policy == "always",
        });
        state.up && state.pending == 0 && !works
    }

    async fn serve(self: Arc<Engine>, stream: DuplexStream) {
        let mut epoch = self.epoch.subscribe();
        epoch.mark_unchanged();
        let service = service_fn(|request| self.clone().hear(request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            biased;
            _ = epoch.changed() => {}
            _ = connection => {}
        }
    }

    /// One request: what goes wrong with it, and its effect. An error breaks the connection.
    async fn hear(self: Arc<Engine>, request: Request<Incoming>) -> io::Result<Response<Reply>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let call = Call::read(&head, &body);
        let (fault, nth, latency) = self.state().meet(&call);
        sleep(Duration::from_millis(latency)).await;
        let held_up = self.state().held_up;
        if let Some(until) = held_up {
            sleep_until(until).await;
        }
        if let Some(nth) = nth {
            self.make_mischief(nth, true, &call);
        }
        let broken = || Err(io::ErrorKind::ConnectionReset.into());
        if !self.state().up {
            return broken();
        }
        let effect = |after: u64| {
            let (engine, call) = (self.clone(), call.clone());
            let boots = self.state().boots;
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                engine.take_effect(call, boots, nth).await
            })
        };
        let now = async || effect(0).await.map_err(io::Error::other);
        let (status, answer) = match fault {
            None | Some(Fault::CutInside | Fault::Garbled) => now().await?,
            Some(Fault::Slow(milliseconds)) => {
                sleep(Duration::from_millis(milliseconds)).await;
                now().await?
            }
            Some(Fault::Refuse(status)) => no(status, "out of sorts"),
            Some(Fault::CutBefore) => return broken(),
            Some(Fault::CutAfter) => {
                now().await?;
                return broken();
            }
            Some(Fault::Late(milliseconds)) => {
                drop(effect(milliseconds));
                return broken();
            }
            Some(Fault::HeldUp(milliseconds, more)) => {
                let until = Instant::now() + Duration::from_millis(milliseconds);
                self.state().held_up = Some(until);
                drop(effect(milliseconds + more));
                return broken();
            }
            Some(Fault::Hang(then)) => {
                then.map(effect);
                return std::future::pending().await;
            }
        };
        let bytes = match answer {
            Value::Null => Bytes::new(),
            Value::String(raw) => raw.into_bytes().into(),
            other => other.to_string().into(),
        };
        let bytes = match fault {
            Some(Fault::Garbled) => Bytes::from_static(b"<html>502 Bad Gateway</html>"),
            _ => bytes,
        };
        let torn = fault == Some(Fault::CutInside);
        Response::builder()
            .status(status)
            .header("api-version", "1.51")
            .body(Reply { whole: bytes.len(), rest: Some(bytes), torn })
            .map_err(io::Error::other)
    }

    async fn take_effect(self: Arc<Engine>, call: Call, boots: u64, nth: Option<usize>) -> Answer {
        // A container takes its time to stop.
        if let ("POST", Some(id)) = (call.method.as_str(), call.of_container("stop")) {
            let running = self.state().containers.find(id).is_some_and(|c| c.running);
            let time = self.state().dice.between(5, 1500);
            if running {
                sleep(Duration::from_millis(time)).await;
            }
        }
        if self.state().boots != boots {
            return no(500, "the engine has gone");
        }
        let answer = self.perform(&call);
        if nth.is_some() {
            self.state().tell(format!("{} -> {}", call.in_short(), answer.0));
        }
        self.check();
        if let Some(nth) = nth {
            self.make_mischief(nth, false, &call);
        }
        answer
    }

    fn perform(self: &Arc<Engine>, call: &Call) -> Answer {
        let path: Vec<&str> = call.path.split('/').filter(|part| !part.is_empty()).collect();
        let mut state = self.state();
        match (call.method.as_str(), path.as_slice()) {
            ("GET", ["_ping"]) => (200, "OK".into()),
            ("GET", ["info"]) => (
                200,
                json!({ "Name": "host", "Architecture": "x86_64", "DockerRootDir": "/nowhere" }),
            ),
            ("GET", ["images", "json"]) => (200, json!([])),
            ("GET", ["images", reference @ .., "json"]) => image(&reference.join("/")),
            ("GET", ["containers", "json"]) => {
                let filters: Value =
                    serde_json::from_str(call.query("filters").unwrap_or("{}")).unwrap_or_default();
                let wanted = filters["label"][0].as_str().unwrap_or_default().to_owned();
                let list = state.containers.list.iter();
                let found = list.filter(|c| wanted.is_empty() || c.has_label(&wanted));
                (200, found.map(Container::summary).collect())
            }
            ("POST", ["containers", "create"]) => {
                let image = call.body["Image"].as_str().and_then(image_of);
                if image.is_some_and(|image| state.fate(image) == Fate::CreateRefused) {
                    return no(400, "invalid mount config");
                }
                state.containers.create(call.query("name").unwrap_or_default(), &call.body)
            }
            ("GET", ["containers", id, "json"]) => match state.containers.find(id) {
                Some(found) => (200, found.inspect()),
                None => no(404, "No such container"),
            },
            ("GET", ["containers", _, "changes"]) => (200, json!([])),
            ("GET", ["containers", id, "logs"]) => match state.containers.find(id) {
                Some(found) => (200, Value::String(as_log(&found.log))),
                None => no(404, "No such container"),
            },
            ("POST", ["containers", id, "start"]) => {
                let id = (*id).to_owned();
                drop(state);
                self.start(&id)
            }
            ("POST", ["containers", id, "stop"]) => {
                let Some(found) = state.containers.find_mut(id) else {
                    return no(404, "No such container");
                };
                if !found.running {
                    return (304, Value::Null);
                }
                found.by_hand = true;
                let (id, run) = (found.id.clone(), found.run);
                drop(state);
                self.ended(&id, run, 0);
                (204, Value::Null)
            }
            ("POST", ["containers", id, "restart"]) => {
                let Some(found) = state.containers.find_mut(id) else {
                    return no(404, "No such container");
                };
                found.by_hand = true;
                // What ends is taken for the next one, unless nobody starts that by itself.
                found.left_behind = found.in_disorder && found.policy != "no";
                let (id, run) = (found.id.clone(), found.run);
                drop(state);
                self.ended(&id, run, 0);
                self.start(&id)
            }
            ("POST", ["containers", id, "rename"]) => {
                let to = call.query("name").unwrap_or_default().to_owned();
                state.containers.rename(id, &to)
            }
            ("POST", ["containers", id, "update"]) => {
                let policy = call.body["RestartPolicy"]["Name"].as_str().unwrap_or_default();
                state.containers.set_policy(id, policy)
            }
            ("DELETE", ["containers", id]) => {
                let is = |key: &str| call.query(key) == Some("1");
                let (force, volumes) = (is("force"), is("v"));
                let found = state.containers.find(id).cloned();
                let answer = state.containers.remove(id, force, volumes);
                if let Some(found) = found.filter(|_| answer.0 < 300) {
                    if found.is_helper() {
                        state.helper.take().inspect(AbortHandle::abort);
                    } else {
                        state.is_removed(&found);
                    }
                }
                answer
            }
            ("POST", ["containers", id, "exec"]) => match state.containers.find(id) {
                Some(found) if found.running => (201, json!({ "Id": found.id })),
                Some(_) => no(409, "container is not running"),
                None => no(404, "No such container"),
            },
            ("POST", ["exec", _, "start"]) => (200, Value::Null),
            ("GET", ["exec", id, "json"]) => {
                let Some(found) = state.containers.find(id).cloned() else {
                    return no(404, "No such exec instance");
                };
                let healthy = found.is_healthy(state.fate(found.image));
                if healthy && !state.proven.contains(&found.image) {
                    state.proven.push(found.image);
                }
                (200, json!({ "ExitCode": i64::from(!healthy) }))
            }
            _ => no(404, "page not found"),
        }
    }

    /// Starts a container and what runs in it.
    pub(super) fn start(self: &Arc<Engine>, name_or_id: &str) -> Answer {
        let mut state = self.state();
        let fates = state.fates.clone();
        let answer = state.containers.start(name_or_id, |image| fate_of(&fates, image));
        if answer.0 != 204 {
            return answer;
        }
        let Some(found) = state.containers.find(name_or_id).cloned() else { return answer };
        let engine = self.clone();
        if found.is_helper() {
            let task = tokio::spawn(async move {
                let (log, me) = (engine.clone(), found.id.clone());
                let emit = move |event: &Event| {
                    if std::mem::take(&mut log.state().panics) {
                        // As `panic!`, without a word on standard error.
                        resume_unwind(Box::new("a mistake of ours"));
                    }
                    let line = serde_json::to_string(event).unwrap_or_default();
                    match event {
                        Event::Finished { waits, .. } => log.state().waits = *waits,
                        Event::Started { .. } | Event::Begun { .. } => log.state().waits = false,
                        _ => {}
                    }
                    if let Some(helper) = log.state().containers.find_mut(&me) {
                        helper.log.push(line);
                    }
                };
                let run = crate::helper::run(engine.endpoint(), &found.name, emit);
                let done = AssertUnwindSafe(run).catch_unwind().await;
                let code = match &done {
                    Ok(Ok(outcome)) => Exit::from(outcome).code(),
                    Ok(Err(_)) => 75,
                    Err(_) => 101,
                };
                engine.state().tell(format!("the helper ends: {code} {done:?}"));
                engine.ended(&found.id, found.run, i64::from(code));
            });
            state.helper = Some(task.abort_handle());
        } else if let Fate::Exits { after } = fate_of(&fates, found.image) {
            tokio::spawn(async move {
                sleep(Duration::from_millis(after)).await;
                engine.ended(&found.id, found.run, 3);
            });
        }
        answer
    }

    /// A container's main process is gone.
    fn ended(self: &Arc<Engine>, id: &str, run: u64, code: i64) {
        let mut state = self.state();
        if state.containers.find(id).is_some_and(|c| c.is_helper() && c.run == run && c.running) {
            state.helper.take().inspect(AbortHandle::abort);
        }
        let Some(pause) = state.containers.ended(id, run, code) else { return };
        let (engine, id, boots) = (self.clone(), id.to_owned(), state.boots);
        tokio::spawn(async move {
            sleep(pause).await;
            let still = |c: &Container| !c.running && c.run == run && c.policy != "no";
            let due = {
                let state = engine.state();
                state.boots == boots && state.containers.find(&id).is_some_and(still)
            };
            if due {
                engine.start(&id);
            }
        });
    }

    /// What happens right before or after this write.
    fn make_mischief(self: &Arc<Engine>, nth: usize, before: bool, call: &Call) {
        loop {
            let mut state = self.state();
            let due = |(at, side, _): &(usize, bool, Mischief)| *at == nth && *side == before;
            let Some(at) = state.mischief.iter().position(due) else { return };
            let (_, _, mischief) = state.mischief.remove(at);
            let started = call.of_container("start").and_then(|id| state.containers.find(id));
            let started = started.filter(|c| !c.is_helper()).map(|c| c.id.clone());
            let was_up = state.up;
            drop(state);
            self.commit(mischief);
            // An engine that dies while it starts a container may come back with its port,
            // or leave a process behind that it knows nothing of.
            let Some(id) = started.filter(|_| was_up) else { continue };
            let mut state = self.state();
            match mischief {
                Mischief::EngineKilled(_) if state.dice.chance(50) => state.leaves_behind(&id),
                Mischief::EngineKilled(_) | Mischief::PowerCut(_) => state.loses_the_port(),
                _ => {}
            }
        }
    }

    /// Does what somebody does in the middle.
    pub(super) fn commit(self: &Arc<Engine>, mischief: Mischief) {
        let mut state = self.state();
        state.tell(format!("*** {mischief:?}"));
        if mischief.is_by_hand() {
            state.by_hand = true;
        }
        let named = |state: &State, name: &str| state.containers.find(name).cloned();
        let helper = named(&state, "web.changeover");
        let new = state.containers.list.iter().find(|c| c.has_label("io.changeover.update"));
        let new = new.filter(|new| new.has_label("io.changeover.record")).cloned();
        let old = named(&state, "web.old").or_else(|| named(&state, "web"));
        match mischief {
            Mischief::HelperCrashes => {
                // One that dies again can't tell any more what the engine took with it.
                if state.boots > 0 {
                    state.excuse(mischief);
                }
                drop(state);
                if let Some(helper) = helper {
                    self.ended(&helper.id, helper.run, 137);
                }
            }
            Mischief::HelperPanics => {
                if state.boots > 0 {
                    state.excuse(mischief);
                }
                state.panics = helper.is_some_and(|helper| helper.running);
            }
            Mischief::HelperStopped | Mischief::HelperRemoved => {
                state.excuse(mischief);
                if let Some(helper) = helper {
                    state.helper.take().inspect(AbortHandle::abort);
                    if mischief == Mischief::HelperRemoved {
                        state.containers.remove(&helper.id, true, true);
                    } else if let Some(found) = state.containers.find_mut(&helper.id) {
                        found.by_hand = true;
                        drop(state);
                        self.ended(&helper.id, helper.run, 143);
                    }
                }
            }
            Mischief::EngineAway(time)
            | Mischief::EngineTerminated(time)
            | Mischief::EngineKilled(time)
            | Mischief::PowerCut(time) => {
                drop(state);
                self.go_down(mischief, time);
            }
            Mischief::Rollback => {
                state.excuse(mischief);
                if let Some(new) = new.filter(|_| old.is_some_and(|old| old.name == "web.old")) {
                    state.containers.rename(&new.id, "web.failed");
                }
            }
            Mischief::NewRemoved => {
                state.excuse(mischief);
                if let Some(new) = new.filter(|_| named(&state, "web.old").is_some()) {
                    state.containers.remove(&new.id, true, false);
                }
            }
            Mischief::OldStarted => {
                state.excuse(mischief);
                drop(state);
                if let Some(old) = old {
                    self.start(&old.id);
                }
            }
            Mischief::AppRestarted => {
                state.excuse(mischief);
                let running =
                    state.containers.running_versions().first().map(|c| (c.id.clone(), c.run));
                drop(state);
                if let Some((id, run)) = running {
                    if let Some(found) = self.state().containers.find_mut(&id) {
                        found.by_hand = true;
                    }
                    self.ended(&id, run, 0);
                    self.start(&id);
                }
            }
            Mischief::ClockJumps(seconds) => clock::simulated::jump(seconds),
            Mischief::AnotherUpdate => {
                state.excuse(mischief);
                drop(state);
                super::course::ask(self, &["update", "web", "--image", "web:3"]);
            }
        }
    }

    /// The engine goes down and comes back, and with it what the restart policies say.
    fn go_down(self: &Arc<Engine>, how: Mischief, time: u64) {
        let mut state = self.state();
        if !state.up {
            return;
        }
        state.up = false;
        self.epoch.send_modify(|epoch| *epoch += 1);
        // Before there is a new container nothing tells an old one that was restarted from
        // one that was restored.
        let begun = state.containers.list.iter().any(|c| c.has_label("io.changeover.update"));
        if !matches!(how, Mischief::EngineAway(_)) && !begun {
            state.excuse(how);
        }
        let killed = matches!(how, Mischief::EngineKilled(_));
        let everything_dies = matches!(how, Mischief::EngineTerminated(_) | Mischief::PowerCut(_));
        let mut back = Vec::new();
        if !matches!(how, Mischief::EngineAway(_)) {
            state.boots += 1;
            state.containers.port_lost = false;
            for found in &mut state.containers.list {
                found.counts_anew();
                if found.comes_back(killed) {
                    back.push((found.id.clone(), found.is_helper()));
                } else if killed && found.running {
                    found.by_hand = true;
                }
            }
        }
        if everything_dies {
            state.everything_ends();
        }
        drop(state);
        let engine = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(time)).await;
            let mut state = engine.state();
            if killed {
                state.everything_ends();
                // What the dead engine has left behind is in the way for a moment.
                let until = Instant::now() + Duration::from_millis(state.dice.between(0, 6000));
                for found in state.containers.list.iter_mut().filter(|c| !c.is_helper()) {
                    found.stuck_until = Some(until);
                }
            }
            state.up = true;
            state.tell("*** the engine is back".into());
            if state.dice.chance(50) {
                back.reverse();
            }
            drop(state);
            for (id, _) in back {
                // One that cannot be started at a boot is not tried again.
                engine.start(&id);
            }
        });
    }

    /// What must hold at every moment.
    fn check(&self) {
        let mut state = self.state();
        if state.by_hand {
            return;
        }
        for killed in [false, true] {
            let back = state.containers.list.iter().filter(|c| !c.is_helper());
            let back: Vec<String> =
                back.filter(|c| c.comes_back(killed)).map(|c| c.name.clone()).collect();
            if back.len() > 1 {
                let what = format!("would all come back at a boot: {back:?}");
                state.tell(what.clone());
                state.broken.push(what);
            }
        }
    }
}

impl State {
    pub(super) fn tell(&mut self, what: String) {
        let at = self.began.elapsed().as_millis();
        self.story.push(format!("{at:>8} ms  {what}"));
    }

    fn excuse(&mut self, why: impl std::fmt::Debug) {
        self.excuses.push(format!("{why:?}"));
    }

    pub(super) fn fate(&self, image: u32) -> Fate {
        fate_of(&self.fates, image)
    }

    /// Decides what goes wrong with a request, which write it is, and how long it takes.
    fn meet(&mut self, call: &Call) -> (Option<Fault>, Option<usize>, u64) {
        let write = call.is_write();
        let nth = write.then(|| {
            self.writes += 1;
            self.writes - 1
        });
        let latency = self.dice.between(1, 15);
        let (left, percent) = self.faults;
        // Looks are many; a fault in each would be the same one over and over.
        let percent = if write { percent } else { percent / 8 };
        if left == 0 || !self.dice.chance(percent) {
            return (None, nth, latency);
        }
        self.faults.0 -= 1;
        let fault = Fault::any(&mut self.dice, write, self.latest);
        self.tell(format!("{}: {fault:?}", call.in_short()));
        // The engine's own trouble is believed when it lasts, and whoever is asked through
        // an engine that dawdles has less time to answer.
        match fault {
            Fault::Slow(time) => self.dawdled += time,
            Fault::HeldUp(time, _) => {
                self.dawdled += time;
                self.troubles += 1;
            }
            fault => self.troubles += u32::from(write || fault == Fault::Refuse(500)),
        }
        let believed = match fault {
            Fault::Refuse(500) => self.troubles > 2,
            Fault::Slow(_) | Fault::HeldUp(..) => self.dawdled > HEALTH_TIMEOUT,
            fault => fault.may_end_an_update(),
        };
        if believed {
            self.excuse(fault);
        }
        (Some(fault), nth, latency)
    }

    /// A version was removed: what it takes for that to be right.
    fn is_removed(&mut self, gone: &Container) {
        let is_successor =
            |c: &&Container| c.name == "web" && !c.is_helper() && c.image != gone.image;
        if self.by_hand || gone.name != "web.old" {
            return;
        }
        let proven = self.containers.list.iter().find(is_successor).map(|c| c.image);
        let ran = gone.started.is_some();
        if ran && !proven.is_some_and(|image| self.proven.contains(&image)) {
            self.broken.push(format!("{} was removed for an unproven version", gone.name));
        }
    }

    fn loses_the_port(&mut self) {
        self.tell("*** it loses track of the app's port".into());
        self.containers.port_lost = true;
        self.has_lost_the_port = true;
        self.excuse("the port is lost");
    }

    fn leaves_behind(&mut self, id: &str) {
        if let Some(found) = self.containers.find_mut(id) {
            found.left_behind = true;
            self.tell("*** it has left a process behind".into());
        }
    }

    fn everything_ends(&mut self) {
        self.helper.take().inspect(AbortHandle::abort);
        for found in &mut self.containers.list {
            if found.running {
                found.running = false;
                found.exit_code = 137;
            }
            // Nothing of before reaches what is started from here on.
            found.run += 1;
        }
    }
}

impl Dial {
    /// A new connection.
    pub(crate) fn dial(&self) -> io::Result<DuplexStream> {
        if !self.0.state().up {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (here, there) = tokio::io::duplex(64 * 1024);
        tokio::spawn(self.0.clone().serve(there));
        Ok(here)
    }
}

fn fate_of(fates: &[(u32, Fate)], image: u32) -> Fate {
    let known = fates.iter().find(|(known, _)| *known == image);
    known.map_or(Fate::Good { boot: 200 }, |(_, fate)| *fate)
}

/// Lines as the engine frames them for a log: in pieces, each with its length in front.
fn as_log(lines: &[String]) -> String {
    let mut framed = String::new();
    let text: Vec<char> = lines.iter().flat_map(|line| line.chars().chain(['\n'])).collect();
    // So short that the length is one byte, and one that is a letter.
    for piece in text.chunks(30) {
        let piece: String = piece.iter().collect();
        framed.extend(['\u{1}', '\0', '\0', '\0', '\0', '\0', '\0', char::from(piece.len() as u8)]);
        framed.push_str(&piece);
    }
    framed
}

/// One request, read.
#[derive(Debug, Clone)]
struct Call {
    method: String,
    path: String,
    query: Vec<(String, String)>,
    body: Value,
}

impl Call {
    fn read(head: &hyper::http::request::Parts, body: &[u8]) -> Call {
        let path = head.uri.path();
        let versioned =
            path.strip_prefix("/v").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
        let pairs = head.uri.query().unwrap_or_default().split('&');
        let query = pairs.filter_map(|pair| pair.split_once('='));
        Call {
            method: head.method.to_string(),
            path: decoded(versioned.unwrap_or(path)),
            query: query.map(|(key, value)| (key.to_owned(), decoded(value))).collect(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        }
    }

    fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    fn of_container(&self, verb: &str) -> Option<&str> {
        self.path.strip_prefix("/containers/")?.strip_suffix(verb)?.strip_suffix('/')
    }

    fn is_write(&self) -> bool {
        self.method != "GET" && !self.path.contains("/exec") && !self.path.starts_with("/exec")
    }

    fn in_short(&self) -> String {
        let detail = self.query("name").or(self.body["RestartPolicy"]["Name"].as_str());
        format!("{} {} {}", self.method, short(&self.path), detail.unwrap_or_default())
    }
}

/// Ids are long and begin with zeros.
fn short(path: &str) -> String {
    path.replace(&"0".repeat(50), "…")
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| (byte as char).to_digit(16));
        bytes.push(match byte {
            b'%' => (hex(rest.next()).unwrap_or(0) * 16 + hex(rest.next()).unwrap_or(0)) as u8,
            other => other,
        });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A body that may break off in the middle.
struct Reply {
    whole: usize,
    rest: Option<Bytes>,
    torn: bool,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let torn = self.torn;
        Poll::Ready(match self.rest.take() {
            Some(bytes) if torn => Some(Ok(Frame::data(bytes.slice(..bytes.len() / 2)))),
            Some(bytes) => Some(Ok(Frame::data(bytes))),
            None if torn => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        !self.torn && self.rest.as_ref().is_none_or(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.whole as u64)
    }
}
