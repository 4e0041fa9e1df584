//! One container of the corpus.

use changeover_tests::lab::EngineKind;

use crate::cases::podman;

/// How it is made, with which engines, and what is different on purpose.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) made: Made,
    /// Engines that can't have it, each with the reason.
    pub(crate) not: &'static [(EngineKind, &'static str)],
    /// What is pinned: targets of anonymous volumes and ephemeral ports. The images of
    /// the corpus alone account for `/data /old`.
    pub(crate) pins: &'static str,
    /// What the second update pins: what the new image brought.
    pub(crate) pins_again: &'static str,
    /// Paths that differ from the oracle in spite of all, each with the reason.
    pub(crate) differs: &'static [(&'static str, &'static str)],
}

/// The user's way to make it. All texts know `$NAME`, `$IMAGE` and `$DIR`, a directory
/// with files to mount and to read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Made {
    /// `docker run --detach --name $NAME` and this.
    Run(&'static str),
    /// A script of docker's commands.
    Script(&'static str),
    /// A create request, for what has no flag; then a start.
    Api(&'static str),
    /// A Compose file, whose service `web` is the app.
    Compose(&'static str),
}

/// Made by `docker run --detach --name $NAME` and these arguments.
pub(crate) const fn run(name: &'static str, arguments: &'static str) -> Case {
    case(name, Made::Run(arguments))
}

/// Made by a script of docker's commands.
pub(crate) const fn script(name: &'static str, script: &'static str) -> Case {
    case(name, Made::Script(script))
}

/// Made by a create request and a start.
pub(crate) const fn api(name: &'static str, body: &'static str) -> Case {
    case(name, Made::Api(body))
}

/// Made by `docker compose up`.
pub(crate) const fn compose(name: &'static str, file: &'static str) -> Case {
    case(name, Made::Compose(file))
}

const fn case(name: &'static str, made: Made) -> Case {
    let (pins, pins_again) = ("/data /old", "/fresh");
    Case { name, made, not: &[], pins, pins_again, differs: &[] }
}

impl Case {
    /// Leaves engines out, each with the reason.
    pub(crate) const fn not(mut self, engines: &'static [(EngineKind, &'static str)]) -> Case {
        self.not = engines;
        self
    }

    /// All that is pinned by the first update.
    pub(crate) const fn pins(mut self, pins: &'static str) -> Case {
        self.pins = pins;
        self
    }

    /// All that is pinned by the second update.
    pub(crate) const fn pins_again(mut self, pins: &'static str) -> Case {
        self.pins_again = pins;
        self
    }

    /// What can't be as the user's command makes it, each with the reason.
    pub(crate) const fn differs(
        mut self,
        differs: &'static [(&'static str, &'static str)],
    ) -> Case {
        self.differs = differs;
        self
    }

    /// The case as it comes out on this engine.
    pub(crate) fn on(mut self, kind: EngineKind) -> Case {
        let otherwise = podman::OTHERWISE.iter().find(|one| one.name == self.name);
        if let (true, Some(otherwise)) = (kind.is_podman(), otherwise) {
            self.pins = otherwise.pins.unwrap_or(self.pins);
            self.differs = otherwise.differs;
        }
        self
    }

    pub(crate) fn runs_on(&self, kind: EngineKind) -> bool {
        let excluded = self.not.iter().any(|(engine, _)| *engine == kind)
            || kind.is_podman() && podman::NOT.iter().any(|(name, _)| *name == self.name);
        !excluded
    }

    /// Whether `make test` has the time for this case on this engine: each is taken to one
    /// version of Docker that can have it, and one in twelve to Podman.
    pub(crate) fn is_sampled(&self, kind: EngineKind) -> bool {
        let seed: usize = self.name.bytes().map(usize::from).sum();
        let dockers: Vec<_> = EngineKind::ALL.into_iter().filter(|k| self.runs_on(*k)).collect();
        let its_docker = dockers.get(seed % dockers.len().max(1));
        everything() || its_docker == Some(&kind) || kind.is_podman() && seed.is_multiple_of(12)
    }

    /// Whether it is updated by the program itself, which takes its time: in `make test`
    /// one in eight is, and those with MAC addresses, which only a running container shows;
    /// on Podman, which tells little of one that doesn't run, all are.
    pub(crate) fn is_really_updated(&self, kind: EngineKind) -> bool {
        let seed: usize = self.name.bytes().chain(kind.version().bytes()).map(usize::from).sum();
        everything()
            || kind.is_podman()
            || seed.is_multiple_of(8)
            || self.text().contains("mac-address")
    }

    /// The container's name.
    pub(crate) fn container(&self) -> String {
        match self.made {
            Made::Compose(_) => format!("{}-web-1", self.name),
            _ => self.name.to_owned(),
        }
    }

    /// The whole of what the user writes.
    pub(crate) fn text(&self) -> String {
        match self.made {
            Made::Run(arguments) => format!("docker run --detach --name $NAME {arguments}"),
            Made::Script(text) | Made::Api(text) | Made::Compose(text) => text.to_owned(),
        }
    }
}

/// Whether this is `make corpus`.
fn everything() -> bool {
    std::env::var_os("CHANGEOVER_TORTURE").is_some()
}
