//! A reverse proxy in front of the app, as the README has it: a real nginx.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Child, Stdio};

use changeover_tests::lab::EngineKind;
use changeover_tests::load::Story;
use changeover_tests::nginx;
use changeover_tests::world::{World, web};
use serde_json::json;

use crate::Case;

use super::{a_few_visitors, assert_story, from_host, let_some_more_come, update};

/// The README's lines.
fn snippet() -> String {
    let readme = include_str!("../../../../README.md");
    let (_, rest) = readme.split_once("```nginx\n").expect("lines for nginx");
    rest.split_once("```").expect("their end").0.to_owned()
}

/// A process that ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // SIGTERM: nginx has children to end.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

pub(super) fn cases() -> Vec<Case> {
    vec![Case {
        name: "visitors_of_a_proxy_see_the_page_through_it",
        alone: false,
        run: seen_through_a_proxy,
    }]
}

fn seen_through_a_proxy(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.run_web("app:1");
    let dir = world.lab.dir().to_owned();
    let write = |name: &str, folder: &Path, servers: &str| {
        let file = dir.join(name);
        fs::write(&file, nginx::config(folder, servers)).expect("the lab's directory is writable");
        file
    };
    // On the host, as it is written there.
    let config = write("host.conf", &dir, &snippet());
    let mut command = world.lab.host_command(nginx::program());
    let child = command.arg("-p").arg(&dir).arg("-c").arg(config).stderr(Stdio::inherit()).spawn();
    let _nginx = Running(child.expect("nginx runs"));
    // In a container: the host by the name that Docker has for it.
    let inside = snippet().replace("127.0.0.1", "host.docker.internal");
    assert_ne!(inside, snippet());
    let config = write("container.conf", Path::new("/tmp"), &inside);
    let files = nginx::files(&dir);
    let mut files: Vec<_> =
        files.iter().map(|(at, file)| (at.as_str(), file.as_path(), 0o755)).collect();
    files.push(("nginx.conf", &config, 0o644));
    world.lab.import_image(
        "nginx:1",
        &files,
        &[r#"CMD ["/nginx", "-p", "/tmp", "-c", "/nginx.conf"]"#],
    );
    let proxy = json!({
        "Image": "nginx:1",
        "ExposedPorts": { "80/tcp": {} },
        "HostConfig": {
            "ExtraHosts": ["host.docker.internal:host-gateway"],
            "PortBindings": { "80/tcp": [{ "HostPort": "81" }] },
            "Tmpfs": { "/tmp": "" },
        },
    });
    world.run("proxy", &proxy);
    for port in [80, 81] {
        world.wait_for_http(port);
        assert_eq!(world.visit(port), "1");
    }
    let targets = [80, 81].map(|port| from_host(&world, Ipv4Addr::LOCALHOST, port));
    let load = a_few_visitors(targets.to_vec());
    let_some_more_come(&world, &load);
    update(&world, 2, &[]).expect(0);
    assert_story(&world, load, Story::Update);

    // Who comes by the app's name doesn't pass the host, and `check` says who that is.
    let mut unseen = web("app:1");
    unseen["HostConfig"]["PortBindings"] = json!({});
    world.run("unseen", &unseen);
    let remarks = |app: &str| {
        let done = world.changeover(&["check", app, "--image", "app:2", "--pull", "never"]);
        done.event("check").map(|check| check["remarks"].to_string()).unwrap_or_default()
    };
    let said = remarks("unseen");
    for words in ["no-page", "`unseen` publishes no port", "`proxy`", "Behind a reverse"] {
        assert!(said.contains(words), "no {words:?} in: {said}");
    }
    world.run("worker", &json!({ "Image": "app:1", "HostConfig": { "NetworkMode": "none" } }));
    for app in ["web", "worker"] {
        let done = world.changeover(&["check", app, "--image", "app:1", "--pull", "never"]);
        assert!(
            !done.stderr.contains("no-page") && !format!("{:?}", done.events).contains("no-page")
        );
    }
}
