//! The proof by exhaustion: every state that the swap can reach, through
//! crashes, reboots, refusals, bad images and a person's rollback, for one
//! container and for a set, for every restart policy.
//!
//! The helper has no memory, so a crash of it changes nothing: the same state is
//! looked at again. What is explored are the engine's states. The engine here is
//! a few lines that follow its documented rules about names, restart policies
//! and boots.
//!
//! **What holds in every reachable state**
//! 1. Never do two versions run at the same time.
//! 2. Never would two versions come back by themselves at a boot.
//! 3. The old container is removed only after the new one has passed the gate.
//! 4. Until new has been started, an old container that is stopped comes back at
//!    a boot, or is about to be replaced in the very next calls.
//! 5. The helper alone, with nothing else going wrong, ends within
//!    [`ENOUGH`] calls, and then exactly one version has the app's name, its own
//!    restart policy, and runs if the app ran before.
//! 6. Once old has been stopped, what is on its way back never turns round, not even
//!    if somebody takes away the container that carried the verdict.
//! 7. A person is called only where one has removed the old container in the
//!    middle and the new one is no good.
//! 8. An old container is never stopped for a new one that isn't the same, and such
//!    a new one is never started.
//! 9. A good version is not given up because the engine, or the whole machine, went down
//!    while it was on its way in, however often.
//!    Nor because the engine, killed in the middle of a start, has left something behind
//!    that brings the next start into disorder; and nobody is left in disorder.
//! 10. Nobody stops an old container that was seen to be started by a person.
//! 11. Where data is kept, new is never started without a snapshot of what old has left,
//!     taken while nobody ran, and old never runs, be it by a boot, on what new has
//!     touched and nobody has put back, unless a person has started it. What that old has
//!     written is never overwritten, nor left to a new one without a snapshot of its own.
//! 12. Where an engine that went down in the middle of a start has lost track of the app's
//!     port, so that nobody can be started, the old version comes back by itself at its
//!     next restart, and the helper ends what is left: that restart is all that a person
//!     has to do.
//! 13. The page is shown whenever no version runs, and never while an untouched
//!     old version or an accepted new one serves.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

use super::facts::{Container, DataFacts, Facts, MemberFacts, Sameness, Verdict};
use super::{Call, Direction, Next, Outcome, SERVE, STEPS, next, shows_page};
use crate::plan::{
    BackupPlan, Expected, GatePlan, HandoverMode, HandoverPlan, Image, Member, Old, PageSettings,
    Plan, Probe, Store,
};

/// Calls within which the helper must be done from any state.
const ENOUGH: usize = 60;

const BEFORE: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-02T00:00:00Z";
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What is wrong with the new version, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fate {
    Good,
    Differs,
    FailsTheGate,
    ExitsAtOnce,
    CreateRefused,
    StartRefused,
    WrongImage,
}

const FATES: [Fate; 7] = [
    Fate::Good,
    Fate::Differs,
    Fate::FailsTheGate,
    Fate::ExitsAtOnce,
    Fate::CreateRefused,
    Fate::StartRefused,
    Fate::WrongImage,
];

/// How far the helper has seen the new version work; it forgets that when it dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Proof {
    None,
    Answers,
    Steady,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Simulated {
    name: String,
    running: bool,
    policy: &'static str,
    started: &'static str,
    /// Stopped through the engine: `unless-stopped` stays down at a boot.
    stopped_by_hand: bool,
    /// The engine was killed while it started this one, and has left a process behind.
    left_behind: bool,
    /// It was started since, and serves nobody.
    in_disorder: bool,
}

impl Simulated {
    fn start(&mut self) {
        self.started = LATER;
        self.stopped_by_hand = false;
        self.running = true;
        self.in_disorder = std::mem::take(&mut self.left_behind);
    }

    fn serves(&self) -> bool {
        self.running && !self.in_disorder
    }
}

/// The engine's state for one set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    fate: Fate,
    policy: &'static str,
    ran: bool,
    /// The plan says to keep the data.
    keeps_data: bool,
    members: Vec<(Option<Simulated>, Option<Simulated>)>,
    /// Somebody removed an old container before its time.
    bereaved: bool,
    /// The helper was told no; it forgets that when it dies.
    refused: bool,
    compared: Vec<bool>,
    carried: Vec<bool>,
    tagged: Vec<bool>,
    proof: Vec<Proof>,
    answers: Vec<bool>,
    /// The engine has gone down with the new container; the helper forgets that when it
    /// dies by itself.
    fell: Vec<bool>,
    /// The helper has seen that somebody started an old container.
    taken_back: bool,
    /// What the helper has done for the data; it forgets that when it dies.
    data: DataFacts,
    /// There is a snapshot of the data as old has left it.
    kept: bool,
    /// New has run on the data since it was last what old had left.
    touched: bool,
    /// The engine has lost track of the app's port: until its next restart no start succeeds.
    port_lost: bool,
}

