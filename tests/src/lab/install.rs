//! Which engines there are, and how a machine that never saw this project gets them.
//!
//! Every engine comes as a Debian root file system of its own, never as packages of this machine:
//! installing `docker.io` here could throw out a Docker the user has, or start one they don't want.
//! In the root file system nothing is ever started by a package (mmdebstrap forbids it), and the
//! machine itself only needs the tools that build it and a network namespace.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// The engines we test with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// Docker 20.10, of Debian 12.
    V20_10,
    /// Docker 26.1, of Debian 13.
    V26_1,
    /// Docker 28.5, of Debian sid.
    V28_5,
    /// Podman 4.3, of Debian 12, by the socket that speaks Docker's API.
    Podman4,
    /// Podman 5.4, of Debian 13, likewise.
    Podman5,
}

/// Makes sure that the engines named can be started; returns at once when they are there.
///
/// What is missing is installed when we are root, and told otherwise.
pub fn install(kinds: &[EngineKind]) -> Result<(), InstallError> {
    let missing: Vec<_> =
        TOOLS.iter().filter(|(tool, _)| !is_installed(tool)).map(|(_, package)| *package).collect();
    if !rustix::process::geteuid().is_root() {
        return Err(InstallError::NotRoot { missing });
    }
    fs::create_dir_all(cache_dir()).map_err(|source| InstallError::Cache { source })?;
    // Test programs run side by side: the first one builds, the others wait for it.
    let lock = File::create(cache_dir().join("install.lock"))
        .map_err(|source| InstallError::Cache { source })?;
    lock.lock().map_err(|source| InstallError::Cache { source })?;
    if !missing.is_empty() {
        install_packages(&missing)?;
    }
    for kind in kinds.iter().filter(|kind| !kind.rootfs().exists()) {
        build_rootfs(*kind)?;
    }
    Ok(())
}

/// A root file system with a Compose v2 for this engine: its own, or else that of 26.1.
pub(crate) fn compose_rootfs(kind: EngineKind) -> Result<PathBuf, InstallError> {
    let has_it = if kind == EngineKind::V28_5 { kind } else { EngineKind::V26_1 };
    install(&[has_it])?;
    Ok(has_it.rootfs())
}

/// Why the engines cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Network namespaces and engines need root.
    #[error("throw-away test engines need root (network namespaces, mounts){}", way_out(missing))]
    NotRoot {
        /// The Debian packages that root would install first.
        missing: Vec<&'static str>,
    },
    /// The directory for the engines cannot be used.
    #[error("cannot use `{}` for test engines\nhint: CHANGEOVER_LAB_CACHE names another directory", cache_dir().display())]
    Cache {
        /// What the system said.
        source: std::io::Error,
    },
    /// A tool failed; its last words are part of the message.
    #[error("cannot {what}\n{output}")]
    Tool {
        /// What was tried.
        what: String,
        /// The end of what it wrote.
        output: String,
    },
}

fn way_out(missing: &[&str]) -> String {
    match missing {
        [] => "\nhint: run it with sudo".to_owned(),
        _ => format!(
            "\nhint: run it with sudo; it will install {}, unless you do",
            missing.join(", ")
        ),
    }
}

impl EngineKind {
    /// Docker's, oldest first.
    pub const ALL: [Self; 3] = [Self::V20_10, Self::V26_1, Self::V28_5];
    /// Podman's, oldest first.
    pub const PODMAN: [Self; 2] = [Self::Podman4, Self::Podman5];
    /// Docker's and Podman's.
    pub const EVERY: [Self; 5] =
        [Self::V20_10, Self::V26_1, Self::V28_5, Self::Podman4, Self::Podman5];

