//! Containers that Compose made are Compose's own afterwards.
//!
//! Compose itself is the judge: right after an update it is asked to bring the project up,
//! and must find nothing to do.

use std::net::{Ipv4Addr, SocketAddr};

use changeover_tests::compose::Project;
use changeover_tests::lab::{EngineKind, Registry};
use changeover_tests::world::World;

use super::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "compose_finds_nothing_to_do_after_an_update",
            alone: false,
            run: compose_finds_nothing_to_do_after_an_update,
        },
        Case {
            name: "compose_finds_nothing_to_do_after_a_way_back",
            alone: false,
            run: compose_finds_nothing_to_do_after_a_way_back,
        },
        Case {
            name: "a_service_in_another_ones_network_comes_along",
            alone: false,
            run: a_service_in_another_ones_network_comes_along,
        },
    ]
}

/// A stack as people have them: two services and one that is off, a fixed address and a name
/// of its own on one of two networks, data, settings from a file.
const STACK: &str = r#"
name: shop
services:
  web:
    image: IMAGE
    ports: ["8080:80"]
    restart: unless-stopped
    depends_on: [db]
    env_file: [web.env]
    environment:
      COLOUR: blue
    labels:
      team: shop
    healthcheck:
      test: ["CMD", "/sample-app", "healthcheck"]
      interval: 30s
    networks:
      front:
        aliases: [shop.internal]
        ipv4_address: 10.216.7.20
      back:
    volumes:
      - uploads:/uploads
      - ./static:/static:ro
      - type: tmpfs
        target: /scratch
  db:
    image: app:1
    restart: unless-stopped
    networks: [back]
    volumes: ["rows:/rows"]
  later:
    image: app:1
    profiles: [later]
    networks: [back]
networks:
  front:
    ipam:
      config: [{subnet: 10.216.7.0/24}]
  back:
volumes:
  uploads:
  rows:
"#;

/// The name that Compose gives to `web`.
const WEB: &str = "shop-web-1";

/// The stack, up, with `web` on this image.
fn shop(world: &World, image: &str) -> Project {
    let project = Project::new(&world.lab, "shop", &STACK.replace("IMAGE", image));
    project.write("web.env", "FROM_FILE=\"a b\"\nEMPTY=\n");
    std::fs::create_dir_all(project.dir().join("static")).expect("the lab is writable");
    project.write("static/logo.txt", "logo");
    let said = project.up();
    assert!(said.contains("Started"), "{said}");
    world.wait_for_http(8080);
    project
}

fn compose_finds_nothing_to_do_after_an_update(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let registry = Registry::start(&world.lab);
    // A tag that moves, as `latest` and `stable` do.
    let stable = registry.push(&world.lab, "app:1", "shop/web:stable");
    let project = shop(&world, &stable);
    for version in [2, 1] {
        registry.push(&world.lab, &format!("app:{version}"), "shop/web:stable");
        let before = project.ids();
        world.changeover(&["update", WEB, "--image", &stable, "--stable", "0s"]).expect(0);
        world.wait("the new version", || world.visit(8080) == version.to_string());
        assert_ne!(project.ids(), before, "another container serves");
        check_is_composes_own(&world, &project);
    }
    check_everything_goes(&world, &project);
}

fn compose_finds_nothing_to_do_after_a_way_back(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.image("app:broken", &[("VERSION", "3"), ("BROKEN_MS", "always")], &[]);
    let project = shop(&world, "app:1");
    let before = project.ids();
    let args = ["update", WEB, "--image", "app:broken", "--health-timeout", "1s"];
    let mut update = world.spawn(&args);
    update.wait_for_step("start-new");
    // The name leads to whoever is up: it moves with the network's alias.
    world.wait("the service's name, from another service", || reaches(&world, "db", "web"));
    update.finish().expect(20);
    let (_, log) =
        world.lab.api("GET", &format!("/containers/{WEB}.changeover/logs?stderr=1"), None);
    assert!(log.to_string().contains("version 3"), "the failed version's words: {log}");
    check_is_composes_own(&world, &project);
    assert!(before.iter().all(|id| project.ids().contains(id)), "the same containers as before");

    world.changeover(&["update", WEB, "--image", "app:2", "--stable", "0s"]).expect(0);
    world.changeover(&["rollback", WEB, "--stable", "0s"]).expect(0);
    world.wait("the version before", || world.visit(8080) == "1");
    check_is_composes_own(&world, &project);
    check_everything_goes(&world, &project);
}