impl World {
    fn fresh(fate: Fate, policy: &'static str, ran: bool, size: usize) -> World {
        let old = |n: usize| Simulated {
            name: name(n),
            running: ran,
            policy,
            started: BEFORE,
            stopped_by_hand: !ran,
            left_behind: false,
            in_disorder: false,
        };
        World {
            fate,
            policy,
            ran,
            keeps_data: false,
            members: (0..size).map(|n| (Some(old(n)), None)).collect(),
            bereaved: false,
            refused: false,
            compared: vec![false; size],
            carried: vec![false; size],
            tagged: vec![false; size],
            proof: vec![Proof::None; size],
            answers: vec![false; size],
            fell: vec![false; size],
            taken_back: false,
            data: DataFacts::default(),
            kept: false,
            touched: false,
            port_lost: false,
        }
    }

    fn keeping_data(self) -> World {
        World { keeps_data: true, ..self }
    }

    /// Old runs from now on.
    fn old_runs(&mut self) {
        if self.keeps_data {
            assert!(!self.touched, "old runs on data of new: {self:?}");
        }
        (self.kept, self.data.kept) = (false, false);
    }

    fn plan(&self) -> Plan {
        let image = |id: &str| Image { reference: id.into(), id: id.into(), digest: None };
        let member = |n: usize| Member {
            name: name(n),
            old: Old {
                id: format!("old{n}"),
                image: image("v1"),
                running: self.ran,
                policy: policy(self.policy),
                started_at: BEFORE.into(),
                stop_seconds: 10,
            },
            image: image("v2"),
            create: Some(json!({})),
            platform: None,
            connect: Vec::new(),
            hidden: None,
            // Policies make no difference to it.
            retag: (self.policy == "always").then(|| "app:1".into()),
            carry: if self.policy == "always" { vec!["/secret".into()] } else { Vec::new() },
            expected: Expected::default(),
            probe: Probe::Running,
        };
        Plan {
            schema: crate::plan::SCHEMA,
            update: "u1".into(),
            app: name(0),
            asked_at: BEFORE.into(),
            members: (0..self.members.len()).map(member).collect(),
            handover: HandoverPlan {
                mode: HandoverMode::Redirect,
                may_fall_back: true,
                because: String::new(),
                published: Vec::new(),
            },
            gate: GatePlan { timeout_seconds: 120, stable_seconds: 5 },
            notify: None,
            history: None,
            page: PageSettings {
                title: "app".into(),
                from: "1".into(),
                to: "2".into(),
                face: Default::default(),
                certificate: None,
            },
            backup: self.keeps_data.then(|| BackupPlan {
                to: Store::Volume("backups".into()),
                before: None,
                keep: 3,
                exclude: Vec::new(),
                key_file: None,
                sources: Vec::new(),
            }),
            goes_back: false,
            own_helper_image: None,
        }
    }

    fn facts(&self) -> Facts {
        let container = |kind: &str, n: usize, b: &Simulated, image: &str| Container {
            id: format!("{kind}{n}"),
            name: b.name.clone(),
            running: b.running,
            policy: policy(b.policy),
            started_at: b.started.into(),
            exit_code: 1,
            image: image.into(),
            ..Container::default()
        };
        let new_image = if self.fate == Fate::WrongImage { "v0" } else { "v2" };
        let member =
            |(n, (old, new)): (usize, &(Option<Simulated>, Option<Simulated>))| MemberFacts {
                old: old.as_ref().map(|b| container("old", n, b, "v1")),
                new: new.as_ref().map(|b| container("new", n, b, new_image)),
                sameness: match (self.compared[n], self.fate) {
                    (false, _) => Sameness::Unknown,
                    (true, Fate::Differs) => Sameness::Differs("a field".into()),
                    (true, _) => Sameness::Same,
                },
                carried: self.carried[n],
                tagged: self.tagged[n],
                gate: match (new, self.fate) {
                    (Some(b), Fate::FailsTheGate) if b.running && self.ran => {
                        Verdict::Failed("unhealthy".into())
                    }
                    (Some(_), _) => match self.proof[n] {
                        Proof::None => Verdict::Pending,
                        Proof::Answers => Verdict::Answers,
                        Proof::Steady => Verdict::Passed,
                    },
                    _ => Verdict::Pending,
                },
                old_answers: self.answers[n],
                fell_with_engine: self.fell[n],
                taken_back: self.taken_back,
                old_in_disorder: old.as_ref().is_some_and(|old| old.in_disorder),
                new_in_disorder: new.as_ref().is_some_and(|new| new.in_disorder),
            };
        Facts {
            members: self.members.iter().enumerate().map(member).collect(),
            refusal: self.refused.then(|| "no".to_owned()),
            data: self.data,
        }
    }

