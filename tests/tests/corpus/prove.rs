//! The course of one case: made with the old image, updated by the program, compared
//! with what its own command makes of the new image; then updated once more.
//!
//! An update takes its time, so `make test` does it for a sample and `make corpus` for
//! all. Of the others the engine is given the create request that the program makes,
//! and what came of it is compared: all of a container but what a start adds.

use std::sync::{Mutex, PoisonError};

use changeover::engine::ApiVersion;
use changeover::successor::{
    Because, Inputs, Pair, Successor, differences, predicted, successor, unexplained,
};
use changeover_tests::compose::Project;
use changeover_tests::lab::EngineKind;
use serde_json::Value;

use crate::case::{Case, Made};
use crate::oracle::{self, Compared};
use crate::stage::Stage;

/// Proves that the case's container is the same after an update.
pub(crate) fn prove(case: &Case, kind: EngineKind) {
    // While a container is down, its port is anybody's whom the engine looks for a free one.
    static CHOICES: Mutex<()> = Mutex::new(());
    let chooses = [case.pins, case.pins_again].iter().any(|pins| pins.contains("/tcp"));
    let _alone = chooses.then(|| CHOICES.lock().unwrap_or_else(PoisonError::into_inner));
    let stage = Stage::of(kind);
    let course = Course { case, stage: &stage };
    let original = course.make("1");
    match case.is_really_updated(kind) {
        true => course.by_updates(&original),
        false => course.by_requests(&original),
    }
}

struct Course<'a> {
    case: &'a Case,
    stage: &'a Stage,
}

