//! What Podman's own command line or engine doesn't take, by case.

const NO_FLAG: &str = "`podman run` has no such flag";
const NO_OPTIONS: &str = "`podman run` takes no options of a network like this";
const NO_MOUNT_OPTION: &str = "`podman run` has no such option of a mount";
const INVALID: &str = "`podman run` takes this for invalid";
const AS_THE_IMAGE: &str = "its environment has no order that would tell whose an equal entry is";

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
];
