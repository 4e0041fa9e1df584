//! One engine, images of the sample app, and our program run against it: what the
//! engine suite's cases are written in.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::lab::{EngineKind, Lab, Options};
use crate::load::{Target, netns};

/// How long anything may take that a case waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What [`World::run_neighbour`] calls its container.
const NEIGHBOUR: &str = "neighbour";

/// Looks at all that our program has printed: its command line, and the lines.
pub type Judge = fn(&[String], &[Value]);

/// The suite's judge, asked whenever our program has ended.
pub static JUDGE: OnceLock<Judge> = OnceLock::new();

/// A throw-away engine for one case.
pub struct World {
    /// The engine.
    pub lab: Lab,
}

impl World {
    /// Starts an engine.
    pub fn start(kind: EngineKind) -> World {
        World { lab: Lab::start(kind) }
    }

    /// Starts an engine with options.
    pub fn start_with(kind: EngineKind, options: Options) -> World {
        World { lab: Lab::start_with(kind, options) }
    }

    /// An image of the sample app, with this environment as its defaults and
    /// further lines of a Dockerfile. Returns its id.
    pub fn image(&self, reference: &str, environment: &[(&str, &str)], changes: &[&str]) -> String {
        self.image_with_files(reference, &[], environment, changes)
    }

    /// The same with further files: where in the image, from where, and their mode.
    pub fn image_with_files(
        &self,
        reference: &str,
        files: &[(&str, &Path, u32)],
        environment: &[(&str, &str)],
        changes: &[&str],
    ) -> String {
        sample_image(&self.lab, reference, files, environment, changes)
    }

    /// `app:1`, `app:2` and so on, well-behaved.
    pub fn images(&self, versions: &[u32]) {
        for version in versions {
            self.image(&format!("app:{version}"), &[("VERSION", &version.to_string())], &[]);
        }
    }

    /// Creates and starts a container from a create request; returns its id.
    pub fn run(&self, name: &str, body: &Value) -> String {
        let id = self.create(name, body);
        let (status, answer) = self.lab.api("POST", &format!("/containers/{id}/start"), None);
        assert!(status < 300, "cannot start {name}: {status} {answer}");
        id
    }

    /// Creates a container; returns its id.
    pub fn create(&self, name: &str, body: &Value) -> String {
        let path = format!("/containers/create?name={name}");
        let (status, answer) = self.lab.api("POST", &path, Some(body));
        assert_eq!(status, 201, "cannot create {name}: {answer}");
        answer["Id"].as_str().expect("an id").to_owned()
    }

    /// `docker run -d --name web -p 8080:80 --restart unless-stopped app:1`, and
    /// waits until it answers.
    pub fn run_web(&self, image: &str) -> String {
        let id = self.run("web", &web(image));
        self.wait_for_http(8080);
        id
    }

    /// Another container of the same app, on 8090, that nobody updates.
    pub fn run_neighbour(&self, image: &str) {
        let mut body = web(image);
        body["HostConfig"]["PortBindings"]["80/tcp"][0]["HostPort"] = json!("8090");
        self.run(NEIGHBOUR, &body);
        self.wait_for_http(8090);
    }

    /// `docker inspect`; `None` if there is no such container.
    pub fn inspect(&self, name: &str) -> Option<Value> {
        let (status, answer) = self.lab.api("GET", &format!("/containers/{name}/json"), None);
        (status == 200).then_some(answer)
    }

    /// `docker logs`, both streams.
    pub fn log(&self, name: &str) -> String {
        let path = format!("/containers/{name}/logs?stdout=1&stderr=1");
        let said = self.lab.api_raw("GET", &path, &[], &[]).1;
        String::from_utf8_lossy(&without_frames(&said)).into_owned()
    }

    /// Names of all containers, sorted.
    pub fn containers(&self) -> Vec<String> {
        let (_, list) = self.lab.api("GET", "/containers/json?all=1", None);
        let list = list.as_array().cloned().unwrap_or_default();
        // A link gives its target another name, as `/linked/alias`.
        let name = |c: &Value| {
            let names = c["Names"].as_array()?.iter().filter_map(Value::as_str);
            names.map(|n| n.trim_start_matches('/')).find(|n| !n.contains('/')).map(str::to_owned)
        };
        let mut names: Vec<String> = list.iter().filter_map(name).collect();
        names.sort();
        names
    }

