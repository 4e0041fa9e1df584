//! The command line with the config file in it: what the file says takes the place of what
//! is built in, so flag and environment still come first.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches};

use super::{Cli, SaidBy};
use crate::config::{Complaint, Config, ConfigError, Setting, nearest, usual};

/// The environment variable that names the file.
const FILE_ENV: &str = "CHANGEOVER_CONFIG";
/// What can't be set once and for all.
const NOT_SETTINGS: [&str; 6] = ["help", "version", "config", "preview", "helper", "order"];

/// Why there is no command line.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// It is wrong, or asks for help.
    #[error(transparent)]
    CommandLine(#[from] clap::Error),
    /// The config file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl Cli {
    /// Reads the command line, the environment and the config file.
    pub fn with_config(args: impl Iterator<Item = OsString>) -> Result<Cli, ParseError> {
        let args: Vec<OsString> = args.collect();
        let mut command = Cli::command();
        // First who is asked for, by what, and about which app: what is wrong with it is
        // said later, when all is known.
        let seen = command.clone().ignore_errors(true).try_get_matches_from(&args).ok();
        let mut sub = seen.as_ref().and_then(|seen| seen.subcommand());
        let mut below: Vec<String> = sub.iter().map(|(name, _)| (*name).to_owned()).collect();
        while let Some(deeper) = sub.and_then(|(_, inner)| inner.subcommand()) {
            below.push(deeper.0.to_owned());
            sub = Some(deeper);
        }
        let is_helper = sub.is_some_and(|(name, _)| matches!(name, "run" | "errand"));
        let app = sub.and_then(|(_, sub)| sub.try_get_one::<String>("name").ok().flatten());
        let named = seen.as_ref().and_then(|seen| seen.get_one::<OsString>("config").cloned());
        let file = match (named, std::env::var_os(FILE_ENV)) {
            (Some(file), _) => Some(PathBuf::from(file)),
            // An empty one is none, and a helper has its plan.
            (None, Some(_)) => None,
            (None, None) => usual(),
        };
        if let Some(file) = file.filter(|file| !file.as_os_str().is_empty() && !is_helper) {
            let text = std::fs::read_to_string(&file)
                .map_err(|source| ConfigError::Unreadable { file: file.clone(), source })?;
            let wrong = |complaint: Complaint| complaint.in_file(&file);
            let config = Config::read(&text).map_err(wrong)?;
            for setting in config.settings() {
                check(&command, setting).map_err(wrong)?;
            }
            for setting in config.of(app.map(String::as_str)) {
                command = with(command, setting);
            }
        }
        let matches = match command.try_get_matches_from_mut(&args) {
            Ok(matches) => matches,
            Err(error) => return Err(with_plain_usage(error, &mut command, &below).into()),
        };
        let mut cli = Cli::from_arg_matches(&matches)?;
        let by = |name| matches.value_source(name).unwrap_or(ValueSource::DefaultValue);
        cli.said_by = SaidBy { host: by("host"), context: by("context") };
        Ok(cli)
    }
}

/// The complaint with the usage that `--help` shows. Clap's own counts what the environment
/// says among what has to be given: `--host`, where DOCKER_HOST is set.
fn with_plain_usage(
    mut error: clap::Error,
    command: &mut Command,
    below: &[String],
) -> clap::Error {
    let deepest = below.iter().fold(command, |command, name| match command.find_subcommand(name) {
        Some(_) => command.find_subcommand_mut(name).expect("it was just found"),
        None => command,
    });
    let lacks_image = matches!(
        error.get(ContextKind::InvalidArg),
        Some(ContextValue::Strings(missing)) if missing.iter().any(|flag| flag.starts_with("--image"))
    );
    if lacks_image {
        let tip = "`changeover available NAME` says which versions there are";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    if error.get(ContextKind::Usage).is_some() {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(deepest.render_usage()));
    }
    error
}

fn flags(command: &Command) -> impl Iterator<Item = &Arg> {
    let own = command.get_arguments();
    let subs = command.get_subcommands().flat_map(Command::get_arguments);
    own.chain(subs).filter(|arg| arg.get_long().is_some_and(|long| !NOT_SETTINGS.contains(&long)))
}

/// Whether there is such a setting, and the value is one of its values.
fn check(command: &Command, setting: &Setting) -> Result<(), Complaint> {
    let Setting { name, values, line } = setting;
    let complaint = |what: String, hint: String| Complaint { line: *line, what, hint };
    let Some(flag) = flags(command).find(|flag| flag.get_long() == Some(name)) else {
        let known = flags(command).filter_map(Arg::get_long);
        let hint = match nearest(name, known) {
            Some(near) => format!("perhaps `{near}` is meant"),
            None => "settings are called like flags; `changeover update --help` shows them".into(),
        };
        return Err(complaint(format!("there is no setting `{name}`"), hint));
    };
    let wrong = |value: &str, why: &str| {
        let hint = format!("it takes what --{name} takes; `changeover update --help` says what");
        complaint(format!("`{name}` can't be `{value}`{why}"), hint)
    };
    if matches!(flag.get_action(), ArgAction::SetTrue | ArgAction::Count) {
        let good = |value: &String| matches!(value.as_str(), "true" | "false");
        return match values.as_slice() {
            [value] if good(value) => Ok(()),
            _ => Err(wrong(&values.join(", "), ": write true or false")),
        };
    }
    if values.len() != 1 && !matches!(flag.get_action(), ArgAction::Append) {
        return Err(wrong(&values.join(", "), ": it takes one value"));
    }
    for value in values {
        // As if it were alone on a command line: it must be good by itself.
        let alone = Command::new("setting").no_binary_name(true).disable_help_flag(true);
        let alone = alone.arg(flag.clone().env(None::<&str>).required(false));
        if let Err(error) = alone.try_get_matches_from([format!("--{name}={value}")]) {
            let said = error.to_string();
            let why = said.lines().next().and_then(|line| line.split_once(">': "));
            return Err(wrong(value, &why.map(|(_, why)| format!(": {why}")).unwrap_or_default()));
        }
    }
    Ok(())
}

