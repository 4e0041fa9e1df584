//! Podman, through the socket that speaks Docker's API.

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::load::{self, Class, Load, Story};
use changeover_tests::world::{Done, World, web};
use serde_json::{Value, json};

use super::Case;
use super::commands::identity;
use super::same::assert_every_field_is_in_the_table;

pub(crate) fn cases() -> Vec<Case> {
    let case = |name, run| Case { name, alone: false, run };
    vec![
        case("podmans_containers_are_updated_and_go_back", updated_and_go_back),
        case("podmans_networks_and_volumes_come_along", networks_and_volumes_come_along),
        case("what_podman_hides_comes_along", what_is_hidden_comes_along),
        case("podman_starts_a_killed_helper_again", a_killed_helper_is_started_again),
        case("a_podman_without_power_needs_a_resume", without_power),
        case("podmans_containers_know_themselves_in_every_mode", identity::in_every_mode),
    ]
}

/// An update to an image that is here already: Podman takes `app:2` for one of Docker Hub's.
fn update(world: &World, app: &str, image: &str) -> Done {
    world.changeover(&["update", app, "--image", image, "--pull", "missing", "--stable", "0s"])
}

/// `web` on version 1; `None` where this Podman is too old, and was heard to be refused.
fn world_with_web(kind: EngineKind, options: Options) -> Option<World> {
    let world = World::start_with(kind, options);
    world.images(&[1, 2]);
    let id = world.run("web", &web("app:1"));
    world.wait_for_http(8080);
    if kind == EngineKind::Podman4 {
        update(&world, "web", "app:2").expect(21).says("Podman 4.3 cannot change").says("5.1");
        assert_eq!(world.inspect("web").expect("the app")["Id"], id.as_str(), "untouched");
        return None;
    }
    Some(world)
}

fn updated_and_go_back(kind: EngineKind) {
    let Some(world) = world_with_web(kind, Options::default()) else { return };
    world.image("app:broken", &[("VERSION", "3"), ("BROKEN_MS", "always")], &[]);
    let checked = world.changeover(&["check", "web", "--image", "app:2", "--pull", "missing"]);
    let checked = checked.expect(0);
    let warning = checked.event("warning").expect("a word of warning");
    assert!(warning.to_string().contains("this is Podman"), "{warning}");
    // Podman's usual network has no IPv6, so nobody comes in by that.
    let v4 = world.targets(8080).into_iter().filter(|target| target.addr.is_ipv4()).collect();
    let load = Load::start(load::Options::new(v4)).expect("the load starts");
    let visited = |by: Class| world.wait("visitors", || load.report().count(&by) > 100);
    visited(Class::Old);
    update(&world, "web", "app:2").expect(0);
    visited(Class::New);
    let report = load.stop();
    report.check(Story::Update).unwrap_or_else(|wrong| panic!("{wrong}\n{report}"));
    assert!(report.failures().is_empty(), "{report}");
    world.assert_settled("2", false);
    let args = ["update", "web", "--image", "app:broken", "--pull", "missing"];
    let done = world.changeover(&[&args[..], &["--health-timeout", "1s"]].concat());
    done.expect(20);
    world.assert_settled("2", true);
    let status = world.changeover(&["status", "web"]).expect(0);
    assert_eq!(status.events[0]["state"], "rolled-back", "{:#?}", status.events);
    world.changeover(&["gc"]).expect(0);
    world.changeover(&["rollback", "web", "--stable", "0s"]).expect(0);
    world.assert_settled("1", false);
}

