//! B: what the image gave goes with it, what the user gave stays.

use serde_json::json;

use super::super::Loss;
use super::{map, recorded, sorted};

#[test]
fn nothing_of_the_old_image_is_frozen_into_the_new_container() {
    for case in recorded("ports") {
        let create = case.create();
        let sent: Vec<&String> = map(&create).keys().collect();
        for field in ["Env", "Labels", "Cmd", "Entrypoint", "Healthcheck", "Volumes"] {
            assert!(!sent.contains(&&field.to_owned()), "{field} on {}", case.engine);
        }
        let config = case.effective();
        assert_eq!(config["WorkingDir"], "/srv/two", "{}", case.engine);
        assert_eq!(config["User"], "1002");
        assert_eq!(config["StopSignal"], "SIGINT");
        assert_eq!(
            sorted(&config["Env"]),
            ["APP_VERSION=2", "FEATURE=on", "PATH=/opt/app-2/bin:/bin"]
        );
        assert_eq!(config["Image"], "app:v2");
    }
}

#[test]
fn what_the_user_set_outlives_the_image() {
    for case in recorded("user") {
        let config = case.effective();
        assert_eq!(
            sorted(&config["Env"]),
            ["APP_VERSION=mine", "FEATURE=on", "PASSWORD=hunter2", "PATH=/opt/app-2/bin:/bin"],
            "{}",
            case.engine
        );
        assert_eq!(config["User"], "7:8");
        assert_eq!(config["WorkingDir"], "/tmp");
        assert_eq!(config["StopSignal"], "SIGHUP");
        assert_eq!(config["StopTimeout"], 3);
        assert_eq!(config["Hostname"], "web");
        assert_eq!(config["Domainname"], "example.org");
        assert_eq!(config["Labels"]["own"], "x");
        assert_eq!(config["Labels"]["org.opencontainers.image.title"], "mine");
        assert_eq!(config["Labels"]["org.opencontainers.image.version"], "2");
        assert_eq!(config["Labels"].get("maintainer"), None);
        assert_eq!(config["ExposedPorts"], json!({ "80/tcp": {}, "8082/tcp": {}, "9999/tcp": {} }));
    }
}

#[test]
fn a_variable_that_only_happens_to_equal_the_default_stays() {
    for case in recorded("usersame") {
        assert_eq!(case.create()["Env"], json!(["APP_VERSION=1"]), "{}", case.engine);
    }
}

#[test]
fn an_environment_written_down_as_a_whole_is_freed_of_the_defaults() {
    for mut case in recorded("user") {
        // As the edit form of a well-known tool leaves it.
        case.old["Config"]["Env"] =
            json!(["PATH=/opt/app-1/bin:/bin", "APP_VERSION=1", "LANG=C.UTF-8", "MINE=1"]);
        assert_eq!(case.create()["Env"], json!(["MINE=1"]), "{}", case.engine);
    }
}

#[test]
fn a_command_of_ones_own_keeps_the_entrypoint_of_the_image() {
    for case in recorded("cmd") {
        assert_eq!(case.create().get("Entrypoint"), None, "{}", case.engine);
        assert_eq!(case.effective()["Cmd"], json!(["sleep", "100004"]));
        assert_eq!(case.effective()["Entrypoint"][3], "entry-two");
    }
}

#[test]
fn an_entrypoint_of_ones_own_keeps_its_command_and_gets_no_other() {
    for case in recorded("entry") {
        assert_eq!(case.effective()["Entrypoint"], json!(["/bin/sleep"]), "{}", case.engine);
        assert_eq!(case.effective()["Cmd"], json!(["100003"]));
    }
    for mut case in recorded("entrynocmd") {
        case.old["Config"]["Cmd"] = json!(null);
        assert_eq!(case.effective()["Entrypoint"], json!(["/bin/top"]), "{}", case.engine);
        assert_eq!(case.effective().get("Cmd"), None);
    }
}

#[test]
fn an_entrypoint_that_equals_the_images_and_dropped_its_command_drops_it_again() {
    for mut case in recorded("ports") {
        case.old["Config"]["Cmd"] = json!(null);
        let entrypoint = case.old["Config"]["Entrypoint"].clone();
        assert_eq!(case.effective()["Entrypoint"], entrypoint, "{}", case.engine);
        assert_eq!(case.effective().get("Cmd"), None);
    }
}

