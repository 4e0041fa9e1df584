//! The `changeover` program.

use std::process::ExitCode;

use changeover::cli::{self, Cli, Code, Failed, ParseError};
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Of which crates this program is made, for scanners that look into binaries.
#[allow(unsafe_code)] // A section of this name means this and nothing else.
#[unsafe(link_section = ".dep-v0")]
static CRATES: [u8; include_bytes!(concat!(env!("OUT_DIR"), "/crates")).len()] =
    *include_bytes!(concat!(env!("OUT_DIR"), "/crates"));

fn main() -> ExitCode {
    // The linker leaves out what nobody asks for.
    std::hint::black_box(&CRATES);
    let cli = match Cli::with_config(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => return refuse(error),
    };
    start_logging(&cli);
    let json = cli.json;
    let follows = matches!(
        cli.command,
        cli::Command::Update(_) | cli::Command::Resume(_) | cli::Command::Rollback(_)
    );
    // One thread: the helper waits for an engine and computes nothing. The page has its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(21);
        }
    };
    runtime.block_on(async {
        tokio::select! {
            done = cli::run(cli) => match done {
                Ok(exit) => ExitCode::from(exit.code()),
                Err(error) => {
                    report(&error, Code::from(&error), error.code(), json);
                    ExitCode::from(error.code())
                }
            },
            // Between two engine calls or within one: the next helper looks again.
            signal = stopped() => {
                if follows {
                    eprintln!("an update that has begun goes on without us; `changeover status` shows it");
                }
                ExitCode::from(128 + signal)
            }
        }
    })
}

/// Says what is wrong with the command line or the config file. What would have said
/// whether to say it as JSON is what can't be read.
fn refuse(error: ParseError) -> ExitCode {
    let json = std::env::args_os().any(|arg| arg == "--json");
    let code = Code::from(&error);
    match error {
        // It knows best where help goes and where complaints go.
        ParseError::CommandLine(error) => {
            if json && error.use_stderr() {
                let text = error.to_string();
                let mut parts = text.trim_start_matches("error: ").splitn(2, "\n\n");
                let mut part = || parts.next().unwrap_or_default().trim().to_owned();
                print_failed(code, 2, &part(), &part());
            }
            error.exit()
        }
        error => report(&error, code, 2, json),
    }
    ExitCode::from(2)
}

/// Prints an error once, with everything that led to it.
fn report(error: &dyn std::error::Error, code: Code, exit: u8, json: bool) {
    let mut text = error.to_string();
    let mut hint = String::new();
    if let Some(at) = text.find("\nhint: ") {
        hint = text.split_off(at);
    }
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        let (cause_text, cause_hint) = match cause_text.find("\nhint: ") {
            Some(at) => cause_text.split_at(at),
            None => (cause_text.as_str(), ""),
        };
        text.push_str(&format!(": {cause_text}"));
        if hint.is_empty() {
            hint.push_str(cause_hint);
        }
        source = cause.source();
    }
    if json {
        print_failed(code, exit, &text, hint.trim_start_matches("\nhint: "));
    }
    let word = if exit == 10 { "nothing to do" } else { "error" };
    eprintln!("{word}: {text}{hint}");
}

fn print_failed(code: Code, exit: u8, error: &str, hint: &str) {
    let failed = Failed { event: "error", code, exit, error, hint };
    println!("{}", serde_json::json!(failed));
}

fn start_logging(cli: &Cli) {
    let helper = matches!(cli.command, cli::Command::Run { .. });
    let level = match cli.verbose {
        0 if helper => Level::INFO,
        0 => Level::WARN,
        1 => Level::INFO,
        _ => Level::DEBUG,
    };
    // Levels by module, as in `changeover=debug,hyper=info`. Filters by field as well would bring
    // a regular expression engine along, a tenth of the program.
    let filter = std::env::var("CHANGEOVER_LOG")
        .ok()
        .and_then(|levels| levels.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_target("changeover", level));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::env::var_os("NO_COLOR").is_none() && !helper);
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// As process 1 of a container nobody else handles the signal for us.
async fn stopped() -> u8 {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => 15,
        _ = interrupt.recv() => 2,
    }
}
