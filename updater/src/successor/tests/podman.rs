//! What Podman says, 4.3 and 5.4, of the same kinds of containers.

use serde_json::{Value, json};

use super::{Because, Case, PODMANS, Pair, differences, recorded_by, sorted};

fn all() -> Vec<(String, Case)> {
    let names = ["image-v1", "image-v2", "image-plain"];
    let said = PODMANS.iter().flat_map(|engine| engine.said.as_object().expect("an object").keys());
    let mut containers: Vec<&String> =
        said.filter(|name| !names.contains(&name.as_str())).collect();
    containers.sort();
    containers.dedup();
    let cases = |name: &String| {
        let name = name.clone();
        recorded_by(&*PODMANS, &name).into_iter().map(move |case| (name.clone(), case))
    };
    containers.into_iter().flat_map(cases).collect()
}

fn of(name: &str) -> Vec<Case> {
    recorded_by(&*PODMANS, name)
}

#[test]
fn nothing_that_podman_says_is_unexplained() {
    let all = all();
    assert!(all.len() >= 30, "{}", all.len());
    for (name, case) in all {
        // These run another image than the one that they are updated from here. And 4.3, where
        // updates are refused, shows no exposed ports on another's network.
        let elsewhere = ["host", "side"].contains(&name.as_str());
        if ["bare", "vfrom"].contains(&name.as_str()) || (elsewhere && case.engine == "podman 4.3")
        {
            continue;
        }
        let mut unexplained = case.shown();
        unexplained.retain(|one| one.because == Because::Unexplained);
        assert!(unexplained.is_empty(), "{name} on {}: {unexplained:#?}", case.engine);
    }
}

#[test]
fn what_podman_makes_by_itself_is_made_anew() {
    for (name, case) in all() {
        let create = case.create();
        let env = sorted(&create["Env"]);
        assert!(!env.contains(&"container=podman"), "{name} on {}", case.engine);
        let notes = &create["HostConfig"]["Annotations"];
        assert!(notes.as_object().is_none_or(|n| n.is_empty()), "{name}: {notes}");
        for limit in create["HostConfig"]["Ulimits"].as_array().into_iter().flatten() {
            assert!(!limit["Name"].to_string().contains("RLIMIT"), "{name}: {limit}");
        }
    }
}

#[test]
fn what_came_from_the_image_comes_from_the_new_one() {
    for case in of("usersame") {
        let effective = case.effective();
        let image = &case.new_image["Config"];
        for field in ["StopSignal", "User", "WorkingDir", "Healthcheck", "Entrypoint", "Cmd"] {
            assert_eq!(effective[field], image[field], "{field} on {}", case.engine);
        }
        assert_eq!(case.create()["Labels"], json!({ "own": "x" }), "on {}", case.engine);
    }
}

#[test]
fn a_host_name_is_kept_and_no_alias() {
    for case in of("user") {
        let create = case.create();
        assert_eq!(create["Hostname"], "web", "on {}", case.engine);
        let networks = &create["NetworkingConfig"]["EndpointsConfig"];
        let aliases = networks.as_object().into_iter().flatten().map(|(_, one)| &one["Aliases"]);
        assert!(aliases.into_iter().all(Value::is_null), "{networks} on {}", case.engine);
        assert!(sorted(&create["Env"]).contains(&"PASSWORD=hunter2"));
    }
}

#[test]
fn ports_that_podman_chose_stay() {
    for case in of("eph") {
        let create = case.create();
        for (port, bindings) in create["HostConfig"]["PortBindings"].as_object().expect("ports") {
            for binding in bindings.as_array().expect("a list") {
                let chosen = binding["HostPort"].as_str().unwrap_or_default();
                assert!(chosen.parse::<u16>().is_ok_and(|p| p > 0), "{port}: {binding}");
            }
        }
    }
}

#[test]
fn volumes_of_podmans_come_along_by_name() {
    for case in of("vols") {
        let create = case.create();
        let given = create["HostConfig"].to_string();
        for point in case.old["Mounts"].as_array().expect("mounts") {
            let source = point["Name"].as_str().or(point["Source"].as_str()).expect("a source");
            let destination = point["Destination"].as_str().expect("a destination");
            if point["Type"] != "tmpfs" {
                assert!(given.contains(source), "{source} on {}", case.engine);
            }
            assert!(given.contains(destination), "{destination} on {}", case.engine);
        }
    }
}

/// A container of Podman's with these settings of the host's on top.
fn with(settings: &Value) -> Case {
    let mut case = of("user").remove(1);
    assert_eq!(case.engine, "podman 5.4");
    let host_config = case.old["HostConfig"].as_object_mut().expect("an object");
    host_config.extend(settings.as_object().expect("an object").clone());
    case
}

fn unexplained_in(differences: Vec<crate::successor::Difference>) -> Vec<String> {
    let unexplained = differences.iter().filter(|one| one.because == Because::Unexplained);
    unexplained.map(ToString::to_string).collect()
}

/// What can't be explained of `new`, made of the same image.
fn unexplained_after(case: &Case, new: &Value) -> Vec<String> {
    let image = case.old_image.as_ref().expect("recorded");
    let pair = Pair { old: &case.old, old_image: Some(image), new, new_image: image, moved: &[] };
    unexplained_in(differences(&pair))
}