impl Course<'_> {
    fn by_updates(&self, original: &Value) {
        self.update("2");
        let updated = self.inspect();
        self.update("again");
        let again = self.inspect();
        self.unmake();
        let wanted = self.make("2");
        self.unmake();
        self.assert_same("the update", (original, &wanted, &updated), self.case.pins, true);
        let second = (&updated, &updated, &again);
        // There a volume that is pinned is still told by its name alone.
        let podmans = self.stage.world.lab.kind().is_podman();
        let first = if podmans { self.case.pins } else { "" };
        let pins = format!("{first} {}", self.case.pins_again);
        self.assert_same("the second update", second, &pins, true);
    }

    fn by_requests(&self, original: &Value) {
        let name = self.case.container();
        let aside = format!("{name}.old");
        self.stage.api("POST", &format!("/containers/{name}/rename?name={aside}"), None);
        self.tag("2");
        let first = self.request(original, "1", "2");
        let updated = self.create(&first, original);
        self.is_explained(original, &updated);

        // The second one, at once.
        let second = self.request(&updated, "2", "again");
        self.announces_only_pins(&updated, &second);
        self.remove(&name);
        self.tag("again");
        let again = self.create(&second, &updated);
        self.remove(&name);
        self.remove(&aside);

        self.tag("2");
        self.clear_away();
        let wanted = self.make_without_a_start();
        self.unmake();
        self.assert_same("the update", (original, &wanted, &updated), self.case.pins, false);
        // What never ran has no ports to pin.
        let pins: Vec<&str> =
            self.case.pins_again.split(' ').filter(|pin| pin.starts_with('/')).collect();
        let second = (&updated, &updated, &again);
        self.assert_same("the second update", second, &pins.join(" "), false);
    }

    #[track_caller]
    fn assert_same(
        &self,
        what: &str,
        (from, oracle, actual): (&Value, &Value, &Value),
        pins: &str,
        ran: bool,
    ) {
        let image = |tag: &str| (text(&self.image_of(tag), "Id"), "(new image)".to_owned());
        let again = (self.image("again"), self.image("2"));
        // A network may be called by its id.
        let networks = self.stage.networks.iter().cloned();
        let same: Vec<_> =
            [image("2"), image("again"), again].into_iter().chain(networks).collect();
        let second = what.contains("second");
        let differences = oracle::differences(&Compared {
            from,
            oracle,
            actual,
            pins,
            differs: if second { &[] } else { self.case.differs },
            text: &self.case.text(),
            same: &same,
            ran,
            podman: self.stage.world.lab.kind().is_podman(),
        });
        assert!(differences.is_empty(), "{what}; wanted → is:\n  {}", differences.join("\n  "));
    }

    /// Makes the container as the user does; returns its inspect.
    fn make(&self, tag: &str) -> Value {
        self.tag(tag);
        let image = self.image(tag);
        match self.case.made {
            Made::Run(_) | Made::Script(_) => self.script(&self.case.text(), tag),
            Made::Api(body) => {
                let name = self.case.name;
                self.stage.world.run(name, &self.body(body, &image));
            }
            Made::Compose(_) => drop(self.project().up()),
        }
        self.inspect()
    }

    /// The same of the new image, but left unstarted where that is possible.
    fn make_without_a_start(&self) -> Value {
        match self.case.made {
            // `docker create` has the same flags, but for those that are about the client.
            Made::Run(arguments) if !arguments.contains("--detach-keys") => {
                self.script(&format!("docker create --name $NAME {arguments}"), "2");
                let mut inspect = self.inspect();
                // As `--detach` has it.
                for stream in ["AttachStdin", "AttachStdout", "AttachStderr", "StdinOnce"] {
                    inspect["Config"][stream] = false.into();
                }
                return inspect;
            }
            Made::Compose(_) => drop(self.project().run(&["up", "--no-start"])),
            _ => return self.make("2"),
        }
        self.inspect()
    }

    fn script(&self, script: &str, tag: &str) {
        let variables = [("NAME", self.case.name), ("IMAGE", &self.image(tag))];
        self.stage.script(&format!("set -e\n{script}"), &variables);
    }

    fn body(&self, body: &str, image: &str) -> Value {
        let body = body
            .replace("$IMAGE", image)
            .replace("$NAME", self.case.name)
            .replace("$DIR", &self.stage.dir());
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{}: {error}", self.case.name))
    }

    /// The project of a case that is a Compose file.
    fn project(&self) -> Project {
        let file = self.case.text().replace("${IMAGE}", &self.image(""));
        let file = file.replace("app:1", &self.stage.reference("app:1"));
        Project::new(&self.stage.world.lab, self.case.name, &file)
    }

    /// The image under the name that the user gives. A Compose file names the same one
    /// before and after, so there the tag moves.
    fn image(&self, tag: &str) -> String {
        match self.case.made {
            Made::Compose(_) => self.stage.reference(&format!("{}:live", self.case.name)),
            _ => self.stage.reference(&format!("app:{tag}")),
        }
    }

    fn tag(&self, tag: &str) {
        if let Made::Compose(_) = self.case.made {
            let [image, name] = [format!("app:{tag}"), self.case.name.to_owned()]
                .map(|name| self.stage.reference(&name));
            self.stage.api("POST", &format!("/images/{image}/tag?repo={name}&tag=live"), None);
        }
    }

    fn update(&self, tag: &str) {
        self.tag(tag);
        let container = self.case.container();
        let image = self.image(tag);
        let mut args = vec!["update", &container, "--image", &image];
        args.extend(["--stable", "0s", "--pull", "never", "--handover", "none"]);
        let helper = self.stage.reference("helper:1");
        args.extend(["--helper-image", &helper]);
        self.stage.world.changeover(&args).expect(0);
        if let Made::Compose(_) = self.case.made {
            let before = text(&self.inspect(), "Id");
            self.project().up();
            assert_eq!(text(&self.inspect(), "Id"), before, "`docker compose up` makes it anew");
        }
    }

    /// What the program makes of a container and its images.
    fn request(&self, old: &Value, from: &str, to: &str) -> Successor {
        let stage = self.stage;
        let (version, info) = (stage.api("GET", "/version", None), stage.api("GET", "/info", None));
        let (old_image, new_image) = (self.image_of(from), self.image_of(to));
        let made = successor(&Inputs {
            old,
            old_image: Some(&old_image),
            new_image: &new_image,
            reference: &self.image(to),
            api: api_version(&text(&version, "ApiVersion")),
            engine_name: &text(&info, "Name"),
            engine_platform: "linux/amd64",
            donor_gone: false,
        })
        .unwrap_or_else(|error| panic!("{}: {error}", self.case.name));
        assert_eq!(made.losses, [], "what can't be carried");
        made
    }

    /// Makes the new container, with the restart policy that it has in the end.
    fn create(&self, made: &Successor, old: &Value) -> Value {
        let mut body = made.create.clone();
        body["HostConfig"]["RestartPolicy"] = old["HostConfig"]["RestartPolicy"].clone();
        let id = self.stage.world.create(&self.case.container(), &body);
        for connect in &made.connect {
            let body = serde_json::json!({ "Container": id, "EndpointConfig": connect.endpoint });
            let path = format!("/networks/{}/connect", connect.network);
            self.stage.api("POST", &path, Some(&body));
        }
        self.inspect()
    }

    /// What differs is explained: an unexplained difference gives a new container up.
    fn is_explained(&self, old: &Value, new: &Value) {
        let given_up = unexplained(&self.pair(old, &self.image_of("1"), new, &self.image_of("2")));
        assert_eq!(given_up, None, "the new container would be given up");
    }

    /// An image of equal settings makes no other difference than what a first update
    /// couldn't pin yet.
    fn announces_only_pins(&self, old: &Value, made: &Successor) {
        let (old_image, new_image) = (self.image_of("2"), self.image_of("again"));
        let new = predicted(&made.create, &made.connect, &new_image);
        let unexpected: Vec<String> = differences(&self.pair(old, &old_image, &new, &new_image))
            .iter()
            .filter(|one| !matches!(one.because, Because::Pinned | Because::Compose))
            .map(ToString::to_string)
            .collect();
        assert!(unexpected.is_empty(), "`check` of the same image says {unexpected:#?}");
    }

    fn pair<'a>(
        &self,
        old: &'a Value,
        old_image: &'a Value,
        new: &'a Value,
        new_image: &'a Value,
    ) -> Pair<'a> {
        Pair { old, old_image: Some(old_image), new, new_image, moved: &[] }
    }

    fn image_of(&self, tag: &str) -> Value {
        let image = self.stage.reference(&format!("app:{tag}"));
        self.stage.api("GET", &format!("/images/{image}/json"), None)
    }

    fn inspect(&self) -> Value {
        let name = self.case.container();
        self.stage.world.inspect(&name).unwrap_or_else(|| panic!("no `{name}`"))
    }

    fn unmake(&self) {
        self.remove(&self.case.container());
        self.clear_away();
    }

    fn remove(&self, name: &str) {
        // Podman has a lock for each volume, and not so many of them.
        let volumes = self.stage.world.lab.kind().is_podman();
        let path = format!("/containers/{name}?force=true&v={volumes}");
        // Its files may still be in use for a moment, and then the engine fails.
        self.stage.world.wait(&format!("`{name}` to go away"), || {
            let (status, _) = self.stage.world.lab.api("DELETE", &path, None);
            status < 300 || status == 404
        });
    }

    /// What would be in the way of making it again: the client's file of the id.
    fn clear_away(&self) {
        let _ = std::fs::remove_file(format!("{}/{}.cid", self.stage.dir(), self.case.name));
    }
}

/// The version that the program would take: the engine's own, or the newest it knows.
fn api_version(engines: &str) -> ApiVersion {
    let engines: ApiVersion = engines.parse().expect("an engine has a version");
    engines.min(ApiVersion(1, 51))
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}
