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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_network_has_an_address_of_its_own_and_ipv6_comes_last() {
        let container = json!({ "NetworkSettings": { "Networks": {
            "back": { "IPAddress": "172.19.0.3", "GlobalIPv6Address": "fd00::3" },
            "front": { "IPAddress": "172.18.0.2", "GlobalIPv6Address": "" },
            "left": { "IPAddress": "", "GlobalIPv6Address": "" },
        } } });
        let found: Vec<String> = own_addresses(&container).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["172.19.0.3", "172.18.0.2", "fd00::3"]);
        let on_host = json!({ "HostConfig": { "NetworkMode": "host" } });
        assert_eq!(own_addresses(&on_host), [Ipv4Addr::LOCALHOST]);
    }
}
