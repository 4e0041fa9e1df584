//! Compose files: does the user's own file say the same as the update? Where it names
//! another image, the next `docker compose up` undoes the update.
//!
//! Files are read, never written. What can't be read is no reason to refuse anything.

use std::path::{Path, PathBuf};

use granit_parser::{Event, Parser};
use serde_json::Value;

use crate::engine::split_reference;

const FILES: &str = "com.docker.compose.project.config_files";
const FOLDER: &str = "com.docker.compose.project.working_dir";
const VARIABLES: &str = "com.docker.compose.project.environment_file";
const SERVICE: &str = "com.docker.compose.service";

/// Where a Compose file says which image a service runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The file.
    pub file: PathBuf,
    /// The line.
    pub line: usize,
    /// What stands there, say `web:${TAG:-1}`.
    pub written: String,
    /// What it means, as far as that can be known without the user's shell.
    pub image: String,
    /// The variables in it, and where their values come from.
    pub variables: Vec<String>,
}

/// What is known of a container's Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// It isn't Compose's.
    NotComposes,
    /// The file says so.
    Here(Pin),
    /// The files can't be read from here, or don't say it themselves.
    Unknown(String),
}

/// Reads the files that a container was made by. `here` is whether paths of the engine's
/// host mean the same to us.
pub(super) fn look(old: &Value, here: bool) -> Named {
    let label = |key: &str| old["Config"]["Labels"][key].as_str().unwrap_or_default();
    let (files, service) = (label(FILES), label(SERVICE));
    if service.is_empty() || files.is_empty() {
        return Named::NotComposes;
    }
    if !here {
        return Named::Unknown(files.to_owned());
    }
    let folder = Path::new(label(FOLDER));
    let variables = match label(VARIABLES) {
        "" => Variables::read([folder.join(".env")]),
        named => Variables::read(named.split(',').map(PathBuf::from)),
    };
    // Of several files, the last that says something counts.
    let found = files.split(',').rev().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        let (written, line) = image_of(&text, service)?;
        let mut used = Vec::new();
        let image = variables.fill_in(&written, &mut used);
        Some(Pin { file: file.into(), line, written, image, variables: used })
    });
    found.map_or_else(|| Named::Unknown(files.to_owned()), Named::Here)
}

/// Whether two references mean the same, however much of it is left to the defaults.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    fn whole(reference: &str) -> String {
        let reference = ["docker.io/", "index.docker.io/"]
            .iter()
            .find_map(|hub| reference.strip_prefix(hub))
            .unwrap_or(reference);
        let reference = reference.strip_prefix("library/").unwrap_or(reference);
        match split_reference(reference) {
            (name, None) => format!("{name}:latest"),
            _ => reference.to_owned(),
        }
    }
    whole(one) == whole(other)
}

/// `services.SERVICE.image` and the line that it stands on.
fn image_of(text: &str, service: &str) -> Option<(String, usize)> {
    /// A mapping with the key that is being read, or a list.
    enum Place {
        Map(Option<String>),
        List,
    }
    let mut places: Vec<Place> = Vec::new();
    // A value is over; the next scalar is a key again.
    fn over(places: &mut [Place]) {
        if let Some(Place::Map(key)) = places.last_mut() {
            *key = None;
        }
    }
    for next in Parser::new_from_str(text) {
        let (event, span) = next.ok()?;
        match event {
            Event::Scalar(value, ..) => match places.last_mut() {
                Some(Place::Map(key @ None)) => *key = Some(value.into_owned()),
                Some(Place::Map(Some(_))) => {
                    let keys: Option<Vec<&str>> = places
                        .iter()
                        .map(|place| match place {
                            Place::Map(key) => key.as_deref(),
                            Place::List => None,
                        })
                        .collect();
                    if keys.is_some_and(|keys| keys == ["services", service, "image"]) {
                        return Some((value.into_owned(), span.start.line()));
                    }
                    over(&mut places);
                }
                _ => {}
            },
            Event::Alias(_) => match places.last_mut() {
                Some(Place::Map(key @ None)) => *key = Some(String::new()),
                _ => over(&mut places),
            },
            Event::MappingStart(..) => places.push(Place::Map(None)),
            Event::SequenceStart(..) => places.push(Place::List),
            Event::MappingEnd | Event::SequenceEnd => {
                places.pop();
                over(&mut places);
            }
            _ => {}
        }
    }
    None
}

/// What an `.env` file sets: name, value, and where.
struct Variables(Vec<(String, String, String)>);