/// A container with what people give to theirs, twice: what Podman shows of it makes the
/// same container again, and what it shows of that one too.
fn networks_and_volumes_come_along(kind: EngineKind) {
    let Some(world) = world_with_web(kind, Options::default()) else { return };
    for name in ["front", "back"] {
        let (status, answer) =
            world.lab.api("POST", "/networks/create", Some(&json!({ "Name": name })));
        assert_eq!(status, 201, "{answer}");
    }
    let rich = json!({
        "Image": "app:1",
        "Env": ["A=1"],
        "Labels": { "l": "1" },
        "Hostname": "mine",
        "Healthcheck": {
            "Test": ["CMD", "/sample-app", "healthcheck"],
            "Interval": 30_000_000_000_u64,
        },
        "Volumes": { "/anonymous": {} },
        "StopTimeout": 7,
        "HostConfig": {
            "NetworkMode": "front",
            "RestartPolicy": { "Name": "always" },
            "PortBindings": { "80/tcp": [{ "HostPort": "8081" }] },
            "Binds": ["data:/data", "/etc:/host:ro"],
            "Mounts": [{ "Type": "tmpfs", "Target": "/scratch" }],
            "Memory": 268_435_456,
            "CapAdd": ["NET_ADMIN"],
            "CapDrop": ["CHOWN"],
            "Ulimits": [{ "Name": "nofile", "Soft": 1000, "Hard": 2000 }],
            "Devices": [{
                "PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm",
            }],
            "ExtraHosts": ["x:1.2.3.4"],
            "Dns": ["1.1.1.1"],
            "Sysctls": { "net.core.somaxconn": "512" },
            "Init": true,
            "ReadonlyRootfs": true,
        },
        "NetworkingConfig": { "EndpointsConfig": { "front": { "Aliases": ["shop"] } } },
    });
    world.run("rich", &rich);
    let connect = json!({ "Container": "rich", "EndpointConfig": { "Aliases": ["till"] } });
    let (status, answer) = world.lab.api("POST", "/networks/back/connect", Some(&connect));
    assert!(status < 300, "{answer}");
    let peer = json!({ "Image": "app:1", "HostConfig": { "NetworkMode": "front" } });
    world.run("peer", &peer);
    let reaches = |name: &str| {
        world.exec("peer", &["/sample-app", "healthcheck", &format!("http://{name}/health")]) == 0
    };
    let before = world.inspect("rich").expect("it is there");
    assert_every_field_is_in_the_table(&before);
    for image in ["app:2", "app:1", "app:2"] {
        update(&world, "rich", image).expect(0);
        let after = world.inspect("rich").expect("it is there");
        assert_eq!(what_counts(&after), what_counts(&before), "after the update to {image}");
        for name in ["rich", "shop"] {
            world.wait(&format!("`{name}` by its name"), || reaches(name));
        }
    }
}

/// What of an inspect has to be the same, in an order of its own.
fn what_counts(container: &Value) -> Value {
    let sorted = |list: &Value| {
        let mut entries: Vec<String> =
            list.as_array().into_iter().flatten().map(Value::to_string).collect();
        entries.sort();
        entries
    };
    let (config, host) = (&container["Config"], &container["HostConfig"]);
    let networks = container["NetworkSettings"]["Networks"].as_object().cloned();
    let aliases: Value = networks
        .unwrap_or_default()
        .iter()
        .map(|(name, endpoint)| {
            let mut aliases = endpoint["Aliases"].clone();
            let id = container["Id"].as_str().unwrap_or_default();
            aliases.as_array_mut().into_iter().for_each(|all| {
                all.retain(|alias| !alias.as_str().is_some_and(|alias| id.starts_with(alias)));
            });
            json!({ name: sorted(&aliases) })
        })
        .collect::<Vec<_>>()
        .into();
    let mut environment = config["Env"].clone();
    environment
        .as_array_mut()
        .into_iter()
        .for_each(|all| all.retain(|entry| entry != "VERSION=2" && entry != "VERSION=1"));
    json!({
        "environment": sorted(&environment),
        "hostname": config["Hostname"], "label": config["Labels"]["l"],
        "health": config["Healthcheck"], "timeout": config["StopTimeout"],
        "entrypoint": config["Entrypoint"], "command": config["Cmd"],
        "binds": sorted(&host["Binds"]), "tmpfs": host["Tmpfs"],
        "ports": host["PortBindings"], "policy": host["RestartPolicy"],
        "memory": [host["Memory"], host["MemorySwap"]],
        "capabilities": [host["CapAdd"], host["CapDrop"]],
        "ulimits": sorted(&host["Ulimits"]), "devices": host["Devices"],
        "hosts": host["ExtraHosts"], "dns": host["Dns"], "sysctls": host["Sysctls"],
        "init": host["Init"], "readonly": host["ReadonlyRootfs"],
        "modes": [host["NetworkMode"], host["IpcMode"], host["PidMode"], host["UTSMode"]],
        "networks": aliases,
    })
}

