//! Docker Compose against a lab's engine: projects that are brought up the way users do it.
//!
//! The program is Compose v2 out of an engine's root file system (`docker compose` runs the same
//! file). Engines that come without one, 20.10 among them, are asked by that of 26.1. It needs
//! libraries of its own Debian, so it is started by that Debian's loader.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::lab::Lab;
use crate::lab::tools::compose_rootfs;

/// A project: a directory with a `compose.yaml`, and the engine that it is for.
///
/// Its methods panic with Compose's words when something fails: it serves tests.
#[derive(Debug)]
pub struct Project {
    dir: PathBuf,
    docker_host: String,
    rootfs: PathBuf,
}

impl Project {
    /// Writes a project. Its directory has the same path for the engine, so what lies in it can
    /// be mounted.
    pub fn new(lab: &Lab, name: &str, file: &str) -> Self {
        let dir = lab.dir().join("projects").join(name);
        fs::create_dir_all(&dir).expect("the lab's directory is writable");
        let rootfs = compose_rootfs(lab.kind()).unwrap_or_else(|error| panic!("{error}"));
        let project = Self { dir, docker_host: lab.docker_host(), rootfs };
        project.write("compose.yaml", file);
        project
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a file of the project: an `env_file`, a config, another version of `compose.yaml`.
    pub fn write(&self, file: &str, content: &str) {
        fs::write(self.dir.join(file), content).expect("the lab's directory is writable");
    }

    /// `docker compose ARGS` in the project's directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let at = |path: &str| self.rootfs.join(path);
        let mut command = Command::new(at("lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(at("usr/lib/x86_64-linux-gnu"))
            .arg(at("usr/libexec/docker/cli-plugins/docker-compose"))
            .args(["--ansi", "never", "--progress", "plain"])
            .args(args)
            .current_dir(&self.dir)
            // Neither settings nor variables of whoever runs the tests.
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", &self.dir)
            .env("DOCKER_HOST", &self.docker_host)
            .stdin(Stdio::null());
        command
    }

    /// Runs `docker compose ARGS` to its end, whatever that is.
    pub fn try_run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the root file system has Compose")
    }

    /// Runs `docker compose ARGS`, and answers with what it wrote to its standard output.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let done = self.try_run(args);
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "docker compose {}: {words}", args.join(" "));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// `docker compose up --detach`; answers with what it said that it did.
    #[track_caller]
    pub fn up(&self) -> String {
        let done = self.try_run(&["up", "--detach"]);
        let words = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "docker compose up: {words}");
        words
    }

    /// Ids of all containers that Compose takes for this project's, sorted.
    #[track_caller]
    pub fn ids(&self) -> Vec<String> {
        let listed = self.run(&["ps", "--all", "--quiet"]);
        let mut ids: Vec<String> = listed.split_whitespace().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// Compose's version, as it says it itself.
    pub fn version(&self) -> String {
        self.run(&["version", "--short"]).trim().to_owned()
    }
}
