//! Throw-away engines, Docker's and Podman's: each [`Lab`] is a small machine of its own.
//!
//! A lab has its own process, mount and network namespaces over a Debian root file system that holds
//! the engine wanted, so it can be killed, restarted or lose its power without anybody else noticing.
//! One thing to know before changing it: everything in the lab is a descendant of one init process,
//! which ends as soon as the [`Lab`] (or the process that holds it) is gone. The kernel then ends the
//! rest of the process namespace, and the mounts go with it. So nothing has to be searched for by
//! name, and a crashed test run leaves no more than a directory and two network names, which the
//! next lab clears away.
//!
//! ```no_run
//! use changeover_tests::lab::{EngineKind, Lab, install};
//!
//! install(&EngineKind::ALL)?;
//! let lab = Lab::start(EngineKind::V28_5);
//! let (status, version) = lab.api("GET", "/version", None);
//! println!("{status}: {} listens on {}", version["Version"], lab.docker_host());
//! # Ok::<(), changeover_tests::lab::InstallError>(())
//! ```

mod api;
mod claim;
mod image;
mod install;
mod machine;
mod network;
mod podman;
mod registry;
pub mod rootless;

use std::error::Error as _;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use claim::Claim;
use machine::{Machine, Service};
use network::Network;

use crate::tls::Authority;

pub use claim::clear_leftovers;
pub use image::busybox;
/// Installing what the machine lacks.
pub mod tools {
    pub(crate) use super::install::{build_debian, cache_dir, compose_rootfs};
    pub use super::install::{install_packages, is_installed, run};
}

pub use install::{EngineKind, InstallError, UnknownEngine, install};
pub use machine::only_child;
pub use network::Netns;
pub use registry::{Login, Registry};

/// How long an engine may take to answer. It needs about a second; a busy machine needs more.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running throw-away engine with a host network and an outside client network.
///
/// Its methods panic with the reason when something fails: it serves tests.
#[derive(Debug)]
pub struct Lab {
    kind: EngineKind,
    options: Options,
    engine: Option<Service>,
    containerd: Option<Service>,
    machine: Option<Machine>,
    system_socket: Option<UnixListener>,
    network: Network,
    // Last, so that the number is free again only after everything else is gone.
    claim: Claim,
}

/// What a lab's engine is started with.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--live-restore`: containers live on while the engine is stopped.
    pub live_restore: bool,
    /// The socket is kept by the system (systemd's `docker.socket`, as most packages do it) and handed
    /// to the engine: it stays the same file over restarts of the engine, so a container that has it
    /// as a mount and lives on keeps it; and who connects while there is no engine waits for one.
    /// Otherwise each engine makes its own, and there is none to connect to while it's away.
    pub socket_activation: bool,
    /// The distribution's `podman-restart.service` is on: at boot it starts containers with the
    /// restart policy `always`. Nobody else does, for there is no daemon.
    pub podman_restart: bool,
    /// The engine also listens on port 2376 of its host's addresses, over TLS, for who has a
    /// certificate: `tls/client` in the lab's directory is a folder for `DOCKER_CERT_PATH`.
    pub tls: bool,
    /// The engine is that of a user without rights: [`rootless`]. Only 28.5 has what it takes.
    pub rootless: bool,
    /// Further arguments for `dockerd`.
    pub engine_args: Vec<String>,
}

impl Lab {
    /// Starts an engine and waits until it answers.
    pub fn start(kind: EngineKind) -> Self {
        Self::start_with(kind, Options::default())
    }

    /// Starts an engine with options of the caller's and waits until it answers.
    pub fn start_with(kind: EngineKind, options: Options) -> Self {
        if let Err(error) = install(&[kind]) {
            panic!("{error} {}", error.source().map(ToString::to_string).unwrap_or_default());
        }
        let claim = Claim::next();
        let network = Network::set_up(claim.number());
        let mut lab = Self {
            kind,
            options,
            engine: None,
            containerd: None,
            machine: None,
            system_socket: None,
            network,
            claim,
        };
        if lab.options.tls {
            let (authority, folder) = (Authority::new(), lab.dir().join("tls"));
            let address = lab.host_v4().to_string();
            authority.write_for(&folder.join("server"), &[&address, "127.0.0.1"]);
            authority.write_for(&folder.join("client"), &[]);
        }
        lab.start_again();
        lab
    }

