//! What a human is shown before anything is touched.

use super::super::Because;
use super::{Case, recorded, shown};

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
        create["Env"] = serde_json::json!([]);
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
        case.new_image["Config"]["Env"] = serde_json::json!(["A=\u{1b}[2J\nx"]);
        let line =
            lines(&case).into_iter().find(|line| line.starts_with("Env A")).expect("A is new");
        assert_eq!(line, r"Env A: none → \u{1b}[2J\nx (the image's default)");
    }
}
