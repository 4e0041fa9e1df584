//! Where the engine is found.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket file.
    Unix(PathBuf),
    /// `host:port`, plain HTTP: a socket proxy.
    Tcp(String),
    /// `host:port`, TLS.
    Tls {
        /// Host and port.
        address: String,
        /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
        certificates: PathBuf,
    },
    /// An engine in this very process, for tests.
    #[cfg(test)]
    #[expect(private_interfaces, reason = "there for tests only")]
    InProcess(crate::seeded::Dial),
}

impl Endpoint {
    /// The first socket that exists in the usual places; Docker's own path if none does.
    pub fn usual() -> Endpoint {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let places = [
            Some(PathBuf::from("/var/run/docker.sock")),
            runtime.as_ref().map(|dir| dir.join("docker.sock")),
            Some(PathBuf::from("/run/podman/podman.sock")),
            runtime.as_ref().map(|dir| dir.join("podman/podman.sock")),
        ];
        let found = places.into_iter().flatten().find(|path| path.exists());
        Endpoint::Unix(found.unwrap_or_else(|| "/var/run/docker.sock".into()))
    }

    /// The socket file, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) | Endpoint::Tls { .. } => None,
            #[cfg(test)]
            Endpoint::InProcess(_) => None,
        }
    }

    /// Whether the engine may be on the machine on which this runs, so that its files, ports
    /// and kernel can be looked at.
    pub fn is_here(&self) -> bool {
        match self {
            Endpoint::Tcp(address) | Endpoint::Tls { address, .. } => {
                let host = host_of(address);
                host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
            }
            _ => true,
        }
    }

    /// With TLS, if it is a host, and with the port that Docker has for either.
    pub(super) fn completed(self, certificates: Option<PathBuf>) -> Endpoint {
        let with_port = |address: String, port: &str| match has_port(&address) {
            true => address,
            false => format!("{address}:{port}"),
        };
        match (self, certificates) {
            (Endpoint::Tcp(address), None) => Endpoint::Tcp(with_port(address, "2375")),
            (Endpoint::Tcp(address), Some(certificates)) => {
                Endpoint::Tls { address: with_port(address, "2376"), certificates }
            }
            (other, _) => other,
        }
    }
}

/// The host of `host:port`, without an IPv6 address's brackets.
pub(super) fn host_of(address: &str) -> &str {
    let host = match has_port(address) {
        true => address.rsplit_once(':').map_or(address, |(host, _)| host),
        false => address,
    };
    host.trim_start_matches('[').trim_end_matches(']')
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp(address) | Endpoint::Tls { address, .. } => write!(f, "tcp://{address}"),
            #[cfg(test)]
            Endpoint::InProcess(_) => f.write_str("test:"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Endpoint, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Endpoint::Unix(path.into()));
        }
        if text.starts_with('/') {
            return Ok(Endpoint::Unix(text.into()));
        }
        if let Some(host) = text.strip_prefix("ssh://") {
            // Docker runs a client of its own at the other end. We are one file that can be there.
            let host = host.split('/').next().unwrap_or_default();
            let (host, port) = match host.rsplit_once(':') {
                Some((host, port)) if port.parse::<u16>().is_ok() => (host, format!("-p {port} ")),
                _ => (host, String::new()),
            };
            return Err(format!(
                "ssh is not spoken here; copy this program to that machine and run it there: `ssh {port}{host} changeover …`"
            ));
        }
        if let Some(address) = text.strip_prefix("tcp://").or(text.strip_prefix("http://")) {
            let address = address.trim_end_matches('/');
            if !address.is_empty() && !address.contains('/') {
                return Ok(Endpoint::Tcp(address.to_owned()));
            }
        }
        Err("expected unix:///path/to/docker.sock or tcp://host:port".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_a_port_has_the_one_that_docker_gives_it() {
        let of = |text: &str, certificates: Option<&str>| {
            let endpoint: Endpoint = text.parse().expect("an endpoint");
            endpoint.completed(certificates.map(PathBuf::from)).to_string()
        };
        assert_eq!(of("tcp://nas", None), "tcp://nas:2375");
        assert_eq!(of("tcp://nas", Some("/certs")), "tcp://nas:2376");
        assert_eq!(of("tcp://[::1]", Some("/certs")), "tcp://[::1]:2376");
        assert_eq!(of("tcp://[::1]:1/", Some("/certs")), "tcp://[::1]:1");
        // A socket file has no use for certificates.
        assert_eq!(of("unix:///a", Some("/certs")), "unix:///a");
        assert_eq!(of("/a", None), "unix:///a");
        for wrong in ["", "tcp://", "tcp://a/b", "fd://", "npipe:////./pipe/docker_engine"] {
            assert!(wrong.parse::<Endpoint>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_loopback_and_sockets_are_here() {
        let here = |text: &str| text.parse::<Endpoint>().expect("an endpoint").is_here();
        assert!(
            here("/a")
                && here("tcp://127.0.0.1:1")
                && here("tcp://[::1]")
                && here("tcp://localhost:1")
        );
        assert!(!here("tcp://nas:1") && !here("tcp://192.0.2.1") && !here("tcp://[2001:db8::1]:1"));
    }

    #[test]
    fn ssh_is_refused_with_what_does_the_same() {
        let said = |text: &str| text.parse::<Endpoint>().expect_err("it isn't spoken");
        assert!(said("ssh://me@nas").contains("`ssh me@nas changeover …`"));
        assert!(
            said("ssh://me@nas:2222/run/docker.sock").contains("`ssh -p 2222 me@nas changeover …`")
        );
    }
}
