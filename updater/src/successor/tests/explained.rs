//! What a human is shown before anything is touched.

use serde_json::{Value, json};

use super::super::{Because, Moved, Pair, is_empty, unexplained};
use super::{Case, ENGINES, map, recorded, shown};

fn lines(case: &Case) -> Vec<String> {
    case.shown().iter().map(ToString::to_string).collect()
}

#[test]
fn the_differences_read_well() {
    for case in recorded("user") {
        let data = &case.create()["HostConfig"]["Mounts"][0]["Source"];
        let data = &data.as_str().expect("a name")[..12];
        let lines = lines(&case);
        for line in [
            r#"Cmd: ["sleep","100001"] → ["sleep","100002"] (the image's default)"#,
            "Env PATH: /opt/app-1/bin:/bin → /opt/app-2/bin:/bin (the image's default)",
            "Env FEATURE: none → on (the image's default)",
            "Env LANG: C.UTF-8 → none (the image's default)",
            "Label org.opencontainers.image.version: 1 → 2 (the image's default)",
            "Healthcheck Timeout: 3s → 5s (the image's default)",
            "Exposed port 8082/tcp: none → yes (the image's default)",
            "Volume /cache: none → a new one (the image's default)",
            &format!("Volume /data: anonymous → {data} (pinned, so that it stays)"),
        ] {
            assert!(lines.iter().any(|shown| shown == line), "{line} among {lines:#?}");
        }
    }
}

#[test]
fn nothing_that_the_user_set_is_shown() {
    for case in recorded("user") {
        for image in [case.old_image.clone(), None] {
            let shown = lines(&Case { old_image: image, ..case.clone() }).join("\n");
            for secret in ["hunter2", "PASSWORD", "APP_VERSION", "mine", "own", "7:8"] {
                assert!(!shown.contains(secret), "{secret} on {}", case.engine);
            }
        }
    }
}

#[test]
fn a_value_that_would_be_lost_is_named_and_not_shown() {
    for case in recorded("user") {
        let mut create = case.create();
        create["Env"] = json!([]);
        let shown = shown(&case.old, case.old_image.as_ref(), &case.new_image, &create);
        let password = shown.iter().find(|one| one.field == "Env PASSWORD").expect("it is missing");
        assert_eq!(password.old.as_deref(), Some("(not shown)"), "{}", case.engine);
    }
}

#[test]
fn with_the_same_image_only_what_is_pinned_differs() {
    for name in ["user", "entryreset", "nohealth", "ports", "eph", "nets", "host", "side", "links"]
    {
        for mut case in recorded(name) {
            case.new_image = case.old_image.clone().expect("recorded");
            let differences = case.shown();
            assert!(
                differences.iter().all(|one| one.because == Because::Pinned),
                "{name} on {}: {differences:#?}",
                case.engine
            );
        }
    }
}

#[test]
fn an_images_volume_under_a_tmpfs_is_no_new_one() {
    for mut case in recorded("vols") {
        case.old["HostConfig"]["Tmpfs"]["/cache"] = "".into();
        let lines = lines(&case);
        assert!(!lines.iter().any(|line| line.starts_with("Volume /cache")), "{lines:#?}");
    }
}

#[test]
fn a_port_of_dash_p_that_moves_is_explained() {
    for case in recorded("eph") {
        let live = &case.old["NetworkSettings"]["Ports"]["8081/tcp"][0]["HostPort"];
        let live = live.as_str().expect("a port");
        let lines = lines(&case);
        for line in [
            &format!(
                "Published port 8081/tcp: a free port on 127.0.0.1 → 127.0.0.1:{live} (pinned, so that it stays)"
            ),
            "Published port 8082/tcp: none → a free port (the image's default)",
        ] {
            assert!(lines.iter().any(|shown| shown == line), "{line} among {lines:#?}");
        }
    }
}

#[test]
fn a_value_cannot_move_the_cursor_of_a_terminal() {
    for mut case in recorded("bare") {
        case.new_image["Config"]["Env"] = json!(["A=\u{1b}[2J\nx"]);
        let line =
            lines(&case).into_iter().find(|line| line.starts_with("Env A")).expect("A is new");
        assert_eq!(line, r"Env A: none → \u{1b}[2J\nx (the image's default)");
    }
}

