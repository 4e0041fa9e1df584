//! The helper dies: by itself, by `docker stop`, by `docker rm -f`.

use changeover_tests::lab::{EngineKind, Options};

use super::matrix::{Matrix, sample};
use super::{AFTER_A_STEP, Bench, Case, LIMIT, Way, marks, place};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a_helper_killed_after_any_step_comes_back_and_ends_it",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper killed", |bench| {
                    bench.crash_helper();
                });
            },
        },
        Case {
            name: "a_helper_stopped_after_any_step_is_resumed",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper stopped by hand", |bench| {
                    let path = "/containers/web.changeover/stop";
                    bench.world.lab.api("POST", path, None);
                });
            },
        },
        Case {
            name: "a_helper_removed_after_any_step_is_replaced_by_resume",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper removed by hand", |bench| {
                    let path = "/containers/web.changeover?force=1";
                    bench.world.lab.api("DELETE", path, None);
                });
            },
        },
    ]
}

fn each_step(kind: EngineKind, what: &str, fault: fn(&Bench)) {
    let mut bench = Bench::start(kind, Options::default());
    let mut matrix = Matrix::new(kind, AFTER_A_STEP, what);
    let ways = [Way::Update, Way::NeverReady];
    let all = ways.into_iter().flat_map(|way| way.moments().iter().map(move |at| (way, *at)));
    for (way, moment) in sample(kind, what, all, 3) {
        matrix.cell(&place(way, moment), what, &mut bench, |bench| {
            let mut running = bench.directly(way);
            let reached = running.saw(|event| marks(moment, event));
            if reached {
                fault(bench);
            }
            let mut done = running.finish_within(LIMIT);
            if !reached {
                return bench.over_before(way, moment, done);
            }
            let mut resumed = "";
            if done.code == 30 {
                resumed = " by resume";
                let socket = bench.world.lab.socket();
                let socket = socket.to_string_lossy();
                let args = ["resume", "web", "--socket", &socket];
                let again = bench.world.spawn(&args).finish_within(LIMIT);
                if again.code == 10 {
                    // It had not begun, and so nothing was touched.
                    assert_eq!(bench.world.containers(), ["web"]);
                    assert_eq!(bench.world.visit(8080), bench.version.to_string());
                    return "untouched".to_owned();
                }
                done = again;
            }
            if what.ends_with("removed by hand") && done.code == 20 {
                bench.rolled_back_without_a_log()
            } else {
                bench.settled(way, done) + resumed
            }
        });
    }
    matrix.conclude();
}

impl Bench {
    /// As [`Bench::settled`], where the helper's log went with the helper.
    fn rolled_back_without_a_log(&self) -> String {
        assert_eq!(self.world.visit(8080), self.version.to_string());
        let names = self.world.containers();
        let helper = names.iter().any(|name| name == "web.changeover");
        let outcome = "rolled-back";
        if helper {
            self.is_whole(outcome);
        } else {
            assert_eq!(names, ["web", "web.failed"]);
        }
        outcome.to_owned()
    }
}
