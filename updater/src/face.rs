//! The app's own face on the page: what it says besides the steps, and its looks.
//!
//! Each setting comes from a flag, an environment variable or a label of the app's
//! container. Anything may stand in a label, so everything is checked when it is
//! read: what is in a [`Face`] can be shown. The folder has no label: whoever makes
//! an image would choose a directory of the host to be published.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::labels;

/// A logo as large as this, once encoded, still fits into the page's first packets.
pub const LOGO_BYTES: usize = 6 * 1024;
/// The longest message, in letters.
pub const MESSAGE_LETTERS: usize = 600;

/// What the page shows of the app, where it is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Face {
    /// A sentence or two, as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<Message>,
    /// A picture above the title, and the tab's icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logo: Option<Logo>,
    /// The colour of what moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accent: Option<Colour>,
    /// Where people find help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub support: Option<Link>,
    /// The page's language, whatever the browsers say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// A directory of the host whose files replace the page's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

impl Face {
    /// Whether nothing is set.
    pub fn is_plain(&self) -> bool {
        *self == Face::default()
    }

    /// These settings, and those of `other` where there are none.
    pub fn or(self, other: Face) -> Face {
        Face {
            message: self.message.or(other.message),
            logo: self.logo.or(other.logo),
            accent: self.accent.or(other.accent),
            support: self.support.or(other.support),
            language: self.language.or(other.language),
            folder: self.folder.or(other.folder),
        }
    }

    /// What a container's labels say, and which of them can't be used and why.
    pub fn from_labels(all: &Value) -> (Face, Vec<String>) {
        let mut complaints = Vec::new();
        let face = Face {
            message: read(all, "message", &mut complaints),
            logo: read(all, "logo", &mut complaints),
            accent: read(all, "accent", &mut complaints),
            support: read(all, "support", &mut complaints),
            language: read(all, "language", &mut complaints),
            folder: None,
        };
        (face, complaints)
    }
}

/// The app's name for people, where a label says so.
pub fn title_from_labels(all: &Value) -> Option<String> {
    let title = all[format!("{}title", labels::PAGE)].as_str()?.trim();
    (!title.is_empty()).then(|| title.chars().take(100).collect())
}

fn read<T: TryFrom<String, Error = String>>(
    all: &Value,
    name: &str,
    complaints: &mut Vec<String>,
) -> Option<T> {
    let label = format!("{}{name}", labels::PAGE);
    let text = all[label.as_str()].as_str()?;
    match T::try_from(text.to_owned()) {
        Ok(value) => Some(value),
        Err(why) => {
            complaints.push(format!("the label {label} is not used: {why}"));
            None
        }
    }
}

/// Text that has been checked.
macro_rules! checked {
    ($(#[$about:meta])* $name:ident, $check:path) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// As it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<$name, String> {
                let text = text.trim().to_owned();
                $check(&text).map(|()| $name(text))
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<$name, String> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
    };
}

checked!(
    /// Plain text.
    Message,
    check_message
);
checked!(
    /// A picture as a `data:` address.
    Logo,
    check_logo
);
checked!(
    /// `#rrggbb`.
    Colour,
    check_colour
);
checked!(
    /// An address that a visitor may follow.
    Link,
    check_link
);
checked!(
    /// One of the page's languages.
    Language,
    check_language
);

impl Logo {
    /// Reads a picture from a file.
    pub fn from_file(path: &Path) -> Result<Logo, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let kind = kind_of(&bytes).ok_or("it is neither SVG nor PNG, JPEG, GIF or WebP")?;
        format!("data:{kind};base64,{}", BASE64.encode(bytes)).try_into()
    }
}

impl Colour {
    /// Red, green and blue.
    pub fn rgb(&self) -> [u8; 3] {
        [1, 3, 5].map(|at| u8::from_str_radix(&self.0[at..at + 2], 16).unwrap_or(0))
    }
}

fn check_message(text: &str) -> Result<(), String> {
    match text.chars().count() {
        0 => Err("it is empty".into()),
        letters if letters > MESSAGE_LETTERS => {
            Err(format!("it has {letters} letters, and {MESSAGE_LETTERS} are the limit"))
        }
        _ => Ok(()),
    }
}

