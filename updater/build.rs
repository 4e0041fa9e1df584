//! Writes down of which crates the program is made, for its section `.dep-v0`: the form of
//! `cargo auditable`, which scanners (Trivy, Grype, `cargo audit bin`) read from a binary.

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use flate2::Compression;
use flate2::write::ZlibEncoder;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=../Cargo.lock");
    println!("cargo::rerun-if-changed=Cargo.toml");
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    zlib.write_all(packages(&tree()?).as_bytes())?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("crates"), zlib.finish()?)?;
    Ok(())
}

/// What cargo itself says, a crate a line: `name v1.2.3`, and what is special about it.
fn tree() -> Result<String, Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"]);
    cargo.args(["--format", "{p}", "--target", &env::var("TARGET")?]);
    let said = cargo.stdin(Stdio::null()).output()?;
    if !said.status.success() {
        return Err(format!("cargo tree: {}", String::from_utf8_lossy(&said.stderr)).into());
    }
    Ok(String::from_utf8(said.stdout)?)
}

fn packages(tree: &str) -> String {
    let mut rows: Vec<String> = Vec::new();
    for line in tree.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else { continue };
        let version = version.trim_start_matches('v');
        let own = name == env!("CARGO_PKG_NAME");
        let rest = match (own, line.contains("(proc-macro)")) {
            (true, _) => r#""source":"local","root":true"#,
            // It was run by the compiler and is not in the program.
            (false, true) => r#""source":"crates.io","kind":"build""#,
            (false, false) => r#""source":"crates.io""#,
        };
        rows.push(format!(r#"{{"name":"{name}","version":"{version}",{rest}}}"#));
    }
    rows.sort();
    rows.dedup();
    format!(r#"{{"packages":[{}]}}"#, rows.join(","))
}
