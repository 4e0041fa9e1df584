//! What both a user and an image can say: environment, labels, command, user, health.
//!
//! Where a user says just what the old image says as well, no inspect tells the two
//! apart. Then the new image's default is taken.

use changeover_tests::lab::EngineKind::V20_10;

use crate::case::{Case, run};

const AS_THE_IMAGE: &str =
    "equals the old image's default, and no inspect tells that the user set it";

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("nothing_but_the_image", "$IMAGE"),

    run("env", "--env A=b --env 'C=d e' -e E=f=g $IMAGE"),
    run("env_over_the_image", "--env COLOUR=mine --env GONE=never $IMAGE"),
    run("env_as_the_image", "--env COLOUR=red --env GONE=soon $IMAGE"),
    run("env_empty", "--env COLOUR= --env EMPTY= $IMAGE"),
    run("env_of_the_client", "--env HOME --env NOWHERE_SET $IMAGE"),
    run("env_from_a_file", "--env-file $DIR/env.list --env A=b $IMAGE"),
    run("env_path", "--env PATH=/bin:/mine $IMAGE"),

    run("labels", "--label a=b --label 'c=d e' -l bare $IMAGE"),
    run("labels_over_the_image", "--label tier=mine --label gone=never $IMAGE"),
    run("labels_from_a_file", "--label-file $DIR/label.list $IMAGE"),
    run("label_as_the_image", "--label tier=one $IMAGE").differs(&[("Config/Labels/tier", AS_THE_IMAGE)]),
    run("label_as_both_images", "--label same=same $IMAGE"),

    run("command", "$IMAGE --delay-ms 3"),
    run("command_as_the_image", "$IMAGE --delay-ms 1").differs(&[("Config/Cmd/1", AS_THE_IMAGE), ("Args/1", AS_THE_IMAGE)]),
    run("entrypoint_and_command", "--entrypoint /bin/app $IMAGE --delay-ms 5"),
    run("entrypoint_without_command", "--entrypoint /bin/app $IMAGE"),
    run("entrypoint_reset", "--entrypoint '' $IMAGE /sample-app --delay-ms 4"),
    run("entrypoint_as_the_image", "--entrypoint /sample-app $IMAGE"),
    run("entrypoint_as_the_image_and_command", "--entrypoint /sample-app $IMAGE --delay-ms 6")
        .differs(&[("Config/Entrypoint/0", AS_THE_IMAGE), ("Path", AS_THE_IMAGE)]),

    run("user", "--user 2000:2000 $IMAGE"),
    run("user_root", "-u 0 $IMAGE"),
    run("user_as_the_image", "--user 1001:1001 $IMAGE").differs(&[("Config/User", AS_THE_IMAGE)]),
    run("workdir", "--workdir /bin $IMAGE"),
    run("workdir_as_the_image", "-w /one $IMAGE").differs(&[("Config/WorkingDir", AS_THE_IMAGE)]),

    run("stop_signal_and_timeout", "--stop-signal SIGTERM --stop-timeout 3 $IMAGE"),
    run("stop_signal_as_the_image", "--stop-signal SIGINT $IMAGE").differs(&[("Config/StopSignal", AS_THE_IMAGE)]),
    run("stop_timeout_without_end", "--stop-timeout -1 $IMAGE"),

    run("health", "--health-cmd '/sample-app healthcheck' --health-interval 7s --health-timeout 3s --health-retries 2 --health-start-period 4s $IMAGE"),
    run("health_interval_alone", "--health-interval 9s $IMAGE"),
    run("health_command_alone", "--health-cmd '/sample-app healthcheck' $IMAGE"),
    run("health_interval_as_the_image", "--health-interval 31s $IMAGE").differs(&[("Config/Healthcheck/Interval", AS_THE_IMAGE)]),
    run("health_start_interval", "--health-start-interval 2s $IMAGE").not(&[(V20_10, "API 1.44 brought it")]),
    run("health_none", "--no-healthcheck $IMAGE"),

    run("expose", "--expose 90 --expose 91-92/udp $IMAGE"),
    run("expose_as_the_image", "--expose 80 --expose 81/udp $IMAGE")
        .differs(&[("Config/ExposedPorts/81/udp", AS_THE_IMAGE), ("NetworkSettings/Ports/81/udp", AS_THE_IMAGE)]),
];
