//! A real browser: headless Chromium, driven by the scripts in `tests/browser/`.
//!
//! The scripts run in a copy under `target/browser/`, where npm puts the two packages
//! that they need; nothing is written beside the sources.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::InstallError;
use crate::lab::tools::{install_packages, is_installed, run};

/// Programs and the Debian packages that they come from.
const TOOLS: [(&str, &str); 3] = [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")];

/// Makes sure that there is a browser; returns at once when it is there.
///
/// What is missing is installed when we are root, and told otherwise.
pub fn install() -> Result<(), InstallError> {
    let missing: Vec<_> =
        TOOLS.iter().filter(|(tool, _)| !is_installed(tool)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        if !rustix::process::geteuid().is_root() {
            return Err(InstallError::NotRoot { missing });
        }
        install_packages(&missing)?;
    }
    let folder = folder();
    let cannot = |source: std::io::Error| InstallError::Tool {
        what: format!("copy the browser's scripts to {}", folder.display()),
        output: source.to_string(),
    };
    fs::create_dir_all(&folder).map_err(cannot)?;
    let lock = fs::File::create(folder.join("install.lock")).map_err(cannot)?;
    lock.lock().map_err(cannot)?;
    for script in fs::read_dir(sources()).map_err(cannot)?.flatten() {
        fs::copy(script.path(), folder.join(script.file_name())).map_err(cannot)?;
    }
    if !folder.join("node_modules/playwright-core").exists()
        || !folder.join("node_modules/axe-core").exists()
    {
        eprintln!("fetching playwright-core and axe-core (npm packages, for browser tests)…");
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund"]).current_dir(&folder);
        run("fetch the npm packages", &mut npm)?;
    }
    Ok(())
}

/// One of the scripts, where it can be run.
pub fn script(name: &str) -> PathBuf {
    folder().join(name)
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/browser")
}
