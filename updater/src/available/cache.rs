//! What feeds have said, kept so that they need not say it again, and until when one has
//! asked not to be asked.
//!
//! Only good answers are kept. A cache that can't be read or written is no cache, and
//! never an error.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::Url;

/// Where answers are kept, if anywhere.
#[derive(Debug, Clone, Default)]
pub struct Cache(Option<PathBuf>);

/// What is known of one address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) url: String,
    /// The mark of the answer, to ask whether it is still true.
    pub(super) etag: Option<String>,
    /// The answer.
    pub(super) answer: Option<Value>,
    /// Not to be asked before.
    pub(super) not_before: Option<Timestamp>,
}

impl Cache {
    /// In this folder, or in the usual one of this user.
    pub fn at(folder: Option<PathBuf>) -> Cache {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let usual = || {
            let base = of("XDG_CACHE_HOME").map(PathBuf::from);
            let base = base.or_else(|| Some(PathBuf::from(of("HOME")?).join(".cache")))?;
            Some(base.join("changeover"))
        };
        Cache(folder.or_else(usual))
    }

    fn file(&self, url: &Url) -> Option<PathBuf> {
        let digest = ring::digest::digest(&ring::digest::SHA256, url.to_string().as_bytes());
        let name: String = digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(self.0.as_ref()?.join(format!("{name}.json")))
    }

    pub(super) fn read(&self, url: &Url) -> Known {
        let text = self.file(url).and_then(|file| fs::read(file).ok()).unwrap_or_default();
        let known: Known = serde_json::from_slice(&text).unwrap_or_default();
        match known.url == url.to_string() {
            true => known,
            false => Known::default(),
        }
    }

    pub(super) fn write(&self, url: &Url, known: &Known) {
        let Some(file) = self.file(url) else { return };
        let known = Known { url: url.to_string(), ..known.clone() };
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(file.parent().unwrap_or(&file))?;
            let new = file.with_extension(format!("{}.new", std::process::id()));
            // What a token has opened is not for everybody.
            let mut options = fs::OpenOptions::new();
            let mut out = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            out.write_all(&serde_json::to_vec(&known)?)?;
            fs::rename(&new, &file)
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "nothing is cached");
        }
    }
}