#[test]
fn an_entrypoint_that_was_reset_stays_reset() {
    for case in recorded("entryreset") {
        assert_eq!(case.create()["Entrypoint"], json!([""]), "{}", case.engine);
        assert_eq!(case.effective().get("Entrypoint"), None);
        assert_eq!(case.effective()["Cmd"], json!(["sleep", "100005"]));
    }
}

#[test]
fn an_empty_list_for_an_entrypoint_still_inherits_the_command() {
    for mut case in recorded("ports") {
        // Compose's `entrypoint: []`.
        case.old["Config"]["Entrypoint"] = json!([]);
        assert_eq!(case.create()["Entrypoint"], json!([]), "{}", case.engine);
        assert_eq!(case.effective()["Cmd"], json!(["sleep", "100002"]));
        case.old["Config"]["Cmd"] = json!(["sleep", "5"]);
        assert_eq!(case.effective()["Cmd"], json!(["sleep", "5"]));
    }
}

#[test]
fn a_health_check_is_merged_field_by_field() {
    for case in recorded("user") {
        let check = case.create()["Healthcheck"].clone();
        let own = json!({ "Test": ["CMD-SHELL", "true mine"], "Interval": 11_000_000_000_u64, "Retries": 5 });
        assert_eq!(check, own, "{}", case.engine);
        assert_eq!(case.effective()["Healthcheck"]["Timeout"], 5_000_000_000_u64);
    }
    for mut case in recorded("user") {
        case.old["Config"]["Healthcheck"]["StartInterval"] = json!(1_000_000_000);
        assert_eq!(case.create()["Healthcheck"]["StartInterval"], 1_000_000_000, "{}", case.engine);
    }
}

#[test]
fn no_health_check_is_not_turned_into_the_images() {
    for case in recorded("nohealth") {
        assert_eq!(case.create()["Healthcheck"], json!({ "Test": ["NONE"] }), "{}", case.engine);
    }
}

#[test]
fn without_the_old_image_everything_stays_and_the_loss_is_said() {
    for mut case in recorded("user") {
        let image = case.old["Image"].as_str().expect("an image").to_owned();
        case.old_image = None;
        let successor = case.successor();
        assert_eq!(successor.losses, [Loss::ImageDefaults { image }], "{}", case.engine);
        let config = case.effective();
        for entry in ["APP_VERSION=mine", "PATH=/opt/app-1/bin:/bin", "LANG=C.UTF-8"] {
            assert!(sorted(&config["Env"]).contains(&entry), "{entry}");
        }
        assert_eq!(config["Entrypoint"][3], "entry-one");
        assert_eq!(config["Cmd"], json!(["sleep", "100001"]));
    }
    for mut case in recorded("entryreset") {
        case.old_image = None;
        assert_eq!(case.effective().get("Entrypoint"), None, "{}", case.engine);
    }
}

#[test]
fn going_back_restores_the_old_image_without_the_new_ones_defaults() {
    for case in recorded("user") {
        let there = super::model::run(&case.create(), &case.new_image, case.api, "there");
        let back = super::Case {
            old: there,
            old_image: Some(case.new_image.clone()),
            new_image: case.old_image.clone().expect("recorded"),
            ..case.clone()
        };
        let config = back.effective();
        assert_eq!(sorted(&config["Env"]), sorted(&case.old["Config"]["Env"]), "{}", case.engine);
        for field in ["Entrypoint", "Cmd", "Healthcheck", "Labels", "User", "WorkingDir"] {
            assert_eq!(config[field], case.old["Config"][field], "{field}");
        }
    }
}

#[test]
fn our_own_labels_are_not_handed_down_and_compose_is_told_the_truth() {
    for case in recorded("res") {
        let labels = case.create()["Labels"].clone();
        assert_eq!(labels.get("io.changeover.update"), None, "{}", case.engine);
        assert_eq!(labels["com.docker.compose.image"], case.new_image["Id"]);
        assert_eq!(labels["com.docker.compose.project"], "p");
    }
}
