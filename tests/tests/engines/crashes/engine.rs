//! The engine dies, or the whole machine, and comes back.

use std::time::{Duration, Instant};
use std::{fs, thread};

use changeover_tests::lab::{EngineKind, Options};

use super::matrix::{Matrix, sample, torture};
use super::{
    AFTER_A_STEP, Bench, Case, LIMIT, PORT_LOST, Way, marks, place, restarted_for_the_port,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an_engine_killed_after_any_step_ends_it_when_it_is_back",
            alone: false,
            run: |kind| each_step(kind, Fault::Kill, Options::default(), 2),
        },
        Case {
            name: "an_engine_terminated_after_any_step_ends_it_when_it_is_back",
            alone: false,
            run: |kind| each_step(kind, Fault::Terminate, Options::default(), 2),
        },
        Case {
            name: "a_power_cut_after_any_step_ends_well_at_the_next_boot",
            alone: false,
            run: |kind| each_step(kind, Fault::PowerCut, Options::default(), 3),
        },
        Case {
            name: "an_engine_that_keeps_its_containers_may_die_after_any_step",
            alone: false,
            run: an_engine_that_keeps_its_containers_may_die_after_any_step,
        },
        Case {
            name: "an_engine_killed_in_a_start_costs_nobody_their_place_nor_their_network",
            alone: false,
            run: an_engine_killed_in_a_start_costs_nobody_their_place_nor_their_network,
        },
        Case {
            name: "an_engine_killed_while_the_helper_leaves_blocks_no_later_update",
            alone: false,
            run: an_engine_killed_while_the_helper_leaves_blocks_no_later_update,
        },
        Case {
            name: "an_engine_killed_right_after_the_commit_leaves_the_new_version_running",
            alone: false,
            run: an_engine_killed_right_after_the_commit_leaves_the_new_version_running,
        },
    ]
}

/// So often an engine is killed in a start, to meet the moment at which it hurts.
const TRIES: u32 = 8;
/// Longer than 28.5 lets a container run that it kills again and again.
const AGAIN: Duration = Duration::from_secs(4);

