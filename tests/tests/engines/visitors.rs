//! What visitors see: no failed request, whatever happens.

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Load, Options, Story};
use changeover_tests::world::World;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case {
        name: "an_update_under_load_fails_no_request",
        alone: true,
        run: an_update_under_load_fails_no_request,
    }]
}

fn an_update_under_load_fails_no_request(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    let load = Load::start(Options::new(world.targets(8080))).expect("the load starts");
    std::thread::sleep(std::time::Duration::from_millis(500));
    world.changeover(&["update", "web", "--image", "app:2"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let report = load.stop();
    assert!(report.failures().is_empty(), "{}\n{:?}", report.table(), report.totals());
    report.check(Story::Update).unwrap_or_else(|wrong| panic!("{wrong}\n{}", report.table()));
    world.assert_settled("2", false);
}
