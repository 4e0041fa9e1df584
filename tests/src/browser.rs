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

/// The client's module, where node takes it for one.
pub fn client() -> PathBuf {
    let path = root().join("client/changeover.js");
    path.canonicalize().unwrap_or(path)
}

/// The example front end in plain HTML: what the app has to serve, the client included.
pub fn html_example() -> Vec<PathBuf> {
    let client = ["changeover.js", "languages.js"].map(|name| root().join("client").join(name));
    let own = ["index.html", "app.js"].map(|name| root().join("examples/frontend/html").join(name));
    client.into_iter().chain(own).collect()
}

/// One of the example front ends that have to be built, built as its own scripts do it.
pub fn built_example(name: &str) -> Vec<PathBuf> {
    build_example(name).unwrap_or_else(|error| panic!("{error}"));
    let built = folder().join("tree/examples/frontend").join(name);
    ["index.html", "app.js"].map(|name| built.join(name)).into()
}

fn build_example(name: &str) -> Result<(), InstallError> {
    let tree = folder().join("tree");
    let here = format!("examples/frontend/{name}");
    let cannot = |source: std::io::Error| InstallError::Tool {
        what: format!("copy {here} to {}", tree.display()),
        output: source.to_string(),
    };
    fs::create_dir_all(&tree).map_err(cannot)?;
    let lock = fs::File::create(folder().join(format!("{name}.lock"))).map_err(cannot)?;
    lock.lock().map_err(cannot)?;
    for part in ["client", &here] {
        fs::create_dir_all(tree.join(part)).map_err(cannot)?;
        for file in fs::read_dir(root().join(part)).map_err(cannot)?.flatten() {
            if file.path().is_file() {
                fs::copy(file.path(), tree.join(part).join(file.file_name())).map_err(cannot)?;
            }
        }
    }
    let npm = |args: &[&str]| {
        let mut npm = Command::new("npm");
        npm.args(args).current_dir(tree.join(&here));
        run(&format!("npm {} in {here}", args.join(" ")), &mut npm).map(drop)
    };
    if !tree.join(&here).join("node_modules/.bin/esbuild").exists() {
        npm(&["ci", "--no-audit", "--no-fund"])?;
    }
    npm(&["run", "build"])
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/browser")
}