    /// References of all images, sorted.
    pub fn image_references(&self) -> Vec<String> {
        let (_, list) = self.lab.api("GET", "/images/json", None);
        let list = list.as_array().cloned().unwrap_or_default();
        let tags = list.iter().flat_map(|image| image["RepoTags"].as_array().cloned());
        let mut tags: Vec<String> =
            tags.flatten().filter_map(|tag| tag.as_str().map(str::to_owned)).collect();
        tags.sort();
        tags
    }

    /// Writes a file on the lab's machine, for its owner only.
    pub fn write_on_machine(&self, path: &str, content: &str) {
        use std::io::Write;
        let script = "umask 077; mkdir -p \"${0%/*}\"; cat > \"$0\"";
        let mut shell = self.lab.machine_command("sh");
        let writing = shell.args(["-c", script, path]).stdin(Stdio::piped()).spawn();
        let mut writing = writing.expect("the machine has a shell");
        let mut input = writing.stdin.take().expect("a pipe");
        input.write_all(content.as_bytes()).expect("it is read");
        drop(input);
        assert!(writing.wait().expect("it ends").success(), "cannot write {path}");
    }

    /// Runs a command on the lab's machine; says whether it succeeded.
    pub fn machine(&self, command: &[&str]) -> bool {
        let (program, args) = command.split_first().expect("a command has a program");
        let done = self.lab.machine_command(program).args(args).stdin(Stdio::null()).status();
        done.expect("nsenter can be run").success()
    }

