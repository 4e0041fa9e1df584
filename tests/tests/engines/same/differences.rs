//! Every setting is there again, and where an engine would have it otherwise, the old
//! container never notices.

use changeover_tests::lab::EngineKind;
use changeover_tests::wire::Proxy;
use changeover_tests::world::{World, web};
use serde_json::{Value, json};

use super::{assert_every_field_is_in_the_table, case, docker};
use crate::Case;

pub(super) fn cases() -> Vec<Case> {
    vec![
        case!(what_an_engine_forgets_is_found_before_the_old_one_stops),
        case!(a_container_with_every_kind_of_setting_is_the_same),
        case!(a_network_that_was_made_anew_by_hand_is_found_by_its_name),
    ]
}

fn what_an_engine_forgets_is_found_before_the_old_one_stops(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    world.lab.api("POST", "/networks/create", Some(&json!({ "Name": "net" })));
    let mut body = web("app:1");
    body["Env"] = json!(["TOKEN=hunter2"]);
    body["HostConfig"]["ExtraHosts"] = json!(["db:10.0.0.1"]);
    body["HostConfig"]["Tmpfs"] = json!({ "/scratch": "size=1m" });
    body["HostConfig"]["NetworkMode"] = "net".into();
    body["NetworkingConfig"] = json!({ "EndpointsConfig": { "net": { "Aliases": ["www"] } } });
    body["Volumes"] = json!({ "/data": {} });
    world.run("web", &body);
    world.wait_for_http(8080);
    let before = world.inspect("web").expect("the app");
    let proxy = Proxy::listen(world.lab.dir().join("wire.sock"), world.lab.socket());
    let socket = proxy.path().to_string_lossy().into_owned();
    let args = ["update", "web", "--image", "app:2", "--stable", "0s", "--socket", &socket];

    for (field, told) in [
        ("/HostConfig/ExtraHosts", "ExtraHosts: (not shown) → none"),
        ("/HostConfig/Tmpfs", "Tmpfs: (not shown) → none"),
        ("/HostConfig/Mounts", "Volume /data"),
        ("/HostConfig/PortBindings", "Published port 80/tcp: 8080 → none"),
        ("/Env", "Env TOKEN: (not shown) → none"),
        ("/NetworkingConfig/EndpointsConfig/net/Aliases", "Network net Aliases: www → "),
    ] {
        proxy.forget(field);
        let done = world.changeover(&args).expect(20);
        let reason = done.event("condemned").expect("it is given up")["reason"].to_string();
        assert!(reason.contains(told), "no {told:?} in {reason}");
        assert!(!reason.contains("hunter2"), "a secret in {reason}");
        assert!(done.events.iter().all(|event| event["key"] != "stop-old"), "{:#?}", done.events);
        let now = world.inspect("web").expect("the app");
        assert_eq!(now["State"], before["State"], "after {field} was forgotten");
        let status = world.changeover(&["status", "web"]).expect(0);
        assert!(status.events[0]["reason"].as_str().is_some_and(|reason| reason.contains(told)));
    }
    proxy.let_pass();
    world.changeover(&args).expect(0);
    world.assert_settled("2", false);
}

fn a_container_with_every_kind_of_setting_is_the_same(kind: EngineKind) {
    const WEB: &str = "-p 8080:80 -p 127.0.0.1::81 -p 82/udp --expose 99 --network one --ip 10.61.0.9 \
        --mac-address 02:42:0a:3d:00:77 --network-alias www --hostname inside --domainname example.org \
        --dns 10.9.9.9 --dns-search example.org --add-host a:10.2.3.4 -e A=b -l x=y -v /anon \
        -v named:/named:ro --mount type=tmpfs,target=/tm,tmpfs-size=1m --mount type=volume,target=/nameless \
        --tmpfs /scratch --cap-add NET_ADMIN --cap-drop MKNOD --security-opt no-new-privileges \
        --ulimit nofile=1000:2000 --sysctl net.core.somaxconn=77 --init --memory 64m --cpus .5 \
        --pids-limit 50 --shm-size 32m --device /dev/null:/dev/xnull --group-add 99 --log-opt max-size=1m \
        --restart unless-stopped --stop-signal SIGINT --stop-timeout 3 --no-healthcheck --oom-score-adj 500 \
        --ipc shareable --user 0:0 --workdir /sys -t -i";
    const HOST: &str =
        "--network host --pid host --uts host --ipc host -e PORT=91 --cgroupns host --read-only";
    const PLAIN: &str = "-P -e PORT=80";
    let world = World::start(kind);
    world.images(&[1, 2]);
    let docker = |line: &str| docker(&world, line);
    docker("network create --subnet 10.61.0.0/24 one");
    docker("network create two");
    docker(&format!("run -d --name web {WEB} app:1"));
    docker("network connect --alias other two web");
    docker(&format!("run -d --name host {HOST} app:1"));
    docker(&format!("run -d --name plain {PLAIN} app:1"));
    for name in ["web", "host", "plain"] {
        assert_every_field_is_in_the_table(&world.inspect(name).expect("it is there"));
        let shown = world.changeover(&["check", name, "--image", "app:2"]).expect(0);
        let shown = shown.event("check").expect("what would differ");
        let image = |one: &Value| one["field"] == "Env VERSION" && one["because"] == "image";
        let pinned = |one: &Value| one["because"] == "pinned";
        let differences = shown["differences"].as_array().expect("a list");
        assert!(differences.iter().all(|one| image(one) || pinned(one)), "{differences:#?}");
        assert!(differences.iter().any(image), "{differences:#?}");
        let args =
            ["update", name, "--image", "app:2", "--stable", "0s", "--health-timeout", "20s"];
        world.changeover(&args).expect(0);
    }
}

fn a_network_that_was_made_anew_by_hand_is_found_by_its_name(kind: EngineKind) {
    let world = World::start(kind);
    world.images(&[1, 2]);
    let docker = |line: &str| docker(&world, line);
    docker("network create one");
    docker("run -d --name web -p 8080:80 --restart unless-stopped --network one app:1");
    docker("network disconnect one web");
    docker("network rm one");
    docker("network create --subnet 10.62.0.0/24 one");
    docker("network connect --ip 10.62.0.9 --alias www one web");
    world.wait_for_http(8080);
    world.changeover(&["update", "web", "--image", "app:2", "--stable", "0s"]).expect(0);
    world.assert_settled("2", false);
    let web = world.inspect("web").expect("the app");
    assert_eq!(web["NetworkSettings"]["Networks"]["one"]["IPAddress"], "10.62.0.9");
    let aliases = web["NetworkSettings"]["Networks"]["one"]["Aliases"].to_string();
    assert!(aliases.contains("www"), "{aliases}");
}