    /// The version as people say it: `20.10`, `podman-5`.
    pub fn version(self) -> &'static str {
        match self {
            Self::V20_10 => "20.10",
            Self::V26_1 => "26.1",
            Self::V28_5 => "28.5",
            Self::Podman4 => "podman-4",
            Self::Podman5 => "podman-5",
        }
    }

    /// Whether it is Podman. There is no daemon then: nobody starts containers at boot.
    pub fn is_podman(self) -> bool {
        matches!(self, Self::Podman4 | Self::Podman5)
    }

    /// Where its root file system is (or will be).
    pub(crate) fn rootfs(self) -> PathBuf {
        let podman = if self.is_podman() { "podman-" } else { "" };
        cache_dir().join(format!("{podman}{}-{}", self.suite(), self.recipe()))
    }

    /// What people call it.
    fn title(self) -> String {
        match self {
            Self::Podman4 => "Podman 4".to_owned(),
            Self::Podman5 => "Podman 5".to_owned(),
            docker => format!("Docker {docker}"),
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::V20_10 | Self::Podman4 => "bookworm",
            Self::V26_1 | Self::Podman5 => "trixie",
            Self::V28_5 => "sid",
        }
    }

    /// Count this up when what `build_rootfs` makes changes, so that nobody tests with an older one.
    fn recipe(self) -> u32 {
        match self {
            Self::V28_5 => 2,
            _ => 1,
        }
    }

    fn packages(self) -> String {
        let engine = match self {
            // Debian 12 has neither the client (it is in docker.io) nor Compose (only the old v1).
            Self::V20_10 => "docker.io",
            Self::V26_1 => "docker.io,docker-cli,docker-compose",
            // What a user without rights needs to have an engine.
            Self::V28_5 => "docker.io,docker-cli,docker-compose,rootlesskit,uidmap,slirp4netns",
            Self::Podman4 | Self::Podman5 => "podman,netavark,aardvark-dns,crun,catatonit",
        };
        format!("{engine},{PACKAGES}")
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

impl FromStr for EngineKind {
    type Err = UnknownEngine;

    fn from_str(version: &str) -> Result<Self, UnknownEngine> {
        Self::EVERY
            .into_iter()
            .find(|kind| kind.version() == version)
            .ok_or_else(|| UnknownEngine(version.to_owned()))
    }
}

/// A version we have no engine for.
#[derive(Debug, thiserror::Error)]
#[error("there is no engine `{0}`; there are {all}", all = EngineKind::EVERY.map(EngineKind::version).join(", "))]
pub struct UnknownEngine(String);

/// Files needed on this machine (by path, or programs by name) and the Debian packages they come from.
const TOOLS: [(&str, &str); 8] = [
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    // What the kernel remembers of connections is made up by it.
    ("conntrack", "conntrack"),
    // The unit tests of the redirect ask the kernel by it.
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("unshare", "util-linux"),
    ("mount", "mount"),
    // No program: on an Ubuntu, Debian's keys aren't there by themselves.
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// What an engine's root file system holds, besides what makes it a Debian.
const PACKAGES: &str = "iptables,nftables,iproute2,procps,mount,ca-certificates,busybox-static,docker-registry,apache2-utils";

/// Marks a root file system that is being built.
const UNFINISHED: &str = "unfinished";

/// Where root file systems and running labs are kept: about 450 MB an engine, Podman's half of that.
pub(crate) fn cache_dir() -> PathBuf {
    std::env::var_os("CHANGEOVER_LAB_CACHE")
        .map_or_else(|| "/var/cache/changeover-lab".into(), PathBuf::from)
}

/// `PATH` with the directories for administrators, which not every root shell has in it.
pub(crate) fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

/// Whether there is such a program.
pub fn is_installed(tool: &str) -> bool {
    search_path().split(':').any(|dir| Path::new(dir).join(tool).is_file())
}

/// Installs Debian packages, and says so.
pub fn install_packages(packages: &[&str]) -> Result<(), InstallError> {
    eprintln!("installing {} (Debian packages, for tests)…", packages.join(", "));
    let install = || {
        let mut apt = Command::new("apt-get");
        apt.args([
            "install",
            "--yes",
            "--no-install-recommends",
            "--option=DPkg::Lock::Timeout=120",
        ])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
        run("install the Debian packages", &mut apt).map(drop)
    };
    // A fresh machine, or one that slept for long, knows no current package list.
    install().or_else(|_| {
        run("update the package lists", Command::new("apt-get").arg("update"))?;
        install()
    })
}

/// Builds beside the place and renames, so that an interrupted build is no trap.
fn build_rootfs(kind: EngineKind) -> Result<(), InstallError> {
    eprintln!(
        "building a root file system with {} (Debian {}, once, about half a minute)…",
        kind.title(),
        kind.suite()
    );
    let place = kind.rootfs();
    let unfinished = unfinished(&place);
    mmdebstrap(
        &format!("the root file system of {}", kind.title()),
        kind.suite(),
        &kind.packages(),
        &unfinished,
    )?;
    check_version(kind, &unfinished)?;
    fs::rename(&unfinished, &place).map_err(|source| InstallError::Cache { source })
}

/// Makes a Debian with these packages, and nothing of ours, unless it is there already: as a
/// tar, if the place is called so.
pub(crate) fn build_debian(
    what: &str,
    suite: &str,
    packages: &str,
    place: &Path,
) -> Result<(), InstallError> {
    install(&[])?;
    let lock = File::create(cache_dir().join("install.lock"))
        .map_err(|source| InstallError::Cache { source })?;
    lock.lock().map_err(|source| InstallError::Cache { source })?;
    if place.exists() {
        return Ok(());
    }
    eprintln!("building {what} (Debian {suite}, once, about half a minute)…");
    let unfinished = unfinished(place);
    mmdebstrap(what, suite, packages, &unfinished)?;
    fs::rename(&unfinished, place).map_err(|source| InstallError::Cache { source })
}

/// Where `place` is built. A killed builder leaves it, and perhaps an mmdebstrap that still fills
/// it: so each has its own, and what the others left is removed as far as that goes.
fn unfinished(place: &Path) -> PathBuf {
    for left in fs::read_dir(cache_dir()).into_iter().flatten().flatten() {
        if left.file_name().to_string_lossy().contains(UNFINISHED) {
            let _ = fs::remove_dir_all(left.path()).or_else(|_| fs::remove_file(left.path()));
        }
    }
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!("{UNFINISHED}-{}-{name}", std::process::id()))
}

fn mmdebstrap(what: &str, suite: &str, packages: &str, place: &Path) -> Result<(), InstallError> {
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap
        .env("PATH", search_path())
        .args(["--mode=root", "--variant=essential", "--quiet"])
        .arg(format!("--include={packages}"))
        // Package lists are only valid for some days; neither a mirror that lags nor a wrong clock matters here.
        .args([
            "--aptopt=Acquire::Check-Valid-Until \"false\"",
            "--aptopt=Acquire::Check-Date \"false\"",
        ])
        .args(
            ["doc", "man", "locale"]
                .map(|dir| format!("--dpkgopt=path-exclude=/usr/share/{dir}/*")),
        )
        .arg(suite)
        .arg(place);
    run(&format!("build {what}"), &mut mmdebstrap).map(drop)
}

/// Debian sid moves on, and a test on the wrong engine would tell a wrong story.
fn check_version(kind: EngineKind, rootfs: &Path) -> Result<(), InstallError> {
    let what = format!("find {} in Debian {}", kind.title(), kind.suite());
    // Podman says nothing without /proc, so its package is asked.
    let ask: &[&str] = match kind.is_podman() {
        true => &["dpkg-query", "--show", "--showformat= ${Version}", "podman"],
        false => &["dockerd", "--version"],
    };
    let mut engine = Command::new("chroot");
    engine.env("PATH", search_path()).arg(rootfs).args(ask);
    let version = run(&what, &mut engine)?;
    if version.contains(&format!(" {}.", kind.version().trim_start_matches("podman-"))) {
        return Ok(());
    }
    Err(InstallError::Tool { what, output: format!("it now has {version}") })
}

/// Runs a tool and answers with what it wrote to its standard output.
pub fn run(what: &str, command: &mut Command) -> Result<String, InstallError> {
    let failed = |output: String| InstallError::Tool { what: what.to_owned(), output };
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &stdout;
    let lines: Vec<_> = text.lines().collect();
    Err(failed(lines[lines.len().saturating_sub(15)..].join("\n")))
}
