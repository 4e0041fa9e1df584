//! Apps that speak TLS themselves: so does the page, or it hangs up politely.

use std::path::Path;

use changeover_tests::lab::EngineKind;
use changeover_tests::load::{Class, Load, Story, Target};
use changeover_tests::tls::{Pair, Trust};
use changeover_tests::world::World;
use serde_json::{Value, json};

use super::{a_few_visitors, assert_story, case, let_some_more_come, publishing, update, verdict};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(visitors_by_tls_go_through_an_update_with_the_apps_own_certificate),
        case!(visitors_by_tls_go_through_a_rollback_with_a_certificate_of_the_host),
        case!(a_certificate_that_cannot_be_used_refuses_the_update),
        case!(a_label_names_the_certificate_in_the_apps_container),
    ]
}

fn visitors_by_tls_go_through_an_update_with_the_apps_own_certificate(kind: EngineKind) {
    let world = World::start(kind);
    let pair = Pair::new();
    images(&world, &pair, &[("BOOT_MS", "1500")]);
    // The volume gets its files from the first image; the second has none.
    world.run("web", &on_a_volume(json!({})));
    let load = visitors(&world, &pair);
    let (cert, key) = ("app:/tls/cert.pem", "app:/tls/key.pem");
    let done = update(&world, 2, &["--tls-cert", cert, "--tls-key", key]).expect(0);
    let report = assert_story(&world, load, Story::Update);
    assert!(report.count(&Class::Page) > 0, "the page was seen by TLS: {report}");
    assert!(!format!("{done:?}").contains("PRIVATE"), "the key stays where it is");
}

fn visitors_by_tls_go_through_a_rollback_with_a_certificate_of_the_host(kind: EngineKind) {
    let world = World::start(kind);
    let pair = Pair::new();
    images(&world, &pair, &[("BOOT_MS", "60000")]);
    world.run("web", &on_a_volume(json!({})));
    world.write_on_machine("/srv/tls/both.pem", &format!("{}{}", pair.certificate, pair.key));
    // As certbot has it: what is asked for is a link.
    assert!(world.machine(&["ln", "-s", "both.pem", "/srv/tls/live.pem"]));
    assert!(world.machine(&["chown", "-R", "1234:1234", "/srv/tls"]));
    let load = visitors(&world, &pair);
    let done = update(&world, 2, &["--tls-cert", "/srv/tls/live.pem", "--health-timeout", "3s"]);
    let done = done.expect(20);
    assert!(!verdict(&done).is_empty());
    let report = assert_story(&world, load, Story::Rollback);
    assert!(report.count(&Class::Page) > 0, "the page was seen by TLS: {report}");
    let helper = world.inspect("web.changeover").expect("the helper is kept").to_string();
    assert!(helper.contains("/srv/tls/live.pem") && !helper.contains("PRIVATE"), "{helper}");
}

fn a_certificate_that_cannot_be_used_refuses_the_update(kind: EngineKind) {
    let world = World::start(kind);
    let (pair, other) = (Pair::new(), Pair::new());
    images(&world, &pair, &[]);
    world.run("web", &on_a_volume(json!({})));
    let load = visitors(&world, &pair);
    world.write_on_machine("/srv/tls/cert.pem", &pair.certificate);
    world.write_on_machine("/srv/tls/other.pem", &other.key);
    let host = ["/srv/tls/cert.pem", "/srv/tls/other.pem"];
    for (cert, key, says) in [
        ("app:/tls/cert.pem", "app:/tls/none.pem", "there is no such file"),
        ("app:/tls", "app:/tls/key.pem", "it is no file"),
        ("app:/tls/cert.pem", "app:/tls/cert.pem", "there is no private key in it"),
        ("app:/tls/key.pem", "app:/tls/key.pem", "there is no certificate in it"),
        // These are for the helper to find out; the app goes on serving meanwhile.
        (host[0], host[1], "the private key is not the certificate's"),
        ("/srv/tls/none.pem", host[1], "is not there on the engine's host"),
    ] {
        let done = update(&world, 2, &["--tls-cert", cert, "--tls-key", key]).expect(21);
        let said = format!("{}{:?}", done.stderr, done.events);
        assert!(said.contains(says), "{cert}, {key}: no {says:?} in {said}");
    }
    let_some_more_come(&world, &load);
    let report = load.stop();
    assert_eq!(report.count(&Class::Old), report.records.len(), "{report}");
}

fn a_label_names_the_certificate_in_the_apps_container(kind: EngineKind) {
    let world = World::start(kind);
    let pair = Pair::valid_until(2024);
    images(&world, &pair, &[]);
    let labels = json!({
        "io.changeover.page.tls-cert": "/tls/cert.pem",
        "io.changeover.page.tls-key": "/tls/key.pem",
    });
    world.run("web", &on_a_volume(labels));
    let image = ["check", "web", "--image", "app:2", "--pull", "never"];
    let done = world.spawn(&image).finish().expect(0);
    let said = done.says("the certificate has expired");
    let plan = &said.event("check").expect("a plan")["plan"];
    assert_eq!(plan["page"]["certificate"]["key"], "app:/tls/key.pem", "{plan:#}");
    let wrong = json!({ "io.changeover.page.tls-cert": "/tls/none.pem" });
    world.machine(&["docker", "rm", "--force", "web"]);
    world.run("web", &on_a_volume(wrong));
    let done = world.spawn(&image).finish().expect(0);
    let said = done.says("without TLS on the page: `app:/tls/none.pem` cannot be read");
    assert_eq!(said.event("check").expect("a plan")["plan"]["page"]["certificate"], Value::Null);
}

/// Version 1 has the certificate in it, version 2 these vices.
fn images(world: &World, pair: &Pair, vices: &[(&str, &str)]) {
    let folder =
        std::env::temp_dir().join(format!("changeover-tls-{}", world.lab.docker_host().len()));
    let folder = folder.with_extension(format!("{:?}", std::thread::current().id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, &pair.certificate).expect("written");
    std::fs::write(&key, &pair.key).expect("written");
    let files: [(&str, &Path, u32); 2] =
        [("tls/cert.pem", &cert, 0o644), ("tls/key.pem", &key, 0o600)];
    world.image_with_files("app:1", &files, &[("VERSION", "1"), ("SPEAKS", "https")], &[]);
    let environment = [&[("VERSION", "2"), ("SPEAKS", "https")], vices].concat();
    world.image("app:2", &environment, &[]);
    let _ = std::fs::remove_dir_all(folder);
}

fn on_a_volume(labels: Value) -> Value {
    let mut body = publishing("app:1", &[(80, "", "8080")]);
    body["HostConfig"]["Binds"] = json!(["tls:/tls"]);
    body["Labels"] = labels;
    body
}

/// By TLS, from the host itself and from outside; they are there when this returns.
fn visitors(world: &World, pair: &Pair) -> Load {
    let trust = Trust::of(&pair.certificate);
    let ways = world.targets(8080).into_iter().filter(|way| !way.addr.is_ipv6());
    let ways: Vec<Target> = ways.map(|way| way.by_tls(&trust)).collect();
    world.wait("an answer by TLS", || {
        let load = a_few_visitors(ways.clone());
        std::thread::sleep(std::time::Duration::from_millis(100));
        let report = load.stop();
        report.count(&Class::Old) == report.records.len()
    });
    let load = a_few_visitors(ways);
    let_some_more_come(world, &load);
    load
}
