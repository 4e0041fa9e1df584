//! What Podman's own command line or engine doesn't take, by case, and what comes out
//! otherwise there.

const NO_FLAG: &str = "`podman run` has no such flag";
const NO_OPTIONS: &str = "`podman run` takes no options of a network like this";
const NO_MOUNT_OPTION: &str = "`podman run` has no such option of a mount";
const INVALID: &str = "`podman run` takes this for invalid";
const AS_THE_IMAGE: &str = "its environment has no order that would tell whose an equal entry is";

const SHOWS_THEM_AS_GIVEN: &str =
    "it shows the ports that it chose as asked for, so those of the old image stay";

const NEVER_STARTED: &str = "the new one was never started, so that it stays as it was";
const OF_NO_CHECK: &str =
    "it writes down how often nothing is checked, if nothing was asked for by a request";
const HIDDEN: &str =
    "it tells nobody of an address that wasn't given to `podman run`; `check` says so";
const WRITTEN_DOWN: &str = "a tool has written the image's whole environment down; what equals the image's was the image's";

/// Cases that Podman can't have, each with the reason.
#[rustfmt::skip]
pub(crate) const NOT: &[(&str, &str)] = &[
    ("env_as_the_image", AS_THE_IMAGE),
    ("workdir_as_the_image", "the directory isn't in the image"),
    ("stop_timeout_without_end", INVALID),
    ("health_start_interval", NO_FLAG),
    ("port_zero", INVALID),
    ("port_of_a_range_of_the_host", INVALID),
    ("port_of_a_long_form", INVALID),
    ("all_ports", SHOWS_THEM_AS_GIVEN),
    ("all_ports_and_a_given_one", SHOWS_THEM_AS_GIVEN),
    ("all_ports_and_exposed_ones", SHOWS_THEM_AS_GIVEN),
    ("network_link_local_address", NO_FLAG),
    ("network_long_form", NO_OPTIONS),
    ("network_driver_options", NO_OPTIONS),
    ("network_sysctls", NO_OPTIONS),
    ("network_bridge_by_name", "it calls a network of its own like this"),
    ("networks_in_create_with_settings", NO_OPTIONS),
    ("networks_with_macs", NO_OPTIONS),
    ("networks_with_priorities", NO_OPTIONS),
    ("networks_with_a_driver_option", NO_FLAG),
    ("networks_exchanged", "it has no network `bridge`"),
    ("link", NO_FLAG),
    ("link_with_an_alias", NO_FLAG),
    ("link_in_a_network", NO_FLAG),
    ("link_of_one_network", NO_FLAG),
    ("hostname_and_domain", NO_FLAG),
    ("volume_driver", NO_FLAG),
    ("volume_driver_of_an_anonymous_one", NO_FLAG),
    ("bind_made_by_the_engine", "it makes no directory for a bind"),
    ("mount_of_a_volume_with_options", NO_MOUNT_OPTION),
    ("mount_of_a_volume_with_a_driver", NO_MOUNT_OPTION),
    ("mount_of_a_bind_read_only_to_the_bottom", NO_MOUNT_OPTION),
    ("mount_of_a_bind_writable_below", NO_MOUNT_OPTION),
    ("mount_of_a_part_of_a_volume", NO_MOUNT_OPTION),
    ("blkio_of_a_device", "the lab's disk has no such scheduler"),
    ("runtime", "the lab's Podman has another runtime"),
    ("runtime_by_its_long_name", "the lab's Podman has another runtime"),
    ("log_local", "it has no such log driver"),
    ("isolation", NO_FLAG),
    ("api_socket", NO_FLAG),
    ("file_of_the_id", "the file is the command line's, which doesn't see the update"),
    ("memory_with_endless_swap", "it takes no endless swap through its API: the update is given up before anything is touched"),
    ("capabilities_all", "the lab's machine hasn't all of them to give"),
    ("api_entrypoint_of_an_empty_list", "it gives the command to the image's entrypoint, which ends with an error"),
    ("api_security", "it takes a seccomp profile for a file"),
    ("compose_networks", "Compose refuses addresses of networks at its version of the API"),
    ("compose_with_a_database", "it has no links"),
];

/// Cases that come out otherwise there.
#[rustfmt::skip]
pub(crate) const OTHERWISE: &[Otherwise] = &[
    // It has no say there without a command of its own.
    otherwise("health_interval_as_the_image"),
    // It takes neither from a request.
    otherwise("api_shell"),
    otherwise("health_none").differs(&[
        ("Config/Healthcheck/Interval", OF_NO_CHECK), ("Config/Healthcheck/Timeout", OF_NO_CHECK), ("Config/Healthcheck/Retries", OF_NO_CHECK),
    ]),
    otherwise("volumes_of_a_neighbour").pins("/data /given /old"),
    otherwise("volumes_of_a_neighbour_read_only").pins("/data /given /old"),
    // It chooses the port when it makes the container.
    otherwise("made_and_never_started_with_a_chosen_port").pins("/data /old 80/tcp"),
    otherwise("stopped").differs(&[
        ("State/Status", NEVER_STARTED),
        ("HostnamePath", NEVER_STARTED), ("HostsPath", NEVER_STARTED), ("ResolvConfPath", NEVER_STARTED),
        ("Config/Env/1", NEVER_STARTED), ("Config/Env/2", NEVER_STARTED), ("Config/Env/3", NEVER_STARTED),
        ("Config/Env/4", NEVER_STARTED), ("Config/Env/5", NEVER_STARTED), ("Config/Env/6", NEVER_STARTED),
    ]),
    otherwise("networks_connected_later").differs(&[("NetworkSettings/Networks/three/IPAddress", HIDDEN)]),
    otherwise("networks_with_ipv6_connected_later").differs(&[
        ("NetworkSettings/Networks/six/IPAddress", HIDDEN), ("NetworkSettings/Networks/six/GlobalIPv6Address", HIDDEN),
    ]),
    otherwise("api_endpoint").differs(&[("NetworkSettings/Networks/one/IPAddress", HIDDEN)]),
    otherwise("api_env_written_down").differs(&[("Config/Env/7", WRITTEN_DOWN)]),
];

/// What is pinned there and what differs, if not the same as elsewhere.
pub(crate) struct Otherwise {
    pub(crate) name: &'static str,
    pub(crate) pins: Option<&'static str>,
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

const fn otherwise(name: &'static str) -> Otherwise {
    Otherwise { name, pins: None, differs: &[] }
}

impl Otherwise {
    const fn pins(mut self, pins: &'static str) -> Otherwise {
        self.pins = Some(pins);
        self
    }

    const fn differs(mut self, differs: &'static [(&'static str, &'static str)]) -> Otherwise {
        self.differs = differs;
        self
    }
}