    /// Our program, in the engine host's network, with the engine in DOCKER_HOST.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.lab.host_command(program("changeover"));
        command.args(args);
        command
    }

    /// Runs our program to its end.
    pub fn changeover(&self, args: &[&str]) -> Done {
        self.spawn(args).finish()
    }

    /// Starts our program with `--json` and reads its events as they come.
    pub fn spawn(&self, args: &[&str]) -> Running {
        Running::start(self.command(args).arg("--json"))
    }

    /// The five ways to a port that is published on all addresses: 127.0.0.1, ::1,
    /// the host's own address, and from outside over IPv4 and IPv6.
    pub fn targets(&self, port: u16) -> Vec<Target> {
        let host = netns(self.lab.host_netns().name());
        let outside = netns(self.lab.outside_netns().name());
        let at = |ip: IpAddr| SocketAddr::new(ip, port);
        let (v4, v6) = (self.lab.host_v4(), self.lab.host_v6());
        vec![
            Target::new("127.0.0.1", at(Ipv4Addr::LOCALHOST.into())).from(host.clone()),
            Target::new("::1", at(Ipv6Addr::LOCALHOST.into())).from(host.clone()),
            Target::new("host address", at(v4.into())).from(host),
            Target::new("outside IPv4", at(v4.into())).from(outside.clone()),
            Target::new("outside IPv6", at(v6.into())).from(outside),
        ]
    }

    /// One GET of `/` on 127.0.0.1 in the engine host's network: version or `page`,
    /// or what went wrong.
    pub fn visit(&self, port: u16) -> String {
        self.visit_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port), "/")
    }

    /// One GET in the engine host's network.
    pub fn visit_at(&self, at: SocketAddr, path: &str) -> String {
        let path = path.to_owned();
        let enter = Some(netns(self.lab.host_netns().name()));
        let asked = crate::load::thread_at(enter, move || async move {
            crate::load::get(at, &path, Duration::from_secs(5)).await
        });
        match asked.join().expect("a visit doesn't panic").expect("the namespace is there") {
            Ok(answer) => match (answer.header("x-changeover"), answer.header("x-app-version")) {
                (Some(_), _) => "page".to_owned(),
                (_, Some(version)) => version.to_owned(),
                _ => format!("status {}", answer.status),
            },
            Err(class) => class.to_string(),
        }
    }

    /// The body of one GET in the engine host's network.
    pub fn fetch(&self, at: SocketAddr, path: &str) -> String {
        let path = path.to_owned();
        let enter = Some(netns(self.lab.host_netns().name()));
        let asked = crate::load::thread_at(enter, move || async move {
            crate::load::get(at, &path, Duration::from_secs(5)).await
        });
        match asked.join().expect("a visit doesn't panic").expect("the namespace is there") {
            Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
            Err(class) => panic!("GET {at}: {class}"),
        }
    }

    /// Runs a command in a container to its end; answers with its exit code.
    pub fn exec(&self, container: &str, command: &[&str]) -> i64 {
        let body = json!({ "Cmd": command, "AttachStdout": true, "AttachStderr": true });
        let (status, exec) =
            self.lab.api("POST", &format!("/containers/{container}/exec"), Some(&body));
        assert_eq!(status, 201, "cannot run {command:?} in {container}: {exec}");
        let exec = exec["Id"].as_str().expect("an id");
        let start = json!({ "Detach": false, "Tty": false });
        self.lab.api("POST", &format!("/exec/{exec}/start"), Some(&start));
        let (_, done) = self.lab.api("GET", &format!("/exec/{exec}/json"), None);
        done["ExitCode"].as_i64().unwrap_or(-1)
    }

    /// Waits until anything answers over HTTP on 127.0.0.1.
    pub fn wait_for_http(&self, port: u16) {
        self.wait("an answer over HTTP", || {
            let heard = self.visit(port);
            heard.parse::<u64>().is_ok() || heard.starts_with("status")
        });
    }

    /// Waits until something holds.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let begun = Instant::now();
        while !holds() {
            assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until `web`'s helper doesn't run any more, be it there or not.
    pub fn wait_for_the_helpers_end(&self) {
        let ended = |helper: Value| helper["State"]["Running"] == false;
        self.wait("the helper's end", || self.inspect("web.changeover").is_none_or(ended));
    }

    /// Asserts that exactly one version has the app's name, that it runs, answers
    /// on 8080 with this version, has its own restart policy, and that nothing of
    /// ours is left but what a rollback keeps as evidence.
    pub fn assert_settled(&self, version: &str, evidence: bool) {
        let web = self.inspect("web").expect("there is a container `web`");
        assert_eq!(web["State"]["Running"], true, "web runs");
        assert_eq!(web["HostConfig"]["RestartPolicy"]["Name"], "unless-stopped");
        self.wait(&format!("version {version} on 8080"), || self.visit(8080) == version);
        let mut names = self.containers();
        names.retain(|name| name != NEIGHBOUR);
        let expected: &[&str] =
            if evidence { &["web", "web.changeover", "web.failed"] } else { &["web"] };
        assert_eq!(names, expected, "containers at the end");
        let tables = self.lab.machine_command("nft").args(["list", "tables"]).output();
        let tables = String::from_utf8_lossy(&tables.expect("nft runs").stdout).into_owned();
        assert!(!tables.contains("changeover"), "a table of ours is left: {tables}");
    }
}

/// What a container without a terminal has said: the engine puts it into frames, with the
/// stream's number and the length in front, and may cut a long line in two.
fn without_frames(mut stream: &[u8]) -> Vec<u8> {
    let mut said = Vec::new();
    while let Some(([0..=2, 0, 0, 0, length @ ..], rest)) = stream.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (frame, next) = rest.split_at(length.min(rest.len()));
        said.extend_from_slice(frame);
        stream = next;
    }
    said.extend_from_slice(stream);
    said
}

/// The create request of the usual app: 80 published on 8080.
pub fn web(image: &str) -> Value {
    json!({
        "Image": image,
        "HostConfig": {
            "PortBindings": { "80/tcp": [{ "HostIp": "", "HostPort": "8080" }] },
            "RestartPolicy": { "Name": "unless-stopped" },
        },
    })
}

/// One of this workspace's programs. `CHANGEOVER_BIN_DIR` says where they are;
/// otherwise they are beside the running test.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("this process has a program");
    let beside = own.parent().and_then(|dir| match dir.ends_with("deps") {
        true => dir.parent(),
        false => Some(dir),
    });
    let set = std::env::var_os("CHANGEOVER_BIN_DIR").map(PathBuf::from);
    let path = set.as_deref().or(beside).expect("a program has a folder").join(name);
    assert!(path.exists(), "{} is not built; `make test` builds it", path.display());
    path
}