#[test]
fn what_podman_shows_and_refuses_back_is_left_out() {
    // `--cpus 0.5`, and a namespace without shared memory: recorded from Podman 5.4.
    let cpus = json!({ "NanoCpus": 500_000_000, "CpuPeriod": 100_000, "CpuQuota": 50_000 });
    let case = with(&cpus);
    let asked = &case.create()["HostConfig"];
    assert_eq!([&asked["CpuPeriod"], &asked["CpuQuota"]], [&json!(100_000), &json!(50_000)]);
    assert_eq!(asked["NanoCpus"], Value::Null, "the same once more");
    assert_eq!(unexplained_in(case.shown()), [""; 0]);
    for mode in ["host", "none"] {
        let case = with(&json!({ "IpcMode": mode, "ShmSize": 65_536_000 }));
        assert_eq!(case.create()["HostConfig"]["ShmSize"], Value::Null, "{mode}");
        assert_eq!(unexplained_in(case.shown()), [""; 0]);
    }
    let case = with(&json!({ "IpcMode": "shareable", "ShmSize": 65_536_000 }));
    assert_eq!(case.create()["HostConfig"]["ShmSize"], 65_536_000);
}

#[test]
fn a_mac_of_podmans_is_kept_since_nobody_tells_who_chose_it() {
    let mut case = with(&json!({ "NetworkMode": "one" }));
    let endpoint = json!({ "MacAddress": "4e:0b:a4:ef:a6:fe", "NetworkID": "0123456789abcdef" });
    case.old["NetworkSettings"]["Networks"] = json!({ "one": endpoint });
    let made = case.successor();
    let endpoints = &made.create["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(endpoints["one"]["MacAddress"], "4e:0b:a4:ef:a6:fe");
    assert_eq!(made.hidden_macs, [""; 0]);
    // One that is stopped shows none.
    case.old["NetworkSettings"]["Networks"]["one"]["MacAddress"] = "".into();
    assert_eq!(case.successor().hidden_macs, ["one"]);
}

#[test]
fn an_image_that_podman_mounts_is_mounted_from_the_image_again() {
    let unpacked = "/storage/0123/merge";
    let mut case = with(
        &json!({ "Binds": ["data:/data:rw", format!("{unpacked}:/image:lowerdir=/a:/b,private")] }),
    );
    let mounts = |unpacked: &str| {
        json!([
            { "Type": "image", "Source": "tools:1", "Destination": "/image", "RW": false },
            { "Type": "bind", "Source": unpacked, "Destination": "/image", "RW": true },
        ])
    };
    case.old["Mounts"] = mounts(unpacked);
    let asked = &case.create()["HostConfig"];
    assert_eq!(asked["Binds"], json!(["data:/data:rw"]));
    let mount = json!([{ "Type": "image", "Source": "tools:1", "Target": "/image" }]);
    assert_eq!(asked["Mounts"], mount);
    assert_eq!(unexplained_in(case.shown()), [""; 0]);
    let what = |change: &dyn Fn(&mut Value)| {
        let mut new = case.old.clone();
        new["HostConfig"]["Binds"][1] = "/storage/4567/merge:/image:lowerdir=/a:/c,private".into();
        new["Mounts"] = mounts("/storage/4567/merge");
        change(&mut new);
        unexplained_after(&case, &new)
    };
    assert_eq!(what(&|_| {}), [""; 0], "unpacked anew");
    assert_ne!(what(&|new| new["Mounts"] = json!([])), [""; 0], "nothing is mounted");
}

#[test]
fn a_home_that_podman_made_follows_the_user() {
    let mut case = with(&json!({}));
    let env = |entries: &[&str]| json!(entries);
    let mut what = |before: &[&str], after: &[&str]| {
        case.old["Config"]["Env"] = env(before);
        let mut new = case.old.clone();
        new["Config"]["Env"] = env(after);
        unexplained_after(&case, &new)
    };
    let (root, app) = (
        ["A=1", "container=podman", "HOME=/root", "HOSTNAME=web"],
        ["container=podman", "A=1", "HOME=/home/app", "HOSTNAME=web"],
    );
    assert_eq!(what(&root, &app), [""; 0]);
    assert_eq!(what(&root, &["A=1", "container=podman"]), [""; 0], "before its first start");
    let named = ["A=1", "container=podman", "HOSTNAME=web", "HOME=/home/app"];
    assert_eq!(what(&root, &named), [""; 0], "of a container whose name was given");
    let given = ["HOME=/mine", "A=1", "container=podman", "HOSTNAME=web"];
    assert_ne!(what(&given, &app), [""; 0], "one that somebody gave stays");
}

#[test]
fn podmans_order_of_bindings_is_no_difference() {
    let bindings = json!([
        { "HostIp": "0.0.0.0", "HostPort": "9009" }, { "HostIp": "127.0.0.1", "HostPort": "9010" },
    ]);
    let case = with(&json!({ "PortBindings": { "80/tcp": bindings } }));
    let what = |after: Value| {
        let mut new = case.old.clone();
        new["HostConfig"]["PortBindings"]["80/tcp"] = after;
        unexplained_after(&case, &new)
    };
    assert_eq!(what(json!([bindings[1], bindings[0]])), [""; 0]);
    assert_ne!(what(json!([bindings[1]])), [""; 0]);
}
