//! The wire sweep: the helper's connection to the engine is cut before and after
//! its nth write, for every n; the helper lives on, or is killed at that instant.

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::wire::Cut;

use super::matrix::{Matrix, sample};
use super::{Bench, Case, LIMIT, Way};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "an_update_survives_a_cut_wire_before_and_after_every_write",
            alone: false,
            run: an_update_survives_a_cut_wire_before_and_after_every_write,
        },
        Case {
            name: "a_rollback_survives_a_cut_wire_before_and_after_every_write",
            alone: false,
            run: a_rollback_survives_a_cut_wire_before_and_after_every_write,
        },
    ]
}

/// On the newest engine: the words are the proxy's.
pub(super) fn on_newest() -> Vec<Case> {
    vec![Case {
        name: "an_engine_behind_a_proxy_may_be_away",
        alone: false,
        run: an_engine_behind_a_proxy_may_be_away,
    }]
}

/// What a proxy over HTTP says of its own while there is no engine is no refusal.
fn an_engine_behind_a_proxy_may_be_away(kind: EngineKind) {
    let options = Options { live_restore: true, ..Options::default() };
    let mut bench = Bench::start(kind, options);
    bench.proxy.speak_for_the_engine();
    for (way, write) in [(Way::Update, "stop"), (Way::NeverReady, "start")] {
        bench.proxy.speak_instead(write, 5);
        let done = bench.over_the_wire(way).finish_within(LIMIT);
        bench.settled(way, done);
    }
    // The engine is gone for a while, just when it should have heard of a call.
    bench.proxy.pause_before("start");
    let mut running = bench.over_the_wire(Way::Update);
    let held = bench.proxy.wait_for_cut(|| running.runs());
    assert!(held.is_some(), "nothing was started: {:?}", bench.proxy.writes());
    bench.world.lab.kill();
    let before = bench.proxy.spoken();
    drop(held);
    bench.world.wait("answers of the proxy's own", || bench.proxy.spoken() > before + 10);
    bench.world.lab.start_again();
    let done = running.finish_within(LIMIT);
    bench.settled(Way::Update, done);
}

fn an_update_survives_a_cut_wire_before_and_after_every_write(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    // One engine gets all of it, always: they hardly differ in this.
    let size = if kind == EngineKind::V28_5 { usize::MAX } else { 6 };
    sweep(&mut bench, Way::Update, size);
}

fn a_rollback_survives_a_cut_wire_before_and_after_every_write(kind: EngineKind) {
    let mut bench = Bench::start(kind, Options::default());
    for way in sample(kind, "rollbacks", Way::ROLLBACKS, 1) {
        sweep(&mut bench, way, 6);
    }
}

fn sweep(bench: &mut Bench, way: Way, size: usize) {
    let what = format!("{} with its wire cut", way.words());
    let mut matrix = Matrix::new(bench.kind, "the helper's wire cut at a write", &what);
    let mut writes = Vec::new();
    matrix.cell(way.words(), "no cut", bench, |bench| {
        bench.proxy.let_pass();
        let done = bench.over_the_wire(way).finish_within(LIMIT);
        writes = bench.proxy.writes();
        bench.settled(way, done)
    });
    assert!(writes.len() > 5, "an update has more writes than these: {writes:?}");
    let moments = (0..writes.len()).flat_map(|nth| Cut::ALL.map(|cut| (nth, cut)));
    let all = moments.flat_map(|(nth, cut)| [false, true].map(|killed| (nth, cut, killed)));
    for (nth, cut, killed) in sample(bench.kind, &what, all, size) {
        let place = format!("{}: write {nth}, {}", way.words(), writes[nth]);
        let also = if killed { ", and the helper killed" } else { "" };
        matrix.cell(&place, &format!("{}{also}", cut.words()), bench, |bench| {
            bench.proxy.cut(nth, cut);
            let mut running = bench.over_the_wire(way);
            let held = bench.proxy.wait_for_cut(|| running.runs());
            let held = held.unwrap_or_else(|| panic!("no cut; writes: {:?}", bench.proxy.writes()));
            if killed {
                bench.crash_helper();
            }
            drop(held);
            bench.settled(way, running.finish_within(LIMIT))
        });
    }
    // Nothing was left out: there is no further write to cut.
    matrix.cell(&format!("{}: no write is left", way.words()), "no cut", bench, |bench| {
        bench.proxy.cut(writes.len(), Cut::BeforeWrite);
        let mut running = bench.over_the_wire(way);
        let one_more = bench.proxy.wait_for_cut(|| running.runs()).map(|held| held.write.clone());
        assert_eq!(one_more, None, "a write that was not there before");
        bench.settled(way, running.finish_within(LIMIT))
    });
    matrix.conclude();
}
