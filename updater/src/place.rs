//! Where a file lies that the helper reads or writes: the page's certificate, the key of a
//! message, the history.

use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A file on the engine's host, `/path`, or in the app's container, `app:/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// On the host.
    Host(PathBuf),
    /// In the container, be it on a volume, a bind mount or in the image.
    App(String),
}

/// What marks a path in the app's container.
const APP: &str = "app:";

impl Place {
    /// What a label of the app says, with or without the mark: always a path in its own
    /// container. Whoever makes an image has no say in what happens on the host.
    pub fn in_app(label: &str) -> Result<Place, String> {
        match label.strip_prefix(APP).unwrap_or(label) {
            path if path.starts_with('/') => Ok(Place::App(path.to_owned())),
            _ => Err(format!("`{label}` is no whole path")),
        }
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        let (in_app, path) = match text.strip_prefix(APP) {
            Some(path) => (true, path),
            None => (false, text),
        };
        match (path.starts_with('/'), in_app) {
            (false, _) => Err("write the whole path, from `/`, on the engine's host, or app:/path for one in the app's container".into()),
            (true, true) => Ok(Place::App(path.to_owned())),
            (true, false) => Ok(Place::Host(path.into())),
        }
    }
}

impl TryFrom<String> for Place {
    type Error = String;

    fn try_from(text: String) -> Result<Place, String> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Host(path) => write!(f, "{}", path.display()),
            Place::App(path) => write!(f, "{APP}{path}"),
        }
    }
}

/// A path inside a container, and not all of it.
pub(crate) fn inner_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("a path starts with `/`".to_owned());
    }
    let path = text.trim_end_matches('/').to_owned();
    match path.is_empty() || path.split('/').any(|part| part == "..") {
        true => Err("name a file or folder in the container".to_owned()),
        false => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_on_the_host_unless_it_says_otherwise() {
        assert_eq!("/c.pem".parse(), Ok(Place::Host("/c.pem".into())));
        assert_eq!("app:/c.pem".parse(), Ok(Place::App("/c.pem".into())));
        assert!("c.pem".parse::<Place>().is_err() && "app:c.pem".parse::<Place>().is_err());
    }

    #[test]
    fn a_label_means_a_file_of_its_own_container() {
        for label in ["/c.pem", "app:/c.pem"] {
            assert_eq!(Place::in_app(label), Ok(Place::App("/c.pem".into())));
        }
        assert!(Place::in_app("c.pem").is_err() && Place::in_app("").is_err());
    }
}
