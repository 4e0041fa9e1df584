//! The config file: what would otherwise be the same flags every time.
//!
//! A setting is called like its flag. The file is YAML, as the Compose file beside it, and
//! JSON is YAML as well; its parser is here already. A flag comes before the environment,
//! the environment before the file, the file before what is built in. What isn't known is
//! refused: a setting that is misspelt must not pass for one that is set.

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser};

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// For every app.
    pub all: Vec<Setting>,
    /// For single apps, by name.
    pub apps: Vec<(String, Vec<Setting>)>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The flag's name without its dashes.
    pub name: String,
    /// Its values; a list where the flag may be given several times.
    pub values: Vec<String>,
    /// The line on which it stands.
    pub line: usize,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("cannot read the config file {}\nhint: --config names another one, and an empty one none", file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It can't be understood.
    #[error("the config file {}, line {line}: {what}\nhint: {hint}", file.display())]
    Wrong {
        /// Which.
        file: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        what: String,
        /// The way out.
        hint: String,
    },
}

/// What is wrong on a line, before it is known in which file.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Where.
    pub line: usize,
    /// What is wrong.
    pub what: String,
    /// The way out.
    pub hint: String,
}

impl Complaint {
    /// The same, with the file.
    pub fn in_file(self, file: &Path) -> ConfigError {
        let Complaint { line, what, hint } = self;
        ConfigError::Wrong { file: file.to_owned(), line, what, hint }
    }
}

/// The file that is there, in the order in which they count: this user's, this machine's.
pub fn usual() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = of("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(of("HOME")?).join(".config")));
    let own = home.map(|home| home.join("changeover.yml"));
    let places = own.into_iter().chain([PathBuf::from("/etc/changeover.yml")]);
    places.into_iter().find(|file| file.is_file())
}

impl Config {
    /// Understands a file.
    pub fn read(text: &str) -> Result<Config, Complaint> {
        let mut config = Config::default();
        let mut reader = Reader::new(text)?;
        match reader.next() {
            None => return Ok(config),
            // A file of comments alone.
            Some(Piece::Text(text)) if text.is_empty() => return Ok(config),
            Some(Piece::Map) => {}
            other => {
                let what = format!("there must be settings, not {}", name_of(&other));
                return Err(reader.wrong(what));
            }
        }
        while let Some((name, line)) = reader.key()? {
            if name != "apps" {
                config.all.push(reader.setting(name, line)?);
                continue;
            }
            reader.map("the apps")?;
            while let Some((app, _)) = reader.key()? {
                reader.map(&format!("what belongs to `{app}`"))?;
                let mut settings = Vec::new();
                while let Some((name, line)) = reader.key()? {
                    settings.push(reader.setting(name, line)?);
                }
                config.apps.push((app, settings));
            }
        }
        Ok(config)
    }

    /// What counts for an app, what is meant for it alone last.
    pub fn of<'a>(&'a self, app: Option<&'a str>) -> impl Iterator<Item = &'a Setting> {
        let own = self.apps.iter().filter(move |(name, _)| Some(name.as_str()) == app);
        self.all.iter().chain(own.flat_map(|(_, settings)| settings))
    }

    /// Everything that stands in it.
    pub fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.all.iter().chain(self.apps.iter().flat_map(|(_, settings)| settings))
    }
}

const SHAPE: &str = "write `health-path: /healthz`, a flag's name without its dashes and its value; `apps:` has the same for single apps by name";

/// A piece of YAML.
enum Piece {
    Text(String),
    Map,
    List,
    Reference,
    End,
}

/// The pieces of a file, one after the other.
struct Reader {
    pieces: std::vec::IntoIter<(Piece, usize)>,
    line: usize,
}

impl Reader {
    fn new(text: &str) -> Result<Reader, Complaint> {
        let mut pieces = Vec::new();
        for next in Parser::new_from_str(text) {
            let (event, span) = next.map_err(|error| Complaint {
                line: error.marker().line(),
                what: error.info(),
                hint: SHAPE.to_owned(),
            })?;
            let piece = match event {
                Event::Scalar(value, ..) => Piece::Text(value.into_owned()),
                Event::MappingStart(..) => Piece::Map,
                Event::SequenceStart(..) => Piece::List,
                Event::MappingEnd | Event::SequenceEnd => Piece::End,
                Event::Alias(_) => Piece::Reference,
                _ => continue,
            };
            pieces.push((piece, span.start.line()));
        }
        Ok(Reader { pieces: pieces.into_iter(), line: 1 })
    }

    fn next(&mut self) -> Option<Piece> {
        let (piece, line) = self.pieces.next()?;
        self.line = line;
        Some(piece)
    }