    /// Starts the engine after [`stop`](Self::stop), [`kill`](Self::kill) or, as at boot, after
    /// [`power_cut`](Self::power_cut), and waits until it answers.
    pub fn start_again(&mut self) {
        assert!(self.engine.is_none(), "the engine of {} runs already", self.name());
        let boots = self.machine.is_none();
        if boots {
            let machine =
                Machine::boot(&self.name(), &self.kind.rootfs(), self.dir(), &self.host_netns());
            if self.kind.is_podman() {
                podman::set_up(&machine, &self.socket());
            } else if self.options.rootless {
                rootless::set_up(&machine, self.dir());
            } else {
                self.containerd = Some(self.start_containerd(&machine));
            }
            if self.options.socket_activation {
                self.system_socket = Some(self.open_system_socket(&machine));
            }
            self.machine = Some(machine);
        }
        let machine = self.machine.as_ref().expect("the machine was just booted");
        let mut engine = self.start_engine(machine);
        wait_for("the engine answers", self.dir(), || {
            assert!(
                !engine.has_ended(),
                "the engine ended at once\n{}",
                log_tail(&self.engine_log())
            );
            self.answers()
        });
        if boots && self.options.podman_restart {
            podman::start_armed(machine);
        }
        self.engine = Some(engine);
    }

    /// Ends the engine in good order (SIGTERM) and waits for it.
    pub fn stop(&mut self) {
        self.end_engine(Signal::TERM);
    }

    /// SIGKILLs the engine and nothing else: containerd and the containers live on.
    pub fn kill(&mut self) {
        self.end_engine(Signal::KILL);
    }

    /// Everything dies at once; what was in memory (`/run`, network set-up, firewall rules) is gone.
    ///
    /// The host gets a new network namespace, so threads that [entered](Netns::enter) the old one
    /// must enter again. The outside client keeps its own, as it would in life.
    pub fn power_cut(&mut self) {
        self.end_everything();
        claim::clear_cgroups(&self.name());
        podman::clear_cgroups(self.dir());
        // In life it is under /run, and in memory as well.
        let _ = fs::remove_file(self.socket());
        self.network.reset_host();
    }

    /// Which engine this is.
    pub fn kind(&self) -> EngineKind {
        self.kind
    }

    /// The lab's unique name: `changeover-lab-N`. It is the engine's host name too.
    pub fn name(&self) -> String {
        self.claim.name()
    }

    /// A directory with the same path here and inside the lab: bind mount sources go here.
    pub fn dir(&self) -> &Path {
        self.claim.dir()
    }

    /// The engine's socket. The path is the same here and as the engine sees it, so it can be a
    /// bind mount's source too; inside the lab `/var/run/docker.sock` is the same engine.
    pub fn socket(&self) -> PathBuf {
        self.dir().join("docker.sock")
    }

    /// The engine's socket as `DOCKER_HOST` wants it.
    pub fn docker_host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// What dockerd, or Podman's service, has written to its log.
    pub fn engine_log(&self) -> PathBuf {
        self.dir().join("dockerd.log")
    }

    /// The network of the engine's host: published ports and host-network containers live there.
    pub fn host_netns(&self) -> Netns {
        self.network.host()
    }

    /// The network of a client somewhere outside.
    pub fn outside_netns(&self) -> Netns {
        self.network.outside()
    }

    /// The host's IPv4 address as the outside client sees it.
    pub fn host_v4(&self) -> std::net::Ipv4Addr {
        self.network.host_v4()
    }

    /// The host's IPv6 address as the outside client sees it.
    pub fn host_v6(&self) -> std::net::Ipv6Addr {
        self.network.host_v6()
    }

    /// A command on the lab's machine: the lab's own programs, processes, mounts and host network.
    /// The rootfs has `docker`, `nft`, `iptables`, `ip`, `ps` and `busybox`.
    pub fn machine_command(&self, program: &str) -> Command {
        self.machine.as_ref().expect("the lab has power").command(program)
    }

