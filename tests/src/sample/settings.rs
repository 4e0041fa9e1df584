//! How the sample app is told to behave: one environment variable each, or a
//! flag of the same name (`BOOT_MS=500` is `--boot-ms 500`). Flags win.
//! An empty variable counts as unset.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// What the environment and the flags say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `VERSION`: shown in every answer; also the schema of the data. Default 1.
    pub version: u64,
    /// `HOST`: the address to listen on. Default: all, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    /// `PORT`: one or several, by commas; 0 takes a free one. Default 80.
    pub ports: Vec<u16>,
    /// `BOOT_MS`: listens only after this long.
    pub boot: Duration,
    /// `DELAY_MS`: every answer but `/health` takes at least this long.
    pub delay: Duration,
    /// `UNHEALTHY_MS`: when `/health` says 503.
    pub unhealthy: Windows,
    /// `BROKEN_MS`: when everything but `/health` says 500.
    pub broken: Windows,
    /// `EXIT_MS`: exits by itself after this long; 0 is before it listens.
    pub exit: Option<Duration>,
    /// `EXIT_CODE`: and with this code. Default 1.
    pub exit_code: u8,
    /// `ON_TERM`: what a stop signal does.
    pub on_term: OnTerm,
    /// `STOP_MS`: a graceful stop takes this much longer.
    pub stop: Duration,
    /// `DATA`: the file to migrate on start; its first line holds the schema.
    pub data: Option<PathBuf>,
    /// `SPEAKS`: the language on its ports.
    pub speaks: Speaks,
    /// `WWW`: a directory whose files are served, `index.html` at `/`.
    pub www: Option<PathBuf>,
    /// `AVAILABLE`: the version that `/update` offers.
    pub available: Option<String>,
    /// `UPDATE_COMMAND`: what `POST /update` runs, words by spaces.
    pub update_command: Option<String>,
    /// `HOOK_FAILS`: so many messages to `/hook` are refused first.
    pub hook_fails: u64,
    /// `STATUS_COMMAND`: where `/update` learns how the last one ended.
    pub status_command: Option<String>,
}

/// What the app's visitors have to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// `http`.
    Http,
    /// `https`: with the certificate and the key in `/tls/cert.pem` and `/tls/key.pem`.
    Https,
    /// `lines`: as a cache or a queue does. A line `VERSION` is answered by the
    /// version, any other by an error.
    Lines,
}

/// What SIGTERM, SIGINT or SIGQUIT does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// `graceful`: answers whoever is connected, then exits with 0.
    Graceful,
    /// `abrupt`: exits at once with 143, as an app without a handler.
    Abrupt,
    /// `ignore`: goes on, until it is killed.
    Ignore,
}

/// Stretches of time since the app began to listen, in milliseconds:
/// `2000-5000,8000-` is from 2 s to 5 s and from 8 s on; `always` is `0-`.
#[derive(Debug, Clone, Default)]
pub struct Windows(Vec<(u64, u64)>);

impl Windows {
    /// Whether `age` lies in one of them.
    pub fn hold(&self, age: Duration) -> bool {
        let age = age.as_millis() as u64;
        self.0.iter().any(|&(from, to)| (from..to).contains(&age))
    }
}

const NAMES: [&str; 18] = [
    "VERSION",
    "HOST",
    "PORT",
    "BOOT_MS",
    "DELAY_MS",
    "UNHEALTHY_MS",
    "BROKEN_MS",
    "EXIT_MS",
    "EXIT_CODE",
    "ON_TERM",
    "STOP_MS",
    "DATA",
    "SPEAKS",
    "WWW",
    "AVAILABLE",
    "UPDATE_COMMAND",
    "STATUS_COMMAND",
    "HOOK_FAILS",
];

impl Settings {
    /// Reads the process's environment, then `flags`.
    pub fn read(flags: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut said: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let mut flags = flags.into_iter();
        while let Some(flag) = flags.next() {
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (flag, flags.next()),
            };
            let name = flag.strip_prefix("--").map(|name| name.to_uppercase().replace('-', "_"));
            let name = name.filter(|name| NAMES.contains(&name.as_str()));
            said.insert(
                name.ok_or_else(|| format!("no such flag: `{flag}`"))?,
                value.ok_or_else(|| format!("`{flag}` needs a value"))?,
            );
        }
        let ms = |name| Ok::<_, String>(take(&said, name)?.map(Duration::from_millis));
        Ok(Settings {
            version: take(&said, "VERSION")?.unwrap_or(1),
            host: take(&said, "HOST")?,
            ports: match said.get("PORT") {
                Some(ports) => {
                    ports.split(',').map(|port| parse("PORT", port)).collect::<Result<_, _>>()?
                }
                None => vec![80],
            },
            boot: ms("BOOT_MS")?.unwrap_or_default(),
            delay: ms("DELAY_MS")?.unwrap_or_default(),
            unhealthy: take(&said, "UNHEALTHY_MS")?.unwrap_or_default(),
            broken: take(&said, "BROKEN_MS")?.unwrap_or_default(),
            exit: ms("EXIT_MS")?,
            exit_code: take(&said, "EXIT_CODE")?.unwrap_or(1),
            on_term: take(&said, "ON_TERM")?.unwrap_or(OnTerm::Graceful),
            stop: ms("STOP_MS")?.unwrap_or_default(),
            data: take(&said, "DATA")?,
            speaks: take(&said, "SPEAKS")?.unwrap_or(Speaks::Http),
            www: take(&said, "WWW")?,
            available: take(&said, "AVAILABLE")?,
            update_command: take(&said, "UPDATE_COMMAND")?,
            status_command: take(&said, "STATUS_COMMAND")?,
            hook_fails: take(&said, "HOOK_FAILS")?.unwrap_or(0),
        })
    }
}

fn take<T: FromStr>(said: &HashMap<String, String>, name: &str) -> Result<Option<T>, String> {
    said.get(name).map(|value| parse(name, value)).transpose()
}

fn parse<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value.trim().parse().map_err(|_| format!("{name} cannot be `{value}`"))
}

impl FromStr for OnTerm {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "graceful" => Ok(OnTerm::Graceful),
            "abrupt" => Ok(OnTerm::Abrupt),
            "ignore" => Ok(OnTerm::Ignore),
            _ => Err(()),
        }
    }
}

impl FromStr for Speaks {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "http" => Ok(Speaks::Http),
            "https" => Ok(Speaks::Https),
            "lines" => Ok(Speaks::Lines),
            _ => Err(()),
        }
    }
}

impl FromStr for Windows {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let text = if text == "always" { "0-" } else { text };
        let window = |part: &str| {
            let (from, to) = part.split_once('-').ok_or(())?;
            let to = if to.is_empty() { Ok(u64::MAX) } else { to.parse() };
            Ok((from.parse().map_err(drop)?, to.map_err(drop)?))
        };
        text.split(',').map(window).collect::<Result<_, _>>().map(Windows)
    }
}
