//! The runs behind the figures, each on an app that was just created.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use changeover::engine::ApiVersion;
use changeover::successor::{Inputs, successor};
use changeover_tests::lab::{EngineKind, busybox};
use changeover_tests::load::{Class, Load, Options, Record, Report, Target, open_page};
use changeover_tests::world::{World, web};
use serde_json::Value;

/// Where visitors find the app.
const PORT: u16 = 8080;
/// A look every 4 ms from each of two places.
const LOOKS_PER_SECOND: u32 = 250;
/// Requests a second where failures are counted.
pub(crate) const LOAD: u32 = 200;

/// An engine to measure on.
pub(crate) struct Bench {
    world: World,
}

/// The figures of one `changeover update`.
pub(crate) struct Update {
    /// From the last answer of old to the first of new, where it was longest.
    pub(crate) away: Duration,
    /// From the start of the command until the page was seen.
    pub(crate) page_up: Duration,
    /// From the moment new listened until an open page showed it.
    pub(crate) shown_after: Duration,
    /// What the engine took to stop old.
    pub(crate) stop: Duration,
    /// What the engine took to start new.
    pub(crate) start: Duration,
    /// From then until visitors were on new; its boot is part of it.
    pub(crate) gate: Duration,
}

impl Bench {
    pub(crate) fn start(kind: EngineKind) -> Bench {
        let world = World::start(kind);
        for boot in [0, 1000] {
            for version in ["1", "2"] {
                let environment = [("VERSION", version), ("BOOT_MS", &boot.to_string())];
                world.image(&format!("app:{version}-{boot}"), &environment, &[]);
            }
        }
        let server = r#"CMD ["/busybox","httpd","-f","-p","80"]"#;
        world.lab.import_image("httpd:1", &[("busybox", &busybox(kind), 0o755)], &[server]);
        Bench { world }
    }

    /// What it takes to make a large container's create request from what the engine
    /// says of it, and what the engine takes to say it. Medians.
    pub(crate) fn create_request(&self, runs: usize) -> (Duration, Duration) {
        let mut body = web("app:1-0");
        body["Env"] = (0..500).map(|n| format!("VARIABLE_{n}=the value of variable {n}")).collect();
        for n in 0..300 {
            body["Labels"][format!("org.example.label-{n}")] = format!("value {n}").into();
        }
        self.world.create("large", &body);
        let api = |path: &str| self.world.lab.api("GET", path, None).1;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let (old_image, new_image) = (api("/images/app:1-0/json"), api("/images/app:2-0/json"));
        for _ in 0..runs {
            let begun = Instant::now();
            let old = api("/containers/large/json");
            theirs.push(begun.elapsed());
            let begun = Instant::now();
            let made = successor(&Inputs {
                old: &old,
                old_image: Some(&old_image),
                new_image: &new_image,
                reference: "app:2-0",
                api: ApiVersion(1, 51),
                engine_name: "bench",
                engine_platform: "linux/amd64",
                donor_gone: false,
            });
            let body = made.expect("the engine says what is needed").create.to_string();
            ours.push(begun.elapsed());
            assert!(body.contains("VARIABLE_499") && body.contains("label-299"));
        }
        self.world.lab.api("DELETE", "/containers/large", None);
        (super::median(ours), super::median(theirs))
    }

    /// An update of an app that boots for `boot` ms.
    pub(crate) fn update(&self, boot: u32) -> Update {
        self.run_app(boot);
        let open = open_page(&self.targets().remove(0), Duration::from_secs(60));
        let load = self.look();
        let begun = Instant::now();
        let mut updating =
            self.world.spawn(&["update", "web", "--image", &format!("app:2-{boot}")]);
        let stopped = updating.wait_for_step("stop-old");
        let started = updating.wait_for_step("start-new");
        let at_gate = Instant::now();
        updating.wait_for("the app's return", |e| e["event"] == "page" && e["shown"] == false);
        let gate = at_gate.elapsed();
        // Before the update has ended, since then nothing more is to be seen.
        let listened = self.listened();
        updating.finish().expect(0);
        let report = load.stop();
        let page_up = report.targets.iter().map(|target| {
            let page = report.first(target, &Class::Page).expect("the page was seen");
            (report.began + page.ended).saturating_duration_since(begun)
        });
        let open = open.join().expect("visitors don't panic").expect("the network is there");
        let (shown, version) = open.shown.expect("the open page saw the app again");
        assert_eq!(version, "2", "the version that the open page shows");
        Update {
            away: away(&report),
            page_up: page_up.max().unwrap_or_default(),
            shown_after: shown.saturating_duration_since(listened),
            stop: milliseconds(&stopped),
            start: milliseconds(&started),
            gate,
        }
    }

    /// How long the same app is away when it is stopped and started.
    pub(crate) fn stop_and_start(&self, boot: u32) -> Duration {
        self.run_app(boot);
        let load = self.look();
        self.docker("docker stop web && docker start web");
        self.world.wait("the app's return", || self.world.visit(PORT) == "1");
        thread::sleep(Duration::from_millis(200));
        away(&load.stop())
    }

    /// How long `docker run --detach` takes for a container that does nothing much.
    pub(crate) fn docker_run(&self) -> Duration {
        self.clear();
        let begun = Instant::now();
        self.docker("docker run --detach --name trivial app:1-0");
        begun.elapsed()
    }

