//! The ways in which an app can be published, and the ways in which the page gets there.

use std::net::{Ipv4Addr, Ipv6Addr};

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Class, Load, Options, Story};
use changeover_tests::world::World;
use serde_json::json;

use super::{
    a_few_visitors, assert_order, assert_story, assert_undisturbed, case, from_host, image,
    image_with, let_some_more_come, publishing, spawn_update, times, update, verdict,
};
use crate::Case;

const BOOT: (&str, &str) = ("BOOT_MS", "300");

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(the_page_leaves_a_neighbour_on_another_address_alone),
        case!(the_page_comes_only_where_the_app_was_published),
        case!(several_ports_change_over_together),
        case!(a_port_that_the_engine_chose_keeps_its_number),
        case!(an_app_on_ipv6_alone_changes_over),
        case!(an_app_on_the_host_network_changes_over_with_page_port),
        case!(our_own_page_never_passes_for_an_app_on_the_host_network),
        case!(a_sick_app_on_the_host_network_is_rolled_back),
        case!(bind_shows_the_page_while_no_version_holds_the_port),
        case!(bind_goes_back_as_well),
        case!(without_a_handover_nobody_sees_a_page),
        case!(alone an_app_in_another_ones_network_changes_over_there),
    ]
}

fn the_page_leaves_a_neighbour_on_another_address_alone(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[BOOT]);
    image(&world, 9, &[]);
    world.run("web", &publishing("app:1", &[(80, "127.0.0.1", "8080")]));
    world.run("neighbour", &publishing("app:9", &[(80, "127.0.0.2", "8080")]));
    world.wait_for_http(8080);
    let next_door = from_host(&world, Ipv4Addr::new(127, 0, 0, 2), 8080);
    world.wait("the neighbour answers", || world.visit_at(next_door.addr, "/") == "9");
    let options =
        Options { old: "9".into(), rate_per_second: 100, ..Options::new(vec![next_door]) };
    let neighbour = Load::start(options).expect("the load starts");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    assert_undisturbed(&world, neighbour);
}

fn the_page_comes_only_where_the_app_was_published(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[BOOT]);
    image(&world, 9, &[]);
    world.run("web", &publishing("app:1", &[(80, "0.0.0.0", "8080")]));
    world.run("neighbour", &publishing("app:9", &[(80, "::1", "8080")]));
    world.wait_for_http(8080);
    let next_door = from_host(&world, Ipv6Addr::LOCALHOST, 8080);
    world.wait("the neighbour answers", || world.visit_at(next_door.addr, "/") == "9");
    let options =
        Options { old: "9".into(), rate_per_second: 100, ..Options::new(vec![next_door]) };
    let neighbour = Load::start(options).expect("the load starts");
    let (local, host) = (Ipv4Addr::LOCALHOST, world.lab.host_v4());
    let ways = vec![from_host(&world, local, 8080), from_host(&world, host, 8080)];
    let load = a_few_visitors(ways);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    assert_undisturbed(&world, neighbour);
}

fn several_ports_change_over_together(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[("PORT", "80,81,82")]);
    image(&world, 2, &[("PORT", "80,81,82"), BOOT]);
    // The last one inside is two outside.
    let bindings =
        [(80, "", "8080"), (81, "127.0.0.1", "8081"), (82, "", "8082"), (82, "127.0.0.1", "8083")];
    world.run("web", &publishing("app:1", &bindings));
    world.wait_for_http(8080);
    let ports = [8080, 8081, 8082, 8083];
    let ways = ports.map(|port| from_host(&world, Ipv4Addr::LOCALHOST, port));
    let load = a_few_visitors(ways.to_vec());
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
}

fn a_port_that_the_engine_chose_keeps_its_number(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[BOOT]);
    world.run("web", &publishing("app:1", &[(80, "", "")]));
    let chosen = || {
        let web = world.inspect("web").expect("web is there");
        let port = web["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].clone();
        port.as_str().and_then(|port| port.parse::<u16>().ok()).expect("a port was chosen")
    };
    let port = chosen();
    world.wait_for_http(port);
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, port)]);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    assert_eq!(chosen(), port);
}

fn an_app_on_ipv6_alone_changes_over(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 1, &[]);
    image(&world, 2, &[BOOT]);
    world.run("web", &publishing("app:1", &[(80, "::1", "8080")]));
    let way = from_host(&world, Ipv6Addr::LOCALHOST, 8080);
    world.wait("it answers", || world.visit_at(way.addr, "/") == "1");
    let load = a_few_visitors(vec![way]);
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);
    assert_eq!(world.visit(8080), "refused", "IPv4 stays closed");
}

const HEALTHCHECK: &str = r#"HEALTHCHECK --interval=300ms CMD ["/sample-app","healthcheck"]"#;

