//! E: resources, rights and how the container is run and stopped.

use serde_json::{Value, json};

use super::super::{Pair, foreign_platform, unexplained};
use super::{map, recorded};

#[test]
fn resources_and_rights_are_the_same() {
    const DERIVED: [&str; 3] = ["Mounts", "RestartPolicy", "AutoRemove"];
    const DROPPED: [&str; 3] = ["ContainerIDFile", "KernelMemory", "KernelMemoryTCP"];
    for case in recorded("res") {
        let create = case.create();
        let asked = map(&create["HostConfig"]);
        for (field, value) in map(&case.old["HostConfig"]) {
            if DROPPED.contains(&field.as_str()) {
                assert!(!asked.contains_key(field), "{field} on {}", case.engine);
            } else if !DERIVED.contains(&field.as_str()) {
                let null = value.is_null() && !asked.contains_key(field);
                assert!(null || asked.get(field) == Some(value), "{field} on {}", case.engine);
            }
        }
        assert_eq!(create["Tty"], true);
        assert_eq!(create["OpenStdin"], true);
        // So that the comparison is worth something.
        assert_eq!(asked["GroupAdd"], json!(["999"]));
        assert_eq!(asked["Init"], true);
        assert_eq!(asked["Sysctls"], json!({ "net.core.somaxconn": "77" }));
    }
}

#[test]
fn a_limit_of_the_kernels_memory_is_kept_where_it_is_known() {
    for mut case in recorded("res") {
        case.old["HostConfig"]["KernelMemory"] = 33_554_432.into();
        case.old["HostConfig"]["KernelMemoryTCP"] = 0.into();
        let host_config = case.create()["HostConfig"].clone();
        let known = case.engine == "20.10";
        assert_eq!(host_config["KernelMemory"] == 33_554_432, known, "{}", case.engine);
        assert_eq!(host_config.get("KernelMemoryTCP"), None, "{}", case.engine);
    }
}

#[test]
fn stop_signal_and_stop_timeout_are_kept() {
    for case in recorded("user") {
        assert_eq!(case.create()["StopSignal"], "SIGHUP", "{}", case.engine);
        assert_eq!(case.create()["StopTimeout"], 3);
    }
}

#[test]
fn the_new_container_is_not_armed_and_does_not_remove_itself() {
    for mut case in recorded("res") {
        case.old["HostConfig"]["AutoRemove"] = true.into();
        let create = case.create();
        let unarmed = json!({ "Name": "no", "MaximumRetryCount": 0 });
        assert_eq!(create["HostConfig"]["RestartPolicy"], unarmed, "{}", case.engine);
        assert_eq!(create["HostConfig"]["AutoRemove"], false);
    }
}

