//! What is refused is refused before anything is touched.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use changeover_tests::lab::{EngineKind, Options};
use changeover_tests::world::{Running, World};
use changeover_tests::{fake, lab};
use serde_json::{Value, json};

use super::{
    assert_words, case, docker, noise, program_in_the_lab, refused, update, world_with_web,
};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case("an_engine_that_cannot_be_used_is_named", an_engine_that_cannot_be_used_is_named),
        case("containers_that_cannot_be_updated_are_refused", unsuitable_containers_are_refused),
        case("names_of_somebody_else_are_left_alone", names_of_somebody_else_are_left_alone),
        case("an_app_whose_port_was_taken_is_refused", an_app_whose_port_was_taken_is_refused),
        case("an_image_for_another_machine_is_refused", an_image_for_another_machine_is_refused),
        case("a_full_disk_stops_the_pull_and_nothing_else", a_full_disk_stops_the_pull),
        case("a_second_update_is_refused_while_one_is_under_way", a_second_update_is_refused),
        case("of_two_updates_at_once_one_wins", of_two_updates_at_once_one_wins),
    ]
}

fn an_engine_that_cannot_be_used_is_named(kind: EngineKind) {
    let world = world_with_web(kind);
    let ask = |socket: &std::path::Path| {
        let host = format!("unix://{}", socket.display());
        let args = ["--host", &host, "update", "web", "--image", "app:2"];
        Running::start(world.command(&args).arg("--json")).finish().expect(21)
    };
    let nowhere = world.lab.dir().join("nowhere.sock");
    assert_words(&ask(&nowhere), &["there is no engine at", "nowhere.sock", "mount the socket"]);

    let old = world.lab.dir().join("old.sock");
    fake::answer_always(&old, fake::TOO_OLD);
    assert_words(&ask(&old), &["speaks API 1.40 at most", "1.41 is needed", "20.10 or later"]);

    let other = world.lab.dir().join("other.sock");
    fake::answer_always(&other, fake::NOT_AN_ENGINE);
    assert_words(&ask(&other), &["other.sock", "no Docker-compatible engine"]);

    let mut somebody = somebody_else(&world, &["update", "web", "--image", "app:2"]);
    let done = Running::start(somebody.arg("--json")).finish().expect(21);
    assert_words(&done, &["not allowed to talk to the engine", "member of the socket's group"]);
    world.assert_settled("1", false);
}

/// Our program, run by somebody who may see the socket but not talk to it.
pub(super) fn somebody_else(world: &World, args: &[&str]) -> Command {
    fs::set_permissions(world.lab.socket(), fs::Permissions::from_mode(0o660)).expect("it is ours");
    let mut somebody = world.lab.host_command("setpriv");
    somebody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    somebody.arg(program_for_everybody(world)).args(args);
    somebody
}

/// A copy in a folder that anybody may enter.
fn program_for_everybody(world: &World) -> std::path::PathBuf {
    let program = program_in_the_lab(world);
    fs::set_permissions(world.lab.dir(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    program
}

fn unsuitable_containers_are_refused(kind: EngineKind) {
    let world = world_with_web(kind);
    let ask = |name: &str, words: &[&str]| {
        refused(&world, &["update", name, "--image", "app:2"], words);
        refused(&world, &["check", name, "--image", "app:2"], words);
    };
    ask("we", &["no container `we`", "perhaps you mean `web`"]);
    ask("web1", &["no container `web1`", "perhaps you mean `web`"]);
    ask("my web", &["no container `my web`"]);
    ask("web/../x?y", &["no container `web/../x?y`"]);

    let plain = |host: Value, labels: Value| {
        json!({
            "Image": "app:1", "HostConfig": host, "Labels": labels,
        })
    };
    world.run("brief", &plain(json!({ "AutoRemove": true }), json!({})));
    ask("brief", &["`brief`", "--rm", "--restart unless-stopped"]);

    let service = json!({ "com.docker.swarm.service.id": "x1" });
    world.run("task", &plain(json!({}), service));
    ask("task", &["`task`", "swarm service", "docker service update"]);

    world.run("still", &plain(json!({}), json!({})));
    let paused = Paused::new(&world, "still");
    ask("still", &["`still`", "is paused", "docker unpause"]);
    drop(paused);

    let helper = json!({ "io.changeover.role": "helper" });
    world.run("web2.changeover", &plain(json!({}), helper));
    ask("web2.changeover", &["helper of ours", "name the app"]);
}

/// A paused container. Frozen processes can't be killed, so a lab with some never ends.
struct Paused<'a>(&'a World, &'a str);

impl<'a> Paused<'a> {
    fn new(world: &'a World, name: &'a str) -> Self {
        docker(world, "POST", &format!("/containers/{name}/pause"));
        Paused(world, name)
    }
}

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.lab.api("POST", &format!("/containers/{}/unpause", self.1), None);
    }
}