/// An app on the host network that listens on 8080.
fn run_on_host_network(world: &World) {
    image_with(world, 1, &[("PORT", "8080")], &[HEALTHCHECK]);
    let body = json!({
        "Image": "app:1",
        "HostConfig": {
            "NetworkMode": "host",
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    });
    world.run("web", &body);
    world.wait_for_http(8080);
}

fn an_app_on_the_host_network_changes_over_with_page_port(kind: EngineKind) {
    let world = World::start(kind);
    run_on_host_network(&world);
    image_with(&world, 2, &[("PORT", "8080"), BOOT], &[HEALTHCHECK]);
    let load = Load::start(Options { rate_per_second: 50, ..Options::new(world.targets(8080)) });
    let load = load.expect("the load starts");
    let_some_more_come(&world, &load);
    update(&world, 2, &["--page-port", "8080"]).expect(0);
    assert_story(&world, load, Story::Update);
    world.assert_settled("2", false);
}

fn our_own_page_never_passes_for_an_app_on_the_host_network(kind: EngineKind) {
    let world = World::start(kind);
    run_on_host_network(&world);
    image_with(&world, 2, &[("PORT", "8080"), ("BOOT_MS", "60000")], &[HEALTHCHECK]);
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    update(&world, 2, &["--page-port", "8080", "--health-timeout", "2s"]).expect(20);
    assert_story(&world, load, Story::Rollback);
    world.assert_settled("1", true);
}

fn a_sick_app_on_the_host_network_is_rolled_back(kind: EngineKind) {
    let world = World::start(kind);
    run_on_host_network(&world);
    image_with(&world, 2, &[("PORT", "8080"), ("UNHEALTHY_MS", "always")], &[HEALTHCHECK]);
    let done = update(&world, 2, &["--page-port", "8080", "--health-timeout", "2s"]).expect(20);
    assert!(verdict(&done).contains("health check"), "{}", verdict(&done));
    world.assert_settled("1", true);
}

fn bind_shows_the_page_while_no_version_holds_the_port(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    let options = Options::new(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let load = Load::start(options).expect("the load starts");
    let_some_more_come(&world, &load);
    let done = update(&world, 2, &["--handover", "bind"]).expect(0);
    let report = assert_order(&world, load, Story::Update);
    println!("{kind}: bind: {} of {} failed", report.failures().len(), report.records.len());
    assert_eq!(times(&done, "start-new"), 1);
    assert!(done.event("retrying").is_none(), "the port was free at the start: {done:#?}");
    world.assert_settled("2", false);
}

fn bind_goes_back_as_well(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1]);
    image(&world, 2, &[("EXIT_MS", "0")]);
    world.run_web("app:1");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    let done = update(&world, 2, &["--handover", "bind"]).expect(20);
    assert_eq!(times(&done, "undo-stop-old"), 1);
    assert!(done.event("retrying").is_none(), "the port was free at the start: {done:#?}");
    assert_order(&world, load, Story::Rollback);
    world.assert_settled("1", true);
}

fn without_a_handover_nobody_sees_a_page(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1]);
    image(&world, 2, &[BOOT]);
    world.run_web("app:1");
    let load = a_few_visitors(vec![from_host(&world, Ipv4Addr::LOCALHOST, 8080)]);
    let_some_more_come(&world, &load);
    let mut running = spawn_update(&world, 2, &["--handover", "none"]);
    running.wait_for_step("start-new");
    let tables = world.lab.machine_command("nft").args(["list", "tables"]).output();
    let tables = String::from_utf8_lossy(&tables.expect("nft runs").stdout).into_owned();
    assert!(!tables.contains("changeover"), "{tables}");
    running.finish().expect(0);
    let_some_more_come(&world, &load);
    let report = load.stop();
    assert_eq!(report.count(&Class::Page), 0, "{report}");
    assert!(report.count(&Class::New) > 0, "{report}");
    world.assert_settled("2", false);
}

fn an_app_in_another_ones_network_changes_over_there(kind: EngineKind) {
    let world = World::start(kind);
    image(&world, 9, &[]);
    for (version, vice) in [(1, BOOT), (2, BOOT), (3, ("BROKEN_MS", "always"))] {
        image_with(&world, version, &[("PORT", "81"), vice], &["EXPOSE 81"]);
    }
    let owner = world.run("owner", &publishing("app:9", &[(81, "", "8080"), (80, "", "8081")]));
    let body = json!({
        "Image": "app:1",
        "HostConfig": {
            "NetworkMode": "container:owner",
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    });
    world.run("web", &body);
    world.wait_for_http(8080);
    let id = || world.inspect("web").expect("the app")["Id"].clone();
    let options =
        Options { old: "9".into(), rate_per_second: 50, ..Options::new(world.targets(8081)) };
    let owners = Load::start(options.clone()).expect("the load starts");

    let load = a_few_visitors(world.targets(8080));
    update(&world, 2, &[]).expect(0);
    let report = assert_story(&world, load, Story::Update);
    assert!(report.count(&Class::Page) > 0, "{report}");
    let updated = id();

    let options = Options { old: "2".into(), new: "3".into(), ..options };
    let load = Load::start(Options { targets: world.targets(8080), ..options });
    let load = load.expect("the load starts");
    let done = update(&world, 3, &["--health-timeout", "1s"]).expect(20);
    assert!(verdict(&done).contains("status 500"), "{}", verdict(&done));
    assert_story(&world, load, Story::Rollback);
    assert_eq!(id(), updated, "the same container as before");

    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    world.wait("the version before", || world.visit(8080) == "1");
    assert_undisturbed(&world, owners);
    let (now, web) = (world.inspect("owner").expect("it stays"), world.inspect("web"));
    assert_eq!(now["Id"], owner);
    let host = &web.expect("the app")["HostConfig"];
    assert_eq!(host["NetworkMode"], format!("container:{owner}"));
    assert_eq!(host["RestartPolicy"]["Name"], "unless-stopped");
}