impl Variables {
    fn read(files: impl IntoIterator<Item = PathBuf>) -> Variables {
        let mut set = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            for (n, line) in text.lines().enumerate() {
                let line = line.trim();
                let line = line.strip_prefix("export ").unwrap_or(line);
                if line.starts_with('#') {
                    continue;
                }
                if let Some((name, value)) = line.split_once('=') {
                    let value = value.trim().trim_matches(['"', '\'']).to_owned();
                    let place = format!("{} line {}", file.display(), n + 1);
                    set.push((name.trim().to_owned(), value, place));
                }
            }
        }
        Variables(set)
    }

    /// Puts values in for `$NAME` and `${NAME:-default}`, and notes where they are from.
    fn fill_in(&self, text: &str, used: &mut Vec<String>) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                filled.push('$');
                rest = after;
            } else if let Some(inside) = rest.strip_prefix('{') {
                let end = closing(inside);
                filled.push_str(&self.value(&inside[..end], used));
                rest = inside.get(end + 1..).unwrap_or_default();
            } else {
                let end = rest.find(|c: char| !is_of_a_name(c)).unwrap_or(rest.len());
                filled.push_str(&self.value(&rest[..end], used));
                rest = &rest[end..];
            }
        }
        filled + rest
    }

    /// `NAME`, `NAME:-default`, `NAME-default`, `NAME:?error`, `NAME:+instead`.
    fn value(&self, expression: &str, used: &mut Vec<String>) -> String {
        let end = expression.find(|c: char| !is_of_a_name(c)).unwrap_or(expression.len());
        let (name, operator) = expression.split_at(end);
        let set = self.0.iter().rfind(|(known, ..)| known == name);
        used.push(match set {
            Some((.., place)) => format!("{name} is set in {place}"),
            None => format!("{name} is set in no file"),
        });
        let value = set.map(|(_, value, _)| value.as_str());
        let (operator, counts) = match operator.strip_prefix(':') {
            Some(operator) => (operator, value.filter(|value| !value.is_empty())),
            None => (operator, value),
        };
        match (operator.get(..1), counts) {
            (Some("+"), Some(_)) => self.fill_in(&operator[1..], used),
            (Some("+"), None) => String::new(),
            (Some("-"), None) => self.fill_in(&operator[1..], used),
            _ => value.unwrap_or_default().to_owned(),
        }
    }
}

fn is_of_a_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Where the brace is closed that was opened right before.
fn closing(inside: &str) -> usize {
    let mut open = 1;
    for (at, character) in inside.char_indices() {
        match character {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return at;
        }
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
x-common: &common
  image: other:9
  services: { web: { image: wrong:1 } }
services:
  db:
    <<: *common
    environment: [image=no]
  web:
    environment:
      image: no
    image: \"acme/web:${TAG:-1}\"  # pinned
  small: {build: ., image: small:2}
";

    #[test]
    fn the_line_is_found_that_names_a_services_image() {
        let web = image_of(FILE, "web").expect("it is there");
        assert_eq!(web, ("acme/web:${TAG:-1}".to_owned(), 11));
        assert_eq!(image_of(FILE, "small"), Some(("small:2".to_owned(), 12)));
        assert_eq!(image_of(FILE, "db"), None, "only what a service says itself");
        assert_eq!(image_of("services: [", "web"), None);
    }

    #[test]
    fn variables_are_filled_in_as_compose_does() {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned(), "x".to_owned());
        let variables = Variables(vec![set("TAG", "2"), set("EMPTY", "")]);
        for (written, means) in [
            ("web:$TAG", "web:2"),
            ("web:${TAG}", "web:2"),
            ("web:${NONE:-1}", "web:1"),
            ("web:${EMPTY:-1}", "web:1"),
            ("web:${EMPTY-1}", "web:"),
            ("web:${NONE:-${TAG}}-x", "web:2-x"),
            ("web:${TAG:?must be}", "web:2"),
            ("web${TAG:+:new}", "web:new"),
            ("a$$b", "a$b"),
        ] {
            assert_eq!(variables.fill_in(written, &mut Vec::new()), means, "{written}");
        }
        let mut used = Vec::new();
        variables.fill_in("$TAG", &mut used);
        assert_eq!(used, ["TAG is set in x"]);
    }

    #[test]
    fn references_are_compared_by_what_they_mean() {
        assert!(is_same("web", "docker.io/library/web:latest"));
        assert!(is_same("acme/web:1", "docker.io/acme/web:1"));
        assert!(!is_same("web:1", "web:2"));
        assert!(!is_same("host:5000/web", "web"));
    }
}