    /// What the engine does with one decision; `None` at the end.
    fn perform(&self, decided: &Next) -> Option<World> {
        let mut world = self.clone();
        match decided {
            Next::Finish(_) => return None,
            Next::Condemn { id, to, .. } => world.rename(id, to),
            Next::Do { member, call, .. } => match call {
                Call::Create => match self.fate {
                    Fate::CreateRefused => world.refused = true,
                    _ => {
                        let name = format!("{}.next", name(*member));
                        world.assert_free(&name);
                        world.members[*member].1 = Some(Simulated {
                            name,
                            running: false,
                            policy: "no",
                            started: NEVER,
                            stopped_by_hand: false,
                            left_behind: false,
                            in_disorder: false,
                        });
                    }
                },
                Call::Connect { .. } => {}
                Call::FirstPass => world.data.passed = true,
                Call::BackUp => {
                    let runs = |b: &Option<Simulated>| b.as_ref().is_some_and(|b| b.running);
                    let anybody = self.members.iter().any(|(old, new)| runs(old) || runs(new));
                    assert!(!anybody, "backed up what is being written: {self:?}");
                    assert!(!self.touched, "backed up what new has touched: {self:?}");
                    world.data.kept = true;
                    world.kept = true;
                }
                Call::FindBackup => match self.kept {
                    true => world.data.kept = true,
                    false => world.refused = true,
                },
                Call::PutBack => {
                    let runs = |b: &Option<Simulated>| b.as_ref().is_some_and(|b| b.running);
                    let anybody = self.members.iter().any(|(old, new)| runs(old) || runs(new));
                    assert!(!anybody, "put back what is being written: {self:?}");
                    world.data.put_back = true;
                    // Without a snapshot of this very state it does nothing.
                    world.touched &= !self.kept;
                }
                Call::Tag { .. } => {
                    assert!(
                        world.members[*member].0.is_none(),
                        "the tag is needed for the way back"
                    );
                    world.tagged[*member] = true;
                }
                Call::Carry { from, to } => {
                    assert!(!world.find(from).running, "copied what is still being written");
                    assert_eq!(world.find(to).started, NEVER, "copied into one that was started");
                    world.carried[*member] = true;
                }
                Call::Compare => world.compared[*member] = true,
                Call::SetPolicy { id, policy } => {
                    world.find(id).policy = known(policy["Name"].as_str().expect("a name"));
                }
                Call::Stop { id } => {
                    assert!(
                        !self.taken_back || id.starts_with("new"),
                        "stopped what a person has started: {self:?}"
                    );
                    let found = world.find(id);
                    assert!(found.running, "stopped what does not run");
                    assert!(
                        self.fate != Fate::Differs || id.starts_with("new") || self.bereaved,
                        "stopped old for a new one that differs: {self:?}"
                    );
                    found.running = false;
                    found.stopped_by_hand = true;
                    world.carried[*member] = false;
                }
                // On the way in it is given up for that; otherwise it is waited for.
                Call::Start { id } if self.port_lost => {
                    world.refused = id.starts_with("new") && self.members[0].0.is_some();
                }
                Call::Start { id } if id.starts_with("new") => match self.fate {
                    Fate::StartRefused => world.refused = true,
                    fate => {
                        assert!(
                            fate != Fate::Differs || self.bereaved,
                            "started one that differs: {self:?}"
                        );
                        let found = world.find(id);
                        found.start();
                        found.running = fate != Fate::ExitsAtOnce;
                        world.fell[*member] = false;
                        if self.keeps_data {
                            // Past the commit there is nothing to put it back for.
                            let committed = self.members[0].0.is_none();
                            assert!(
                                self.kept || committed,
                                "started new without a backup: {self:?}"
                            );
                            world.touched = true;
                        }
                    }
                },
                Call::Start { id } => {
                    world.find(id).start();
                    world.answers[*member] = false;
                    world.old_runs();
                }
                Call::StartAnew { id } => {
                    let found = world.find(id);
                    assert!(found.in_disorder, "started anew what is well: {self:?}");
                    found.start();
                    match id.starts_with("new") {
                        true => found.running = self.fate != Fate::ExitsAtOnce,
                        false => world.answers[*member] = false,
                    }
                }
                Call::Rename { id, to } => world.rename(id, to),
                Call::Remove { id } => {
                    assert!(!world.find(id).running, "removed a running container");
                    // The lead's removal is the commit; the others follow it, also after a boot.
                    let committed = world.members[0].0.is_none();
                    let proven = world.proof.iter().all(|proof| *proof == Proof::Steady);
                    assert!(
                        committed || proven || self.bereaved,
                        "committed an unproven version: {self:?}"
                    );
                    world.members[*member].0 = None;
                }
                Call::WatchNew => {
                    world.proof[*member] = match self.proof[*member] {
                        Proof::None => Proof::Answers,
                        _ => Proof::Steady,
                    };
                }
                Call::WatchOld => world.answers[*member] = true,
                Call::Nothing => panic!("a step without a call was left open: {decided:?}"),
            },
        }
        Some(world)
    }

