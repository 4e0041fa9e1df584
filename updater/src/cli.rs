//! The command line: its definitions. What the commands do is in the files below.

mod available;
mod backup;
mod code;
mod config;
mod documents;
mod exit;
mod face;
mod history;
mod look;
mod manual;
mod output;
#[cfg(test)]
mod schemas;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Args, Parser, Subcommand};

pub use available::AvailableCommand;
pub use backup::{BackupCommand, Vault};
pub use code::Code;
pub use config::ParseError;
pub use documents::Failed;
pub use exit::{CliError, Exit};
pub use face::{PageArgs, PageCommand};
#[cfg(test)]
pub(crate) use look::states_of;

use crate::backup::hook::Hook;
use crate::engine::{Endpoint, Engine, Wish, Wishes};
use crate::launch::{PullPolicy, Wanted};
use crate::notify::Target;
use crate::place::{Place, inner_path};
use crate::plan::HandoverMode;
use output::Output;

/// Does what the command line says.
pub async fn run(cli: Cli) -> Result<Exit, CliError> {
    let output = Output::new(cli.json, cli.quiet);
    let wishes = wishes_of(&cli);
    if let Command::Run { helper } = &cli.command {
        let endpoint = wishes.choose()?.endpoint;
        // The one who follows reads these, whatever the terminal says.
        let emit = |event: &crate::events::Event| Output::new(true, false).event(event);
        return Ok(Exit::from(&crate::helper::run(endpoint, helper, emit).await?));
    }
    if let Command::Available(args) = cli.command {
        return available::available(wishes, args, &output).await;
    }
    match cli.command {
        Command::Errand { order } => return Ok(backup::errand(&order)),
        Command::Page(command) => return face::preview(command).await,
        Command::Completions { shell } => return Ok(manual::completions(shell)),
        Command::Man { dir } => return manual::man(dir.as_deref()),
        _ => {}
    }
    let chosen = wishes.choose()?;
    let engine = Engine::connect(chosen.endpoint.clone()).await?;
    let done = match cli.command {
        Command::Update(args) => update::update(&engine, args, &output).await,
        Command::Check(args) => update::check(&engine, args, &output).await,
        Command::Resume(args) => update::resume(&engine, args, &output).await,
        Command::Rollback(args) => update::rollback(&engine, args, &output).await,
        Command::Status { name } => look::status(&engine, name.as_deref(), &output).await,
        Command::History(args) => history::history(&engine, &args, &output).await,
        Command::Backup(command) => backup::backup(&engine, &command, &output).await,
        Command::Doctor => look::doctor(&engine, &chosen, &output).await,
        Command::Gc { dry_run } => look::gc(&engine, dry_run, &output).await,
        // Done above, without an engine.
        Command::Page(_)
        | Command::Available(_)
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Errand { .. }
        | Command::Run { .. } => Ok(Exit::Done),
    };
    output.done();
    done
}

/// What the command line says of the engine, by who has said it.
fn wishes_of(cli: &Cli) -> Wishes {
    let host = |source| {
        let host = cli.host.as_ref().and_then(|host| host.0.clone());
        host.filter(|_| cli.said_by.host == source)
    };
    let context = |source| {
        let context = cli.context.clone().filter(|name| !name.is_empty());
        context.filter(|_| cli.said_by.context == source)
    };
    let wish = |source| Wish { host: host(source), context: context(source) };
    Wishes {
        flags: wish(ValueSource::CommandLine),
        environment: wish(ValueSource::EnvVariable),
        file: wish(ValueSource::DefaultValue),
    }
}

/// An engine's place as `DOCKER_HOST` has it, where an empty one is none.
#[derive(Debug, Clone)]
pub struct Host(pub Option<Endpoint>);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Host, String> {
        match text.is_empty() {
            true => Ok(Host(None)),
            false => Ok(Host(Some(text.parse()?))),
        }
    }
}

/// Who has said which engine it is: which of several counts depends on that.
#[derive(Debug, Clone, Copy)]
pub struct SaidBy {
    /// Who has said the host.
    pub host: ValueSource,
    /// Who has said the context.
    pub context: ValueSource,
}

impl Default for SaidBy {
    fn default() -> SaidBy {
        SaidBy { host: ValueSource::CommandLine, context: ValueSource::CommandLine }
    }
}