/// An image of the sample app: further files, its environment, and lines of a Dockerfile.
pub fn sample_image(
    lab: &Lab,
    reference: &str,
    files: &[(&str, &Path, u32)],
    environment: &[(&str, &str)],
    changes: &[&str],
) -> String {
    let sample = program("sample-app");
    let app = [("sample-app", sample.as_path(), 0o755)];
    let mut lines = vec![r#"ENTRYPOINT ["/sample-app"]"#.to_owned(), "EXPOSE 80".to_owned()];
    lines.extend(environment.iter().map(|(key, value)| format!("ENV {key}={value}")));
    lines.extend(changes.iter().map(|&line| line.to_owned()));
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    lab.import_image(reference, &[&app, files].concat(), &lines)
}

/// Our program, while it runs.
pub struct Running {
    child: Child,
    lines: Receiver<String>,
    stderr: thread::JoinHandle<String>,
    seen: Vec<Value>,
    arguments: Vec<String>,
}

/// Our program, when it has ended.
#[derive(Debug)]
pub struct Done {
    /// Exit code; -1 if killed by a signal.
    pub code: i32,
    /// Its events.
    pub events: Vec<Value>,
    /// What it said to a person.
    pub stderr: String,
}

impl Running {
    /// Starts a command whose standard output is a JSON object a line.
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let arguments =
            command.get_args().map(|text| text.to_string_lossy().into_owned()).collect();
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().expect("a pipe");
        let mut errors = child.stderr.take().expect("a pipe");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            let _ = std::io::Read::read_to_string(&mut errors, &mut text);
            text
        });
        Running { child, lines, stderr, seen: Vec::new(), arguments }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits for an event that `wanted` recognises. Panics at the program's end.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no {what}; seen so far: {:#?}", self.seen);
            };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            self.seen.push(event.clone());
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Waits for the step with this key.
    pub fn wait_for_step(&mut self, key: &str) -> Value {
        self.wait_for(&format!("step {key}"), |e| e["event"] == "step" && e["key"] == key)
    }

    /// Waits for an event of this name.
    pub fn wait_for_event(&mut self, name: &str) -> Value {
        self.wait_for(&format!("event {name}"), |e| e["event"] == name)
    }

    /// Waits for an event that `wanted` recognises; `false` if the program ends
    /// without one.
    pub fn saw(&mut self, wanted: impl Fn(&Value) -> bool) -> bool {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                    self.seen.push(event.clone());
                    if wanted(&event) {
                        return true;
                    }
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("neither the event nor the end; seen so far: {:#?}", self.seen)
                }
            }
        }
    }

    /// Whether it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, at most for `limit`.
    pub fn finish_within(mut self, limit: Duration) -> Done {
        let end = Instant::now() + limit;
        while self.runs() {
            if Instant::now() > end {
                self.kill();
                let done = self.finish();
                panic!("still running after {limit:?}; {:#?}\n{}", done.events, done.stderr);
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.finish()
    }

    /// Waits for its end.
    pub fn finish(mut self) -> Done {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("it is a child of ours") {
                break status;
            }
            if begun.elapsed() > 2 * PATIENCE {
                self.kill();
                let seen: Vec<String> = self.lines.iter().collect();
                panic!("it doesn't end; seen so far: {:#?}\n{}", self.seen, seen.join("\n"));
            }
            thread::sleep(Duration::from_millis(5));
        };
        let rest = self.lines.iter().filter_map(|line| serde_json::from_str(&line).ok());
        self.seen.extend(rest);
        if let Some(judge) = JUDGE.get() {
            judge(&self.arguments, &self.seen);
        }
        Done {
            code: status.code().unwrap_or(-1),
            events: self.seen,
            stderr: self.stderr.join().unwrap_or_default(),
        }
    }
}

impl Done {
    /// The first event of this name.
    pub fn event(&self, name: &str) -> Option<&Value> {
        self.events.iter().find(|event| event["event"] == name)
    }

    /// Asserts on the exit code, showing everything else if it is wrong.
    #[track_caller]
    pub fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, code, "exit code; {:#?}\n{}", self.events, self.stderr);
        self
    }

    /// Asserts that it said these words to a person.
    #[track_caller]
    pub fn says(self, words: &str) -> Done {
        assert!(self.stderr.contains(words), "no {words:?} in: {}", self.stderr);
        self
    }
}
