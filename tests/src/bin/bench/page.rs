//! The page against nginx: the same document, the same load, the same machine, by turns.
//!
//! Both close after each answer, since a page that keeps its visitors' connections would
//! keep its visitors. Both have room for as many connections. The load is wrk's, Debian's
//! package; how much processor a request costs is measured besides, since on a small
//! machine wrk and the server share it.
//!
//! Memory is what the processes have for themselves after the load. What they map from
//! their files is the kernel's to drop, and comes in a note.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use changeover_tests::lab::tools::{install_packages, is_installed, run};
use changeover_tests::world::program;

use crate::median;
use crate::table::{Row, Table};

/// Event streams that are open at a time.
const STREAMS: usize = 10_000;
/// Seconds of load in one run.
const SECONDS: u64 = 4;
/// What visitors send.
const HEADERS: [&str; 2] = ["Accept: text/html", "Accept-Encoding: gzip"];

/// Measures, or says what is missing for it.
pub(crate) fn measure(runs: usize) -> Result<Table, String> {
    let missing = |error: changeover_tests::lab::InstallError| error.to_string();
    if !is_installed("wrk") {
        install_packages(&["wrk"]).map_err(missing)?;
    }
    let page = Server::page();
    let document = page.document();
    let nginx = Server::nginx(&document)?;
    assert_eq!(nginx.document().len(), document.len(), "the same document");
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..runs).map(|_| (page.load(), nginx.load())).unzip();
    let mut table = Table::default();
    let rate = |all: &[Load]| median(all.iter().map(|load| load.per_second as u64).collect());
    let (our_rate, their_rate) = (rate(&ours) as f64, rate(&theirs) as f64);
    table.add(Row {
        what: format!("the page's {} bytes, a second", document.len()),
        ours: format!("{our_rate:.0}"),
        alternative: format!("{their_rate:.0} nginx"),
        ratio: Some(our_rate / their_rate),
        claim: "ratio ≥ 1",
        holds: Some(our_rate >= their_rate),
    });
    let cost = |all: &[Load]| median(all.iter().map(|load| load.microseconds as u64).collect());
    let (our_cost, their_cost) = (cost(&ours), cost(&theirs));
    table.add(Row {
        what: "processor time of the server, a request".to_owned(),
        ours: format!("{our_cost} µs"),
        alternative: format!("{their_cost} µs nginx"),
        ratio: Some(our_cost as f64 / their_cost as f64),
        claim: "",
        holds: None,
    });
    let (our_memory, their_memory) = (page.memory("Pss_Anon:"), nginx.memory("Pss_Anon:"));
    table.note(format!(
        "memory with what is mapped from files: {:.1} MB, nginx {:.1} MB",
        page.memory("Pss:"),
        nginx.memory("Pss:"),
    ));
    table.add(Row {
        what: "memory of its own after that".to_owned(),
        ours: format!("{our_memory:.1} MB"),
        alternative: format!("{their_memory:.1} MB nginx"),
        ratio: Some(our_memory / their_memory),
        claim: "ratio ≤ 0.25",
        holds: Some(our_memory <= their_memory / 4.0),
    });
    drop(nginx);
    let open = page.open_streams();
    let (memory, in_all) = (page.memory("Pss_Anon:"), page.memory("Pss:"));
    table.add(Row {
        what: format!("all memory, {} event streams open", open.len()),
        ours: format!("{in_all:.1} MB"),
        alternative: format!("{:.1} kB a stream", (memory - our_memory) * 1000.0 / STREAMS as f64),
        ratio: None,
        claim: "< 100 MB",
        holds: Some(in_all < 100.0 && open.len() == STREAMS),
    });
    Ok(table)
}

struct Load {
    per_second: f64,
    microseconds: f64,
}

/// A server that ends with this.
struct Server {
    child: Child,
    at: SocketAddr,
    path: &'static str,
    folder: Option<PathBuf>,
}

impl Server {
    fn page() -> Server {
        let at = free();
        let mut command = Command::new(program("changeover"));
        command.args(["page", "--preview", "--port", &at.port().to_string()]);
        Server::start(command, at, "/updating/", None)
    }