/// Kernel settings and fixed addresses, which Podman's API doesn't tell, from one update to
/// the next and back; and the home directory, which it tells as if it were given.
fn what_is_hidden_comes_along(kind: EngineKind) {
    let Some(world) = world_with_web(kind, Options::default()) else { return };
    let home = |image: &str, home: &str| {
        let passwd = world.lab.dir().join("passwd");
        let line = format!("app:x:0:0::{home}:/bin/sh\n");
        std::fs::write(&passwd, line).expect("the lab's directory is writable");
        let files = [("etc/passwd", passwd.as_path(), 0o644)];
        world.image_with_files(image, &files, &[("VERSION", "9")], &["USER app"]);
    };
    home("home:1", "/home/one");
    home("home:2", "/home/two");
    let lines = "podman network create --subnet 10.216.1.0/24 one
        podman run --detach --name hidden --network one --ip 10.216.1.77 \
            --sysctl net.core.somaxconn=77 --publish 8081:80 home:1
        podman run --detach --name given --env HOME=/mine home:1";
    assert!(world.machine(&["sh", "-ec", lines]));
    world.wait_for_http(8081);
    let is_the_same = |home: &str| {
        let at = std::net::SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), 8081);
        let somaxconn = world.fetch(at, "/files?path=/proc/sys/net/core/somaxconn");
        assert_eq!(somaxconn.trim(), "77");
        let inspect = world.inspect("hidden").expect("it is there");
        let endpoint = &inspect["NetworkSettings"]["Networks"]["one"];
        assert_eq!(endpoint["IPAddress"], "10.216.1.77");
        let environment = inspect["Config"]["Env"].to_string();
        assert!(environment.contains(&format!("\"HOME={home}\"")), "{environment}");
        endpoint["MacAddress"].clone()
    };
    let mac = is_the_same("/home/one");
    // This was made with Podman's own command line, so everything is known of it.
    let remarks = |app: &str| {
        let check = world.changeover(&["check", app, "--image", "app:2", "--pull", "missing"]);
        check.expect(0).event("check").expect("it is shown")["remarks"].to_string()
    };
    assert!(!remarks("hidden").contains("hidden-settings"));
    assert!(remarks("web").contains("hidden-settings"), "made through the API");
    for (image, home) in [("home:2", "/home/two"), ("home:1", "/home/one")] {
        update(&world, "hidden", image).expect(0);
        world.wait_for_http(8081);
        assert_eq!(is_the_same(home), mac, "after the update to {image}");
    }
    world.changeover(&["rollback", "hidden", "--stable", "0s"]).expect(0);
    world.wait_for_http(8081);
    assert_eq!(is_the_same("/home/two"), mac, "after the way back");
    update(&world, "given", "home:2").expect(0);
    let given = world.inspect("given").expect("it is there")["Config"]["Env"].to_string();
    assert!(given.contains("HOME=/mine"), "{given}");
}

fn a_killed_helper_is_started_again(kind: EngineKind) {
    let Some(world) = world_with_web(kind, Options::default()) else { return };
    let mut update = world.spawn(&["update", "web", "--image", "app:2", "--pull", "missing"]);
    update.wait_for_step("stop-old");
    world.lab.crash_container("web.changeover");
    update.finish().expect(0);
    world.assert_settled("2", false);
}

fn without_power(kind: EngineKind) {
    for podman_restart in [false, true] {
        let options = Options { podman_restart, ..Options::default() };
        let Some(mut world) = world_with_web(kind, options) else { return };
        // Old takes its time to stop, so that the cut surely comes before new is started: one
        // that has been started counts as failed when it is found dead.
        world.image("app:slow", &[("VERSION", "1"), ("STOP_MS", "6000")], &[]);
        update(&world, "web", "app:slow").expect(0);
        let mut update = world.spawn(&["update", "web", "--image", "app:2", "--pull", "missing"]);
        update.wait_for("stop-old", |e| e["event"] == "begun" && e["key"] == "stop-old");
        world.lab.power_cut();
        world.lab.start_again();
        update.kill();
        if !podman_restart {
            // As `check` has said: nobody starts anything.
            for name in ["web", "web.changeover"] {
                let found = world.inspect(name).expect("it is there");
                assert_ne!(found["State"]["Running"], true, "{name}");
            }
            world.changeover(&["resume", "web"]).expect(0);
        }
        world.wait("the end", || world.containers() == ["web"]);
        world.assert_settled("2", false);
    }
}
