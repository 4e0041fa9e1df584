//! Programs of Debian packages for images that hold a real database. They are unpacked beside
//! this machine, never installed on it, and the loader says what they are linked to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::lab::InstallError;
use crate::lab::tools::{cache_dir, run};

/// Unpacked packages.
pub(crate) struct Unpacked {
    /// Where they are.
    pub(crate) folder: PathBuf,
}

impl Unpacked {
    /// What the packages bring, from whichever Debian this is; fetched once.
    pub(crate) fn new(
        name: &str,
        packages: impl Fn() -> Result<Vec<String>, InstallError>,
    ) -> Unpacked {
        /// Of the tests in this process, one at a time.
        static FETCHING: Mutex<()> = Mutex::new(());
        let folder = cache_dir().join(name);
        let _turn = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
        if !folder.exists() {
            let fresh = cache_dir().join(format!("{name}-{}", std::process::id()));
            fs::create_dir_all(&fresh).expect("a folder below the cache");
            let fetch = || {
                let mut download = Command::new("apt-get");
                download.arg("download").args(packages()?).current_dir(&fresh);
                run(&format!("fetch the packages of {name}"), &mut download)
            };
            // A fresh machine, or one that slept for long, knows no current package list.
            let update = || run("update the package lists", Command::new("apt-get").arg("update"));
            fetch().or_else(|_| update().and_then(|_| fetch())).unwrap_or_else(|e| panic!("{e}"));
            let mut unpack = Command::new("sh");
            let script = "for p in *.deb; do dpkg-deb -x $p . && rm $p || exit 1; done";
            unpack.args(["-c", script]).current_dir(&fresh);
            run(&format!("unpack {name}"), &mut unpack).unwrap_or_else(|e| panic!("{e}"));
            // Another process may have been faster.
            if fs::rename(&fresh, &folder).is_err() {
                fs::remove_dir_all(&fresh).expect("ours");
            }
        }
        Unpacked { folder }
    }

    /// What programs and libraries are linked to: where an image has to hold it, and where
    /// it is here.
    pub(crate) fn linked(&self, programs: &[PathBuf]) -> Vec<(String, PathBuf)> {
        let libraries =
            ["usr/lib", "lib"].into_iter().flat_map(|part| list(&self.folder.join(part)));
        let search: Vec<_> = libraries.map(|path| path.display().to_string()).collect();
        let mut ldd = Command::new("ldd");
        ldd.args(programs).env("LD_LIBRARY_PATH", search.join(":"));
        let linked = run("look what is linked", &mut ldd).unwrap_or_else(|e| panic!("{e}"));
        let mut files: Vec<(String, PathBuf)> = Vec::new();
        for line in linked.lines().filter(|line| line.starts_with('\t')) {
            let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else {
                assert!(!line.contains("not found"), "{line}");
                continue;
            };
            // The loader is asked for where it is, the others are looked for in /lib.
            let name = Path::new(path).file_name().expect("a name").to_string_lossy();
            let at = match name.starts_with("ld-") {
                true => path.trim_start_matches('/').to_owned(),
                false => format!("lib/{name}"),
            };
            if files.iter().all(|(known, _)| *known != at) {
                files.push((at, fs::canonicalize(path).expect("ldd has found it")));
            }
        }
        files
    }
}

/// What is in a folder, if it is there.
pub(crate) fn list(folder: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(folder).into_iter().flatten().flatten();
    found.map(|entry| entry.path()).collect()
}
