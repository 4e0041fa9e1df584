//! Whether the new container has the networks and ports that it was to have.
//! Engine 29 can lose a network in a start that failed and then report
//! `running`, so nothing of this goes without saying.

use serde_json::Value;

use super::ports::host_port;
use super::{list, object, part, text};
use crate::plan::Expected;

/// What of `expected` isn't true of the container in this inspect, in words for
/// the operator. Ports are looked at only while it runs: it has none otherwise.
pub fn compare(expected: &Expected, actual: &Value) -> Vec<String> {
    let settings = part(actual, "NetworkSettings");
    let networks = object(settings, "Networks");
    let mut mismatches = Vec::new();
    for network in &expected.networks {
        if !networks.contains_key(network) {
            mismatches.push(format!("network `{network}` is missing"));
        }
    }
    // Of a container in another one's network, Podman shows the networks of that one.
    let is_guest = text(part(actual, "HostConfig"), "NetworkMode").starts_with("container:");
    let too_many = |network: &&String| !is_guest && !expected.networks.contains(network);
    for network in networks.keys().filter(too_many) {
        mismatches.push(format!("network `{network}` is one too many"));
    }
    if actual["State"]["Running"] == true {
        let ports = object(settings, "Ports");
        for port in &expected.ports {
            let published =
                list(ports, &port.container).iter().any(|live| host_port(live) == Some(port.host));
            if !published {
                mismatches
                    .push(format!("port {} → {} is not published", port.host, port.container));
            }
        }
    }
    mismatches
}
