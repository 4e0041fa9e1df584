//! What a person should know before saying yes, though it refuses nothing.

use std::fmt;

use serde::Serialize;

use super::Pin;
use crate::successor::{counted, some_of};

/// Something that is good to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// Files of the old image were changed or deleted in the running container. Its
    /// start does that as a rule, and the new one's will do it again.
    ChangedFiles {
        /// The container's name.
        container: String,
        /// Changed ones.
        changed: Vec<String>,
        /// Deleted ones.
        deleted: Vec<String>,
    },
    /// Empty files in the container itself go with it: what they mean nobody knows from outside.
    EmptyFiles {
        /// The container's name.
        container: String,
        /// The files.
        files: Vec<String>,
    },
    /// What was written into the container could not be looked at.
    UnknownLayer {
        /// The container's name.
        container: String,
        /// The engine's words.
        why: String,
    },
    /// `docker compose up` would undo the update, as the file names another image.
    ComposePin {
        /// Where it says so.
        pin: Pin,
        /// The image that comes.
        image: String,
    },
    /// The same, but the file can't be looked at.
    ComposeUnknown {
        /// The files.
        files: String,
        /// The image that the container was made with.
        before: String,
        /// The image that comes.
        image: String,
    },
    /// A rollback brings the old version back to the data as the new one leaves it.
    DataStays {
        /// The container's name.
        container: String,
        /// Where in it.
        paths: Vec<String>,
    },
    /// The engine doesn't tell MAC addresses that were asked for on these networks from
    /// generated ones, and new ones are generated.
    MacAddresses {
        /// The container's name.
        container: String,
        /// Networks besides the main one.
        networks: Vec<String>,
    },
    /// The app serves, and no port of the host leads to it, so there is none to put the page
    /// on.
    NoPage {
        /// The container's name.
        container: String,
        /// The networks on which it is reached.
        networks: Vec<String>,
        /// Others there that publish ports, by name: visitors come by one of them as a rule.
        proxies: Vec<String>,
    },
    /// A rootless engine's ports are held outside of the network in which the page is, by a
    /// process that lets go of them with the container.
    PageGaps {
        /// The container's name.
        container: String,
    },
    /// The app is stopped, so nobody finds out whether the version that comes works.
    LeftStopped {
        /// The container's name.
        container: String,
    },
    /// Podman doesn't show everything that a container made through its API was given.
    HiddenSettings {
        /// The container's name.
        container: String,
    },
}

impl Remark {
    /// A stable word for it.
    pub fn code(&self) -> &'static str {
        match self {
            Remark::ChangedFiles { .. } => "changed-files",
            Remark::EmptyFiles { .. } => "empty-files",
            Remark::UnknownLayer { .. } => "unknown-layer",
            Remark::MacAddresses { .. } => "mac-addresses",
            Remark::DataStays { .. } => "data-stays",
            Remark::NoPage { .. } => "no-page",
            Remark::PageGaps { .. } => "page-gaps",
            Remark::LeftStopped { .. } => "left-stopped",
            Remark::HiddenSettings { .. } => "hidden-settings",
            Remark::ComposePin { .. } => "compose-pin",
            Remark::ComposeUnknown { .. } => "compose-unknown",
        }
    }

    /// Whether it is worth a word after every update, and not just when somebody asks.
    pub fn is_lasting(&self) -> bool {
        matches!(
            self,
            Remark::ComposePin { .. } | Remark::ComposeUnknown { .. } | Remark::LeftStopped { .. }
        )
    }

    /// Whether it is worth a word before every update: visitors will notice.
    pub fn is_for_visitors(&self) -> bool {
        matches!(self, Remark::PageGaps { .. })
    }

    /// The same for programs.
    pub fn for_programs(&self) -> Remarked {
        let pin = match self {
            Remark::ComposePin { pin, .. } => Some(pin),
            _ => None,
        };
        Remarked {
            code: self.code(),
            text: self.to_string(),
            file: pin.map(|pin| pin.file.display().to_string()),
            line: pin.map(|pin| pin.line),
        }
    }
}

/// A remark as an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Remarked {
    /// A stable word for it.
    pub code: &'static str,
    /// In words.
    pub text: String,
    /// The file that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::ChangedFiles { container, changed, deleted } => {
                write!(f, "in `{container}`, ")?;
                let mut parts = Vec::new();
                if !changed.is_empty() {
                    let count = counted(changed.len(), "file");
                    parts.push(format!("{count} of the image changed ({})", some_of(changed)));
                }
                if !deleted.is_empty() {
                    let count = counted(deleted.len(), "file");
                    parts.push(format!("{count} deleted ({})", some_of(deleted)));
                }
                write!(f, "{}; the new one starts with its image's", parts.join(", "))
            }
            Remark::EmptyFiles { container, files } => write!(
                f,
                "`{container}` has {} in itself that {} in no volume and won't come along ({}); if the app goes by one, `--carry` brings it",
                counted(files.len(), "empty file"),
                if files.len() == 1 { "is" } else { "are" },
                some_of(files),
            ),
            Remark::UnknownLayer { container, why } => write!(
                f,
                "what `{container}` has written into itself can't be looked at, and goes with it: {why}"
            ),
            Remark::ComposePin { pin, image } => {
                let Pin { file, line, written, image: before, variables } = pin;
                let file = file.display();
                write!(
                    f,
                    "`docker compose up` would bring {before} back: {file} line {line} says `image: {written}`"
                )?;
                if !variables.is_empty() {
                    write!(f, " ({})", variables.join(", "))?;
                }
                write!(f, "; let it say {image}, or update with --retag")
            }
            Remark::ComposeUnknown { files, before, image } => write!(
                f,
                "as long as {files} says {before}, `docker compose up` would bring that back; it can't be looked at from here. Let it say {image}, or update with --retag"
            ),
            Remark::DataStays { container, paths } => write!(
                f,
                "what the new version does to the data of `{container}` stays after a rollback: {}; --backup puts it back as it was",
                some_of(paths)
            ),
            Remark::MacAddresses { container, networks } => write!(
                f,
                "this engine doesn't tell whether `{container}` was given its MAC address on {}; it gets a generated one",
                some_of(networks)
            ),
            Remark::NoPage { container, networks, proxies } => {
                write!(f, "`{container}` publishes no port, so there is no page: whoever comes")?;
                match proxies.is_empty() {
                    true => write!(f, " by its name on {}", some_of(networks))?,
                    false => write!(f, " by {}", some_of(proxies))?,
                }
                write!(
                    f,
                    " gets an error while no version answers. For a page, publish a port of the app and let the proxy go there: \"Behind a reverse proxy\" in the README"
                )
            }
            Remark::PageGaps { container } => write!(
                f,
                "this engine is rootless: RootlessKit holds the ports of `{container}`, and lets go of them with its container. Visitors see the page while the old version stops and while the new one starts up; in the moment between, about half a second, they are refused"
            ),
            Remark::LeftStopped { container } => write!(
                f,
                "`{container}` is stopped and stays so: its new version isn't started, and nobody has seen whether it works; `docker start {container}` tries it, `changeover rollback {container}` goes back"
            ),
            Remark::HiddenSettings { container } => write!(
                f,
                "Podman doesn't tell whether `{container}`, which wasn't made with `podman run`, was given sysctls or fixed addresses; the new one gets none"
            ),
        }
    }
}
