//! `make demo`: Changeover shown to somebody who meets it for the first time.
//!
//! A throw-away engine, a sample app, a load of visitors, an update, and an update
//! that fails. It exits with 1 if a visitor saw an error or an update ended
//! otherwise than it should.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use changeover_tests::lab::{self, EngineKind};
use changeover_tests::load::{Load, Options, Report, Story};
use changeover_tests::world::{World, program};

/// Where visitors find the app.
const PORT: u16 = 8080;
/// Fresh connections a second on each of the five ways to the app.
const RATE: u32 = 40;
/// What the gate asks in the container.
const HEALTHCHECK: &str = r#"HEALTHCHECK CMD ["/sample-app", "healthcheck"]"#;

fn main() -> ExitCode {
    println!(
        "Changeover replaces a running container by a newer version. In the meantime,\n\
         visitors get a page instead of an error, and if the new version doesn't work,\n\
         the old one comes back. Here it does both, with visitors coming all the time.\n"
    );
    if let Err(error) = lab::install(&[EngineKind::V28_5]) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    let demo = Demo::set_up();
    let update = demo.update_to_2();
    let rollback = demo.fail_to_update_to_3();
    match demo.sum_up(&[update, rollback], begun.elapsed()) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

struct Demo {
    world: World,
    /// Where pictures of the page go.
    pictures: PathBuf,
}

/// One act of the demo.
struct Act {
    what: &'static str,
    report: Report,
    away: Option<Duration>,
    as_it_should: Result<(), String>,
}

impl Demo {
    fn set_up() -> Demo {
        heading("A Docker engine and version 1 of an app");
        let world = World::start(EngineKind::V28_5);
        println!(
            "A throw-away Docker {} runs in a network of its own: nothing of this machine is\n\
             touched, and it is gone when the demo ends.",
            EngineKind::V28_5
        );
        // Versions 2 and 3 take their time to boot, so that there is something to see.
        world.image("app:1", &[("VERSION", "1")], &[HEALTHCHECK]);
        world.image("app:2", &[("VERSION", "2"), ("BOOT_MS", "2500")], &[HEALTHCHECK]);
        let sick = [("VERSION", "3"), ("UNHEALTHY_MS", "always")];
        world.image("app:3", &sick, &[HEALTHCHECK]);
        println!("Images: app:1, app:2 (boots for 2.5 s), app:3 (its health check always fails).");
        println!(
            "\n  $ docker run --detach --name web --publish {PORT}:80 --restart unless-stopped app:1"
        );
        world.run_web("app:1");
        let pictures = PathBuf::from("target/demo");
        fs::create_dir_all(&pictures).expect("target/ is writable");
        Demo { world, pictures }
    }

    fn update_to_2(&self) -> Act {
        heading("Version 2 comes in");
        self.act("update 1 → 2", ("1", "2"), Story::Update, &["--image", "app:2"], 0)
    }

    fn fail_to_update_to_3(&self) -> Act {
        heading("Version 3 is sick, version 2 comes back");
        let args = ["--image", "app:3", "--health-timeout", "6s"];
        self.act("update 2 → 3, rolled back", ("2", "3"), Story::Rollback, &args, 20)
    }

    /// Runs an update with visitors before, during and after it.
    fn act(
        &self,
        what: &'static str,
        (old, new): (&str, &str),
        story: Story,
        args: &[&str],
        code: i32,
    ) -> Act {
        let mut options = Options::new(self.world.targets(PORT));
        options.rate_per_second = RATE;
        (options.old, options.new) = (old.to_owned(), new.to_owned());
        println!(
            "{} visitors a second ask for http://…:{PORT}/, each by a connection of its own: on\n\
             127.0.0.1, ::1, the host's address, and from another host over IPv4 and IPv6.\n",
            RATE as usize * options.targets.len()
        );
        let load = Load::start(options).expect("the load starts");
        thread::sleep(Duration::from_millis(1500));
        let (ended, pictures) = self.changeover_update(args, &format!("{old}-to-{new}"));
        thread::sleep(Duration::from_millis(1500));
        let report = load.stop();
        println!("\nWhat they saw, second by second:\n\n{}", indent(&report.table()));
        if !pictures.is_empty() {
            println!("The page that they saw: {}", pictures.join(", "));
        }
        let as_it_should = match ended {
            ended if ended != code => Err(format!("exit code {ended} instead of {code}")),
            _ => report.check(story),
        };
        Act { what, away: report.away(story), report, as_it_should }
    }

    /// Runs `changeover update`, repeats what it says, and takes pictures once it
    /// says that it waits for new. Returns its exit code and the pictures.
    fn changeover_update(&self, args: &[&str], name: &str) -> (i32, Vec<String>) {
        println!("  $ changeover update web {}", args.join(" "));
        let mut command = self.world.command(&["update", "web"]);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let begun = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let errors = child.stderr.take().expect("a pipe");
        let errors = thread::spawn(move || {
            BufReader::new(errors).lines().map_while(Result::ok).collect::<Vec<_>>()
        });
        let mut pictures = Vec::new();
        let stdout = child.stdout.take().expect("a pipe");
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            println!("  {:6.2} s  {line}", begun.elapsed().as_secs_f32());
            // By now the engine is idle, and the page waits for the app.
            if line.starts_with("start the new container") {
                pictures.push(self.copy_page(self.pictures.join(format!("{name}.html"))));
                pictures.push(self.photograph_page(self.pictures.join(format!("{name}.png"))));
            }
        }
        let code = child.wait().expect("it ends").code().unwrap_or(-1);
        for line in errors.join().unwrap_or_default() {
            println!("            {line}");
        }
        println!("  {:6.2} s  exit code {code}", begun.elapsed().as_secs_f32());
        let taken = pictures.into_iter().filter_map(|picture| picture.join().ok().flatten());
        (code, taken.map(|picture| picture.display().to_string()).collect())
    }

    /// Saves the page's HTML, as a browser gets it.
    fn copy_page(&self, file: PathBuf) -> JoinHandle<Option<PathBuf>> {
        let network = self.world.lab.host_netns();
        thread::spawn(move || {
            let answer = network.run(|| -> std::io::Result<String> {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT))?;
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(b"GET / HTTP/1.0\r\nHost: demo\r\nAccept: text/html\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer)
            });
            let answer = answer.ok()?;
            let (head, html) = answer.split_once("\r\n\r\n")?;
            head.to_lowercase().contains("\r\nx-changeover").then_some(())?;
            fs::write(&file, html).ok()?;
            Some(file)
        })
    }

    /// Opens the page in Chromium, where that is installed.
    fn photograph_page(&self, file: PathBuf) -> JoinHandle<Option<PathBuf>> {
        let profile = self.pictures.join("profile");
        let _ = fs::remove_file(&file);
        // A browser that starts up must not slow down what it is to show.
        let mut browser = self.world.lab.host_command("nice");
        browser
            .args(["-n", "19", "chromium"])
            .args(["--headless", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"])
            .args(["--disable-background-networking", "--no-first-run", "--window-size=1000,700"])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("--screenshot={}", file.display()))
            .arg(format!("http://127.0.0.1:{PORT}/"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        thread::spawn(move || {
            // No Chromium is no failure: the HTML is there as well.
            let _ = browser.status();
            let _ = fs::remove_dir_all(profile);
            file.exists().then_some(file)
        })
    }

    /// Says how it went; `false` if not as it should.
    fn sum_up(&self, acts: &[Act], took: Duration) -> bool {
        heading("In short");
        let mut good = true;
        for act in acts {
            let failed = act.report.failures().len();
            println!(
                "{}: {} requests, {failed} failed; the app was away for {}",
                act.what,
                act.report.records.len(),
                act.away.map_or("an unknown time".to_owned(), |away| format!(
                    "{:.1} s",
                    away.as_secs_f32()
                )),
            );
            if let Some(first) = act.report.failures().first() {
                println!("  the first that failed: {first:?}");
            }
            if let Err(wrong) = &act.as_it_should {
                println!("  not as it should be: {}", wrong.trim_end());
            }
            good &= failed == 0 && act.as_it_should.is_ok();
        }
        println!("\n  $ changeover status");
        let status = self.world.command(&["status"]).output().expect("the program starts");
        print!("{}", indent(&String::from_utf8_lossy(&status.stdout)));
        println!("\n  $ docker ps --all");
        for name in self.world.containers() {
            println!("  {name}");
        }
        println!(
            "\nAfter a rollback the failed container and the helper stay, stopped, so that their logs\n\
             can be read. `changeover gc` clears them away, and so does the next update.\n\n\
             The demo took {:.0} s. On a host of yours: `make build`, then\n  {} update --help",
            took.as_secs_f32(),
            short(&program("changeover")).display()
        );
        good
    }
}

fn heading(text: &str) {
    println!("\n{text}\n{}\n", "─".repeat(text.chars().count()));
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// A path as somebody would type it here.
fn short(path: &Path) -> &Path {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path)
}
