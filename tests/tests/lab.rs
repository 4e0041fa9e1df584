//! The labs themselves: what the rest of the suite takes for granted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use changeover_tests::lab::{
    EngineKind, Lab, Login, Netns, Options, Registry, busybox, clear_leftovers,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[test]
fn every_engine_answers_with_its_version() {
    for kind in EngineKind::ALL {
        let lab = Lab::start(kind);
        let (status, version) = lab.api("GET", "/version", None);
        assert_eq!(status, 200);
        let version = version["Version"].as_str().expect("engines have a version");
        assert!(version.starts_with(kind.version()), "{version} is no {kind}");
    }
}

#[test]
fn podman_runs_containers_without_a_daemon_and_leaves_nothing() {
    for kind in EngineKind::PODMAN {
        let mut lab = Lab::start_with(kind, Options { podman_restart: true, ..Options::default() });
        let (_, version) = lab.api("GET", "/version", None);
        let version = version["Version"].as_str().expect("it has a version").to_owned();
        assert_eq!(version.chars().next(), kind.version().chars().last(), "{version} is no {kind}");
        run_web(&lab, "always");
        // Not over IPv6: Podman's usual network has none.
        let ways = [
            (lab.host_netns(), Ipv4Addr::LOCALHOST),
            (lab.host_netns(), lab.host_v4()),
            (lab.outside_netns(), lab.host_v4()),
        ];
        let reached = || {
            for (netns, address) in &ways {
                wait_until(&format!("{address} from {} on {kind}", netns.name()), || {
                    let answer = netns.run(|| get((*address).into()));
                    answer.is_some_and(|answer| answer.ends_with("hello"))
                });
            }
        };
        reached();
        lab.kill();
        reached();
        lab.start_again();
        reached();
        lab.power_cut();
        lab.start_again();
        reached();
        let traces = Traces::of(&lab);
        drop(lab);
        assert_eq!(traces.processes(), 0);
        assert_eq!(traces.others(), Vec::<String>::new());
    }
}

#[test]
fn a_published_port_is_reached_from_everywhere() {
    for kind in EngineKind::ALL {
        let lab = Lab::start(kind);
        run_web(&lab, "always");
        assert_reached(&lab);
    }
}

#[test]
fn containers_are_back_after_a_restart_of_the_engine() {
    for kind in EngineKind::ALL {
        let mut lab = Lab::start(kind);
        run_web(&lab, "unless-stopped");
        lab.stop();
        assert!(!lab.answers());
        lab.start_again();
        assert_reached(&lab);
    }
}

#[test]
fn containers_outlive_a_killed_engine() {
    for kind in EngineKind::ALL {
        let mut lab = Lab::start_with(kind, Options { live_restore: true, ..Options::default() });
        run_web(&lab, "no");
        let started = inspect(&lab)["State"]["StartedAt"].clone();
        lab.kill();
        assert!(
            lab.machine_command("pgrep")
                .args(["--count", "busybox"])
                .output()
                .expect("pgrep is there")
                .status
                .success()
        );
        lab.start_again();
        assert_reached(&lab);
        assert_eq!(inspect(&lab)["State"]["StartedAt"], started);
    }
}

#[test]
fn only_armed_containers_come_back_after_a_power_cut() {
    for kind in EngineKind::ALL {
        let mut lab = Lab::start(kind);
        run_web(&lab, "always");
        let (status, _) =
            lab.api("POST", "/containers/create?name=once", Some(&json!({"Image": "web:1"})));
        assert_eq!(status, 201);
        assert_eq!(lab.api("POST", "/containers/once/start", None).0, 204);
        lab.power_cut();
        lab.start_again();
        assert_reached(&lab);
        let (_, once) = lab.api("GET", "/containers/once/json", None);
        assert_eq!(once["State"]["Running"], false);
    }
}

#[test]
fn a_crashed_container_is_restarted_by_its_policy() {
    let lab = Lab::start(EngineKind::V28_5);
    run_web(&lab, "always");
    lab.crash_container("web");
    wait_until("it was restarted", || inspect(&lab)["RestartCount"] == 1);
    assert_reached(&lab);
}

#[test]
fn two_labs_run_side_by_side() {
    let [first, second] = [EngineKind::V20_10, EngineKind::V28_5].map(Lab::start);
    for lab in [&first, &second] {
        run_web(lab, "always");
    }
    assert_reached(&first);
    assert_reached(&second);
    assert_ne!(first.host_v4(), second.host_v4());
}

