//! A lab's two networks: the engine's host and an outside client, joined by one cable.

use std::ffi::OsStr;
use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace by name. Cheap to clone, so that threads can have their own.
#[derive(Debug, Clone)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Its name, as `ip netns` knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Moves the calling thread into this network, for good: meant for a thread of its own.
    pub fn enter(&self) {
        let file = File::open(self.path())
            .unwrap_or_else(|error| panic!("no network `{}`: {error}", self.name));
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .unwrap_or_else(|error| panic!("cannot enter network `{}`: {error}", self.name));
    }

    /// Runs `work` in this network, in a thread made for it, and waits.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join())
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// A command of this machine that runs in this network.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        // Not `ip netns exec`: it mounts a new /sys, and with that hides the control groups.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg("--").arg(program);
        command
    }

    pub(super) fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }
}

/// The pair of networks; removed when dropped.
#[derive(Debug)]
pub(super) struct Network {
    number: u8,
}

impl Network {
    pub(super) fn set_up(number: u8) -> Self {
        let network = Self { number };
        network.add(&network.outside());
        network.add_host();
        network
    }

    /// Replaces the host's network by a new one, as a reboot does. The outside client keeps its own.
    pub(super) fn reset_host(&self) {
        // The cable goes first: a namespace whose name is deleted lives on for a moment, or for as
        // long as some thread is in it, and would keep the other end's name taken.
        ip(&format!("-n {} link del cable", self.outside().name));
        ip(&format!("netns del {}", self.host().name));
        self.add_host();
    }

    pub(super) fn host(&self) -> Netns {
        Netns { name: format!("changeover-lab-{}-host", self.number) }
    }

    pub(super) fn outside(&self) -> Netns {
        Netns { name: format!("changeover-lab-{}-out", self.number) }
    }

    pub(super) fn host_v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 213, self.number, 1)
    }

    pub(super) fn host_v6(&self) -> Ipv6Addr {
        // The number is written in decimal (fd00:213:12::1), for people.
        format!("fd00:213:{}::1", self.number)
            .parse()
            .expect("decimal digits are hexadecimal digits")
    }

    fn add_host(&self) {
        let (host, outside) = (self.host(), self.outside());
        self.add(&host);
        ip(&format!(
            "-n {} link add cable type veth peer name cable netns {}",
            host.name, outside.name
        ));
        for (end, last) in [(&host, 1), (&outside, 2)] {
            let n = self.number;
            ip(&format!("-n {} addr add 10.213.{n}.{last}/30 dev cable", end.name));
            // Without nodad the address couldn't be used for its first second or two.
            ip(&format!("-n {} addr add fd00:213:{n}::{last}/64 dev cable nodad", end.name));
            ip(&format!("-n {} link set cable up", end.name));
        }
        // No default route: what isn't in the lab fails at once ("network is unreachable"), without a
        // time-out. And no ip_forward here: Docker sets it, and its firewall depends on having done so.
    }

    fn add(&self, netns: &Netns) {
        ip(&format!("netns add {}", netns.name));
        // The machine may have switched IPv6 off for new networks.
        let script = "for f in all default lo; do echo 0 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done; ip link set lo up";
        let done = netns.command("sh").args(["-c", script]).output().expect("sh can be run");
        assert!(
            done.status.success(),
            "cannot set `{}` up: {}",
            netns.name,
            String::from_utf8_lossy(&done.stderr)
        );
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(self.number);
    }
}

/// Whether a lab with this number has networks.
pub(super) fn exists(number: u8) -> bool {
    ends(number).iter().any(|netns| netns.path().exists())
}

/// Removes the networks of a lab, as far as they are there.
pub(super) fn remove(number: u8) {
    for netns in ends(number).into_iter().filter(|netns| netns.path().exists()) {
        // Deleting a name only starts the end of a namespace; the cable would linger for a while.
        let _ = Command::new("ip").args(["-n", &netns.name, "link", "del", "cable"]).output();
        let _ = Command::new("ip").args(["netns", "del", &netns.name]).output();
    }
}

fn ends(number: u8) -> [Netns; 2] {
    let network = std::mem::ManuallyDrop::new(Network { number });
    [network.host(), network.outside()]
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output().expect("ip can be run");
    assert!(done.status.success(), "`ip {args}` failed: {}", String::from_utf8_lossy(&done.stderr));
}
