//! D: the new container has the data.

use serde_json::{Value, json};

use super::super::{Pair, unexplained};
use super::{Case, map, recorded, shown};

fn mount<'a>(create: &'a Value, target: &str) -> &'a Value {
    let mounts = create["HostConfig"]["Mounts"].as_array().expect("mounts");
    let mut there = mounts.iter().filter(|mount| mount["Target"] == target);
    let mount = there.next().unwrap_or_else(|| panic!("nothing at {target}"));
    assert!(there.next().is_none(), "two at {target}");
    mount
}

fn name_at(case: &Case, destination: &str) -> Value {
    let points = case.old["Mounts"].as_array().expect("mounts");
    let point = points.iter().find(|point| point["Destination"] == destination);
    point.expect("a mount")["Name"].clone()
}

#[test]
fn an_anonymous_volume_is_mounted_by_name() {
    for case in recorded("vols") {
        let create = case.create();
        for target in ["/data", "/anon", "/anonmount"] {
            let mount = mount(&create, target);
            assert_eq!(mount["Source"], name_at(&case, target), "{target} on {}", case.engine);
            assert_eq!(mount["Type"], "volume");
        }
        assert_eq!(mount(&create, "/data")["VolumeOptions"]["NoCopy"], true);
        assert_eq!(create.get("Volumes"), None, "they would be made anew");
    }
}

#[test]
fn an_anonymous_volume_survives_an_image_that_no_longer_declares_it() {
    for mut case in recorded("vols") {
        case.new_image["Config"]["Volumes"] = Value::Null;
        assert_eq!(mount(&case.create(), "/data")["Source"], name_at(&case, "/data"));
    }
}

#[test]
fn a_volume_of_a_bare_path_among_the_binds_is_known_by_its_directory() {
    let point = json!({
        "Type": "volume", "Source": "/var/lib/docker/volumes/9dd1e0/_data", "Destination": "/mine",
        "Driver": "local", "Mode": "z", "RW": true, "Propagation": "",
    });
    for mut case in recorded("vols") {
        case.old["HostConfig"]["Binds"] = json!(["/mine"]);
        case.old["Mounts"].as_array_mut().expect("mounts").push(point.clone());
        let create = case.create();
        assert_eq!(mount(&create, "/mine")["Source"], "9dd1e0", "{}", case.engine);
        assert_eq!(create["HostConfig"].get("Binds"), None, "{}", case.engine);
    }
}

#[test]
fn binds_and_mounts_are_both_kept_with_their_options_and_never_doubled() {
    for case in recorded("vols") {
        let create = case.create();
        assert_eq!(
            create["HostConfig"]["Binds"],
            json!(["named:/named", "/srv/files:/img:ro,rprivate"])
        );
        assert_eq!(create["HostConfig"]["Tmpfs"], json!({ "/run": "size=1m" }));
        for given in case.old["HostConfig"]["Mounts"].as_array().expect("mounts") {
            let target = given["Target"].as_str().expect("a target");
            let kept = mount(&create, target);
            if target != "/anonmount" {
                assert_eq!(kept, given, "{}", case.engine);
            }
        }
        let mounts = create["HostConfig"]["Mounts"].as_array().expect("mounts");
        assert!(
            mounts.iter().all(|mount| mount["Target"] != "/named" && mount["Target"] != "/img")
        );
    }
}

#[test]
fn an_anonymous_bind_becomes_a_mount_by_name() {
    for mut case in recorded("user") {
        case.old["HostConfig"]["Binds"] = json!(["/extra/", "named:/named"]);
        let create = case.create();
        assert_eq!(create["HostConfig"]["Binds"], json!(["named:/named"]), "{}", case.engine);
        assert_eq!(mount(&create, "/extra")["Source"], name_at(&case, "/extra"));
    }
}

#[test]
fn volumes_of_another_container_are_still_asked_of_it() {
    for case in recorded("vfrom") {
        let create = case.create();
        assert_eq!(create["HostConfig"]["VolumesFrom"], json!(["bare"]), "{}", case.engine);
        assert!(create["HostConfig"]["Mounts"].is_null());
    }
}

#[test]
fn volumes_of_a_container_that_is_gone_are_mounted_one_by_one() {
    for mut case in recorded("vfrom") {
        let points = case.old["Mounts"].as_array_mut().expect("mounts");
        points.push(json!({
            "Type": "bind", "Source": "/srv/files", "Destination": "/files", "Mode": "", "RW": false,
            "Propagation": "rprivate",
        }));
        let inputs = super::Inputs { donor_gone: true, ..case.inputs() };
        let create = super::successor(&inputs).expect("recorded").create;
        assert!(!map(&create["HostConfig"]).contains_key("VolumesFrom"), "{}", case.engine);
        assert_eq!(mount(&create, "/data")["Source"], name_at(&case, "/data"));
        assert_eq!(mount(&create, "/files")["Source"], "/srv/files");
        let shown = shown(&case.old, case.old_image.as_ref(), &case.new_image, &create);
        let files = shown.iter().find(|one| one.field == "Volume /files").expect("it changes");
        assert_eq!(files.old.as_deref(), Some("another container's"));
        assert_eq!(mount(&create, "/files")["ReadOnly"], true);
    }
}

#[test]
fn an_image_that_is_mounted_lies_somewhere_else_each_time() {
    let point = |source: &str| {
        json!({
            "Type": "image", "Name": "app:1", "Source": source, "Destination": "/image", "RW": true,
        })
    };
    for case in recorded("vols") {
        let at = |source: &str| {
            let mut inspect = case.old.clone();
            inspect["Mounts"].as_array_mut().expect("mounts").push(point(source));
            inspect
        };
        let (old, new) = (at("/overlay2/one/merged"), at("/overlay2/two/merged"));
        let (image, none) = (case.old_image.as_ref().expect("an image"), &[]);
        let pair =
            Pair { old: &old, old_image: Some(image), new: &new, new_image: image, moved: none };
        assert_eq!(unexplained(&pair), None, "{}", case.engine);
        let pair = Pair { new: &case.old, ..pair };
        assert!(unexplained(&pair).is_some_and(|why| why.contains("/image")), "{}", case.engine);
    }
}

#[test]
fn a_volume_of_the_new_image_is_explained_also_among_the_binds() {
    // As Podman shows it, which lists every volume there.
    for case in recorded("vols") {
        let (image, mut new_image) = (case.old_image.clone().expect("an image"), case.new_image);
        new_image["Config"]["Volumes"] = json!({ "/brought": {} });
        let mut new = case.old.clone();
        let binds = new["HostConfig"]["Binds"].as_array_mut().expect("binds");
        binds.push("0123:/brought:rprivate,rw,nodev,exec,nosuid,rbind".into());
        let pair = Pair {
            old: &case.old,
            old_image: Some(&image),
            new: &new,
            new_image: &new_image,
            moved: &[],
        };
        assert_eq!(unexplained(&pair), None, "{}", case.engine);
        let pair = Pair { new_image: &image, ..pair };
        assert!(unexplained(&pair).is_some_and(|why| why.contains("/brought")), "{}", case.engine);
    }
}
