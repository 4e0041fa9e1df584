//! Where the engine is found.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Docker's socket.
const DOCKERS: &str = "/var/run/docker.sock";

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
    /// The first socket that is there of the usual ones; Docker's own path if none is.
    pub fn usual() -> Endpoint {
        let of = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty());
        let user = rustix::process::geteuid().as_raw();
        // An ssh command or a cron job has no session, and the engine's socket is there all
        // the same.
        let runtime = of("XDG_RUNTIME_DIR").map(PathBuf::from);
        let runtime = runtime.unwrap_or_else(|| format!("/run/user/{user}").into());
        let home = of("HOME").map(PathBuf::from);
        Endpoint::Unix(first_socket(&usual_places(&runtime, home.as_deref())))
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

/// Where engines have their sockets: Docker's, which is also that of Synology, QNAP, Unraid and
/// TrueNAS; that of a rootless one; those of Docker Desktop; Podman's, which in an image without
/// the link from /var/run to /run may be mounted at either; that of a rootless Podman.
fn usual_places(runtime: &Path, home: Option<&Path>) -> Vec<PathBuf> {
    let desktop = home.into_iter().flat_map(|home| {
        [".docker/run/docker.sock", ".docker/desktop/docker.sock"].map(|path| home.join(path))
    });
    let mut places = vec![PathBuf::from(DOCKERS), "/run/docker.sock".into()];
    places.push(runtime.join("docker.sock"));
    places.extend(desktop);
    places.extend(["/run/podman/podman.sock", "/var/run/podman/podman.sock"].map(PathBuf::from));
    places.push(runtime.join("podman/podman.sock"));
    places
}

/// Where an engine wasn't there when a container with its socket was made, there is a folder.
fn first_socket(places: &[PathBuf]) -> PathBuf {
    let is_socket =
        |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
    places.iter().find(is_socket).cloned().unwrap_or_else(|| DOCKERS.into())
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
    fn the_engines_socket_is_found_where_engines_have_it() {
        let root = std::env::temp_dir().join(format!("changeover-sockets-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let places = usual_places(Path::new("/run/user/1000"), Some(Path::new("/home/jo")));
        let expected = [
            "/var/run/docker.sock",
            "/run/docker.sock",
            "/run/user/1000/docker.sock",
            "/home/jo/.docker/run/docker.sock",
            "/home/jo/.docker/desktop/docker.sock",
            "/run/podman/podman.sock",
            "/var/run/podman/podman.sock",
            "/run/user/1000/podman/podman.sock",
        ];
        assert_eq!(places, expected.map(PathBuf::from));
        assert_eq!(usual_places(Path::new("/run/user/0"), None).len(), 6, "nobody at home");

        // From the last to the first: each comes before those that are there already.
        let here = |place: &PathBuf| root.join(place.strip_prefix("/").expect("it is absolute"));
        let places: Vec<PathBuf> = places.iter().map(here).collect();
        assert_eq!(first_socket(&places), Path::new(DOCKERS), "there is none");
        for place in places.iter().rev() {
            std::fs::create_dir_all(place).expect("a folder of ours");
            assert_ne!(first_socket(&places), *place, "a folder is no socket");
            std::fs::remove_dir(place).expect("ours");
            let _listener = std::os::unix::net::UnixListener::bind(place).expect("a socket");
            assert_eq!(first_socket(&places), *place);
        }
        std::fs::remove_dir_all(&root).expect("ours");
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
