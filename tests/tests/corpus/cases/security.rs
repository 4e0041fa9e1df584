//! Rights, devices and namespaces.

use crate::case::{Case, run};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("capabilities_more", "--cap-add NET_ADMIN --cap-add CAP_SYS_PTRACE $IMAGE"),
    run("capabilities_less", "--cap-drop MKNOD --cap-drop net_raw $IMAGE"),
    run("capabilities_none_but_one", "--cap-drop ALL --cap-add NET_BIND_SERVICE $IMAGE"),
    run("capabilities_all", "--cap-add ALL --cap-drop MKNOD $IMAGE"),
    run("privileged", "--privileged $IMAGE"),
    run("no_new_privileges", "--security-opt no-new-privileges $IMAGE"),
    run("seccomp_off", "--security-opt seccomp=unconfined $IMAGE"),
    run("seccomp_from_a_file", "--security-opt seccomp=$DIR/seccomp.json $IMAGE"),
    run("apparmor_off", "--security-opt apparmor=unconfined $IMAGE"),
    run("label_off", "--security-opt label=disable $IMAGE"),
    run("label_of_its_own", "--security-opt label=level:s0:c100 --security-opt label=type:spc_t $IMAGE"),
    run("system_paths_open", "--security-opt systempaths=unconfined $IMAGE"),
    run("groups", "--group-add 999 --group-add 998 $IMAGE"),
    run("device", "--device /dev/null:/dev/mine:r --device /dev/zero $IMAGE"),
    run("device_rules", "--device-cgroup-rule 'c 42:* rmw' $IMAGE"),

    run("pid_of_the_host", "--pid host $IMAGE"),
    run("pid_of_a_neighbour", "--pid container:neighbour $IMAGE"),
    run("ipc_of_the_host", "--ipc host $IMAGE"),
    run("ipc_of_a_neighbour", "--ipc container:neighbour $IMAGE"),
    run("ipc_private", "--ipc private $IMAGE"),
    run("ipc_shareable", "--ipc shareable $IMAGE"),
    run("ipc_none", "--ipc none $IMAGE"),
    run("uts_of_the_host", "--uts host $IMAGE"),
    run("users_of_the_host", "--userns host $IMAGE"),
    run("cgroups_of_the_host", "--cgroupns host $IMAGE"),
    run("cgroups_private", "--cgroupns private $IMAGE"),
    run("cgroup_parent", "--cgroup-parent /changeover-lab-corpus $IMAGE"),
];
