//! Images made from nothing, since none can be pulled.

use std::path::{Path, PathBuf};

use super::install::EngineKind;
use super::{Lab, api};

impl Lab {
    /// Makes an image `FROM scratch` out of `files` (path in the image, file here, mode) and
    /// Dockerfile-like `changes` (`CMD ["/app"]`, `ENV A=b`, `LABEL …`, `HEALTHCHECK …`, `EXPOSE …`,
    /// `USER`, `VOLUME`, `WORKDIR`; not `STOPSIGNAL`, which 20.10 refuses here). Answers with the
    /// image's id.
    pub fn import_image(
        &self,
        reference: &str,
        files: &[(&str, &Path, u32)],
        changes: &[&str],
    ) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, source, mode) in files {
            add(&mut tar, path, source, *mode)
                .unwrap_or_else(|error| panic!("cannot pack `{}`: {error}", source.display()));
        }
        let tar = tar.into_inner().expect("memory can be written to");
        let (repository, tag) = split(reference);
        let mut path = match self.kind() {
            // It has no eyes for the tag, but takes it with the name.
            EngineKind::Podman4 => format!("/images/create?fromSrc=-&repo={repository}:{tag}"),
            _ => {
                format!("/images/create?fromSrc=-&repo={}&tag={}", encode(repository), encode(tag))
            }
        };
        for change in changes {
            path += &format!("&changes={}", encode(change));
        }
        let (status, answer) =
            self.api_raw("POST", &path, &[("Content-Type", "application/x-tar".to_owned())], &tar);
        let answer = api::json(&answer);
        // Success is one message with the id; an error may come after a 200.
        match answer["status"].as_str() {
            Some(id) if status == 200 && answer["error"].is_null() => id.to_owned(),
            _ => panic!("cannot import `{reference}`: {status} {answer}"),
        }
    }
}

/// A static busybox, for images that need nothing else. Don't use its `wget`: it crashes.
pub fn busybox(kind: EngineKind) -> PathBuf {
    kind.rootfs().join("bin/busybox")
}

/// Repository and tag of a reference: the colon of a registry's port isn't that of a tag.
pub(super) fn split(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, "latest"),
    }
}

pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn add(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    source: &Path,
    mode: u32,
) -> std::io::Result<()> {
    let content = std::fs::read(source)?;
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    tar.append_data(&mut header, path.trim_start_matches('/'), content.as_slice())
}