fn a_service_in_another_ones_network_comes_along(kind: EngineKind) {
    const FILE: &str = r#"
name: shop
services:
  web:
    image: STABLE
    ports: ["8080:80", "8081:81"]
  side:
    image: app:1
    command: ["--port", "81"]
    network_mode: service:web
"#;
    let world = World::start(kind);
    world.images(&[1, 2]);
    let registry = Registry::start(&world.lab);
    let stable = registry.push(&world.lab, "app:1", "shop/web:stable");
    let project = Project::new(&world.lab, "shop", &FILE.replace("STABLE", &stable));
    project.up();
    world.wait_for_http(8080);
    registry.push(&world.lab, "app:2", "shop/web:stable");
    world.changeover(&["update", WEB, "--image", &stable, "--stable", "0s"]).expect(0);
    world.wait("the new version", || world.visit(8080) == "2");
    world.wait("the other service", || world.visit(8081) == "1");
    // Compose remembers the service by a hash over the other one's id, which it alone can
    // compute. So it makes this one anew, once; it must neither touch the app nor fail.
    let web = project.run(&["ps", "--quiet", "web"]);
    project.up();
    assert_eq!(project.run(&["ps", "--quiet", "web"]), web, "the app's container after `up`");
    world.wait("the other service", || world.visit(8081) == "1");
    check_nothing_to_do(&project);
    check_everything_goes(&world, &project);
}

/// Compose is asked to bring the project up, and does nothing; it lists the containers and
/// shows their words; what the file asks for is there.
fn check_is_composes_own(world: &World, project: &Project) {
    check_nothing_to_do(project);
    let services = project.run(&["ps", "--services", "--status", "running"]);
    let mut services: Vec<&str> = services.lines().collect();
    services.sort_unstable();
    assert_eq!(services, ["db", "web"]);
    project.run(&["logs", "--no-color", "web"]);

    let web = world.inspect(WEB).expect("the service's container");
    let environment = web["Config"]["Env"].to_string();
    for entry in ["COLOUR=blue", "FROM_FILE=a b", "EMPTY="] {
        assert!(environment.contains(&format!("\"{entry}\"")), "{entry}: {environment}");
    }
    assert_eq!(web["Config"]["Labels"]["team"], "shop");
    let front = &web["NetworkSettings"]["Networks"]["shop_front"];
    assert_eq!(front["IPAddress"], "10.216.7.20");
    world.wait("the service's name", || reaches(world, "db", "web"));
    world.wait("the container's name", || reaches(world, "db", WEB));
    world.wait("the other service", || reaches(world, "web", "db"));
    assert_eq!(read(world, "/static/logo.txt"), "logo");
}

/// Both containers of the project run, and `up` neither makes nor removes any.
fn check_nothing_to_do(project: &Project) {
    let ids = running(project);
    assert_eq!(ids.len(), 2, "{ids:?}");
    let said = project.up();
    assert_eq!(running(project), ids, "the containers after `up`: {said}");
    for word in ["Recreate", "Created", "Started", "Removed"] {
        assert!(!said.contains(word), "`up` had something to do: {said}");
    }
}

/// `down` leaves nothing.
fn check_everything_goes(world: &World, project: &Project) {
    world.changeover(&["gc"]).expect(0);
    project.run(&["down", "--volumes", "--remove-orphans"]);
    assert_eq!(world.containers(), Vec::<String>::new(), "containers after `down`");
    for kind in ["networks", "volumes"] {
        let (_, list) = world.lab.api("GET", &format!("/{kind}"), None);
        assert!(!list.to_string().contains("shop_"), "{kind} after `down`: {list}");
    }
}

/// Ids of the project's running containers, sorted.
fn running(project: &Project) -> Vec<String> {
    let listed = project.run(&["ps", "--quiet", "--status", "running"]);
    let mut ids: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
    ids.sort();
    ids
}

/// Whether a service's container reaches another one by name.
fn reaches(world: &World, from: &str, to: &str) -> bool {
    let command = ["/sample-app", "healthcheck", &format!("http://{to}/health")];
    world.exec(&format!("shop-{from}-1"), &command) == 0
}

/// A file as `web` sees it.
fn read(world: &World, path: &str) -> String {
    let at = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8080);
    world.fetch(at, &format!("/files?path={path}"))
}
