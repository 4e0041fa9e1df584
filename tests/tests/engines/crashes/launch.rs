//! The other end of the wire: the command's own connection is cut while it brings
//! the helper in.

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::wire::Cut;
use changeover_tests::world::Running;

use super::matrix::{Matrix, sample};
use super::{Bench, Case, LIMIT};

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "a_wire_cut_while_the_helper_is_brought_in_harms_nothing",
        alone: false,
        run: a_wire_cut_while_the_helper_is_brought_in_harms_nothing,
    }]
}

fn a_wire_cut_while_the_helper_is_brought_in_harms_nothing(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    let mut matrix = Matrix::new(kind, "the command's own wire cut", "the command's own wire cut");
    // The image, the helper, its start and the image's removal; then there is no more.
    let all = Cut::ALL.into_iter().flat_map(|cut| (0..5).map(move |nth| (nth, cut)));
    for (nth, cut) in sample(kind, "launch", all, 3) {
        let place = format!("write {nth} of bringing the helper in");
        matrix.cell(&place, cut.words(), &mut bench, |bench| {
            bench.proxy.cut(nth, cut);
            let image = format!("app:{}", bench.other_version());
            let socket = bench.world.lab.socket();
            let socket = socket.to_string_lossy();
            let args = ["update", "web", "--image", &image, "--stable", "0s", "--json"];
            let mut command = bench.world.command(&args);
            command.args(["--socket", &socket]);
            command.env("DOCKER_HOST", format!("unix://{}", bench.proxy.path().display()));
            let mut running = Running::start(&mut command);
            let held = bench.proxy.wait_for_cut(|| running.runs());
            let write = held.as_ref().map_or("no cut".to_owned(), |held| held.write.clone());
            drop(held);
            let done = running.finish_within(LIMIT);
            match done.code {
                0 => {
                    bench.version = bench.other_version();
                    bench.is_whole("updated");
                }
                // It says that nothing was touched, so that must be true, and stay true.
                21 => {
                    let helper = bench.world.inspect("web.changeover");
                    assert!(
                        helper.is_none_or(|helper| helper["State"]["Status"] == "created"),
                        "refused, but the helper was started; {write}"
                    );
                    assert_eq!(bench.world.visit(8080), bench.version.to_string());
                }
                code => panic!("exit code {code} after {write}: {}", done.stderr),
            }
            format!("exit code {}", done.code)
        });
    }
    matrix.cell("an update afterwards", "none", &mut bench, |bench| {
        let done = bench.directly(super::Way::Update).finish_within(LIMIT);
        bench.settled(super::Way::Update, done)
    });
    matrix.conclude();
}