    fn nginx(document: &[u8]) -> Result<Server, String> {
        let at = free();
        let folder = std::env::temp_dir().join(format!("changeover-bench-{}", std::process::id()));
        let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes);
        let cannot = |error: std::io::Error| format!("{}: {error}", folder.display());
        fs::create_dir_all(folder.join("www/updating")).map_err(cannot)?;
        let mut download = Command::new("apt-get");
        download.args(["download", "nginx"]).current_dir(&folder);
        run("fetch the package nginx", &mut download).map_err(|error| error.to_string())?;
        let mut unpack = Command::new("sh");
        unpack.args(["-c", "dpkg-deb -x nginx_*.deb ."]).current_dir(&folder);
        run("unpack nginx", &mut unpack).map_err(|error| error.to_string())?;
        put("www/updating/index.html", document).map_err(cannot)?;
        let config = format!(
            "worker_processes auto; daemon off; pid nginx.pid; error_log stderr crit; user root;
             worker_rlimit_nofile 24000;
             events {{ worker_connections 12000; }}
             http {{
               access_log off; sendfile on; tcp_nopush on; keepalive_timeout 0;
               open_file_cache max=10; client_body_temp_path tmp; proxy_temp_path tmp;
               fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
               default_type text/html;
               server {{
                 listen {at} backlog=4096; root {}/www;
                 add_header Content-Encoding gzip; add_header Cache-Control no-store;
                 add_header Retry-After 2;
                 types {{ text/html html; }}
               }}
             }}",
            folder.display()
        );
        put("nginx.conf", config.as_bytes()).map_err(cannot)?;
        let mut command = Command::new(folder.join("usr/sbin/nginx"));
        command.arg("-p").arg(&folder).arg("-c").arg(folder.join("nginx.conf"));
        Ok(Server::start(command, at, "/updating/", Some(folder)))
    }

    fn start(
        mut command: Command,
        at: SocketAddr,
        path: &'static str,
        folder: Option<PathBuf>,
    ) -> Server {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut server = Server { child: child.expect("the server starts"), at, path, folder };
        let begun = Instant::now();
        while TcpStream::connect(at).is_err() {
            let ended = server.child.try_wait().expect("it can be asked");
            assert!(ended.is_none() && begun.elapsed() < Duration::from_secs(10), "{command:?}");
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// The document as visitors get it, compressed.
    fn document(&self) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.at).expect("it listens");
        let headers = HEADERS.map(|header| format!("{header}\r\n")).concat();
        write!(stream, "GET {} HTTP/1.1\r\nHost: bench\r\n{headers}\r\n", self.path).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        assert!(answer[end + 4..].starts_with(&[0x1f, 0x8b]), "it is compressed");
        answer.split_off(end + 4)
    }

    fn load(&self) -> Load {
        let before = self.processor_time();
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--connections", "64", "--duration", &format!("{SECONDS}s")]);
        for header in HEADERS {
            wrk.args(["--header", header]);
        }
        let said = wrk.arg(format!("http://{}{}", self.at, self.path)).output().expect("wrk runs");
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let line = |start: &str| said.lines().find_map(|line| line.trim().strip_prefix(start));
        let per_second = line("Requests/sec:").and_then(|rate| rate.trim().parse().ok());
        let per_second: f64 = per_second.unwrap_or_else(|| panic!("wrk says no rate: {said}"));
        let broken = line("Socket errors:").unwrap_or_default();
        assert!(!broken.contains("connect") || broken.contains("connect 0"), "{said}");
        let requests = per_second * SECONDS as f64;
        Load { per_second, microseconds: (self.processor_time() - before) * 1e6 / requests }
    }

    fn open_streams(&self) -> Vec<TcpStream> {
        changeover_tests::load::allow_many_descriptors();
        let mut open = Vec::with_capacity(STREAMS);
        for _ in 0..STREAMS {
            let Ok(mut stream) = TcpStream::connect(self.at) else { break };
            let asked = write!(
                stream,
                "GET /.changeover/events HTTP/1.1\r\nHost: bench\r\nReferer: http://bench{}\r\n\r\n",
                self.path
            );
            if asked.is_err() {
                break;
            }
            open.push(stream);
        }
        // Each of them has heard something, and hears on.
        let until = Instant::now() + Duration::from_secs(30);
        open.retain_mut(|stream| {
            let mut first = [0; 15];
            let left = until.saturating_duration_since(Instant::now());
            let _ = stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            stream.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 200 OK"
        });
        open
    }

    /// The server's processes.
    fn processes(&self) -> Vec<u32> {
        let own = self.child.id();
        let path = format!("/proc/{own}/task/{own}/children");
        let children = fs::read_to_string(path).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        std::iter::once(own).chain(children).collect()
    }

    /// In MB, by this line of the kernel's. What processes share is divided among them.
    fn memory(&self, kind: &str) -> f64 {
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0)
        };
        self.processes().into_iter().map(of).sum::<f64>() * 1024.0 / 1e6
    }

    /// In seconds.
    fn processor_time(&self) -> f64 {
        let of = |id: u32| {
            let text = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let fields = text.rsplit(')').next().unwrap_or_default().split_whitespace();
            fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        };
        // A hundred ticks a second, on every Linux there is.
        self.processes().into_iter().map(of).sum::<f64>() / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGTERM: nginx has children to end.
        let id = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.child.wait();
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(Path::new(folder));
        }
    }
}

fn free() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address")
}
