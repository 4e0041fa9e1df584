//! Under which addresses the host reaches a container.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use crate::engine::{Engine, EngineError};

/// Addresses under which the host reaches the container; none if there are none, or if
/// that can't be found out now.
pub async fn addresses(engine: &Engine, inspect: &Value) -> Vec<IpAddr> {
    match lender(engine, inspect).await {
        Ok(Some(lender)) => own_addresses(&lender),
        Ok(None) => own_addresses(inspect),
        Err(_) => Vec::new(),
    }
}

/// The container in whose network this one lives, if it has none of its own.
pub async fn lender(engine: &Engine, inspect: &Value) -> Result<Option<Value>, EngineError> {
    let mode = inspect["HostConfig"]["NetworkMode"].as_str().unwrap_or_default();
    match mode.strip_prefix("container:") {
        Some(lender) => engine.container(lender).await,
        None => Ok(None),
    }
}

/// Whether the container shares the host's network.
pub fn on_host_network(inspect: &Value) -> bool {
    inspect["HostConfig"]["NetworkMode"] == "host"
}

/// The addresses that the container itself has.
pub(crate) fn own_addresses(inspect: &Value) -> Vec<IpAddr> {
    if on_host_network(inspect) {
        return vec![Ipv4Addr::LOCALHOST.into()];
    }
    let networks = inspect["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    let ips = networks.flat_map(|(_, n)| [&n["IPAddress"], &n["GlobalIPv6Address"]]);
    let mut ips: Vec<IpAddr> =
        ips.filter_map(Value::as_str).filter_map(|ip| ip.parse().ok()).collect();
    ips.sort_by_key(IpAddr::is_ipv6);
    ips
}