fn names_of_somebody_else_are_left_alone(kind: EngineKind) {
    let world = world_with_web(kind);
    for suffix in ["next", "old", "failed", "changeover"] {
        let name = format!("web.{suffix}");
        world.create(&name, &json!({ "Image": "app:1" }));
        let words = [&*format!("the name `{name}` is taken"), &*format!("docker rename {name}")];
        refused(&world, &["update", "web", "--image", "app:2"], &words);
        refused(&world, &["check", "web", "--image", "app:2"], &words);
        // What isn't ours stays, even if it looks like ours.
        let done = world.changeover(&["gc"]).expect(0);
        assert!(done.events.is_empty(), "gc cleared {:#?}", done.events);
        assert!(world.inspect(&name).is_some(), "gc took {name}");
        docker(&world, "DELETE", &format!("/containers/{name}"));
    }
    // Names that only look alike are in nobody's way.
    world.create("web.next.1", &json!({ "Image": "app:1" }));
    world.create("my-web.old", &json!({ "Image": "app:1" }));
    update(&world, "app:2").expect(0);
    assert_eq!(world.containers(), ["my-web.old", "web", "web.next.1"]);
}

fn an_app_whose_port_was_taken_is_refused(kind: EngineKind) {
    let world = world_with_web(kind);
    docker(&world, "POST", "/containers/web/stop");
    let third = world.lab.host_netns().run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)));
    let third = third.expect("the port is free");
    let before = world.inspect("web");
    let done = world.changeover(&["update", "web", "--image", "app:2"]).expect(21);
    assert_words(&done, &["`web`", "8080", "free the port", "--allow port-held"]);
    assert_eq!(world.inspect("web"), before);
    drop(third);

    // With the port free, or with the operator's word, it is updated and left stopped.
    update(&world, "app:2").expect(0);
    let web = world.inspect("web").expect("web is there");
    assert_eq!(web["State"]["Running"], false);
    assert_eq!(web["Config"]["Image"], "app:2");
}

fn an_image_for_another_machine_is_refused(kind: EngineKind) {
    let world = world_with_web(kind);
    load_image_for(&world, "app:foreign", "s390x");
    refused(
        &world,
        &["update", "web", "--image", "app:foreign"],
        &["`app:foreign` is built for s390x", "`web` runs on amd64", "--platform"],
    );
}

