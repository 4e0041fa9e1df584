//! What the page is made of: `maintenance-ui/` as it is, without a build step.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use super::language::Words;

/// The page's files, read and hashed.
pub(super) struct Assets {
    pub(super) template: String,
    pub(super) css: String,
    pub(super) js: String,
    pub(super) favicon: String,
    /// English first, the others by their code.
    pub(super) languages: Vec<Words>,
}

#[derive(RustEmbed)]
#[folder = "../maintenance-ui"]
struct Files;

static OURS: LazyLock<Arc<Assets>> = LazyLock::new(|| {
    let text = |name: &str| String::from_utf8_lossy(&file(name)).into_owned();
    let english = Words::read(&file("strings.en.json"), None).expect("the strings are JSON");
    let mut names: Vec<_> = Files::iter().filter(|name| name.starts_with("strings.")).collect();
    names.sort();
    let others = names
        .iter()
        .filter(|name| *name != "strings.en.json")
        .map(|name| Words::read(&file(name), Some(&english)).expect("the strings are JSON"));
    Arc::new(Assets {
        languages: std::iter::once(english.clone()).chain(others).collect(),
        template: text("index.html"),
        css: text("page.css"),
        js: text("page.js"),
        favicon: format!("data:image/svg+xml;base64,{}", BASE64.encode(file("favicon.svg"))),
    })
});

impl Assets {
    /// The files that we were built with.
    pub(super) fn ours() -> Arc<Assets> {
        OURS.clone()
    }

    /// What the document may do: its own style, its own script, and asking the
    /// address it came from. Framing stays allowed: an app that lives in a frame
    /// would otherwise stay blank there, and there is nothing to click on.
    pub(super) fn policy(&self) -> String {
        format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'",
            hash(&self.js),
            hash(&self.css)
        )
    }
}

fn file(name: &str) -> Vec<u8> {
    Files::get(name).expect("the asset is compiled in").data.into_owned()
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64.encode(Sha256::digest(text)))
}