/// The same container once more, as far as it differs by itself, and what is wrong with it
/// after a change.
fn after(case: &Case, change: impl Fn(&mut Value)) -> Option<String> {
    let mut new = case.old.clone();
    let id = case.old["Id"].as_str().expect("an id");
    let new_id = "feed".repeat(16);
    if new["Config"]["Hostname"] == id[..12] {
        new["Config"]["Hostname"] = new_id[..12].into();
    }
    for endpoint in new["NetworkSettings"]["Networks"].as_object_mut().into_iter().flatten() {
        for alias in endpoint.1["Aliases"].as_array_mut().into_iter().flatten() {
            if *alias == id[..12] {
                *alias = new_id[..12].into();
            }
        }
    }
    new["Id"] = new_id.into();
    change(&mut new);
    let old_image = case.old_image.as_ref();
    unexplained(&Pair {
        old: &case.old,
        old_image,
        new: &new,
        new_image: old_image.expect("recorded"),
        moved: &[],
    })
}

fn everything_recorded() -> Vec<(String, Case)> {
    let names: std::collections::BTreeSet<&String> =
        ENGINES.iter().flat_map(|engine| map(&engine.said).keys()).collect();
    let containers = names.into_iter().filter(|name| !name.starts_with("image-"));
    containers
        .flat_map(|name| recorded(name).into_iter().map(move |case| (name.clone(), case)))
        .collect()
}

#[test]
fn every_setting_that_an_engine_loses_is_found() {
    // Judged by other fields, by the gate, or by nobody as it means nothing.
    const SAY_NOTHING: [&str; 13] = [
        "Image",
        "Volumes",
        "OnBuild",
        "Shell",
        "ArgsEscaped",
        "MacAddress",
        "RestartPolicy",
        "AutoRemove",
        "ContainerIDFile",
        "KernelMemory",
        "KernelMemoryTCP",
        "Capabilities",
        "VolumesFrom",
    ];
    let mut lost = 0;
    for (name, case) in everything_recorded() {
        assert_eq!(after(&case, |_| ()), None, "{name} on {} and itself", case.engine);
        let network_mode = case.old["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
        for part in ["Config", "HostConfig"] {
            for (field, value) in map(&case.old[part]) {
                let means_nothing = SAY_NOTHING.contains(&field.as_str())
                    || is_empty(value)
                    || value == false
                    // The engine's own choice, if nobody makes one.
                    || (field == "NetworkMode" && ["bridge", "default"].contains(&network_mode))
                    || (field == "Hostname" && (*value == case.old["Id"].as_str().expect("an id")[..12]
                        || network_mode == "host" || network_mode.starts_with("container:")
                        || case.old["HostConfig"]["UTSMode"] == "host"));
                if means_nothing {
                    continue;
                }
                let found =
                    after(&case, |new| drop(new[part].as_object_mut().map(|p| p.remove(field))));
                assert!(found.is_some(), "{part}.{field} of {name} on {}", case.engine);
                lost += 1;
            }
        }
        for network in map(&case.old["NetworkSettings"]["Networks"]).keys() {
            if network_mode == "host" {
                continue;
            }
            let networks = |new: &mut Value| {
                drop(
                    new["NetworkSettings"]["Networks"]
                        .as_object_mut()
                        .map(|all| all.remove(network)),
                );
            };
            assert!(after(&case, networks).is_some(), "{network} of {name} on {}", case.engine);
        }
        for n in 0..case.old["Mounts"].as_array().map_or(0, Vec::len) {
            let mounts =
                |new: &mut Value| drop(new["Mounts"].as_array_mut().map(|all| all.remove(n)));
            assert!(after(&case, mounts).is_some(), "mount {n} of {name} on {}", case.engine);
        }
    }
    assert!(lost > 500, "only {lost} settings were tried");
}

#[test]
fn a_tie_to_a_container_of_the_set_has_to_follow_it() {
    for case in recorded("side") {
        let owner = case.old["HostConfig"]["NetworkMode"].as_str().expect("a mode");
        let owner = owner.strip_prefix("container:").expect("another's").to_owned();
        let image = case.old_image.as_ref().expect("recorded");
        let moved = [Moved {
            old: [owner.clone(), "web".to_owned()],
            new: ["new-id".to_owned(), "web.next".to_owned(), "web".to_owned()],
        }];
        let tied_to = |to: &str| {
            let mut new = case.old.clone();
            new["HostConfig"]["NetworkMode"] = format!("container:{to}").into();
            unexplained(&Pair {
                old: &case.old,
                old_image: Some(image),
                new: &new,
                new_image: image,
                moved: &moved,
            })
        };
        assert_eq!(tied_to("new-id"), None, "{}", case.engine);
        assert!(tied_to(&owner).is_some_and(|why| why.starts_with("NetworkMode: ")));
        assert!(tied_to("a third").is_some());
    }
}