#[test]
fn what_podman_reports_is_put_so_that_it_accepts_it() {
    for mut case in recorded("usersame") {
        let id = case.old["Id"].as_str().expect("an id")[..12].to_owned();
        let env =
            [&format!("HOSTNAME={id}"), "PATH=/opt/app-1/bin:/bin", "container=podman", "MINE=1"];
        case.old["Config"]["Env"] = json!(env);
        let host_config = &mut case.old["HostConfig"];
        host_config["Ulimits"] = json!([{ "Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 2 }]);
        host_config["PidMode"] = "private".into();
        host_config["Devices"] = json!([{ "PathOnHost": "/dev/null", "PathInContainer": "/dev/x", "CgroupPermissions": "" }]);
        host_config["MemorySwappiness"] = json!(-1);
        let create = case.create();
        assert_eq!(create["Env"], json!(["MINE=1"]));
        let asked = map(&create["HostConfig"]);
        assert_eq!(asked["Ulimits"], json!([{ "Name": "nofile", "Soft": 1, "Hard": 2 }]));
        assert_eq!(asked["Devices"][0]["CgroupPermissions"], "rwm");
        assert!(!asked.contains_key("PidMode") && !asked.contains_key("MemorySwappiness"));
    }
}

#[test]
fn what_podman_writes_down_by_itself_is_nobodys_setting() {
    for mut case in recorded("usersame") {
        let id = case.old["Id"].as_str().expect("an id")[..12].to_owned();
        case.old["Config"]["Env"] = json!([format!("HOSTNAME={id}"), "container=podman"]);
        let notes = json!({
            "io.container.manager": "libpod", "org.opencontainers.image.stopSignal": "2",
            "org.systemd.property.KillSignal": "2", "mine": "yes",
        });
        case.old["HostConfig"]["Annotations"] = notes;
        for (shown, of_the_image, asked) in [
            ("2", json!("SIGINT"), Value::Null),
            ("15", Value::Null, Value::Null),
            ("3", Value::Null, json!("3")),
            ("15", json!("SIGINT"), json!("15")),
        ] {
            case.old["Config"]["StopSignal"] = shown.into();
            case.old_image.as_mut().expect("recorded")["Config"]["StopSignal"] = of_the_image;
            let create = case.create();
            assert_eq!(create["StopSignal"], asked, "{shown}");
            assert_eq!(create["HostConfig"]["Annotations"], json!({ "mine": "yes" }));
        }
    }
}

#[test]
fn a_stop_signal_is_the_same_by_its_name_and_by_its_number() {
    for case in recorded("usersame") {
        let mut old_image = case.old_image.clone().expect("recorded");
        let mut new_image = old_image.clone();
        let (mut old, mut new) = (case.old.clone(), case.old.clone());
        old_image["Config"]["StopSignal"] = "SIGINT".into();
        new_image["Config"]["StopSignal"] = "SIGQUIT".into();
        let what = |old: &Value, new: &Value, old_image: &Value| {
            let pair =
                Pair { old, old_image: Some(old_image), new, new_image: &new_image, moved: &[] };
            unexplained(&pair)
        };
        old["Config"]["StopSignal"] = "2".into();
        new["Config"]["StopSignal"] = "3".into();
        assert_eq!(what(&old, &new, &old_image), None, "both are their image's");
        // Podman shows the usual one where nobody has said any.
        old["Config"]["StopSignal"] = "15".into();
        assert!(what(&old, &new, &old_image).is_some_and(|why| why.contains("StopSignal")));
        old_image["Config"]["StopSignal"] = Value::Null;
        assert_eq!(what(&old, &new, &old_image), None, "none, and the new image's");
    }
}

#[test]
fn what_podman_adds_to_a_check_or_an_entrypoint_that_is_off_is_no_difference() {
    for case in recorded("usersame") {
        let image = case.old_image.clone().expect("recorded");
        let what = |field: &str, before: &Value, after: &Value| {
            let (mut old, mut new) = (case.old.clone(), case.old.clone());
            old["Config"][field] = before.clone();
            new["Config"][field] = after.clone();
            let pair = Pair {
                old: &old,
                old_image: Some(&image),
                new: &new,
                new_image: &image,
                moved: &[],
            };
            unexplained(&pair)
        };
        let (off, off_too) = (
            json!({ "Test": ["NONE"] }),
            json!({ "Test": ["NONE"], "Interval": 30, "Retries": 3 }),
        );
        assert_eq!(what("Healthcheck", &off, &off_too), None, "{}", case.engine);
        let on = json!({ "Test": ["CMD", "x"], "Interval": 30 });
        assert!(what("Healthcheck", &off, &on).is_some(), "{}", case.engine);
        assert_eq!(what("Entrypoint", &json!([""]), &Value::Null), None, "{}", case.engine);
        assert!(what("Entrypoint", &json!(["/x"]), &json!([""])).is_some(), "{}", case.engine);
    }
}

#[test]
fn a_container_for_another_machine_stays_one() {
    for mut case in recorded("user") {
        assert_eq!(case.successor().platform, None, "{}", case.engine);
        let image = case.old_image.as_mut().expect("recorded");
        image["Architecture"] = "arm".into();
        image["Variant"] = "v7".into();
        assert_eq!(case.successor().platform.as_deref(), Some("linux/arm/v7"));
        case.old["ImageManifestDescriptor"] =
            json!({ "platform": { "os": "linux", "architecture": "arm64" } });
        let platform = foreign_platform(&case.old, case.old_image.as_ref(), "linux/amd64");
        assert_eq!(platform.as_deref(), Some("linux/arm64"));
    }
}
