//! What becomes of every field of a container's inspect, and why.
//!
//! This is the documentation as well as the code. A field that isn't named here
//! is newer than we are and is copied.

use serde_json::{Map, Value};

use super::{Old, config, host_config, is_empty, networks, ports, volumes};

/// Some fields and what becomes of them.
#[derive(Debug)]
pub struct Row {
    /// Their names.
    pub fields: &'static [&'static str],
    /// What becomes of them.
    pub treatment: Treatment,
    /// Why.
    pub because: &'static str,
}

/// What becomes of a field.
#[derive(Debug)]
pub enum Treatment {
    /// Taken over as it is.
    Copy,
    /// What equals the old image's default is left out, so that the new image's
    /// applies: all of a value, the equal entries of a list, the equal pairs of a map.
    SubtractImageDefault,
    /// Made by a function, also where the old container lacks the field.
    Derive(fn(&Old<'_>, At<'_>) -> Option<Value>),
    /// Left out.
    Drop,
}

/// Where a field was found.
#[derive(Debug)]
pub struct At<'a> {
    /// What the old container has there; null if nothing.
    pub value: &'a Value,
    /// For a field of an endpoint, the name of its network.
    pub network: &'a str,
}

use Treatment::{Copy, Derive, Drop, SubtractImageDefault};

/// The top level of inspect: what the engine says about a container rather than
/// what it was asked for. Create has other fields at its top level, so these
/// are never copied.
#[rustfmt::skip]
pub const TOP_LEVEL: &[Row] = &[
    row(&["Config", "HostConfig"], Copy, "by the tables below"),
    row(&["NetworkSettings"], Drop, "source of the endpoints (table below) and of the live ports"),
    row(&["Mounts"], Drop, "source of the names of anonymous volumes"),
    row(&["Platform", "ImageManifestDescriptor"], Drop, "source of `?platform=`"),
    row(&["Name"], Drop, "renaming is the swap's business"),
    row(&["Id", "Created", "State", "RestartCount", "ExecIDs", "SizeRw", "SizeRootFs"], Drop, "a life of its own"),
    row(&["Path", "Args", "Image"], Drop, "follow from Config"),
    row(&["ResolvConfPath", "HostnamePath", "HostsPath", "LogPath", "Driver", "GraphDriver", "Storage",
          "MountLabel", "ProcessLabel", "AppArmorProfile"], Drop, "given by the engine"),
];

/// `Config`: half of it is the image's, merged in by the engine at create.
#[rustfmt::skip]
pub const CONFIG: &[Row] = &[
    row(&["Image"], Derive(config::image), "the new image, as the user calls it"),
    row(&["User", "WorkingDir"], SubtractImageDefault, "the engine merges an image's in where none is given"),
    row(&["StopSignal"], Derive(config::stop_signal), "minus the old image's, by whatever name: Podman says `2` for `SIGINT`"),
    row(&["Env"], Derive(config::env), "what stands before the image's entries; the engine appends those by name"),
    row(&["Healthcheck"], SubtractImageDefault, "the engine merges field by field, 0 inherits; `NONE` differs from any image's"),
    row(&["Entrypoint"], Derive(config::entrypoint), "inherited only if Cmd is too; `[\"\"]` keeps none"),
    row(&["Cmd"], Derive(config::cmd), "inherited only where no entrypoint is given"),
    row(&["Labels"], Derive(config::labels), "minus the old image's, minus our own; Compose's image label told the truth"),
    row(&["ExposedPorts"], Derive(ports::exposed), "minus the old image's, but what is published stays; refused with `container:`"),
    row(&["Volumes"], Derive(volumes::anonymous), "minus the old image's; the others are mounted by name"),
    row(&["Hostname"], Derive(config::hostname), "unless it is generated, or refused with the network or UTS mode"),
    row(&["Domainname"], Derive(config::domainname), "refused with `container:`"),
    row(&["MacAddress"], Derive(networks::legacy_mac), "API 1.44 moved it to the endpoint"),
    row(&["AttachStdin", "AttachStdout", "AttachStderr", "Tty", "OpenStdin", "StdinOnce", "NetworkDisabled",
          "StopTimeout"], Copy, "only the user sets them"),
    row(&["OnBuild", "ArgsEscaped", "Shell"], Drop, "of an image or of Windows"),
];