    fn wrong(&self, what: String) -> Complaint {
        Complaint { line: self.line, what, hint: SHAPE.to_owned() }
    }

    fn map(&mut self, what: &str) -> Result<(), Complaint> {
        match self.next() {
            Some(Piece::Map) => Ok(()),
            other => {
                Err(self
                    .wrong(format!("{what} must be a group of settings, not {}", name_of(&other))))
            }
        }
    }

    /// The next key of a map and its line; `None` at the map's end.
    fn key(&mut self) -> Result<Option<(String, usize)>, Complaint> {
        match self.next() {
            Some(Piece::Text(key)) => Ok(Some((key, self.line))),
            Some(Piece::End) | None => Ok(None),
            other => Err(self.wrong(format!("{} is no name of a setting", name_of(&other)))),
        }
    }

    fn setting(&mut self, name: String, line: usize) -> Result<Setting, Complaint> {
        let mut values = Vec::new();
        match self.next() {
            Some(Piece::Text(value)) => values.push(value),
            Some(Piece::List) => loop {
                match self.next() {
                    Some(Piece::Text(value)) => values.push(value),
                    Some(Piece::End) => break,
                    other => return Err(self.wrong(format!("in `{name}` is {}", name_of(&other)))),
                }
            },
            other => {
                return Err(self.wrong(format!(
                    "`{name}` must be a value or a list, not {}",
                    name_of(&other)
                )));
            }
        }
        Ok(Setting { name, values, line })
    }
}

fn name_of(piece: &Option<Piece>) -> &'static str {
    match piece {
        Some(Piece::Text(_)) => "a single value",
        Some(Piece::Map) => "a group of settings",
        Some(Piece::List) => "a list",
        Some(Piece::Reference) => "a reference",
        Some(Piece::End) | None => "nothing",
    }
}

/// Of these names the one that looks most like what was written, if any does.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| {
        let mut row: Vec<usize> = (0..=name.chars().count()).collect();
        for (n, a) in written.chars().enumerate() {
            let mut before = std::mem::replace(&mut row[0], n + 1);
            for (m, b) in name.chars().enumerate() {
                let cost = before + usize::from(a != b);
                before = row[m + 1];
                row[m + 1] = cost.min(before + 1).min(row[m] + 1);
            }
        }
        row.last().copied().unwrap_or_default()
    };
    let (distance, name) = known.map(|name| (distance(name), name)).min()?;
    (distance <= written.chars().count().max(3) / 3).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# What we always want.
health-timeout: 5m
allow: [writable-layer, other]
carry:
  - /data
  - /etc/app
apps:
  web:
    health-path: /healthz
    retag: true
  wiki: {health-port: 8080}
pull: missing
";

    #[test]
    fn a_file_says_what_flags_would() {
        let config = Config::read(FILE).expect("it is good");
        let of = |app: Option<&str>| {
            let settings = config.of(app).map(|s| format!("{}={}", s.name, s.values.join(",")));
            settings.collect::<Vec<_>>()
        };
        let all = [
            "health-timeout=5m",
            "allow=writable-layer,other",
            "carry=/data,/etc/app",
            "pull=missing",
        ];
        assert_eq!(of(None), all);
        assert_eq!(of(Some("other")), all);
        assert_eq!(of(Some("web"))[4..], ["health-path=/healthz", "retag=true"]);
        assert_eq!(of(Some("wiki"))[4..], ["health-port=8080"]);
        assert_eq!(config.settings().find(|s| s.name == "retag").map(|s| s.line), Some(10));
        assert_eq!(Config::read("{\"pull\": \"never\"}").expect("JSON").all[0].values, ["never"]);
        assert_eq!(Config::read("# nothing\n"), Ok(Config::default()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line) in [
            ("- a\n", 1),
            ("just text", 1),
            ("a: 1\nb: {c: d}\n", 2),
            ("a: 1\nb: [[c]]\n", 2),
            ("apps: web\n", 1),
            ("apps:\n  web: [a]\n", 2),
            ("a: &x 1\nb: *x\n", 2),
            ("a: [1\nb: 2", 0),
        ] {
            let wrong = Config::read(text).expect_err(text);
            assert!(line == 0 || wrong.line == line, "{text}: {wrong:?}");
        }
    }

    #[test]
    fn the_nearest_name_is_meant() {
        let known = ["health-path", "health-port", "pull", "page-port"];
        let of = |written: &str| nearest(written, known.into_iter());
        assert_eq!(of("helth-path"), Some("health-path"));
        assert_eq!(of("health_port"), Some("health-port"));
        assert_eq!(of("pul"), Some("pull"));
        assert_eq!(of("something else"), None);
        assert_eq!(nearest("x", [].into_iter()), None);
    }
}
