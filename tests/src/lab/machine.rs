//! The lab's machine: an init process in namespaces of its own, and the way into them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::install::search_path;
use super::network::Netns;

/// A booted machine. Dropping it is a power cut: every process in it is gone when drop returns.
#[derive(Debug)]
pub(super) struct Machine {
    unshare: Child,
    init: Pid,
}

impl Machine {
    /// Boots a machine from `rootfs`, which stays as it is: changes go to memory. What an engine has
    /// on disk goes to `dir`, which is there under the same path inside, and survives a power cut.
    pub(super) fn boot(name: &str, rootfs: &Path, dir: &Path, network: &Netns) -> Self {
        for kept in [
            "data/docker",
            "data/containerd",
            "data/etc-docker",
            "data/podman",
            "data/podman-networks",
            "machine",
        ] {
            fs::create_dir_all(dir.join(kept)).expect("the lab's directory is writable");
        }
        let mut unshare = network
            .command("unshare")
            .args(["--mount", "--propagation=private", "--pid", "--fork", "--uts", "--ipc"])
            .args(["sh", "-c", INIT, name])
            .args([rootfs, dir])
            .env("PATH", search_path())
            // init lives as long as this pipe is open. We never write to it; if this process dies,
            // however it dies, the kernel closes it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("boot.log")).expect("the lab's directory is writable"))
            // So that Ctrl-C reaches us alone, and we take the lab down in good order.
            .process_group(0)
            .spawn()
            .expect("nsenter and unshare can be run");
        let mut line = String::new();
        let stdout = unshare.stdout.take().expect("it was piped");
        let _ = BufReader::new(stdout).read_line(&mut line);
        if line.trim() != "ready" {
            let log = fs::read_to_string(dir.join("boot.log")).unwrap_or_default();
            panic!("the machine of {name} doesn't boot\n{log}");
        }
        let init = only_child(unshare.id()).expect("unshare has started init, for it said ready");
        Self { unshare, init }
    }

    /// Starts a program that stays, with its output in `log`.
    pub(super) fn start(&self, program: &str, args: &[String], log: &Path) -> Service {
        self.start_with_input(program, args, Stdio::null(), log)
    }

    /// Starts a program that stays, with `input` as its standard input.
    pub(super) fn start_with_input(
        &self,
        program: &str,
        args: &[String],
        input: Stdio,
        log: &Path,
    ) -> Service {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the lab's directory is writable");
        let nsenter = self
            .command(program)
            .args(args)
            .stdin(input)
            .stdout(log.try_clone().expect("a log file can be shared"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        Service { nsenter }
    }

    /// A command on this machine.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.init.as_raw_pid().to_string(),
                "--mount",
                "--pid",
                "--net",
                "--uts",
                "--ipc",
                "--",
                program,
            ])
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .process_group(0);
        command
    }

    /// A program of ours on this machine's network and among its processes; what else it
    /// sees is this side's.
    pub(super) fn inside(&self, program: &OsStr) -> Command {
        let mut command = Command::new("nsenter");
        let init = self.init.as_raw_pid().to_string();
        command.args(["--target", &init, "--net", "--pid", "--"]);
        command.args(["unshare", "--mount", "--mount-proc", "--"]).arg(program);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The init of a process namespace takes all its processes with it, and unshare sees its end
        // only after the last of them is gone.
        let _ = kill_process(self.init, Signal::KILL);
        let _ = self.unshare.wait();
    }
}

/// A program that runs on the machine.
#[derive(Debug)]
pub(super) struct Service {
    nsenter: Child,
}

impl Service {
    /// Sends a signal to the program (and not to nsenter, which only waits for it).
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = only_child(self.nsenter.id()) {
            // It may end by itself in this moment, which is as good.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits for the program's end.
    pub(super) fn wait(mut self) {
        self.nsenter.wait().expect("it is a child of this process");
    }

    /// Whether the program has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        self.nsenter.try_wait().expect("it is a child of this process").is_some()
    }
}

/// What the machine's first process does: mounts, then waits for the end of the pipe and reaps.
///
/// `$0` is the lab's name, `$1` the root file system, `$2` the lab's directory.
const INIT: &str = r#"
set -e
rootfs=$1 dir=$2 machine=$2/machine
echo "$0" > /proc/sys/kernel/hostname

# The root file system is shared by all labs: what this one changes goes to memory.
mount -t tmpfs tmpfs "$machine"
mkdir "$machine/changes" "$machine/work" "$machine/root"
mount -t overlay -o "lowerdir=$rootfs,upperdir=$machine/changes,workdir=$machine/work" overlay "$machine/root"
cd "$machine/root"

mount -t proc proc proc
# A new sysfs shows this network's devices; the control groups have to be carried over.
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
# Podman keeps the locks of its containers here, by number: not those of another lab.
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
chmod 1777 tmp
mkdir -p run/lock run/netns "./$dir" etc/docker var/lib/docker var/lib/containerd var/lib/containers etc/containers/networks
mount --bind "$dir" "./$dir"
# An engine puts its images not on an overlay, nor survives a power cut without its disk.
mount --bind "$dir/data/docker" var/lib/docker
mount --bind "$dir/data/containerd" var/lib/containerd
mount --bind "$dir/data/etc-docker" etc/docker
mount --bind "$dir/data/podman" var/lib/containers
mount --bind "$dir/data/podman-networks" etc/containers/networks
echo "127.0.0.1 localhost $0" > etc/hosts
: > etc/resolv.conf

mkdir -p mnt
# Not just chroot: Docker remounts its root, so it has to be a real one.
pivot_root . mnt
exec chroot . sh -c '
set -e
umount -l /mnt
exec 3<&0
echo ready
exec >/dev/null
# cat ends with the pipe. Until then `wait` reaps the orphans every init inherits.
cat <&3 >/dev/null &
wait $!
'
"#;

/// The process that this one has started, if that is one.
pub fn only_child(parent: u32) -> Option<Pid> {
    let is_child = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // `pid (name) state ppid …`, where the name may hold anything.
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok())
            == Some(parent)
    };
    let pids = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .find(|pid| is_child(*pid))
        .and_then(Pid::from_raw)
}