/// `HostConfig`: all of it is the user's, or what the engine made of it at create.
#[rustfmt::skip]
pub const HOST_CONFIG: &[Row] = &[
    row(&["RestartPolicy"], Derive(host_config::restart_policy), "`no` until the new container has proved itself"),
    row(&["AutoRemove"], Derive(host_config::auto_remove), "a failed start would take the container and its logs away"),
    row(&["PortBindings"], Derive(ports::bindings), "ephemeral ports are pinned to what they are now"),
    row(&["PublishAllPorts"], Copy, "ports pinned above win, those new in the image are published"),
    row(&["Binds"], Derive(volumes::binds), "verbatim; an anonymous one becomes a mount by name, as does an image of Podman's"),
    row(&["Mounts"], Derive(volumes::mounts), "verbatim; anonymous volumes are added by name, so the data stays, and Podman's images"),
    row(&["VolumesFrom"], Derive(volumes::from), "unless a container in it is gone; then its volumes are mounts"),
    row(&["Tmpfs", "VolumeDriver"], Copy, "given by the user"),
    row(&["NetworkMode"], Derive(networks::mode), "a network by its name, as under NetworkingConfig; by id as well, it would be there twice"),
    row(&["Links"], Copy, "create takes the form that inspect shows"),
    row(&["Ulimits"], Derive(host_config::ulimits), "Podman names them `RLIMIT_NOFILE`, and takes `nofile`"),
    row(&["PidMode", "UTSMode", "UsernsMode"], Derive(host_config::namespace), "Podman says `private`, and takes an empty one"),
    row(&["Devices"], Derive(host_config::devices), "Podman leaves the permissions empty, and refuses that"),
    row(&["MemorySwappiness"], Derive(host_config::swappiness), "-1 means not set, and is refused"),
    row(&["Annotations"], Derive(host_config::annotations), "minus what Podman notes there, which says what else stands elsewhere"),
    row(&["ContainerIDFile"], Drop, "a file of the client that ran the old one"),
    row(&["KernelMemory", "KernelMemoryTCP"], Derive(host_config::kernel_memory), "gone from the API with 1.42"),
    row(&["Capabilities"], Drop, "gone from the API, and refused"),
    row(&["LogConfig", "Runtime", "Init", "Privileged", "ReadonlyRootfs", "SecurityOpt", "CapAdd", "CapDrop", "GroupAdd",
          "MaskedPaths", "ReadonlyPaths", "Sysctls", "StorageOpt", "ConsoleSize", "Isolation"],
        Copy, "given by the user; where they come from the engine's settings, they were so for the old one"),
    row(&["ShmSize"], Derive(host_config::shm_size), "Podman shows one without a `/dev/shm`, and refuses it there"),
    row(&["NanoCpus"], Derive(host_config::nano_cpus), "Podman shows it together with a period and a quota, and takes only one of both"),
    row(&["CgroupnsMode", "IpcMode", "Cgroup", "CgroupParent"], Copy, "given by the user, or what the engine chose"),
    row(&["Dns", "DnsOptions", "DnsSearch", "ExtraHosts"], Copy, "given by the user; `host-gateway` is still a word"),
    row(&["DeviceCgroupRules", "DeviceRequests"], Copy, "given by the user"),
    row(&["OomScoreAdj", "OomKillDisable", "PidsLimit", "CpuShares", "CpuPeriod", "CpuQuota",
          "CpuRealtimePeriod", "CpuRealtimeRuntime", "CpusetCpus", "CpusetMems", "CpuCount", "CpuPercent", "Memory",
          "MemoryReservation", "MemorySwap", "BlkioWeight", "BlkioWeightDevice", "BlkioDeviceReadBps",
          "BlkioDeviceWriteBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteIOps", "IOMaximumIOps", "IOMaximumBandwidth"],
        Copy, "given by the user; limits that create computes are the same when they are given"),
];

/// `NetworkSettings.Networks.*`: what was asked for, mixed with what came of it.
#[rustfmt::skip]
pub const ENDPOINT: &[Row] = &[
    row(&["IPAMConfig", "Links", "DriverOpts", "GwPriority"], Copy, "given by the user"),
    row(&["Aliases"], Derive(networks::aliases), "minus the old short id; refused on the default bridge"),
    row(&["MacAddress"], Derive(networks::mac), "a generated one would be there twice; a requested one stays, as does any of Podman's, which doesn't tell"),
    row(&["NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
          "GlobalIPv6PrefixLen", "DNSNames"], Drop, "given by the engine"),
];

const fn row(fields: &'static [&'static str], treatment: Treatment, because: &'static str) -> Row {
    Row { fields, treatment, because }
}

/// Treats `from` by the rows; what they don't name is copied.
pub(super) fn apply(
    rows: &[Row],
    from: &Map<String, Value>,
    old: &Old<'_>,
    network: &str,
) -> Map<String, Value> {
    let mut to = from.clone();
    for row in rows {
        for &field in row.fields {
            let value = from.get(field).unwrap_or(&Value::Null);
            let treated = match row.treatment {
                Copy => continue,
                SubtractImageDefault => subtract(value, old.defaults.get(field)),
                Derive(make) => make(old, At { value, network }),
                Drop => None,
            };
            match treated {
                Some(value) => to.insert(field.to_owned(), value),
                None => to.remove(field),
            };
        }
    }
    to
}

/// What of `value` isn't the image's; `None` if nothing is left.
pub(super) fn subtract(value: &Value, default: Option<&Value>) -> Option<Value> {
    let default = default.unwrap_or(&Value::Null);
    let rest = match (value, default) {
        (value, default) if value == default => return None,
        (Value::Array(entries), Value::Array(defaults)) => {
            entries.iter().filter(|entry| !defaults.contains(entry)).cloned().collect()
        }
        (Value::Object(pairs), Value::Object(defaults)) => pairs
            .iter()
            .filter(|(key, value)| defaults.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect::<Map<_, _>>()
            .into(),
        _ => value.clone(),
    };
    (!is_empty(&rest)).then_some(rest)
}