    /// Everything that others may do in between.
    fn disturbed(&self) -> Vec<World> {
        let mut worlds = vec![self.rebooted(false), self.rebooted(true), self.forgotten()];
        let decided = next(&self.plan(), &self.facts());
        if let Next::Do { call: Call::Start { .. }, .. } = decided
            // One mishap of this kind is enough.
            && !self.bereaved
            && !self.port_lost
        {
            worlds.extend([false, true].map(|killed| self.rebooted_in_a_start(killed)));
            // The policy under which most can come back is enough.
            if self.policy == "unless-stopped" {
                worlds.extend(self.left_behind());
            }
        }
        for n in 0..self.members.len() {
            if let Some(new) = &self.members[n].1
                && new.running
                && self.members[n].0.is_some()
            {
                let mut crashed = self.clone();
                let found = crashed.find(&format!("new{n}"));
                found.running = matches!(new.policy, "always" | "unless-stopped");
                worlds.push(crashed);
            }
        }
        // A person starts the old container: the helper sees it, or dies before it does.
        if let (Some(old), Some(new)) = &self.members[0]
            && self.ran
            && !old.running
            && !new.running
            && !self.port_lost
            // The policy under which most can come back, and no other mishap beside it.
            && self.policy == "unless-stopped"
            && !self.bereaved
        {
            let mut started = self.clone();
            let old = started.find("old0");
            (old.running, old.started, old.stopped_by_hand) = (true, LATER, false);
            // Whoever does that takes the data as it is, and nothing is put back any more.
            (started.kept, started.touched, started.data.kept) = (false, false, false);
            worlds.push(started.clone());
            started.taken_back = true;
            worlds.push(started);
        }
        // A person asks for a rollback, at any time before the commit.
        if let (Some(_), Some(new)) = &self.members[0]
            && !new.name.ends_with(".failed")
        {
            let mut condemned = self.clone();
            condemned.rename("new0", &format!("{}.failed", name(0)));
            worlds.push(condemned);
        }
        for n in 0..self.members.len() {
            // Past the commit there would be nothing left to go to.
            let (Some(_), Some(_)) = &self.members[n] else { continue };
            // One mishap of this kind is enough, and policies make no difference to it.
            if self.members[0].0.is_none() || self.bereaved || self.policy != "always" {
                continue;
            }
            // Another member's is simply created anew.
            if n == 0 {
                let mut without_new = self.clone();
                without_new.members[n].1 = None;
                without_new.compared[n] = false;
                without_new.carried[n] = false;
                without_new.proof[n] = Proof::None;
                without_new.fell[n] = false;
                worlds.push(without_new);
            }
            let mut without_old = self.clone();
            without_old.members[n].0 = None;
            without_old.bereaved = true;
            worlds.push(without_old);
        }
        worlds
    }

