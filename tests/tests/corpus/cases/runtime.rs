//! How it is run, stopped, logged and attached.

use changeover_tests::lab::EngineKind::{V20_10, V26_1};

use crate::case::{Case, run, script};

const NEVER_STARTED: &str = "stays stopped, so the new container is created and not started";

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("init", "--init $IMAGE"),
    run("init_off", "--init=false $IMAGE"),
    run("runtime", "--runtime runc $IMAGE"),
    run("runtime_by_its_long_name", "--runtime io.containerd.runc.v2 $IMAGE"),
    run("terminal", "--tty --interactive $IMAGE"),
    run("terminal_without_input", "-t $IMAGE"),
    run("input", "-i $IMAGE"),
    run("detach_keys", "--detach-keys ctrl-a,d --sig-proxy=false $IMAGE"),
    script("attached", "docker create --name $NAME --attach stdout --attach stderr $IMAGE
        docker start $NAME"),
    script("attached_input", "docker create --name $NAME -a stdin -i $IMAGE
        docker start $NAME"),
    script("made_and_never_started", "docker create --name $NAME --publish 9201:80 --env A=b $IMAGE"),
    script("made_and_never_started_with_a_chosen_port", "docker create --name $NAME --publish 80 $IMAGE"),
    script("stopped", "docker run --detach --name $NAME --network one --ip 10.216.1.90 $IMAGE
        docker stop $NAME").differs(&[
            ("State/Status", NEVER_STARTED), ("State/Health", NEVER_STARTED), ("LogPath", NEVER_STARTED),
            ("HostnamePath", NEVER_STARTED), ("HostsPath", NEVER_STARTED), ("ResolvConfPath", NEVER_STARTED),
            ("NetworkSettings/Networks/one/NetworkID", NEVER_STARTED),
        ]),
    script("renamed", "docker run --detach --name $NAME.first --network one $IMAGE
        docker rename $NAME.first $NAME"),
    script("restarted", "docker run --detach --name $NAME --publish 9202:80 $IMAGE
        docker restart $NAME"),
    script("changed_later", "docker run --detach --name $NAME $IMAGE
        docker update --cpu-shares 300 --restart on-failure:2 --pids-limit 90 $NAME"),

    run("restart_always", "--restart always $IMAGE"),
    run("restart_unless_stopped", "--restart unless-stopped $IMAGE"),
    run("restart_on_failure", "--restart on-failure:3 $IMAGE"),
    run("restart_no", "--restart no $IMAGE"),

    run("log_none", "--log-driver none $IMAGE"),
    run("log_local", "--log-driver local --log-opt max-size=1m $IMAGE"),
    run("log_with_options", "--log-driver json-file --log-opt max-size=1m --log-opt max-file=2 --log-opt labels=a $IMAGE"),
    run("log_options_alone", "--log-opt max-size=2m $IMAGE"),

    run("sysctls", "--sysctl net.core.somaxconn=77 --sysctl net.ipv4.ip_unprivileged_port_start=0 $IMAGE"),
    run("annotations", "--annotation a=b --annotation com.example.x=y $IMAGE").not(&[(V20_10, "API 1.43 brought it")]),
    run("isolation", "--isolation default $IMAGE"),
    run("platform", "--platform linux/amd64 $IMAGE"),
    run("pull_never", "--pull never --disable-content-trust $IMAGE"),
    run("pull_quiet", "--pull missing --quiet $IMAGE").not(&[(V20_10, "24 brought it")]),
    run("file_of_the_id", "--cidfile $DIR/$NAME.cid $IMAGE"),
    run("api_socket", "--use-api-socket --user 0 $IMAGE").not(&[(V20_10, "28.1 brought it"), (V26_1, "28.1 brought it")]),
];
