//! The example apps as images, in a lab that has no internet.
//!
//! They are built by their own Dockerfiles. What those install is in their base image already: a
//! Debian with the packages that they name, made once, and npm's packages.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::InstallError;
use crate::lab::tools::{build_debian, cache_dir, run};
use crate::world::{World, program};

/// The examples, by their directories.
pub const EXAMPLES: [&str; 4] = ["python", "node", "curl", "rust"];

/// The base image of those that have one.
const BASE: &str = "debian:trixie-slim";

/// What the examples are built from, on this machine.
#[derive(Debug)]
pub struct Ingredients {
    base: PathBuf,
    node_modules: PathBuf,
    acme: PathBuf,
}

impl Ingredients {
    /// Makes what is missing.
    pub fn install() -> Result<Ingredients, InstallError> {
        Ok(Ingredients { base: base()?, node_modules: node_modules()?, acme: acme()? })
    }

    /// Builds versions 1 and 2 of all examples, and the image that they start.
    pub fn build(&self, world: &World) {
        let context = world.lab.dir().join("examples");
        let files: &[&str] = &["client", "examples/frontend/html"];
        for part in files.iter().map(|part| (*part).to_owned()).chain(EXAMPLES.map(path_of)) {
            copy(&root().join(&part), &context.join(&part));
        }
        copy(&self.node_modules, &context.join("examples/node/node_modules"));
        fs::create_dir_all(context.join("target/image")).expect("the lab's directory is writable");
        fs::copy(&self.acme, context.join("target/image/acme")).expect("a copy");
        fs::copy(program("changeover"), context.join("changeover")).expect("a copy");
        fs::copy(&self.base, context.join("base.tar")).expect("a copy");
        docker(world, &context, &format!("docker import base.tar {BASE} && rm base.tar"));
        let changeover = [("changeover", program("changeover"))];
        let changeover = changeover.each_ref().map(|(name, file)| (*name, file.as_path(), 0o755));
        world.lab.import_image("changeover:0.1.0", &changeover, &[r#"ENTRYPOINT ["/changeover"]"#]);
        for example in EXAMPLES {
            let dockerfile = context.join(path_of(example)).join("Dockerfile");
            let without_internet: String = lines_of(&dockerfile)
                .into_iter()
                .filter(|line| !line.starts_with("RUN "))
                .map(|line| line + "\n")
                .collect();
            fs::write(&dockerfile, without_internet).expect("the lab's directory is writable");
            for version in [1, 2] {
                let build = format!(
                    "docker build --file examples/{example}/Dockerfile \
                     --build-arg VERSION={version} --tag acme-{example}:{version} ."
                );
                docker(world, &context, &build);
            }
        }
    }
}

/// The Debian that the examples' Dockerfiles would make.
fn base() -> Result<PathBuf, InstallError> {
    let mut packages = BTreeSet::new();
    for example in EXAMPLES {
        for line in lines_of(&root().join(path_of(example)).join("Dockerfile")) {
            let Some((_, named)) = line.split_once("apt-get install") else { continue };
            packages
                .extend(named.split(' ').filter(|word| !word.starts_with('-')).map(str::to_owned));
        }
    }
    // It is for another line of the Dockerfile, and comes with hundreds of its own.
    packages.remove("npm");
    packages.remove("");
    let mut hasher = DefaultHasher::new();
    packages.hash(&mut hasher);
    let place = cache_dir().join(format!("examples-{:016x}.tar", hasher.finish()));
    let packages: Vec<String> = packages.into_iter().collect();
    build_debian("the examples' base image", "trixie", &packages.join(","), &place)?;
    Ok(place)
}

/// What `npm ci` fetches, beside the sources' copy.
fn node_modules() -> Result<PathBuf, InstallError> {
    let folder = root().join("target/examples/node");
    let cannot = |source: std::io::Error| InstallError::Tool {
        what: format!("copy examples/node to {}", folder.display()),
        output: source.to_string(),
    };
    fs::create_dir_all(&folder).map_err(cannot)?;
    let lock = fs::File::create(folder.join("install.lock")).map_err(cannot)?;
    lock.lock().map_err(cannot)?;
    let modules = folder.join("node_modules");
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    let wanted = root().join("examples/node/package-lock.json");
    let is_fresh = read(folder.join("package-lock.json")) == read(wanted.clone());
    if !modules.exists() || !is_fresh {
        for name in ["package.json", "package-lock.json"] {
            fs::copy(root().join("examples/node").join(name), folder.join(name)).map_err(cannot)?;
        }
        eprintln!("fetching dockerode (npm packages, for examples/node)…");
        let mut npm = Command::new("npm");
        npm.args(["ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]);
        run("fetch the npm packages", npm.current_dir(&folder))?;
    }
    Ok(modules)
}

/// The example in Rust. `cargo test` has built it; when it runs one test alone it has not.
fn acme() -> Result<PathBuf, InstallError> {
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    cargo.args(["build", "--quiet", "--locked", "--package", "changeover", "--example", "acme"]);
    cargo.args(["--message-format", "json"]).current_dir(root());
    let said = run("build examples/rust", &mut cargo)?;
    let built = said.lines().filter_map(|line| serde_json::from_str(line).ok()).find_map(
        |message: serde_json::Value| match message["target"]["name"] == "acme" {
            true => message["executable"].as_str().map(PathBuf::from),
            false => None,
        },
    );
    built.ok_or_else(|| InstallError::Tool {
        what: "find the built examples/rust".to_owned(),
        output: said.clone(),
    })
}

fn path_of(example: &str) -> String {
    format!("examples/{example}")
}

fn lines_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file);
    let text = text.unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
    text.lines().map(str::to_owned).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the lab's directory is writable");
    let done =
        Command::new("cp").args(["--recursive", "--no-target-directory"]).args([from, to]).status();
    assert!(done.is_ok_and(|done| done.success()), "cannot copy {}", from.display());
}

fn docker(world: &World, dir: &Path, script: &str) {
    let script = format!("cd {} && export DOCKER_BUILDKIT=0 && {script}", dir.display());
    let done = world.lab.machine_command("sh").args(["-c", &script]).output();
    let done = done.expect("the machine has a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{script}: {said}{}", String::from_utf8_lossy(&done.stdout));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