/// It leaves the helper `dead`, if it is killed while it removes it.
fn an_engine_killed_while_the_helper_leaves_blocks_no_later_update(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let tries = if torture() { TRIES } else { 2 };
    let mut dead = 0;
    for n in 0..tries {
        let mut running = bench.directly(Way::Update);
        running.wait_for_event("finished");
        thread::sleep(Duration::from_millis(30) * n);
        bench.world.lab.kill();
        bench.world.lab.start_again();
        running.finish_within(LIMIT).expect(0);
        bench.start_what_docker_left_down(Fault::Kill);
        bench.version = bench.other_version();
        let version = bench.version.to_string();
        bench.world.wait("the new version", || bench.world.visit(8080) == version);
        bench.world.wait_for_the_helpers_end();
        let helper = bench.world.inspect("web.changeover");
        dead += u32::from(helper.is_some_and(|helper| helper["State"]["Status"] == "dead"));
        let said = bench.world.changeover(&["status", "web"]).expect(0).events;
        assert_eq!(said[0]["state"], "updated", "{said:?}");
    }
    println!("{kind}: the helper was left dead {dead} of {tries} times");
    let done = bench.directly(Way::Update).finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

/// A killed engine stops what ran under `unless-stopped` when it is back, and leaves
/// it so. The old version is gone by then.
fn an_engine_killed_right_after_the_commit_leaves_the_new_version_running(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    bench.proxy.pause_after("remove");
    let mut running = bench.over_the_wire(Way::Update);
    let held = bench.proxy.wait_for_cut(|| running.runs());
    assert!(held.is_some(), "no commit in {:?}", bench.proxy.writes());
    bench.world.lab.kill();
    bench.world.lab.start_again();
    drop(held);
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

/// 20.10 and 26.1 come back with the port of the container in whose start they were killed,
/// and need a restart. 28.5 comes back with a process of its that it knows nothing of, so
/// that its next start leaves it without a network, or has it killed again and again.
fn an_engine_killed_in_a_start_costs_nobody_their_place_nor_their_network(kind: EngineKind) {
    let what = "the engine killed in a start, once it had the port";
    let mut bench = Bench::start(kind, Options::default());
    let mut matrix = Matrix::new(kind, AFTER_A_STEP, what);
    let loses = kind != EngineKind::V28_5;
    let all = [(Way::Update, "in start-new"), (Way::ExitsAtOnce, "in undo-stop-old")];
    for (way, moment) in sample(kind, what, all, 1) {
        matrix.cell(&place(way, moment), what, &mut bench, |bench| {
            // Sooner or later it is killed when it has written down one thing and not the other.
            for _ in 0..if loses || torture() { TRIES } else { 1 } {
                let mut running = bench.directly(way);
                assert!(running.saw(|event| marks(moment, event)), "{moment} was not reached");
                bench.wait_for_the_port();
                bench.world.lab.kill();
                bench.world.lab.start_again();
                let done = running.finish_within(LIMIT);
                if restarted_for_the_port(&mut bench.world, &done) {
                    bench.is_whole("rolled-back");
                    return PORT_LOST.to_owned() + ",";
                }
                bench.start_what_docker_left_down(Fault::Kill);
                bench.settled(way, done);
                bench.stays();
            }
            assert!(!loses, "it never lost track of the port");
            "kept track,".to_owned()
        });
    }
    matrix.conclude();
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Terminate,
    PowerCut,
}

impl Fault {
    fn words(self) -> &'static str {
        match self {
            Fault::Kill => "the engine killed",
            Fault::Terminate => "the engine terminated",
            Fault::PowerCut => "a power cut",
        }
    }
}

fn an_engine_that_keeps_its_containers_may_die_after_any_step(kind: EngineKind) {
    for socket_activation in [true, false] {
        for fault in [Fault::Kill, Fault::Terminate] {
            let options = Options { live_restore: true, socket_activation, ..Options::default() };
            // Half of it in a sample: the socket matters, the signal hardly.
            if torture() || socket_activation == matches!(fault, Fault::Kill) {
                each_step(kind, fault, options, 2);
            }
        }
    }
}

fn each_step(kind: EngineKind, fault: Fault, options: Options, size: usize) {
    let what = match (options.live_restore, options.socket_activation) {
        (false, _) => fault.words().to_owned(),
        (true, true) => format!("{}, containers live on, the socket stays", fault.words()),
        (true, false) => format!("{}, containers live on, a new socket", fault.words()),
    };
    let mut bench = Bench::start(kind, options);
    let mut matrix = Matrix::new(kind, AFTER_A_STEP, &what);
    let ways = [Way::Update, Way::NeverReady];
    let moments = |way: Way| way.moments().iter().chain(way.amid()).copied();
    let all = ways.into_iter().flat_map(|way| moments(way).map(move |at| (way, at)));
    for (way, moment) in sample(kind, &what, all, size) {
        matrix.cell(&place(way, moment), &what, &mut bench, |bench| {
            let mut running = bench.directly(way);
            if !running.saw(|event| marks(moment, event)) {
                let done = running.finish_within(LIMIT);
                return bench.over_before(way, moment, done);
            }
            match fault {
                Fault::Kill => bench.world.lab.kill(),
                Fault::Terminate => bench.world.lab.stop(),
                Fault::PowerCut => bench.world.lab.power_cut(),
            }
            bench.world.lab.start_again();
            let back = Instant::now();
            let done = running.finish_within(LIMIT);
            let after = back.elapsed();
            if restarted_for_the_port(&mut bench.world, &done) {
                bench.is_whole("rolled-back");
                return format!("{PORT_LOST} ({:.0} s after the engine),", after.as_secs_f64());
            }
            bench.start_what_docker_left_down(fault);
            let outcome = match (moment, done.code) {
                // An old version that was restarted before anything else had happened
                // can't be told from one that was restored; the update is given up.
                ("started" | "in create-new", 20) => bench.given_up_untouched(),
                _ => bench.settled(way, done),
            };
            // The promise is ten seconds. How busy the machine was decides as well, so this
            // is to be read, and no test.
            format!("{outcome} ({:.0} s after the engine),", after.as_secs_f64())
        });
    }
    matrix.conclude();
}

impl Bench {
    /// Until somebody listens on the app's port in the engine's network.
    fn wait_for_the_port(&self) {
        let listens = || {
            let sockets = fs::read_to_string("/proc/thread-self/net/tcp").expect("a list");
            // 8080, by nobody yet, and LISTEN.
            sockets.contains(":1F90 00000000:0000 0A ")
        };
        let listens = || self.world.lab.host_netns().run(listens);
        self.world.wait("somebody who listens on 8080", listens);
    }

    /// Whoever has the app's name goes on running, and isn't started again and again.
    fn stays(&self) {
        let run = || self.world.inspect("web").map(|web| web["State"]["StartedAt"].clone());
        let first = run();
        thread::sleep(AGAIN);
        assert_eq!(run(), first, "it was started again");
        assert_eq!(self.world.visit(8080), self.version.to_string());
    }

    fn given_up_untouched(&self) -> String {
        self.world.wait("the old version", || self.world.visit(8080) == self.version.to_string());
        let web = self.world.inspect("web").expect("web is there");
        assert_eq!(web["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
        assert_eq!(self.world.containers(), ["web", "web.changeover"]);
        "given up".to_owned()
    }

    /// An engine that is killed leaves whatever ran under `unless-stopped` stopped,
    /// with or without us. Once the helper has gone that is nobody's to mend.
    fn start_what_docker_left_down(&self, fault: Fault) {
        let helper = self.world.inspect("web.changeover");
        let gone = helper.is_none_or(|helper| helper["State"]["Status"] == "dead");
        let web = self.world.inspect("web");
        let down = web.is_some_and(|web| web["State"]["Running"] == false);
        if matches!(fault, Fault::Kill) && !self.options.live_restore && gone && down {
            self.world.lab.api("POST", "/containers/web/start", None);
        }
    }
}
