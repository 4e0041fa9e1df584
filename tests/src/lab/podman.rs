//! Podman in a lab: a service that speaks Docker's API, and no daemon behind it.
//!
//! Each container has a `conmon` of its own that lives on without the service, so to stop or kill
//! the "engine" touches none of them; and at boot nobody starts any, unless the distribution's
//! `podman-restart.service` does.

use std::fs;
use std::path::Path;

use super::machine::Machine;

/// `/etc/containers/containers.conf`: there is no systemd whose cgroups and journal it could use.
const CONFIG: &str = r#"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
[containers]
log_driver = "k8s-file"
"#;

/// Prepares a machine that has just booted.
///
/// Where this machine has both versions of control groups, crun 1.21 starts nothing: in the lab
/// there is only the first one then.
pub(super) fn set_up(machine: &Machine, socket: &Path) {
    let script = format!(
        "cat > /etc/containers/containers.conf <<'END'{CONFIG}END
         ! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
         mkdir -p /run/podman && ln -s {0} /run/podman/podman.sock && ln -s {0} /run/docker.sock",
        socket.display()
    );
    let done = machine.command("sh").args(["-c", &script]).status().expect("nsenter can be run");
    assert!(done.success(), "cannot set Podman up");
}

/// What the service is started with.
pub(super) fn service_args(docker_host: &str) -> Vec<String> {
    // Forever: as a rule systemd starts it for each visitor, and ends it a few seconds later.
    ["system", "service", "--time", "0", docker_host].map(str::to_owned).to_vec()
}

/// Does what `podman-restart.service` does at boot.
pub(super) fn start_armed(machine: &Machine) {
    let args = ["start", "--all", "--filter", "restart-policy=always"];
    let done = machine.command("podman").args(args).output().expect("nsenter can be run");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Removes the empty control groups that a power cut leaves. They are named after containers,
/// and all labs' are in one place, so only those of this lab's containers are.
pub(super) fn clear_cgroups(dir: &Path) {
    let containers = dir.join("data/podman/storage/overlay-containers");
    for container in fs::read_dir(containers).into_iter().flatten().flatten() {
        let id = container.file_name().to_string_lossy().into_owned();
        for hierarchy in super::claim::hierarchies() {
            let parent = hierarchy.join("libpod_parent");
            for group in [format!("libpod-{id}"), format!("libpod-conmon-{id}")] {
                for place in [parent.clone(), parent.join("conmon")] {
                    let _ = fs::remove_dir(place.join(&group).join("container"));
                    let _ = fs::remove_dir(place.join(&group));
                }
            }
        }
    }
}
