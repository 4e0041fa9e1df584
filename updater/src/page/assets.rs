//! What the page is made of: `maintenance-ui/` as it is, without a build step, or
//! a folder of the operator's. A file there replaces ours of the same name; the
//! placeholders of `index.html` are those in `document.rs`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rust_embed::RustEmbed;

use super::language::Words;

/// The largest file that somebody may put in place of one of ours.
const LARGEST_FILE: u64 = 256 * 1024;

/// The page's files.
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
        favicon: svg_address(file("favicon.svg")),
    })
});

impl Assets {
    /// The files that we were built with.
    pub(super) fn ours() -> Arc<Assets> {
        OURS.clone()
    }

    /// Ours, with those of this folder instead where it has them.
    pub(super) fn from_folder(folder: &Path) -> Result<Assets, FolderError> {
        // Any of its files may be missing, but a folder that isn't there is a slip of the pen.
        std::fs::read_dir(folder)
            .map_err(|source| FolderError { file: folder.to_owned(), source })?;
        let ours = Assets::ours();
        let text =
            |name: &str, usual: &str| Ok(read(folder, name)?.unwrap_or_else(|| usual.to_owned()));
        let mut languages = Vec::new();
        for words in &ours.languages {
            let name = format!("strings.{}.json", words.code);
            languages.push(match read(folder, &name)? {
                Some(json) => Words::read(json.as_bytes(), Some(words)).map_err(|source| {
                    FolderError { file: folder.join(name), source: source.into() }
                })?,
                None => words.clone(),
            });
        }
        let favicon = read(folder, "favicon.svg")?;
        Ok(Assets {
            template: text("index.html", &ours.template)?,
            css: text("page.css", &ours.css)?,
            js: text("page.js", &ours.js)?,
            favicon: favicon.map_or_else(|| ours.favicon.clone(), |svg| svg_address(&svg)),
            languages,
        })
    }
}

/// A page of one's own that can't be shown.
#[derive(Debug, thiserror::Error)]
#[error(
    "the page cannot be made of `{}`\nhint: --page-dir names a folder with files like those of maintenance-ui/, in UTF-8", file.display()
)]
pub struct FolderError {
    file: PathBuf,
    source: io::Error,
}

fn read(folder: &Path, name: &str) -> Result<Option<String>, FolderError> {
    let file = folder.join(name);
    let wrong = |source| FolderError { file: file.clone(), source };
    match std::fs::metadata(&file) {
        Ok(found) if found.len() > LARGEST_FILE => Err(wrong(io::Error::other(format!(
            "it has {} bytes, and {LARGEST_FILE} are the limit",
            found.len()
        )))),
        Ok(_) => std::fs::read_to_string(&file).map(Some).map_err(wrong),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(error)),
    }
}

fn svg_address(svg: impl AsRef<[u8]>) -> String {
    format!("data:image/svg+xml;base64,{}", BASE64.encode(svg))
}

fn file(name: &str) -> Vec<u8> {
    Files::get(name).expect("the asset is compiled in").data.into_owned()
}