/// The command with the setting as what is built in.
fn with(command: Command, setting: &Setting) -> Command {
    let has = |command: &Command| {
        let mut own = command.get_arguments();
        own.find(|arg| arg.get_long() == Some(&setting.name)).map(|arg| arg.get_id().clone())
    };
    let set = |arg: Arg| {
        let values = match arg.get_action() {
            ArgAction::Count => {
                let on = setting.values.first().is_some_and(|value| value == "true");
                vec![if on { "1" } else { "0" }.to_owned()]
            }
            _ => setting.values.clone(),
        };
        // Such a default lives as long as the program, which is not long.
        let values: Vec<&'static str> =
            values.into_iter().map(|value| &*Box::leak(value.into_boxed_str())).collect();
        arg.required(false).default_values(values)
    };
    let command = match has(&command) {
        Some(id) => command.mut_arg(id, set),
        None => command,
    };
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let set_below = |command: Command, name| command.mut_subcommand(name, |sub| with(sub, setting));
    names.into_iter().fold(command, set_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, values: &[&str]) -> Setting {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Setting { name: name.to_owned(), values, line: 3 }
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Cli::command();
        for flag in flags(&command) {
            let name = flag.get_long().unwrap_or_default();
            let variable = flag.get_env().unwrap_or_else(|| panic!("--{name} has none"));
            let variable = variable.to_string_lossy();
            let is_dockers = matches!(name, "host" | "context");
            assert!(variable.starts_with("CHANGEOVER_") || is_dockers, "--{name}: {variable}");
        }
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
            assert!(sub.get_after_help().is_some(), "{} shows no example", sub.get_name());
        }
    }

    #[test]
    fn settings_are_checked_as_flags_are() {
        let command = Cli::command();
        let good = |name: &str, values: &[&str]| check(&command, &setting(name, values)).is_ok();
        assert!(good("health-timeout", &["5m"]) && good("retag", &["true"]));
        assert!(
            good("backup", &["true"])
                && good("backup", &["none"])
                && good("backup", &["/data,/db"])
        );
        assert!(
            good("allow", &["a", "b"]) && good("verbose", &["false"]) && good("pull", &["never"])
        );
        for (name, value) in [
            ("health-timeout", "soon"),
            ("pull", "no"),
            ("retag", "1"),
            ("backup", "data"),
            ("config", "x"),
            ("name", "web"),
            ("notify", "hook"),
        ] {
            assert!(!good(name, &[value]), "{name}: {value}");
        }
        assert!(!good("pull", &["never", "always"]));
        let wrong = check(&command, &setting("helth-path", &["/"])).expect_err("it is unknown");
        assert!(wrong.hint.contains("`health-path`"), "{wrong:?}");
        let wrong = check(&command, &setting("health-timeout", &["soon"])).expect_err("no time");
        assert!(wrong.what.contains("write 90s"), "{wrong:?}");
    }

    #[test]
    fn flag_and_environment_come_before_the_file() {
        let file = std::env::temp_dir().join(format!("changeover-{}.yml", std::process::id()));
        let text = "health-port: 81\nimage: web:9\nallow: [a, b]\napps: {web: {health-port: 82}}\nregistry-user: jo\n";
        std::fs::write(&file, text).expect("a file");
        let of = |args: &[&str]| {
            let config = ["changeover", "--config", file.to_str().expect("a path")];
            let args = config.iter().chain(args).map(OsString::from);
            match Cli::with_config(args).expect("it is good").command {
                super::super::Command::Check(check) => check,
                other => panic!("{other:?}"),
            }
        };
        let web = of(&["check", "web"]);
        assert_eq!((web.how.health_port, web.image.as_str()), (Some(82), "web:9"));
        assert_eq!(web.how.allow, ["a", "b"]);
        assert_eq!(of(&["check", "wiki"]).how.health_port, Some(81));
        let flags = of(&["check", "web", "--health-port", "83", "--allow", "c"]);
        assert_eq!((flags.how.health_port, flags.how.allow), (Some(83), vec!["c".to_owned()]));
        std::fs::remove_file(&file).expect("ours");
    }

    #[test]
    fn which_engine_it_is_is_known_with_who_has_said_so() {
        let file = std::env::temp_dir().join(format!("changeover-who-{}.yml", std::process::id()));
        std::fs::write(&file, "host: tcp://file:1\n").expect("a file");
        let of = |args: &[&str]| {
            let config = ["changeover", "doctor", "--config", file.to_str().expect("a path")];
            let cli = Cli::with_config(config.iter().chain(args).map(OsString::from));
            super::super::wishes_of(&cli.expect("it is good")).choose().map(|chosen| chosen.because)
        };
        assert_eq!(of(&[]).expect("an engine"), "the config file's host");
        assert_eq!(of(&["--host", "/a"]).expect("an engine"), "--host");
        // The file's host counts for less than the command line's context.
        let missing = of(&["--context", "nobody-has-it"]).expect_err("there is none");
        assert!(missing.to_string().contains("`nobody-has-it`"), "{missing}");
        std::fs::remove_file(&file).expect("ours");
    }
}
