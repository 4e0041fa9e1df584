//! One engine with everything that the cases use: images, networks, neighbours, files.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use changeover_tests::lab::{EngineKind, busybox};
use changeover_tests::world::{World, program};
use serde_json::Value;

/// An engine that all cases share.
pub(crate) struct Stage {
    pub(crate) world: World,
    /// Ids of the networks, the short ones last, each with its name.
    pub(crate) networks: Vec<(String, String)>,
}

static STAGES: Mutex<Vec<(EngineKind, Arc<Stage>)>> = Mutex::new(Vec::new());

/// Ends all engines.
pub(crate) fn take_down() {
    STAGES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The images differ in everything that an image can set. `app:again` is `app:2` once
/// more, with another id.
const IMAGES: [(&str, &str); 2] = [
    (
        "1",
        r#"
        ENV PATH=/bin:/one VERSION=1 COLOUR=red GONE=soon
        LABEL tier=one gone=soon same=same
        EXPOSE 80 81/udp
        VOLUME /data /old
        USER 1001:1001
        WORKDIR /one
        STOPSIGNAL SIGINT
        HEALTHCHECK --interval=31s --timeout=11s --retries=4 --start-period=1s CMD ["/sample-app", "healthcheck"]
        SHELL ["/bin/sh", "-e", "-c"]
        ONBUILD RUN first
        ENTRYPOINT ["/sample-app"]
        CMD ["--delay-ms", "1"]
        "#,
    ),
    (
        "2",
        r#"
        ENV PATH=/bin:/two VERSION=2 COLOUR=blue NEW=yes
        LABEL tier=two new=yes same=same
        EXPOSE 80 82
        VOLUME /data /fresh
        USER 1002:1002
        WORKDIR /two
        STOPSIGNAL SIGQUIT
        HEALTHCHECK --interval=32s --timeout=12s --retries=5 --start-period=2s CMD ["/bin/app", "healthcheck"]
        SHELL ["/bin/sh", "-u", "-c"]
        ONBUILD RUN second
        ENTRYPOINT ["/bin/app"]
        CMD ["--delay-ms", "2"]
        "#,
    ),
];

/// Networks, neighbours and files.
const SCENE: &str = r#"
    docker network create --subnet 10.216.1.0/24 one
    docker network create --subnet 10.216.2.0/24 two
    docker network create --subnet 10.216.3.0/24 three
    docker network create --subnet 10.216.4.0/24 --internal inside
    docker network create --subnet 10.216.6.0/24 --ipv6 --subnet fd00:216:6::/64 six
    docker run --detach --name neighbour --network one --ipc shareable --volume donated:/donated --volume /given --env PORT=90 app:1
    docker run --detach --name linked --ipc shareable --env PORT=90 app:1
    mkdir -p $DIR/srv/inner $DIR/conf $DIR/shared
    mount --bind $DIR/shared $DIR/shared
    mount --make-rshared $DIR/shared
    echo content > $DIR/conf/file
    printf 'LISTED=yes\n# a comment\nCOLOUR=listed\n' > $DIR/env.list
    printf 'listed=yes\ntier=listed\n' > $DIR/label.list
    echo '{ "defaultAction": "SCMP_ACT_ALLOW" }' > $DIR/seccomp.json
"#;

impl Stage {
    /// The engine of this kind; the first who asks sets it up.
    pub(crate) fn of(kind: EngineKind) -> Arc<Stage> {
        let mut stages = STAGES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stage)) = stages.iter().find(|(there, _)| *there == kind) {
            return stage.clone();
        }
        let mut stage = Stage { world: World::start(kind), networks: Vec::new() };
        if kind.is_podman() {
            stage.let_users_take_low_ports();
        }
        stage.build_images(kind);
        stage.script(&format!("set -e\n{SCENE}"), &[]);
        let networks = stage.api("GET", "/networks", None);
        let networks = networks.as_array().into_iter().flatten();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut ids: Vec<_> = networks.map(|one| (text(&one["Id"]), text(&one["Name"]))).collect();
        ids.extend(ids.clone().into_iter().map(|(id, name)| (id[..12].to_owned(), name)));
        stage.networks = ids;
        let stage = Arc::new(stage);
        stages.push((kind, stage.clone()));
        stage
    }

    /// With Docker they may, and the images' user listens on port 80.
    fn let_users_take_low_ports(&mut self) {
        let line = "default_sysctls = [\"net.ipv4.ip_unprivileged_port_start=0\"]";
        self.script(&format!("echo '{line}' >> /etc/containers/containers.conf"), &[]);
        // The service has read the file at its start.
        self.world.lab.stop();
        self.world.lab.start_again();
    }

    /// The directory with files for the cases; the same path here and for the engine.
    pub(crate) fn dir(&self) -> String {
        self.world.lab.dir().join("corpus").display().to_string()
    }

    /// A name of one of the images here. To Podman, one without a registry is Docker Hub's.
    pub(crate) fn reference(&self, name: &str) -> String {
        let registry = if self.world.lab.kind().is_podman() { "localhost/" } else { "" };
        format!("{registry}{name}")
    }

    /// Runs a script on the engine's machine; panics with what it said if it fails.
    pub(crate) fn script(&self, script: &str, variables: &[(&str, &str)]) -> String {
        let mut command = self.world.lab.machine_command("sh");
        // Its users have an alias for that.
        let podman = "docker() { podman \"$@\"; }\n";
        let by = if self.world.lab.kind().is_podman() { podman } else { "" };
        command.args(["-c", &format!("{by}{script}")]).env("DIR", self.dir());
        // The older builder needs nothing else, and the other format knows no health checks.
        command.env("DOCKER_BUILDKIT", "0").env("BUILDAH_FORMAT", "docker");
        command.envs(variables.iter().copied());
        said(&mut command).unwrap_or_else(|error| panic!("{script}\n{error}"))
    }

    /// One call to the engine that has to succeed.
    pub(crate) fn api(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (status, answer) = self.world.lab.api(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    fn build_images(&self, kind: EngineKind) {
        let context = self.world.lab.dir().join("corpus");
        std::fs::create_dir_all(context.join("bin")).expect("the lab's directory is writable");
        for (from, to) in [
            (program("sample-app"), "sample-app"),
            (program("sample-app"), "bin/app"),
            (busybox(kind), "bin/sh"),
            (program("changeover"), "changeover"),
        ] {
            std::fs::copy(&from, context.join(to))
                .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        }
        let mut build = "set -e\ncd $DIR\n".to_owned();
        let again = ("again", IMAGES[1].1);
        for (tag, settings) in IMAGES.into_iter().chain([again]) {
            // The version of the content makes another image of equal settings.
            let lines = format!(
                "FROM scratch\nCOPY sample-app /\nCOPY bin /bin\nCOPY {tag} /stamp\n{settings}"
            );
            std::fs::write(context.join(tag), tag).expect("the lab's directory is writable");
            std::fs::write(context.join(format!("Dockerfile.{tag}")), lines)
                .expect("the lab's directory is writable");
            build += &format!("docker build --quiet --file Dockerfile.{tag} --tag app:{tag} .\n");
        }
        build += "tar -c changeover | docker import --change 'ENTRYPOINT [\"/changeover\"]' - helper:1\n";
        build += "rm changeover\n";
        self.script(&build, &[]);
    }
}

/// What a command wrote to its standard output, or else to both.
fn said(command: &mut Command) -> Result<String, String> {
    let done = command.output().map_err(|error| error.to_string())?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    if done.status.success() {
        return Ok(stdout);
    }
    Err(format!("{}{stdout}", String::from_utf8_lossy(&done.stderr)))
}
