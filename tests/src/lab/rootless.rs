//! A rootless engine in a lab: a `dockerd` that a user without any right has started, by the
//! script of the distribution.
//!
//! RootlessKit makes the user root in a user namespace and gives the engine a network of its own
//! in there. Published ports are held by RootlessKit, outside; "host" network is the one inside.

use std::path::{Path, PathBuf};

use super::machine::Machine;

/// Where the engine's own socket is, as on any machine with a session for this user.
pub const SOCKET: &str = "/run/user/1000/docker.sock";

/// The user, as `setpriv` wants it, with what a session has in its environment.
pub const AS_USER: [&str; 7] = [
    "--reuid=1000",
    "--regid=1000",
    "--clear-groups",
    "env",
    "HOME=/home/app",
    "XDG_RUNTIME_DIR=/run/user/1000",
    "USER=app",
];

/// Prepares a machine that has just booted: a user with a session, and what the network inside
/// is made of. Some machines keep `/dev/net/tun` for root; elsewhere it is for everybody.
pub(super) fn set_up(machine: &Machine, dir: &Path) {
    let script = format!(
        "echo app:x:1000:1000::/home/app:/bin/sh >> /etc/passwd
         echo app:x:1000: >> /etc/group
         echo app:100000:65536 | tee /etc/subuid > /etc/subgid
         mkdir -p /home/app /run/user/1000 {data}
         chown 1000:1000 /home/app /run/user/1000 {data} {dir}
         chmod 700 /run/user/1000
         mount -t tmpfs tmpfs /dev/net
         mknod -m 666 /dev/net/tun c 10 200
         mount --make-rshared /",
        data = data(dir).display(),
        dir = dir.display(),
    );
    let done = machine.command("sh").args(["-ec", &script]).status().expect("nsenter can be run");
    assert!(done.success(), "cannot set a user's session up");
}

/// What `setpriv` is started with, for an engine with these arguments.
pub(super) fn engine_args(dir: &Path, engine: &[String]) -> Vec<String> {
    let script = "/usr/share/docker.io/contrib/dockerd-rootless.sh";
    let mut args: Vec<String> = AS_USER.map(str::to_owned).to_vec();
    args.extend(["sh".to_owned(), script.to_owned()]);
    args.push(format!("--data-root={}", data(dir).display()));
    args.push(format!("--host=unix://{SOCKET}"));
    args.extend(engine.iter().cloned());
    args
}

fn data(dir: &Path) -> PathBuf {
    dir.join("data/rootless")
}
