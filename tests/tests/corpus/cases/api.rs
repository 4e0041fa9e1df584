//! What has no flag, or what no client would write like this.

use crate::case::{Case, api};

const OF_AN_IMAGE: &str = "a setting of images, of no effect in a container";

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    api("api_nothing_but_the_image", r#"{ "Image": "$IMAGE" }"#),
    api("api_nulls", r#"{ "Image": "$IMAGE", "Env": null, "Cmd": null, "Entrypoint": null, "Labels": null, "Volumes": null,
        "ExposedPorts": null, "Healthcheck": null, "HostConfig": { "Binds": null, "PortBindings": null, "Mounts": null }, "NetworkingConfig": null }"#),
    api("api_empty_lists", r#"{ "Image": "$IMAGE", "Env": [], "Cmd": [], "Labels": {}, "Volumes": {}, "ExposedPorts": {},
        "HostConfig": { "Binds": [], "PortBindings": {}, "Mounts": [], "CapAdd": [], "Dns": [], "Ulimits": [], "Devices": [] } }"#),
    api("api_entrypoint_of_an_empty_list", r#"{ "Image": "$IMAGE", "Entrypoint": [], "Cmd": ["/sample-app"] }"#),
    api("api_entrypoint_of_an_empty_word", r#"{ "Image": "$IMAGE", "Entrypoint": [""], "Cmd": ["/sample-app", "--delay-ms", "7"] }"#),
    api("api_env_without_a_value", r#"{ "Image": "$IMAGE", "Env": ["COLOUR", "A=b"] }"#),
    api("api_env_twice", r#"{ "Image": "$IMAGE", "Env": ["A=b", "A=c"] }"#),
    api("api_env_written_down", r#"{ "Image": "$IMAGE", "Env": ["A=b", "PATH=/bin:/mine", "VERSION=1", "COLOUR=mine", "GONE=never"] }"#)
        .differs(&[("Config/Env/5", "a tool has written the image's whole environment down; what equals the image's was the image's")]),
    api("api_health_none", r#"{ "Image": "$IMAGE", "Healthcheck": { "Test": ["NONE"] } }"#),
    api("api_health_zeros", r#"{ "Image": "$IMAGE", "Healthcheck": { "Test": [], "Interval": 0, "Retries": 7 } }"#),
    api("api_volumes", r#"{ "Image": "$IMAGE", "Volumes": { "/mine": {}, "/also": {} } }"#).pins("/also /data /mine /old"),
    api("api_bind_of_a_bare_path", r#"{ "Image": "$IMAGE", "HostConfig": { "Binds": ["/mine"] } }"#).pins("/data /mine /old"),
    api("api_mounts", r#"{ "Image": "$IMAGE", "HostConfig": { "Mounts": [
        { "Type": "volume", "Source": "mine", "Target": "/mine", "VolumeOptions": { "NoCopy": true, "Labels": { "a": "b" } } },
        { "Type": "tmpfs", "Target": "/run", "TmpfsOptions": { "SizeBytes": 1048576, "Mode": 1023 } },
        { "Type": "bind", "Source": "$DIR/srv", "Target": "/srv", "ReadOnly": true, "BindOptions": { "Propagation": "rprivate" } } ] } }"#),
    api("api_paths_masked", r#"{ "Image": "$IMAGE", "HostConfig": { "MaskedPaths": ["/proc/kcore"], "ReadonlyPaths": ["/proc/sys"] } }"#),
    api("api_paths_not_masked", r#"{ "Image": "$IMAGE", "HostConfig": { "MaskedPaths": [], "ReadonlyPaths": [] } }"#),
    api("api_console", r#"{ "Image": "$IMAGE", "Tty": true, "OpenStdin": true, "StdinOnce": true, "HostConfig": { "ConsoleSize": [40, 120] } }"#),
    api("api_network_disabled", r#"{ "Image": "$IMAGE", "NetworkDisabled": true }"#),
    api("api_stop_timeout_zero", r#"{ "Image": "$IMAGE", "StopTimeout": 0 }"#),
    api("api_port_zero", r#"{ "Image": "$IMAGE", "ExposedPorts": { "80/tcp": {} }, "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "0" }] } } }"#).pins("/data /old 80/tcp"),
    api("api_port_of_an_empty_list", r#"{ "Image": "$IMAGE", "ExposedPorts": { "80/tcp": {} }, "HostConfig": { "PortBindings": { "80/tcp": [] } } }"#),
    api("api_port_not_exposed", r#"{ "Image": "$IMAGE", "HostConfig": { "PortBindings": { "86/tcp": [{ "HostPort": "9301" }] } } }"#),
    api("api_endpoint", r#"{ "Image": "$IMAGE", "HostConfig": { "NetworkMode": "one" }, "NetworkingConfig": { "EndpointsConfig": { "one": {
        "Aliases": ["site"], "IPAMConfig": { "IPv4Address": "10.216.1.91" }, "Links": ["neighbour:db"], "DriverOpts": { "com.example.any": "thing" } } } } }"#),
    api("api_endpoint_without_settings", r#"{ "Image": "$IMAGE", "HostConfig": { "NetworkMode": "two" }, "NetworkingConfig": { "EndpointsConfig": { "two": {} } } }"#),
    api("api_user_and_domain", r#"{ "Image": "$IMAGE", "Hostname": "mine", "Domainname": "example.org", "User": "0:0", "WorkingDir": "/" }"#),
    api("api_shell", r#"{ "Image": "$IMAGE", "Shell": ["/bin/sh", "-c"], "OnBuild": ["RUN x"] }"#)
        .differs(&[("Config/OnBuild", OF_AN_IMAGE), ("Config/OnBuild/0", OF_AN_IMAGE), ("Config/Shell/0", OF_AN_IMAGE), ("Config/Shell/1", OF_AN_IMAGE)]),
    api("api_restart_without_a_name", r#"{ "Image": "$IMAGE", "HostConfig": { "RestartPolicy": {} } }"#),
    api("api_log_without_a_type", r#"{ "Image": "$IMAGE", "HostConfig": { "LogConfig": { "Type": "", "Config": {} } } }"#),
    api("api_security", r#"{ "Image": "$IMAGE", "HostConfig": { "SecurityOpt": ["no-new-privileges:true", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}"], "CapDrop": ["ALL"], "ReadonlyRootfs": true } }"#),
];