#[test]
fn the_socket_has_one_path_here_and_for_the_engine() {
    for kind in EngineKind::ALL {
        let lab = Lab::start(kind);
        import_web(&lab);
        let binds =
            [format!("{}:/sock", lab.socket().display()), "/var/run/docker.sock:/usual".to_owned()];
        let body = json!({
            "Image": "web:1",
            "Cmd": ["/bin/busybox", "sh", "-c", "test -S /sock && test -S /usual"],
            "HostConfig": {"Binds": binds, "NetworkMode": "host"},
        });
        let (status, answer) = lab.api("POST", "/containers/create?name=look", Some(&body));
        assert_eq!(status, 201, "{answer}");
        assert_eq!(lab.api("POST", "/containers/look/start", None).0, 204);
        assert_eq!(lab.api("POST", "/containers/look/wait", None).1["StatusCode"], 0);
    }
}

#[test]
fn a_socket_kept_by_the_system_outlives_the_engine() {
    for kind in EngineKind::ALL {
        let options = Options { socket_activation: true, live_restore: true, ..Options::default() };
        let mut lab = Lab::start_with(kind, options);
        let inode = |lab: &Lab| fs::metadata(lab.socket()).expect("the socket is there").ino();
        let before = inode(&lab);
        run_web(&lab, "no");
        lab.stop();
        lab.start_again();
        assert_eq!(inode(&lab), before);
        let docker = lab
            .machine_command("docker")
            .args(["ps", "--format", "{{.Names}}"])
            .output()
            .expect("docker is there");
        assert_eq!(String::from_utf8_lossy(&docker.stdout).trim(), "web");
        lab.power_cut();
        lab.start_again();
    }
}

#[test]
#[should_panic(expected = "unknown flag")]
fn an_engine_that_does_not_start_says_why() {
    Lab::start_with(
        EngineKind::V20_10,
        Options { engine_args: vec!["--nonsense".to_owned()], ..Options::default() },
    );
}

#[test]
fn images_go_through_a_registry_and_back() {
    for kind in EngineKind::ALL {
        let lab = Lab::start(kind);
        import_web(&lab);
        let open = Registry::start(&lab);
        let login = Login { user: "user".to_owned(), password: "pass word".to_owned() };
        let closed = Registry::start_with_login(&lab, login);
        for registry in [&open, &closed] {
            let reference = registry.push(&lab, "web:1", "some/web:1");
            lab.forget_image(&reference);
            assert_eq!(lab.api("GET", &format!("/images/{reference}/json"), None).0, 404);
            registry.pull(&lab, &reference);
            assert_eq!(lab.api("GET", &format!("/images/{reference}/json"), None).0, 200);
        }
        let path = format!("/images/create?fromImage={}/some/web&tag=1", closed.address());
        let (_, answer) = lab.api("POST", &path, None);
        assert!(answer.to_string().contains("no basic auth credentials"), "{answer}");
    }
}

#[test]
fn nothing_is_left_of_a_dropped_lab() {
    for kind in EngineKind::ALL {
        let lab = Lab::start(kind);
        run_web(&lab, "always");
        let traces = Traces::of(&lab);
        assert!(traces.processes() >= 4, "init, containerd, dockerd and a shim are there");
        assert!(traces.others().len() >= 3, "{:?}", traces.others());
        drop(lab);
        assert_eq!(traces.processes(), 0);
        assert_eq!(traces.others(), Vec::<String>::new());
    }
}

#[test]
fn a_command_in_a_lab_sees_its_processes_alone_and_is_told_to_end() {
    // With it there are two engines at least.
    let _other = Lab::start(EngineKind::V28_5);
    let script = "trap 'echo told; exit 7' TERM
        for it in /proc/[0-9]*; do
            [ $(cat $it/comm 2>/dev/null)_ = dockerd_ ] && echo dockerd
        done
        docker image inspect app:1 app:2 app:bad >/dev/null && changeover --version
        echo ready
        while :; do sleep 0.1; done";
    let mut run = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["shell", "28.5", "sh", "-c", script])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was just built");
    let mut lines = BufReader::new(run.stdout.take().expect("it was piped")).lines();
    let mut line = || lines.next().map(|line| line.expect("it is text"));
    assert_eq!(line().as_deref(), Some("dockerd"));
    let version = line().unwrap_or_default();
    assert!(version.starts_with("changeover "), "another engine is seen: {version}");
    assert_eq!(line().as_deref(), Some("ready"));
    kill_process(Pid::from_child(&run), Signal::TERM).expect("it runs");
    assert_eq!(line().as_deref(), Some("told"));
    assert_eq!(run.wait().expect("it is a child").code(), Some(7));
}