    /// The helper was killed and started again.
    fn forgotten(&self) -> World {
        let mut world = self.clone();
        world.refused = false;
        world.compared.fill(false);
        world.carried.fill(false);
        world.proof.fill(Proof::None);
        world.answers.fill(false);
        world.fell.fill(false);
        world.taken_back = false;
        world.data = DataFacts::default();
        world
    }

    /// `killed`: the engine died by SIGKILL, so containers that ran under
    /// `unless-stopped` count as stopped by hand afterwards.
    fn rebooted(&self, killed: bool) -> World {
        self.booted(killed, false)
    }

    /// The same in the middle of a start, and the engine has kept the port for that.
    fn rebooted_in_a_start(&self, killed: bool) -> World {
        self.booted(killed, true)
    }

    /// The engine was killed in the start that comes next, and has left its process behind.
    fn left_behind(&self) -> Option<World> {
        let mut world = self.clone();
        let decided = next(&self.plan(), &self.facts());
        let Next::Do { call: Call::Start { id }, .. } = decided else { return None };
        world.find(&id).left_behind = true;
        Some(world.rebooted(true))
    }

    fn booted(&self, killed: bool, port_lost: bool) -> World {
        let mut world = World { port_lost, ..self.forgotten() };
        for found in world.members.iter_mut().flat_map(|(old, new)| [old, new]).flatten() {
            let comes_back = comes_back(found, killed) && !port_lost;
            (found.running, found.in_disorder) = (false, false);
            if comes_back {
                let stopped_by_hand = found.stopped_by_hand;
                found.start();
                found.stopped_by_hand = stopped_by_hand;
            }
        }
        for (n, (_, new)) in world.members.iter().enumerate() {
            world.fell[n] = new.as_ref().is_some_and(|new| new.started != NEVER && !new.running);
        }
        let runs = |b: &Option<Simulated>| b.as_ref().is_some_and(|b| b.running);
        if world.members.iter().any(|(old, _)| runs(old)) {
            world.old_runs();
        }
        world
    }

    fn restarted_for_the_port(&self) -> World {
        let world = self.rebooted(false);
        // Past the commit it is up to the user's policy who comes back.
        if !self.bereaved && self.members[0].0.is_some() {
            for (n, (old, _)) in world.members.iter().enumerate() {
                let back = old.as_ref().is_some_and(|old| old.running);
                assert!(back, "member {n} isn't back: {world:?} after {self:?}");
            }
        }
        world
    }

    fn find(&mut self, id: &str) -> &mut Simulated {
        let n: usize = id[3..].parse().expect("an index");
        let (old, new) = &mut self.members[n];
        let slot = if id.starts_with("old") { old } else { new };
        slot.as_mut().expect("the container of the call exists")
    }

    fn assert_free(&self, name: &str) {
        let taken = self.members.iter().flat_map(|(o, n)| [o, n]).flatten().any(|b| b.name == name);
        assert!(!taken, "the name {name} is taken: {self:?}");
    }

    fn rename(&mut self, id: &str, to: &str) {
        self.assert_free(to);
        self.find(id).name = to.to_owned();
    }

    fn check(&self) {
        for (old, new) in &self.members {
            let (Some(old), Some(new)) = (old, new) else { continue };
            assert!(!(old.running && new.running), "two versions run: {self:?}");
            for killed in [false, true] {
                assert!(
                    !(comes_back(old, killed) && comes_back(new, killed)),
                    "two versions would come back at a boot: {self:?}"
                );
            }
            if self.ran && !old.running && new.started == NEVER && old.started == BEFORE {
                let armed = old.policy == "always";
                let condemned = new.name.ends_with(".failed");
                let disarmed = old.policy == "no" && new.name == old.name.trim_end_matches(".old");
                let died = !old.stopped_by_hand;
                assert!(armed || disarmed || condemned || died, "nobody would come back: {self:?}");
            }
        }
        let plan = self.plan();
        let facts = self.facts();
        let decided = next(&plan, &facts);
        if let Some(page) = shows_page(&plan, &facts, &decided) {
            let anybody = self
                .members
                .iter()
                .any(|(old, new)| [old, new].into_iter().flatten().any(Simulated::serves));
            let over = matches!(decided, Next::Finish(_));
            if self.ran && !anybody && !over && self.members[0].0.is_some() && !self.untouched() {
                assert!(page, "nobody runs and no page is shown: {decided:?} in {self:?}");
            }
            if self.ran
                && self.untouched()
                && !matches!(&decided, Next::Do { step, .. } if *step == SERVE + 1)
            {
                assert!(!page, "a page hides a version that serves: {decided:?} in {self:?}");
            }
        }
    }

