//! A throw-away engine for developers: `lab install [KIND…]`, `lab shell KIND [COMMAND…]`, `lab clean`.
//!
//! `shell` starts an engine, says how to reach it, and takes it down at Ctrl-C, SIGTERM, the end of
//! its input, or when the command is done. The command is among the lab's processes alone.

use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};

use changeover_tests::lab::{self, EngineKind, Lab};
use changeover_tests::world::{program, sample_image};
use rustix::process::kill_process;
use tokio::signal::unix::{Signal, SignalKind, signal};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["install", kinds @ ..] => install(kinds),
        ["shell", kind, command @ ..] => shell(kind, command),
        ["clean"] => {
            lab::clear_leftovers();
            Ok(ExitCode::SUCCESS)
        }
        ["--help" | "-h" | "help"] => {
            println!("{}", usage());
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{}", usage());
            Ok(ExitCode::from(2))
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("lab: {error}");
        if let Some(source) = error.source() {
            eprintln!("  because {source}");
        }
        ExitCode::FAILURE
    })
}

fn usage() -> String {
    let kinds = EngineKind::EVERY.map(EngineKind::version).join(" ");
    format!(
        "Throw-away engines, in networks of their own. Takes root.

  lab shell KIND [COMMAND [ARGS…]]  starts one, and ends it with the command (say, bash); without a
                                    command it prints the environment that leads to it
  lab install [KIND…]               makes their file systems, once (some minutes each)
  lab clean                         clears away what a crashed one has left

kinds: {kinds}

Example:
  lab shell 28.5 bash"
    )
}

fn install(kinds: &[&str]) -> Result<ExitCode> {
    let kinds: Vec<EngineKind> =
        kinds.iter().map(|kind| kind.parse()).collect::<std::result::Result<_, _>>()?;
    lab::install(if kinds.is_empty() { &EngineKind::EVERY } else { &kinds })?;
    Ok(ExitCode::SUCCESS)
}

fn shell(kind: &str, command: &[&str]) -> Result<ExitCode> {
    let kind: EngineKind = kind.parse()?;
    lab::install(&[kind])?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    // From here on the signals are ours, so one that comes during the start isn't lost, and ends the
    // lab in good order.
    let signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let lab = Lab::start(kind);
    let settings = [
        ("DOCKER_HOST", lab.docker_host()),
        ("LAB_DIR", lab.dir().display().to_string()),
        ("LAB_HOST_NETNS", lab.host_netns().name().to_owned()),
        ("LAB_OUTSIDE_NETNS", lab.outside_netns().name().to_owned()),
        ("LAB_HOST_V4", lab.host_v4().to_string()),
        ("LAB_HOST_V6", lab.host_v6().to_string()),
    ];
    if let [program, args @ ..] = command {
        load_samples(&lab);
        let mut command = lab.inside_command(program);
        command.args(args).envs(settings).env("PATH", with_ours()?);
        return runtime.block_on(run(command, signals));
    }
    for (name, value) in settings {
        println!("export {name}={value}");
    }
    runtime.block_on(end(signals));
    Ok(ExitCode::SUCCESS)
}

/// Something to play with, as no registry is within reach.
fn load_samples(lab: &Lab) {
    sample_image(lab, "app:1", &[], &[("VERSION", "1")], &[]);
    sample_image(lab, "app:2", &[], &[("VERSION", "2"), ("BOOT_MS", "2000")], &[]);
    sample_image(lab, "app:bad", &[], &[("VERSION", "3"), ("EXIT_MS", "0")], &[]);
    eprintln!(
        "lab: {} runs, and goes with this command. It has a sample app: app:1, app:2, and app:bad, which exits at its start.",
        lab.kind()
    );
    eprintln!("lab: its network is its own: whatever it publishes, localhost is it in here alone");
}

/// The path with our programs first: `changeover` is the one that was built along.
fn with_ours() -> Result<OsString> {
    let sample = program("sample-app");
    let ours = sample.parent().map(Path::to_owned).into_iter();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(ours.chain(std::env::split_paths(&rest)))?)
}

/// Runs a command to its end; a signal for us is one for the command.
async fn run(command: Command, signals: (Signal, Signal)) -> Result<ExitCode> {
    let mut command = tokio::process::Command::from(command).spawn()?;
    let pid = command.id();
    tokio::select! {
        status = command.wait() => return Ok(exit_code(status?)),
        () = any(signals) => {}
    }
    // What we have started ourselves only waits for it.
    if let Some(pid) = pid.and_then(lab::only_child) {
        let _ = kill_process(pid, rustix::process::Signal::TERM);
    }
    Ok(exit_code(command.wait().await?))
}

async fn any((mut interrupt, mut terminate): (Signal, Signal)) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Waits for a signal, or for the end of the input.
async fn end(signals: (Signal, Signal)) {
    let (closed, input_closed) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // Started in the background, the input is /dev/null, whose end means nothing.
        let stdin = std::io::stdin();
        let is_device =
            std::fs::metadata("/dev/stdin").is_ok_and(|stdin| stdin.file_type().is_char_device());
        if stdin.is_terminal() || !is_device {
            let _ = stdin.lock().read_to_end(&mut Vec::new());
            let _ = closed.send(());
        } else {
            std::mem::forget(closed);
        }
    });
    tokio::select! {
        () = any(signals) => {}
        _ = input_closed => {}
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
