//! The helper dies: by itself, by `docker stop`, by `docker rm -f`. Or time passes it by.

use changeover_tests::lab::{EngineKind, Options};

use super::matrix::{Matrix, sample};
use super::{AFTER_A_STEP, Bench, Case, LIMIT, Way, marks, place};

/// What a script exits with where there was nobody left to stop.
const TOO_LATE: i32 = 77;

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "a_helper_killed_after_any_step_comes_back_and_ends_it",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper killed", 3, |bench| {
                    bench.crash_helper();
                });
            },
        },
        Case {
            name: "a_helper_that_crashes_in_its_own_code_comes_back_and_ends_it",
            alone: false,
            run: |kind| each_step(kind, "the helper's code destroyed", 1, destroy_code),
        },
        Case {
            name: "a_helper_that_is_out_of_memory_comes_back_and_ends_it",
            alone: false,
            run: |kind| each_step(kind, "the helper out of memory", 1, use_up_memory),
        },
        Case {
            name: "a_helper_that_stood_still_for_a_while_goes_on_as_if_nothing_was",
            alone: false,
            run: |kind| each_step(kind, "the helper stood still", 1, stand_still),
        },
        Case {
            name: "a_helper_stopped_after_any_step_is_resumed",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper stopped by hand", 3, |bench| {
                    let path = "/containers/web.changeover/stop";
                    bench.world.lab.api("POST", path, None);
                });
            },
        },
        Case {
            name: "a_helper_removed_after_any_step_is_replaced_by_resume",
            alone: false,
            run: |kind| {
                each_step(kind, "the helper removed by hand", 3, |bench| {
                    let path = "/containers/web.changeover?force=1";
                    bench.world.lab.api("DELETE", path, None);
                });
            },
        },
    ]
}

/// What a mistake of ours that the language doesn't catch would come to. The instruction
/// that it will run next is overwritten with zeros: no processor takes those for sense.
fn destroy_code(bench: &Bench) {
    let process = || bench.world.inspect("web.changeover").map(|it| it["State"]["Pid"].clone());
    let before = process();
    while_stopped(
        bench,
        "for next in $(cat /proc/$0/syscall); do :; done
        printf '\\0\\0\\0\\0' | dd of=/proc/$0/mem bs=1 seek=$((next)) conv=notrunc",
    );
    let running = before.as_ref().is_some_and(|pid| *pid != 0);
    bench.world.wait("the end of the helper's process", || !running || process() != before);
}

/// The helper's control group is limited to little more than it uses, somebody in there
/// takes more, and the kernel finds the helper the one to kill.
fn use_up_memory(bench: &Bench) {
    let since = jiff::Timestamp::now().as_second().to_string();
    let killed = while_stopped(
        bench,
        r#"
        group=$(sed -n 's/^[0-9]*:memory:/memory/p;s/^0::/./p' /proc/$0/cgroup | head -n 1)
        cd /sys/fs/cgroup/$group
        in_use=$(cat memory.usage_in_bytes memory.current 2>/dev/null)
        echo $((in_use + 4000000)) >$(ls memory.limit_in_bytes memory.max 2>/dev/null)
        echo 1000 >/proc/$0/oom_score_adj
        sh -c '
            echo $$ >cgroup.procs
            more=$(head -c 500000 /dev/zero | tr "\0" x)
            while grep -q "^State:.T" /proc/$0/status 2>/dev/null; do all=$all$more; done
        ' $0
        true"#,
    );
    let out_of_memory = || {
        let mut events = bench.world.lab.machine_command("docker");
        events.args(["events", "--since", &since, "--until", "0s", "--filter", "event=oom"]);
        events.output().is_ok_and(|events| !events.stdout.is_empty())
    };
    bench.world.wait("the kernel's verdict", || !killed || out_of_memory());
}

/// To a process that is stopped, all clocks jump when it goes on: here for longer than a
/// bad version may take to become a good one.
fn stand_still(bench: &Bench) {
    while_stopped(bench, "sleep 4");
}

/// Runs a script with the helper's process id as `$0`, which stands still meanwhile. One
/// that has just ended cannot be stopped any more; then this is `false`.
fn while_stopped(bench: &Bench, script: &str) -> bool {
    let helper = bench.world.inspect("web.changeover");
    let running = helper.filter(|helper| helper["State"]["Running"] == true);
    let Some(helper) = running else { return false };
    let script = format!(
        "kill -STOP $0 || exit {TOO_LATE}
        until grep '^State:.T' /proc/$0/status; do
            grep '^State:.[^Z]' /proc/$0/status || exit {TOO_LATE}
        done
        {script}
        done=$?
        kill -CONT $0
        exit $done"
    );
    let pid = helper["State"]["Pid"].to_string();
    let done = bench.world.lab.machine_command("sh").args(["-c", &script, &pid]).output();
    let done = done.expect("the machine has a shell");
    let too_late = done.status.code() == Some(TOO_LATE);
    assert!(done.status.success() || too_late, "{}", String::from_utf8_lossy(&done.stderr));
    !too_late
}

/// Strikes once after each step; in a sample after `some` of them.
fn each_step(kind: EngineKind, what: &str, some: usize, fault: fn(&Bench)) {
    let mut bench = Bench::start(kind, Options::default());
    let mut matrix = Matrix::new(kind, AFTER_A_STEP, what);
    let ways = [Way::Update, Way::NeverReady];
    let all = ways.into_iter().flat_map(|way| way.moments().iter().map(move |at| (way, *at)));
    for (way, moment) in sample(kind, what, all, some) {
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
