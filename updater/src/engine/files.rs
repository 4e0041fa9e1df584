//! A file of a container, wherever it comes from: image, volume or the host.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::wire::Request;
use super::{Engine, EngineError};

/// Larger ones are none that we are interested in.
const LARGEST_FILE: u64 = 256 * 1024;
/// Bits of Go's `fs.FileMode`.
const DIRECTORY: u64 = 1 << 31;
const SYMBOLIC_LINK: u64 = 1 << 27;

/// Why a file can't be read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It isn't there. What is mounted only while the container runs isn't either, as
    /// far as engines tell.
    #[error("there is no such file\nhint: a file that lies on a tmpfs can't be read this way")]
    Missing,
    /// It is a directory, a device, too large.
    #[error("it is no file of at most {LARGEST_FILE} bytes")]
    Unsuitable,
    /// The engine's trouble.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Engine {
    /// Reads a file of a container, running or not.
    pub async fn file(&self, id: &str, path: &str) -> Result<Vec<u8>, FileError> {
        let mut path = path.to_owned();
        let archive = format!("/containers/{id}/archive");
        // The engine resolves links on the way there, but not the last one.
        for _ in 0..8 {
            let asked = Request::head(&archive).query("path", path.as_str());
            let stat = stat(&self.call(asked).await.map_err(missing)?)?;
            let (mode, size) = (stat["mode"].as_u64(), stat["size"].as_u64());
            let mode = mode.ok_or(FileError::Unsuitable)?;
            if mode & SYMBOLIC_LINK != 0 {
                let target = stat["linkTarget"].as_str().filter(|target| !target.is_empty());
                path = linked(&path, target.ok_or(FileError::Missing)?);
                continue;
            }
            if mode & DIRECTORY != 0 || size.is_none_or(|size| size > LARGEST_FILE) {
                return Err(FileError::Unsuitable);
            }
            let asked = Request::get(&archive).query("path", path.as_str());
            let reply = self.call(asked).await.map_err(missing)?;
            return first_file(&reply.body).ok_or(FileError::Unsuitable);
        }
        Err(FileError::Missing)
    }
}

fn missing(error: EngineError) -> FileError {
    match error.status() {
        Some(404) => FileError::Missing,
        _ => FileError::Engine(error),
    }
}

fn stat(reply: &super::wire::Reply) -> Result<Value, FileError> {
    let text = reply.header("x-docker-container-path-stat").unwrap_or_default();
    let json = BASE64.decode(text).map_err(|_| FileError::Unsuitable)?;
    serde_json::from_slice(&json).map_err(|_| FileError::Unsuitable)
}

/// Where a link at `path` leads. Docker names the place from the root on, others as
/// it stands in the link.
fn linked(path: &str, target: &str) -> String {
    match (target.starts_with('/'), path.rsplit_once('/')) {
        (false, Some((folder, _))) => format!("{folder}/{target}"),
        _ => target.to_owned(),
    }
}

fn first_file(archive: &[u8]) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().ok()?.filter_map(Result::ok);
    let mut file = entries.into_iter().find(|entry| entry.header().entry_type().is_file())?;
    let mut bytes = Vec::new();
    file.by_ref().take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::linked;

    #[test]
    fn a_link_leads_from_where_it_lies() {
        assert_eq!(linked("/certs/live.pem", "/archive/1.pem"), "/archive/1.pem");
        assert_eq!(linked("/certs/live.pem", "../archive/1.pem"), "/certs/../archive/1.pem");
    }
}
