//! The files of a container, running or not, wherever they come from: its image, its
//! own layer, a volume or the host.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::wire::Request;
use super::{Engine, EngineError};

/// Larger ones are none that we are interested in reading.
const LARGEST_FILE: u64 = 256 * 1024;
/// How long a copy may take.
const COPY_LIMIT: Duration = Duration::from_secs(600);
/// Bits of Go's `fs.FileMode`: what a file is stands at its upper end.
const DIRECTORY: u64 = 1 << 31;
const SYMBOLIC_LINK: u64 = 1 << 27;
const DEVICE_PIPE_SOCKET: u64 = 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19;
const PERMISSIONS: u64 = 0o777;

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

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// When it was last written, as far as the engine says.
    pub written: Option<Timestamp>,
    mode: u64,
    size: Option<u64>,
    link_target: String,
}

impl PathStat {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & (DIRECTORY | SYMBOLIC_LINK | DEVICE_PIPE_SOCKET) == 0
    }

    /// Whether the file has no content.
    pub fn is_empty(&self) -> bool {
        self.size == Some(0)
    }

    fn from_header(header: &str) -> Option<PathStat> {
        let stat: Value = serde_json::from_slice(&BASE64.decode(header).ok()?).ok()?;
        Some(PathStat {
            written: stat["mtime"].as_str().and_then(|time| time.parse().ok()),
            mode: stat["mode"].as_u64()?,
            size: stat["size"].as_u64(),
            link_target: stat["linkTarget"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

impl Engine {
    /// What is at this path; `None` if nothing is. A link is told as such.
    pub async fn path_stat(&self, id: &str, path: &str) -> Result<Option<PathStat>, EngineError> {
        match self.call(Request::head(archive(id)).query("path", path)).await {
            Ok(reply) => {
                Ok(reply.header("x-docker-container-path-stat").and_then(PathStat::from_header))
            }
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads a file.
    pub async fn file(&self, id: &str, path: &str) -> Result<Vec<u8>, FileError> {
        let mut path = path.to_owned();
        // The engine resolves links on the way there, but not the last one.
        for _ in 0..8 {
            let stat = self.path_stat(id, &path).await?.ok_or(FileError::Missing)?;
            if stat.mode & SYMBOLIC_LINK != 0 {
                if stat.link_target.is_empty() {
                    return Err(FileError::Missing);
                }
                path = linked(&path, &stat.link_target);
                continue;
            }
            if stat.mode & DIRECTORY != 0 || stat.size.is_none_or(|size| size > LARGEST_FILE) {
                return Err(FileError::Unsuitable);
            }
            let asked = Request::get(archive(id)).query("path", path.as_str());
            let reply = self.call(asked).await.map_err(|error| match error.status() {
                Some(404) => FileError::Missing,
                _ => FileError::Engine(error),
            })?;
            return first_file(&reply.body).ok_or(FileError::Unsuitable);
        }
        Err(FileError::Missing)
    }

    /// Copies a file or a folder to the same place in another container, with owners,
    /// modes and times.
    pub async fn copy(&self, from: &str, to: &str, path: &str) -> Result<(), EngineError> {
        let folder = match path.trim_end_matches('/').rsplit_once('/') {
            Some((folder, _)) if !folder.is_empty() => folder,
            _ => "/",
        };
        self.make_folders(from, to, folder).await?;
        let get = Request::get(archive(from)).query("path", path).versioned(self.api);
        let put = Request::put(archive(to)).query("path", folder).within(COPY_LIMIT);
        self.wire.pipe(get, put.versioned(self.api)).await?.successful().map(drop)
    }

    /// Makes the folders on the way to `folder` that aren't there, with the modes that
    /// they have where the file comes from.
    async fn make_folders(&self, from: &str, to: &str, folder: &str) -> Result<(), EngineError> {
        let mut missing = Vec::new();
        for (end, _) in folder.match_indices('/').skip(1).chain([(folder.len(), "")]) {
            let path = &folder[..end];
            if path != "/" && self.path_stat(to, path).await?.is_none() {
                let there = self.path_stat(from, path).await?;
                missing.push((path, there.map_or(0o755, |there| there.mode & PERMISSIONS)));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let folders = archive_of_folders(&missing).map_err(|error| EngineError::Garbled {
            doing: "make an archive".to_owned(),
            what: error.to_string(),
        })?;
        self.call(Request::put(archive(to)).query("path", "/").tar(folders)).await.map(drop)
    }
}

fn archive(id: &str) -> String {
    format!("/containers/{id}/archive")
}

fn archive_of_folders(folders: &[(&str, u64)]) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, mode) in folders {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(u32::try_from(*mode).unwrap_or(0o755));
        let path = format!("{}/", path.trim_start_matches('/'));
        archive.append_data(&mut header, path, std::io::empty())?;
    }
    archive.into_inner()
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
    use super::*;

    #[test]
    fn a_link_leads_from_where_it_lies() {
        assert_eq!(linked("/certs/live.pem", "/archive/1.pem"), "/archive/1.pem");
        assert_eq!(linked("/certs/live.pem", "../archive/1.pem"), "/certs/../archive/1.pem");
    }

    #[test]
    fn kinds_of_files_are_told_apart() {
        let read = |json: &str| PathStat::from_header(&BASE64.encode(json)).expect("a stat");
        let file = read(r#"{"name":"a","size":3,"mode":420,"mtime":"2026-01-02T03:04:05Z"}"#);
        assert!(file.is_file() && file.written.is_some());
        assert!(read(r#"{"name":"a","mode":8389101}"#).is_file(), "a program with setuid");
        for (other, mode) in
            [("a folder", 2_147_484_141_u64), ("a link", 134_218_239), ("a socket", 16_777_709)]
        {
            assert!(!read(&format!(r#"{{"name":"a","mode":{mode}}}"#)).is_file(), "{other}");
        }
    }
}