    fn untouched(&self) -> bool {
        self.members.iter().all(|(old, _)| {
            old.as_ref().is_some_and(|b| b.started == BEFORE && b.running == self.ran)
        })
    }

    /// The helper alone, to the end; but for a person who restarts the engine where that has
    /// lost track of the port.
    fn settle(&self) -> (World, Outcome) {
        let (mut world, plan) = (self.clone(), self.plan());
        let mut way = Vec::new();
        for _ in 0..ENOUGH {
            let decided = next(&plan, &world.facts());
            way.push(decided.clone());
            match world.perform(&decided) {
                Some(next) if next == world => {
                    assert!(world.port_lost, "{decided:?} changes nothing: {world:?}");
                    world = world.restarted_for_the_port();
                }
                Some(next) => world = next,
                None => match decided {
                    Next::Finish(outcome) => return (world, outcome),
                    other => panic!("no way on from {other:?}"),
                },
            }
        }
        let way: Vec<String> = way.iter().map(describe).collect();
        panic!("still not done after {ENOUGH} calls from {self:?}: {way:#?}");
    }

    fn check_end(&self) {
        let (end, outcome) = self.settle();
        if let Outcome::NeedsAPerson { reason } = &outcome {
            assert!(self.bereaved, "{reason}: {end:?} from {self:?}");
            return;
        }
        let decided = next(&self.plan(), &self.facts());
        let goes_back = matches!(decided, Next::Do { direction: Direction::Back, .. });
        if self.ran && !self.bereaved && goes_back && !self.untouched() {
            assert_eq!(outcome, Outcome::RolledBack, "turned round: {end:?} from {self:?}");
        }
        for (n, (old, new)) in end.members.iter().enumerate() {
            let name = name(n);
            let holders: Vec<&Simulated> =
                [old, new].into_iter().flatten().filter(|b| b.name == name).collect();
            assert_eq!(holders.len(), 1, "one version has the name: {end:?} from {self:?}");
            let app = holders[0];
            assert!(!app.in_disorder, "it serves nobody: {end:?} from {self:?}");
            let is_new = new.as_ref() == Some(app);
            assert_eq!(app.policy, self.policy, "its own policy: {end:?} from {self:?}");
            // A new version with another policy may end by itself, or not survive a boot.
            let stays = matches!(self.policy, "unless-stopped" | "always");
            if self.ran && (!is_new || (stays && self.fate == Fate::Good)) {
                assert!(app.running, "the app runs: {end:?} from {self:?}");
            }
            match &outcome {
                Outcome::Updated => {
                    assert!(is_new && old.is_none(), "updated means new: {end:?} from {self:?}");
                }
                Outcome::RolledBack | Outcome::Refused { .. } => {
                    assert!(!is_new, "back means old: {end:?} from {self:?}");
                    if let Some(new) = new {
                        assert!(!new.running && new.policy == "no", "{end:?} from {self:?}");
                    }
                }
                Outcome::NeedsAPerson { .. } => {}
            }
        }
    }
}

#[test]
fn every_state_ends_well_whatever_crashes_in_between() {
    let mut seen: HashSet<World> = HashSet::new();
    let mut by_outcome: HashMap<String, usize> = HashMap::new();
    let mut queue: VecDeque<World> = VecDeque::new();
    for fate in FATES {
        for policy in ["no", "on-failure", "unless-stopped", "always"] {
            for ran in [true, false] {
                for size in [1, 2] {
                    let world = World::fresh(fate, policy, ran, size);
                    // An app that doesn't run has its data to itself all the time. For a set
                    // of two, the policies under which most can come back are enough.
                    if ran && (size == 1 || matches!(policy, "unless-stopped" | "always")) {
                        queue.push_back(world.clone().keeping_data());
                    }
                    queue.push_back(world);
                }
            }
        }
    }
    while let Some(world) = queue.pop_front() {
        if !seen.insert(world.clone()) {
            continue;
        }
        world.check();
        world.check_end();
        let decided = next(&world.plan(), &world.facts());
        if let Next::Finish(outcome) = &decided {
            *by_outcome.entry(format!("{:?} {outcome:?}", world.fate)).or_default() += 1;
            continue;
        }
        queue.extend(world.perform(&decided));
        queue.extend(world.disturbed());
    }
    println!("{} states, {by_outcome:#?}", seen.len());
    assert!(seen.len() > 1000, "only {} states were reached", seen.len());
}

