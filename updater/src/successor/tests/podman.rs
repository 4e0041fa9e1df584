//! What Podman says, 4.3 and 5.4, of the same kinds of containers.

use serde_json::{Value, json};

use super::{Because, Case, PODMANS, recorded_by, sorted};

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