/// Replace a running container by a newer version while visitors watch a page instead of an error.
#[derive(Debug, Parser)]
#[command(name = "changeover", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// Where the engine listens: unix:///path or tcp://host:port, with DOCKER_TLS_VERIFY and
    /// DOCKER_CERT_PATH over TLS [default: as `docker` has it: its context, or the usual sockets].
    #[arg(long, env = "DOCKER_HOST", value_name = "ENDPOINT", global = true)]
    pub host: Option<Host>,
    /// A context of Docker's that leads to the engine.
    #[arg(long, env = "DOCKER_CONTEXT", value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// What has said the two.
    #[arg(skip)]
    pub said_by: SaidBy,
    /// A file with settings: flags without their dashes, as YAML or JSON [default:
    /// ~/.config/changeover.yml, then /etc/changeover.yml].
    #[arg(long, env = "CHANGEOVER_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<OsString>,
    /// One JSON object a line on standard output.
    #[arg(long, env = "CHANGEOVER_JSON", global = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub json: bool,
    /// More detail on standard error; twice for all of it.
    #[arg(long, short, env = "CHANGEOVER_VERBOSE", action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Only the result.
    #[arg(long, short, env = "CHANGEOVER_QUIET", global = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
   0  updated; for other commands: done
   2  the command line is wrong
  10  nothing to do, the app runs that image already
  20  the new version was given up, the old one is back
  21  refused, nothing was touched
  30  a person is needed; the message says for what

Example:
  changeover update web --image ghcr.io/acme/web:2 --health-path /healthz";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Bring a new version in.
    #[command(
        after_help = "Examples:\n  changeover update web --image web:2\n  changeover update web --image web:2 --health-path /healthz --health-timeout 5m\n  changeover update self --image web:2 --detach"
    )]
    Update(Update),
    /// Do everything up to touching, and show what an update would do.
    #[command(
        after_help = "Exit code 21 if `update` would refuse, because something would be lost, say.\n\nExample:\n  changeover check web --image web:2"
    )]
    Check(Check),
    /// Say what is or was going on.
    #[command(after_help = "Examples:\n  changeover status\n  changeover status web --json")]
    Status {
        /// The app, or `self`; all of them if left out.
        name: Option<String>,
    },
    /// Say what is new, and whether its image is there for this machine.
    #[command(
        after_help = "Exit codes: 0 an update could be asked for now, 10 nothing is new or its image isn't there yet.\n\nExamples:\n  changeover available web\n  changeover available self --source github:acme/web --json\n  changeover available --image ghcr.io/acme/web --current 1.4.0 --exclude '*-debug'"
    )]
    Available(AvailableCommand),
    /// Say which updates there were, the newest first.
    #[command(
        after_help = "Examples:\n  changeover history web\n  changeover history self --json\n  changeover history web --history /var/log/web/updates.jsonl"
    )]
    History(HistoryCommand),
    /// Bring an interrupted update to its end.
    #[command(after_help = "Example:\n  changeover resume web")]
    Resume(Resume),
    /// Go back to the version before, during an update or after it.
    #[command(after_help = "Example:\n  changeover rollback web")]
    Rollback(Rollback),
    /// List, verify, put back or clear away the backups of an app.
    #[command(
        subcommand,
        after_help = "Examples:\n  changeover backup list web\n  changeover backup restore web"
    )]
    Backup(BackupCommand),
    /// Clear away what finished updates have left: helpers, failed containers, our images.
    #[command(after_help = "Example:\n  changeover gc --dry-run")]
    Gc {
        /// Only say what would be cleared away.
        #[arg(long, env = "CHANGEOVER_DRY_RUN", value_parser = clap::builder::FalseyValueParser::new())]
        dry_run: bool,
    },
    /// Look at engine, kernel, firewall and disk, and say what would be possible here.
    #[command(after_help = "Examples:\n  changeover doctor\n  changeover doctor --json")]
    Doctor,
    /// Show the page in all its states, without an engine and without an app.
    #[command(
        after_help = "Example:\n  changeover page --preview --title Wiki --page-accent '#aa3366' --page-logo logo.svg"
    )]
    Page(PageCommand),
    /// Print the completions of a shell.
    #[command(
        after_help = "Example:\n  changeover completions bash > /etc/bash_completion.d/changeover"
    )]
    Completions {
        /// Whose.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for each command.
    #[command(
        after_help = "Examples:\n  changeover man | man -l -\n  changeover man --dir /usr/local/share/man/man1"
    )]
    Man {
        /// Where to write changeover.1, changeover-update.1 and so on.
        #[arg(long, env = "CHANGEOVER_MAN_DIR", value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// What the container runs that is at the backups.
    #[command(hide = true)]
    Errand {
        /// What to do, as JSON.
        #[arg(long, env = "CHANGEOVER_ORDER", value_name = "JSON")]
        order: String,
    },
    /// What the helper container runs.
    #[command(hide = true)]
    Run {
        /// The helper container's own name.
        #[arg(long, env = "CHANGEOVER_HELPER", value_name = "NAME")]
        helper: String,
    },
}