#[test]
fn a_good_version_comes_in_however_often_the_engine_goes_down() {
    let mut seen: HashSet<World> = HashSet::new();
    let mut queue: VecDeque<World> = VecDeque::new();
    for policy in ["no", "on-failure", "unless-stopped", "always"] {
        for size in [1, 2] {
            queue.push_back(World::fresh(Fate::Good, policy, true, size));
            queue.push_back(World::fresh(Fate::Good, policy, true, size).keeping_data());
        }
    }
    while let Some(world) = queue.pop_front() {
        if !seen.insert(world.clone()) {
            continue;
        }
        let (end, outcome) = world.settle();
        assert_eq!(outcome, Outcome::Updated, "{end:?} from {world:?}");
        queue.extend(world.perform(&next(&world.plan(), &world.facts())));
        // Before there is a new container nothing tells an old one that the engine has
        // restarted from one that we have brought back.
        if world.members[0].1.is_some() {
            queue.extend([world.rebooted(false), world.rebooted(true)]);
            queue.extend(world.left_behind());
        }
    }
}

#[test]
fn a_good_version_takes_the_steps_of_the_table_in_order() {
    let world = World::fresh(Fate::Good, "unless-stopped", true, 1).keeping_data();
    let mut keys = Vec::new();
    let mut now = world;
    loop {
        let decided = next(&now.plan(), &now.facts());
        if let Next::Do { step, .. } = &decided {
            keys.push(STEPS[*step].key);
        }
        match now.perform(&decided) {
            Some(next) => now = next,
            None => break,
        }
    }
    let expected = [
        "first-pass",
        "create-new",
        "compare-new",
        "arm-old",
        "stop-old",
        "back-up",
        "park-old",
        "promote-new",
        "disarm-old",
        "start-new",
        "gate",
        "watch-new",
        "arm-new",
        "remove-old",
    ];
    assert_eq!(keys, expected);
}

#[test]
fn a_bad_version_is_always_rolled_back() {
    for fate in
        [Fate::Differs, Fate::FailsTheGate, Fate::ExitsAtOnce, Fate::StartRefused, Fate::WrongImage]
    {
        for size in [1, 2] {
            let (end, outcome) = World::fresh(fate, "always", true, size).settle();
            assert_eq!(outcome, Outcome::RolledBack, "{fate:?}");
            assert!(end.members.iter().all(|(old, _)| old.as_ref().is_some_and(|b| b.running)));
        }
    }
}

#[test]
fn a_create_that_is_refused_touches_nothing() {
    let world = World::fresh(Fate::CreateRefused, "no", true, 2);
    let (end, outcome) = world.settle();
    assert!(matches!(outcome, Outcome::Refused { .. }));
    assert_eq!(end.members, world.members);
}

#[test]
fn an_app_that_was_stopped_is_updated_and_left_stopped() {
    let (end, outcome) = World::fresh(Fate::Good, "unless-stopped", false, 1).settle();
    assert_eq!(outcome, Outcome::Updated);
    let new = end.members[0].1.as_ref().expect("a new container");
    assert_eq!((new.running, new.started), (false, NEVER));
}

fn comes_back(b: &Simulated, killed: bool) -> bool {
    match b.policy {
        _ if b.started == NEVER => false,
        "always" => true,
        "unless-stopped" => !(b.stopped_by_hand || killed && b.running),
        "on-failure" => b.running && !killed,
        _ => false,
    }
}

fn describe(decided: &Next) -> String {
    match decided {
        Next::Do { direction: Direction::Forward, step, member, .. } => {
            format!("{} ({member})", STEPS[*step].name)
        }
        Next::Do { step, member, .. } => format!("{} ({member})", STEPS[*step].undo_name),
        other => format!("{other:?}"),
    }
}

fn name(n: usize) -> String {
    if n == 0 { "web".into() } else { format!("side{n}") }
}

fn policy(name: &str) -> Value {
    json!({ "Name": name, "MaximumRetryCount": 0 })
}

fn known(policy: &str) -> &'static str {
    ["no", "on-failure", "unless-stopped", "always"]
        .into_iter()
        .find(|known| *known == policy)
        .expect("a known policy")
}
