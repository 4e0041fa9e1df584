//! The page's looks: everything about it that doesn't change during an update.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::header::HeaderValue;
use sha2::{Digest as _, Sha256};

use super::assets::{Assets, FolderError};
use super::colour;
use super::language::{self, Wish};
use crate::face::Face;

/// What the page is made of.
pub(super) struct Look {
    pub(super) assets: Arc<Assets>,
    pub(super) face: Face,
    /// The style sheet, the app's colour included.
    pub(super) css: String,
    /// The content security policy.
    pub(super) policy: HeaderValue,
}

impl Look {
    /// Our own page with this face.
    pub(super) fn new(face: Face) -> Look {
        Look::of(Assets::ours(), face)
    }

    /// The same with the files of this folder instead of ours.
    pub(super) fn from_folder(folder: &Path, face: Face) -> Result<Look, FolderError> {
        Ok(Look::of(Arc::new(Assets::from_folder(folder)?), face))
    }

    fn of(assets: Arc<Assets>, face: Face) -> Look {
        let mut css = assets.css.clone();
        if let Some(accent) = &face.accent {
            css.push_str(&colour::style(accent.rgb()));
        }
        let policy = HeaderValue::from_str(&policy(&assets, &css));
        Look {
            policy: policy.unwrap_or(HeaderValue::from_static("default-src 'none'")),
            css,
            assets,
            face,
        }
    }

    /// The place of the language for a visitor.
    pub(super) fn language(&self, wish: Wish<'_>) -> usize {
        let fixed = self.face.language.as_ref().map(|language| language.as_str());
        language::choose(&self.assets.languages, fixed, wish)
    }
}

/// What the document may do: its own styles, its own scripts, pictures and fonts
/// that it brings along, and asking the address it came from. Framing stays
/// allowed: an app that lives in a frame would otherwise stay blank there, and
/// there is nothing to click on.
fn policy(assets: &Assets, css: &str) -> String {
    let hashes = |tag: &str| {
        let blocks = blocks(&assets.template, tag).into_iter().map(|block| {
            let block = block.replace("{{css}}", css).replace("{{js}}", &assets.js);
            format!(" 'sha256-{}'", BASE64.encode(Sha256::digest(block)))
        });
        let hashes: String = blocks.collect();
        if hashes.is_empty() { " 'none'".to_owned() } else { hashes }
    };
    format!(
        "default-src 'none'; script-src{}; style-src{}; connect-src 'self'; img-src data:; \
         font-src data:; base-uri 'none'; form-action 'none'",
        hashes("script"),
        hashes("style"),
    )
}

/// What stands between these tags, data blocks excepted: nobody runs those.
fn blocks<'a>(template: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}"), format!("</{tag}>"));
    let mut found = Vec::new();
    for part in template.split(open.as_str()).skip(1) {
        let Some((attributes, rest)) = part.split_once('>') else { continue };
        let Some((block, _)) = rest.split_once(close.as_str()) else { continue };
        if !attributes.contains("json") {
            found.push(block);
        }
    }
    found
}