fn check_logo(text: &str) -> Result<(), String> {
    const KINDS: [&str; 5] = ["svg+xml", "png", "jpeg", "gif", "webp"];
    if text.len() > LOGO_BYTES {
        return Err(format!(
            "it has {} bytes as a data: address, and {LOGO_BYTES} are the limit",
            text.len()
        ));
    }
    let is_one = |kind: &str| text.starts_with(&format!("data:image/{kind};base64,"));
    let data = KINDS.into_iter().find(|kind| is_one(kind)).and_then(|_| text.split_once(','));
    match data.map(|(_, data)| BASE64.decode(data)) {
        Some(Ok(bytes)) if kind_of(&bytes).is_some() => Ok(()),
        _ => Err("it is no data:image/…;base64 address of an SVG, PNG, JPEG, GIF or WebP".into()),
    }
}

/// The type of a picture by its first bytes.
fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    let is_svg = || {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).into_owned();
        text.trim_start_matches('\u{feff}').trim_start().starts_with('<') && text.contains("<svg")
    };
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ if is_svg() => Some("image/svg+xml"),
        _ => None,
    }
}

fn check_colour(text: &str) -> Result<(), String> {
    let digits = text.strip_prefix('#').unwrap_or_default();
    match digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        true => Ok(()),
        false => Err(format!("`{text}` is no colour; write #12806f")),
    }
}

fn check_link(text: &str) -> Result<(), String> {
    const SCHEMES: [&str; 4] = ["https://", "http://", "mailto:", "tel:"];
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(**scheme));
    let plain = text.chars().all(|letter| !letter.is_whitespace() && !letter.is_control());
    match scheme {
        Some(scheme) if plain && text.len() > scheme.len() && text.len() <= 500 => Ok(()),
        _ => Err("an address starts with https:, http:, mailto: or tel: and has no spaces".into()),
    }
}

fn check_language(text: &str) -> Result<(), String> {
    let known = crate::page::languages();
    match known.iter().any(|code| code == text) {
        true => Ok(()),
        false => Err(format!("the page has no `{text}`; it has {}", known.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_label_says_is_checked() {
        let (face, complaints) = Face::from_labels(&json!({
            "io.changeover.page.message": "We are back soon.",
            "io.changeover.page.accent": "#aa3366",
            "io.changeover.page.support": "javascript:alert(1)",
            "io.changeover.page.language": "tlh",
            "io.changeover.page.logo": "https://example.org/logo.png",
            "io.changeover.page.dir": "/etc",
        }));
        assert_eq!(face.message.as_ref().map(Message::as_str), Some("We are back soon."));
        assert_eq!(face.accent.as_ref().map(Colour::rgb), Some([0xaa, 0x33, 0x66]));
        assert_eq!((&face.support, &face.language, &face.logo), (&None, &None, &None));
        assert_eq!(face.folder, None);
        assert_eq!(complaints.len(), 3, "{complaints:?}");
    }

    #[test]
    fn a_flag_comes_before_a_label() {
        let flag = Face { accent: "#000001".parse().ok(), ..Face::default() };
        let label = Face {
            accent: "#000002".parse().ok(),
            support: "tel:112".parse().ok(),
            ..Face::default()
        };
        let both = flag.or(label);
        assert_eq!(both.accent.as_ref().map(Colour::as_str), Some("#000001"));
        assert_eq!(both.support.as_ref().map(Link::as_str), Some("tel:112"));
    }

    #[test]
    fn only_small_pictures_are_logos() {
        let svg = BASE64.encode("<svg xmlns='http://www.w3.org/2000/svg'/>");
        assert!(format!("data:image/svg+xml;base64,{svg}").parse::<Logo>().is_ok());
        let html = BASE64.encode("<html><script>alert(1)</script>");
        for wrong in [
            format!("data:image/svg+xml;base64,{html}"),
            format!("data:text/html;base64,{svg}"),
            "data:image/png;base64,!".to_owned(),
            format!("data:image/svg+xml;base64,{svg}\" onerror=\"alert(1)"),
            format!("data:image/png;base64,{}", "A".repeat(LOGO_BYTES)),
        ] {
            assert!(wrong.parse::<Logo>().is_err(), "{wrong:.60}");
        }
    }

    #[test]
    fn a_face_travels_in_the_plan() {
        let face = Face {
            message: "Hello".parse().ok(),
            accent: "#123456".parse().ok(),
            folder: Some("/srv/page".into()),
            ..Face::default()
        };
        let json = json!(face);
        assert_eq!(json, json!({"message": "Hello", "accent": "#123456", "folder": "/srv/page"}));
        assert_eq!(serde_json::from_value::<Face>(json).expect("a face"), face);
        // Nobody smuggles anything in by a plan either.
        assert!(serde_json::from_value::<Face>(json!({"support": "javascript:1"})).is_err());
    }
}