    /// Size of the helper's image and its memory at the peak, in MB, under a load.
    pub(crate) fn helper(&self) -> (f64, f64) {
        self.run_app(1000);
        let load = self.load();
        let watch = self.watch_memory("changeover");
        let mut updating = self.world.spawn(&["update", "web", "--image", "app:2-1000"]);
        updating.wait_for_step("stop-old");
        let helper = self.world.inspect("web.changeover").expect("the helper is there");
        let size = self.image_size(helper["Image"].as_str().unwrap_or_default());
        updating.finish().expect(0);
        load.stop();
        (size, memory(watch))
    }

    /// The same of busybox as a web server, under the same load.
    pub(crate) fn busybox_httpd(&self) -> (f64, f64) {
        self.clear();
        let watch = self.watch_memory("busybox");
        self.world.run("web", &web("httpd:1"));
        let load = self.load();
        thread::sleep(Duration::from_secs(2));
        load.stop();
        self.clear();
        (self.image_size("httpd:1"), memory(watch))
    }

    /// Requests that fail while we update.
    pub(crate) fn failed_by_update(&self) -> usize {
        self.run_app(0);
        let load = self.load();
        self.world.changeover(&["update", "web", "--image", "app:2-0"]).expect(0);
        load.stop().failures().len()
    }

    /// Requests that fail while the container is made anew, as most updaters do it.
    pub(crate) fn failed_by_recreation(&self) -> usize {
        self.run_app(0);
        let load = self.load();
        self.docker(&format!(
            "docker stop web && docker rm web && docker run --detach --name web --publish {PORT}:80 --restart unless-stopped app:2-0"
        ));
        self.world.wait("the app's return", || self.world.visit(PORT) == "2");
        thread::sleep(Duration::from_millis(500));
        load.stop().failures().len()
    }

    fn run_app(&self, boot: u32) {
        self.clear();
        self.world.run_web(&format!("app:1-{boot}"));
    }

    fn clear(&self) {
        for name in self.world.containers() {
            let path = format!("/containers/{name}?force=true&v=true");
            let (status, answer) = self.world.lab.api("DELETE", &path, None);
            assert!(matches!(status, 204 | 404), "cannot remove {name}: {answer}");
        }
    }

    /// On the host itself, and from outside.
    fn targets(&self) -> Vec<Target> {
        let wanted = ["127.0.0.1", "outside IPv4"];
        let all = self.world.targets(PORT).into_iter();
        all.filter(|target| wanted.contains(&target.label.as_str())).collect()
    }

    /// Looks at the app often enough to time it. There are answers when it returns.
    fn look(&self) -> Load {
        let mut options = Options::new(self.targets());
        options.rate_per_second = LOOKS_PER_SECOND;
        let load = Load::start(options).expect("the load starts");
        thread::sleep(Duration::from_millis(500));
        load
    }

    /// Visitors on every way to the app.
    fn load(&self) -> Load {
        let mut options = Options::new(self.world.targets(PORT));
        options.rate_per_second = LOAD / options.targets.len() as u32;
        let load = Load::start(options).expect("the load starts");
        thread::sleep(Duration::from_millis(500));
        load
    }

    /// Docker's own command line, as a person would use it on the engine's host.
    fn docker(&self, script: &str) {
        let done = self.world.lab.machine_command("sh").args(["-c", script]).output();
        let done = done.expect("the machine has a shell");
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// When version 2 began to listen, as the engine's log has it.
    fn listened(&self) -> Instant {
        let path = "/containers/web/logs?stdout=1&timestamps=1";
        let (_, log) = self.world.lab.api_raw("GET", path, &[], &[]);
        let log = String::from_utf8_lossy(&log).into_owned();
        let line = log.lines().find(|line| line.contains("version 2 listens"));
        let line = line.unwrap_or_else(|| panic!("version 2 doesn't listen: {log}"));
        // Before the time there are 8 bytes that say which stream this is.
        let start = line.find("20").expect("a year");
        let time: jiff::Timestamp =
            line[start..].split(' ').next().unwrap_or_default().parse().expect("a time");
        let ago = SystemTime::now().duration_since(time.into()).expect("it is past");
        Instant::now() - ago
    }

    fn image_size(&self, image: &str) -> f64 {
        let (_, answer) = self.world.lab.api("GET", &format!("/images/{image}/json"), None);
        megabytes(answer["Size"].as_f64().expect("an image has a size"))
    }

    /// Follows the memory of the first process of this name that comes, until it ends.
    fn watch_memory(&self, name: &str) -> std::process::Child {
        let script = format!(
            "until pid=$(pgrep -o -x {name}); do sleep 0.02; done
             while grep VmHWM /proc/$pid/status; do sleep 0.02; done 2>/dev/null"
        );
        let mut command: Command = self.world.lab.machine_command("sh");
        command.args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().expect("the machine has a shell")
    }
}

/// The longest time between two answers of the app, where that was longest.
fn away(report: &Report) -> Duration {
    let longest = |target| {
        let answers = |record: &&Record| {
            record.target == target && matches!(record.class, Class::Old | Class::New)
        };
        let mut ended: Vec<Duration> =
            report.records.iter().filter(answers).map(|record| record.ended).collect();
        ended.sort();
        ended.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    };
    (0..report.targets.len()).map(longest).max().unwrap_or_default()
}

fn milliseconds(step: &Value) -> Duration {
    Duration::from_millis(step["milliseconds"].as_u64().unwrap_or_default())
}

/// The last that was heard of a process's peak.
fn memory(watch: std::process::Child) -> f64 {
    let output = watch.wait_with_output().expect("it ends with the process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let kilobytes = text.lines().filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
    megabytes(kilobytes.fold(0.0, f64::max) * 1024.0)
}

fn megabytes(bytes: f64) -> f64 {
    bytes / 1_000_000.0
}