#[test]
fn a_crashed_run_ends_its_engine_and_the_next_one_clears_up() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_lab"))
        .args(["shell", "28.5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary was just built");
    let lines = BufReader::new(run.stdout.take().expect("it was piped")).lines();
    let settings: Vec<String> = lines.take(6).map(|line| line.expect("it is text")).collect();
    let setting = |name: &str| {
        let prefix = format!("export {name}=");
        let value = settings.iter().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap_or_else(|| panic!("no {name} in {settings:?}")).to_owned()
    };
    let networks = ["LAB_HOST_NETNS", "LAB_OUTSIDE_NETNS"].map(setting);
    let traces = Traces::new(setting("LAB_DIR"), networks);
    assert!(traces.processes() >= 3);
    run.kill().expect("it runs");
    run.wait().expect("it is a child");
    wait_until("its processes are gone", || traces.processes() == 0);
    clear_leftovers();
    assert_eq!(traces.others(), Vec::<String>::new());
}

/// What a lab has on this machine.
struct Traces {
    dir: String,
    networks: [String; 2],
    // Kept open, or the next network may get its inode number, and its processes be taken for the lab's.
    host: File,
}

impl Traces {
    fn of(lab: &Lab) -> Self {
        Self::new(
            lab.dir().display().to_string(),
            [lab.host_netns(), lab.outside_netns()].map(|netns| netns.name().to_owned()),
        )
    }

    fn new(dir: String, networks: [String; 2]) -> Self {
        let host =
            File::open(format!("/run/netns/{}", networks[0])).expect("the lab has a network");
        Self { dir, networks, host }
    }

    /// How many processes are in its host network.
    fn processes(&self) -> usize {
        let host = self.host.metadata().expect("it is open").ino();
        let pids = fs::read_dir("/proc").expect("/proc is mounted").flatten();
        pids.filter(|pid| {
            fs::metadata(pid.path().join("ns/net")).is_ok_and(|netns| netns.ino() == host)
        })
        .count()
    }

    /// Everything else, containers' processes included: a control group with one can't be removed.
    fn others(&self) -> Vec<String> {
        let name = self.networks[0].trim_end_matches("-host");
        let cgroups = fs::read_dir("/sys/fs/cgroup").expect("it is mounted").flatten();
        let mut paths: Vec<String> =
            cgroups.map(|dir| dir.path().join(name).display().to_string()).collect();
        paths.extend(self.networks.iter().map(|name| format!("/run/netns/{name}")));
        paths.push(self.dir.clone());
        paths.retain(|path| fs::exists(path).is_ok_and(|exists| exists));
        let mounts = fs::read_to_string("/proc/self/mounts").expect("/proc is mounted");
        paths.extend(
            mounts
                .lines()
                .filter(|mount| mount.contains(&format!("{}/", self.dir)))
                .map(str::to_owned),
        );
        paths
    }
}

fn import_web(lab: &Lab) {
    let page = lab.dir().join("index.html");
    fs::write(&page, "hello").expect("the lab's directory is writable");
    let files = [("bin/busybox", busybox(lab.kind())), ("www/index.html", page)];
    let files = files.each_ref().map(|(path, source)| (*path, source.as_path(), 0o755));
    let id = lab.import_image(
        "web:1",
        &files,
        &[r#"CMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/www"]"#],
    );
    assert!(id.starts_with("sha256:"), "{id}");
}

fn run_web(lab: &Lab, policy: &str) {
    import_web(lab);
    let body = json!({
        "Image": "web:1",
        "ExposedPorts": {"80/tcp": {}},
        // A first process that doesn't handle SIGTERM ignores it, and stopping would take ten seconds.
        "StopSignal": "SIGKILL",
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostPort": "8080"}]}, "RestartPolicy": {"Name": policy}},
    });
    let (status, answer) = lab.api("POST", "/containers/create?name=web", Some(&body));
    assert_eq!(status, 201, "{answer}");
    let (status, answer) = lab.api("POST", "/containers/web/start", None);
    assert_eq!(status, 204, "{answer}");
}

fn inspect(lab: &Lab) -> serde_json::Value {
    lab.api("GET", "/containers/web/json", None).1
}

fn assert_reached(lab: &Lab) {
    let (host, outside) = (lab.host_netns(), lab.outside_netns());
    let ways: [(&Netns, IpAddr); 6] = [
        (&host, Ipv4Addr::LOCALHOST.into()),
        (&host, Ipv6Addr::LOCALHOST.into()),
        (&host, lab.host_v4().into()),
        (&host, lab.host_v6().into()),
        (&outside, lab.host_v4().into()),
        (&outside, lab.host_v6().into()),
    ];
    for (netns, address) in ways {
        let what = format!("{address} from {} on {}", netns.name(), lab.kind());
        wait_until(&what, || {
            netns.run(|| get(address)).is_some_and(|answer| answer.ends_with("hello"))
        });
    }
}

fn get(address: IpAddr) -> Option<String> {
    let mut stream =
        TcpStream::connect_timeout(&(address, 8080).into(), Duration::from_secs(2)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(20), "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