/// Bring a new version in.
#[derive(Debug, Args)]
pub struct Update {
    /// What to update, and how.
    #[command(flatten)]
    pub what: Check,
    /// The helper.
    #[command(flatten)]
    pub helper: Helper,
}

/// What to update, and how.
#[derive(Debug, Args)]
pub struct Check {
    /// The container's name or id; `self` for the one in which this program runs.
    pub name: String,
    /// The image that it should run, say ghcr.io/acme/web:2.
    #[arg(long, env = "CHANGEOVER_IMAGE", value_name = "REF")]
    pub image: String,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// How to update.
#[derive(Debug, Args)]
pub struct How {
    /// When to fetch the image.
    #[arg(long, env = "CHANGEOVER_PULL", value_enum, default_value = "always")]
    pub pull: PullPolicy,
    /// The image's platform, where it isn't the engine's own, say linux/arm64.
    #[arg(long, env = "CHANGEOVER_PLATFORM", value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// The registry's user, where the docker config has none.
    #[arg(long, env = "CHANGEOVER_REGISTRY_USER", value_name = "USER")]
    pub registry_user: Option<String>,
    /// A file with the registry's password or token.
    #[arg(long, env = "CHANGEOVER_REGISTRY_PASSWORD_FILE", value_name = "FILE")]
    pub registry_password_file: Option<PathBuf>,
    /// How visitors get the page: by redirect, by binding the port, or not at all
    /// [default: redirect where the kernel can, otherwise bind].
    #[arg(long, env = "CHANGEOVER_HANDOVER", value_enum, value_name = "MODE")]
    pub handover: Option<HandoverMode>,
    /// For an app on the host network: the ports on which visitors reach it.
    #[arg(long, env = "CHANGEOVER_PAGE_PORT", value_name = "PORT", value_delimiter = ',')]
    pub page_port: Vec<u16>,
    /// How long the new version may take to become healthy, from its start.
    #[arg(long, env = "CHANGEOVER_HEALTH_TIMEOUT", value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub health_timeout: Duration,
    /// For how long it must then keep answering before the old version is removed.
    #[arg(long, env = "CHANGEOVER_STABLE", value_name = "DURATION", default_value = "3s", value_parser = duration)]
    pub stable: Duration,
    /// Ask for this path instead of `/`.
    #[arg(long, env = "CHANGEOVER_HEALTH_PATH", value_name = "PATH", value_parser = path)]
    pub health_path: Option<String>,
    /// Ask on this port inside the container instead of the first published one.
    #[arg(long, env = "CHANGEOVER_HEALTH_PORT", value_name = "PORT")]
    pub health_port: Option<u16>,
    /// The only HTTP status that counts [default: any below 500].
    #[arg(long, env = "CHANGEOVER_HEALTH_STATUS", value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..600))]
    pub health_status: Option<u16>,
    /// The page.
    #[command(flatten)]
    pub page: PageArgs,
    /// The page's certificate, where the app itself speaks TLS: a PEM file on the engine's
    /// host, or app:/path for one in the app's container.
    #[arg(long, env = "CHANGEOVER_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<Place>,
    /// Its private key, the same way [default: in the certificate's file].
    #[arg(long, env = "CHANGEOVER_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<Place>,
    /// A file or folder in the container itself that the new one gets as well; may be
    /// given several times.
    #[arg(long, env = "CHANGEOVER_CARRY", value_name = "PATH", value_delimiter = ',', value_parser = inner_path)]
    pub carry: Vec<String>,
    /// Let the tag that the container or its Compose file was made with mean the new image
    /// once it has taken over, so that `docker compose up` changes nothing.
    #[arg(long, env = "CHANGEOVER_RETAG", value_parser = clap::builder::FalseyValueParser::new())]
    pub retag: bool,
    /// Tell the app how it ended: a path of its own, /path or :port/path, or a whole
    /// http:// address; a signed POST (Standard Webhooks).
    #[arg(long, env = "CHANGEOVER_NOTIFY", value_name = "WHERE")]
    pub notify: Option<Target>,
    /// The file with the key that signs it: app:/path in the app's container, or a file on
    /// the engine's host.
    #[arg(long, env = "CHANGEOVER_NOTIFY_KEY_FILE", value_name = "FILE")]
    pub notify_key_file: Option<Place>,
    /// Keep the history in this file, one JSON line each: app:/path on a volume of the app's,
    /// or a file on the engine's host.
    #[arg(long, env = "CHANGEOVER_HISTORY", value_name = "FILE")]
    pub history: Option<Place>,
    /// Back the app's data up while it is stopped, and put it back if the new version is
    /// given up: all volumes and folders that it may write to, or --backup=/data,/more
    /// for those at these paths in the container. --backup=none is none, whatever the
    /// config file or the app's labels say.
    #[arg(long, env = "CHANGEOVER_BACKUP", value_name = "PATHS", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub backup: Option<Wanted>,
    /// Where the backups are.
    #[command(flatten)]
    pub vault: Vault,
    /// Leave this out of the backup, and as it is on the way back: a path in the container,
    /// or a name with `*` and `?`; may be given several times.
    #[arg(long, env = "CHANGEOVER_BACKUP_EXCLUDE", value_name = "PATTERN", value_delimiter = ',')]
    pub backup_exclude: Vec<String>,
    /// Before the app is stopped for its backup, run this in its container (by /bin/sh, or
    /// ["/program", "argument"] as it is), or POST to it at :port/path or to an http://
    /// address. Where it fails, the update is refused and nothing is touched.
    #[arg(long, env = "CHANGEOVER_BEFORE_BACKUP", value_name = "COMMAND|URL")]
    pub before_backup: Option<Hook>,
    /// How long that may take.
    #[arg(long, env = "CHANGEOVER_BEFORE_BACKUP_TIMEOUT", value_name = "DURATION", default_value = "1m", value_parser = duration)]
    pub before_backup_timeout: Duration,
    /// How many backups of the app stay, the newest ones.
    #[arg(long, env = "CHANGEOVER_KEEP_BACKUPS", value_name = "N", default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub keep_backups: usize,
    /// Accept a loss that `check` names by its code; may be given several times.
    #[arg(long, env = "CHANGEOVER_ALLOW", value_name = "CODE", value_delimiter = ',')]
    pub allow: Vec<String>,
}

/// The helper container.
#[derive(Debug, Args)]
pub struct Helper {
    /// Return as soon as the helper runs.
    #[arg(long, short, env = "CHANGEOVER_DETACH", value_parser = clap::builder::FalseyValueParser::new())]
    pub detach: bool,
    /// A published image of Changeover for the helper [default: made from this program].
    #[arg(long, env = "CHANGEOVER_HELPER_IMAGE", value_name = "REF")]
    pub helper_image: Option<String>,
    /// Where the engine's socket is on the host, if it can't be found out.
    #[arg(long, env = "CHANGEOVER_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Let Docker remove the helper. An update that is interrupted by an engine
    /// restart is then not brought to its end.
    #[arg(long, env = "CHANGEOVER_AUTO_REMOVE", value_parser = clap::builder::FalseyValueParser::new())]
    pub auto_remove: bool,
}

/// Say which updates there were.
#[derive(Debug, Args)]
pub struct HistoryCommand {
    /// The app, or `self`.
    pub name: String,
    /// The file in which they are kept [default: the one that the last update was given].
    #[arg(long, env = "CHANGEOVER_HISTORY", value_name = "FILE")]
    pub history: Option<Place>,
}

/// Bring an interrupted update to its end.
#[derive(Debug, Args)]
pub struct Resume {
    /// The app, or `self`.
    pub name: String,
    /// The helper.
    #[command(flatten)]
    pub helper: Helper,
}

/// Go back to the version before.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The app, or `self`.
    pub name: String,
    /// How.
    #[command(flatten)]
    pub how: How,
    /// The helper.
    #[command(flatten)]
    pub helper: Helper,
}

/// `90s`, `2m`, `1h 30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{why}; write 90s, 2m or `1h 30m`");
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| wrong(&error))?;
    Duration::try_from(span).map_err(|_| wrong(&"a duration can't be negative"))
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("a path starts with `/`".to_owned()),
    }
}