    /// A command of this machine in the lab's host network.
    pub fn host_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = self.host_netns().command(program);
        command.env("DOCKER_HOST", self.docker_host());
        command
    }

    /// The same among the lab's processes, and no others: whoever ends something by its
    /// name there doesn't end another lab's. What to signal is the command's
    /// [only child](only_child).
    pub fn inside_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let machine = self.machine.as_ref().expect("the lab has power");
        let mut command = machine.inside(program.as_ref());
        command.env("DOCKER_HOST", self.docker_host());
        command
    }

    /// A command of this machine in the outside client's network.
    pub fn outside_command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        self.outside_netns().command(program)
    }

    /// Ends a container's first process behind the engine's back, as a crash would. (Docker doesn't
    /// restart what was ended through `docker kill`.)
    pub fn crash_container(&self, name_or_id: &str) {
        let (status, inspected) = self.api("GET", &format!("/containers/{name_or_id}/json"), None);
        assert_eq!(status, 200, "cannot inspect `{name_or_id}`: {inspected}");
        let pid = inspected["State"]["Pid"].to_string();
        // Docker's number counts in the lab's process namespace, so the kill happens there.
        let killed = self
            .machine_command("kill")
            .args(["-KILL", &pid])
            .status()
            .expect("nsenter can be run");
        assert!(killed.success(), "cannot kill process {pid} of `{name_or_id}`");
    }

    /// Docker uses a containerd that is there already. As on a real machine it is a service of its
    /// own; one that dockerd starts dies with it, which isn't what happens out there.
    fn start_containerd(&self, machine: &Machine) -> Service {
        let log = self.dir().join("containerd.log");
        let containerd = machine.start("containerd", &["--log-level=warn".to_owned()], &log);
        wait_for("containerd listens", self.dir(), || {
            machine
                .command("test")
                .args(["-S", "/run/containerd/containerd.sock"])
                .status()
                .is_ok_and(|s| s.success())
        });
        containerd
    }

    fn engine_args(&self) -> Vec<String> {
        let n = self.claim.number();
        let mut args = vec![
            // One address range a lab, so that what a log shows belongs to one lab only.
            format!("--bip=10.214.{n}.1/24"),
            format!("--default-address-pool=base=10.215.{n}.0/24,size=28"),
        ];
        if self.system_socket.is_some() {
            args.push("--host=fd://".to_owned());
        } else {
            if !self.options.rootless {
                args.push("--host=unix:///run/docker.sock".to_owned());
            }
            args.push(format!("--host={}", self.docker_host()));
        }
        if !self.options.rootless {
            args.extend([
                // Makes what the lab leaves in the machine's cgroups its own; and there is no
                // systemd inside whose slices Docker could use.
                format!("--cgroup-parent=/{}/docker", self.name()),
                "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            ]);
        }
        if self.options.live_restore {
            args.push("--live-restore".to_owned());
        }
        if self.options.tls {
            let server = self.dir().join("tls/server");
            args.extend(["--host=tcp://0.0.0.0:2376".to_owned(), "--tlsverify".to_owned()]);
            let files = [("tlscacert", "ca.pem"), ("tlscert", "cert.pem"), ("tlskey", "key.pem")];
            args.extend(
                files.map(|(flag, file)| format!("--{flag}={}", server.join(file).display())),
            );
        }
        args.extend(self.options.engine_args.iter().cloned());
        args
    }

    fn start_engine(&self, machine: &Machine) -> Service {
        if self.kind.is_podman() {
            let args = podman::service_args(&self.docker_host());
            // It would take its own name for granted if another service died here.
            let _ = fs::remove_file(self.socket());
            return machine.start("podman", &args, &self.engine_log());
        }
        if self.options.rootless {
            let args = rootless::engine_args(self.dir(), &self.engine_args());
            return machine.start("setpriv", &args, &self.engine_log());
        }
        let Some(socket) = &self.system_socket else {
            return machine.start("dockerd", &self.engine_args(), &self.engine_log());
        };
        // systemd's way to hand sockets over: they start at number 3, and the receiver's process id
        // has to be in the environment, so it's set by the process that becomes the engine.
        let script = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec dockerd \"$@\"";
        let mut args = vec!["-c".to_owned(), script.to_owned(), "dockerd".to_owned()];
        args.extend(self.engine_args());
        let socket: OwnedFd = socket.try_clone().expect("a socket can be shared").into();
        machine.start_with_input("sh", &args, socket.into(), &self.engine_log())
    }

    /// Listens on the engine's socket in the engine's stead, and puts it in its usual place as well.
    fn open_system_socket(&self, machine: &Machine) -> UnixListener {
        let listener = UnixListener::bind(self.socket()).expect("the lab's directory is writable");
        let usual = "/run/docker.sock";
        let script = format!("touch {usual} && mount --bind {} {usual}", self.socket().display());
        let done =
            machine.command("sh").args(["-c", &script]).status().expect("nsenter can be run");
        assert!(done.success(), "cannot put the socket to {usual}");
        listener
    }

    fn end_engine(&mut self, signal: Signal) {
        let engine = self
            .engine
            .take()
            .unwrap_or_else(|| panic!("the engine of {} isn't running", self.name()));
        engine.signal(signal);
        engine.wait();
    }

    /// Ends every process of the lab, whatever state they are in.
    fn end_everything(&mut self) {
        self.machine = None;
        self.system_socket = None;
        for service in [self.engine.take(), self.containerd.take()].into_iter().flatten() {
            service.wait();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end_everything();
        // The network and the claim clear up after themselves from here.
    }
}

/// Waits for a condition; says what the logs say if it never comes.
fn wait_for(what: &str, dir: &Path, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        if start.elapsed() > PATIENCE {
            let tails =
                ["containerd.log", "dockerd.log"].map(|name| log_tail(&dir.join(name))).join("\n");
            panic!("after {PATIENCE:?} still not: {what}\n{tails}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn log_tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
