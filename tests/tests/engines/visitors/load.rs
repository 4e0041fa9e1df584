//! Two hundred fresh connections a second, five ways in.

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Load, Options, Story};
use changeover_tests::world::World;

use super::{
    assert_evidence, assert_story, beside_a_neighbour, case, image_with, let_some_more_come, update,
};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(alone an_update_under_load_fails_no_request),
        case!(alone a_rollback_under_load_fails_no_request),
    ]
}

fn an_update_under_load_fails_no_request(kind: EngineKind) {
    beside_a_neighbour(kind, |world| {
        world.images(&[2]);
        world.run_web("app:1");
        let images = world.image_references();
        let before = belongings(world);
        let load = Load::start(Options::new(world.targets(8080))).expect("the load starts");
        let_some_more_come(world, &load);
        world.changeover(&["update", "web", "--image", "app:2"]).expect(0);
        assert_story(world, load, Story::Update);
        world.assert_settled("2", false);
        assert_eq!(world.image_references(), images, "images are as before");
        assert_eq!(belongings(world), before, "networks and volumes are as before");
    });
}

fn a_rollback_under_load_fails_no_request(kind: EngineKind) {
    beside_a_neighbour(kind, |world| {
        let sick = [("UNHEALTHY_MS", "always")];
        image_with(world, 2, &sick, &[r#"HEALTHCHECK CMD ["/sample-app","healthcheck"]"#]);
        world.run_web("app:1");
        let load = Load::start(Options::new(world.targets(8080))).expect("the load starts");
        let_some_more_come(world, &load);
        update(world, 2, &["--health-timeout", "1s"]).expect(20);
        assert_story(world, load, Story::Rollback);
        world.assert_settled("1", true);
        assert_evidence(world);
    });
}

/// Names of networks and volumes.
fn belongings(world: &World) -> Vec<String> {
    let names = |list: &serde_json::Value| -> Vec<String> {
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().filter_map(|one| one["Name"].as_str().map(str::to_owned)).collect()
    };
    let (_, networks) = world.lab.api("GET", "/networks", None);
    let (_, volumes) = world.lab.api("GET", "/volumes", None);
    let mut all = [names(&networks), names(&volumes["Volumes"])].concat();
    all.sort();
    all
}