/// An image with another architecture in its configuration. It is never started.
pub(super) fn load_image_for(world: &World, reference: &str, architecture: &str) {
    let dir = world.lab.dir().join("foreign");
    fs::create_dir_all(&dir).expect("the lab's directory is writable");
    let config = json!({
        "architecture": architecture, "os": "linux", "config": { "Cmd": ["/app"] },
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let manifest = json!([{ "Config": "config.json", "RepoTags": [reference], "Layers": [] }]);
    fs::write(dir.join("config.json"), config.to_string()).expect("it is writable");
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("it is writable");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&dir).args(["-c", "config.json", "manifest.json"]);
    let tar = tar.output().expect("tar can be run").stdout;
    let header = [("Content-Type", "application/x-tar".to_owned())];
    let (status, answer) = world.lab.api_raw("POST", "/images/load", &header, &tar);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert!(world.image_references().contains(&reference.to_owned()), "{reference} was not loaded");
}

fn a_full_disk_stops_the_pull(kind: EngineKind) {
    const ROOT: &str = "/var/lib/small";
    let engine_args = vec![format!("--data-root={ROOT}")];
    let mut world = World::start_with(kind, Options { engine_args, ..Options::default() });
    // The engine made the folder; what it makes from now on is on a small disk.
    world.lab.stop();
    let mounted = world.machine(&["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", ROOT]);
    assert!(mounted, "cannot mount a small disk");
    world.lab.start_again();
    world.images(&[1]);
    world.run_web("app:1");

    let ballast = world.lab.dir().join("ballast");
    fs::write(&ballast, noise(40 << 20)).expect("the lab's directory is writable");
    world.lab.import_image("big:2", &[("ballast", &ballast, 0o644)], &[r#"CMD ["/ballast"]"#]);
    let registry = lab::Registry::start(&world.lab);
    let reference = registry.push(&world.lab, "big:2", "big:2");
    world.lab.forget_image("big:2");
    world.lab.forget_image(&reference);

    // Seen beforehand, from where the disk can be seen.
    assert!(world.machine(&["mount", "-o", "remount,size=150m", ROOT]), "cannot shrink the disk");
    let before = world.inspect("web");
    let inside = program_in_the_lab(&world).display().to_string();
    let mut command = world.lab.machine_command(&inside);
    command.args(["update", "web", "--image", &reference, "--json"]);
    let done = Running::start(&mut command).finish().expect(21);
    assert_words(&done, &["MB are free", ROOT, "docker system df"]);

    // And found out in the middle, from where it can't.
    let free = "kept=$(df -k /var/lib/small | tail -1 | awk '{ print $4 - 20480 }');
        dd if=/dev/zero of=/var/lib/small/ballast bs=1024 count=$kept 2>/dev/null";
    assert!(world.machine(&["sh", "-c", free]), "cannot fill the disk");
    refused(
        &world,
        &["update", "web", "--image", &reference],
        &[&reference, "no space left", "`web` keeps running", "docker system df"],
    );
    assert_eq!(world.inspect("web"), before);
}

fn a_second_update_is_refused(kind: EngineKind) {
    let world = world_with_web(kind);
    world.image("app:3", &[("VERSION", "3"), ("BOOT_MS", "4000")], &[]);
    let mut first = world.spawn(&["update", "web", "--image", "app:3", "--stable", "0s"]);
    first.wait_for_step("start-new");
    for command in ["update", "check"] {
        let done = world.changeover(&[command, "web", "--image", "app:2"]).expect(21);
        assert_words(&done, &["an update of `web` is already under way", "changeover status web"]);
    }
    // Clearing up is nobody's business meanwhile.
    let done = world.changeover(&["gc"]).expect(0);
    assert!(!done.events.iter().any(|event| event["cleared"] == "container"), "{:?}", done.events);
    first.finish().expect(0);
    world.assert_settled("3", false);
}

fn of_two_updates_at_once_one_wins(kind: EngineKind) {
    let world = world_with_web(kind);
    world.image("app:3", &[("VERSION", "3")], &[]);
    let ask = |image: &str| world.spawn(&["update", "web", "--image", image, "--stable", "1s"]);
    let both = [ask("app:2"), ask("app:3")].map(Running::finish);
    let codes = [both[0].code, both[1].code];
    assert!(codes == [0, 21] || codes == [21, 0], "{both:#?}");
    let (winner, loser) = if codes[0] == 0 { ("2", &both[1]) } else { ("3", &both[0]) };
    assert_words(loser, &["`web`"]);
    world.assert_settled(winner, false);
}
