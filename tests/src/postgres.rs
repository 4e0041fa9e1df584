//! PostgreSQL, server and tools, for images that hold a real database.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::lab::InstallError;
use crate::lab::tools::run;
use crate::unpacked::{Unpacked, list};

/// What the images run. `initdb` starts `postgres` itself.
const PROGRAMS: [&str; 6] = ["postgres", "initdb", "psql", "pg_ctl", "pg_amcheck", "pg_checksums"];
/// What the server loads; the rest is for replication, other encodings and the compiler.
const MODULES: [&str; 3] = ["plpgsql.so", "dict_snowball.so", "amcheck.so"];

/// Server and tools, and what they are linked to, as an image has to hold it. The folder
/// of the programs comes first.
pub fn postgres() -> (String, Vec<(String, PathBuf)>) {
    let unpacked = Unpacked::new("postgres", packages);
    let homes = list(&unpacked.folder.join("usr/lib/postgresql"));
    let [home] = &homes[..] else { panic!("one PostgreSQL, not {homes:?}") };
    let here = |part: &Path| {
        let inside = part.strip_prefix(&unpacked.folder).expect("it is below");
        inside.display().to_string()
    };
    let programs = PROGRAMS.map(|name| home.join("bin").join(name));
    let modules = MODULES.map(|name| home.join("lib").join(name));
    let own = [&programs[..], &modules[..]].concat();
    let mut files = unpacked.linked(&own);
    let share =
        unpacked.folder.join("usr/share/postgresql").join(home.file_name().expect("a name"));
    let mut folders = vec![share];
    let mut shared = Vec::new();
    while let Some(folder) = folders.pop() {
        let (more, found) = list(&folder).into_iter().partition(|path| path.is_dir());
        // Some lead to where a package's scripts put something.
        shared.extend(Vec::into_iter(found).filter(|path: &PathBuf| path.is_file()));
        folders.extend::<Vec<_>>(more);
    }
    files.extend(own.into_iter().chain(shared).map(|path| (here(&path), path)));
    (format!("/{}", here(&home.join("bin"))), files)
}

/// The server's package, and the libraries that it needs and this machine hasn't. Those of
/// the compiler for queries and of the scripts aren't needed.
fn packages() -> Result<Vec<String>, InstallError> {
    let ask = |what: &str, command: &[&str]| {
        let mut asked = Command::new(command[0]);
        asked.args(&command[1..]).env("LC_ALL", "C");
        run(what, &mut asked)
    };
    let only = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"];
    let only = only.map(|kind| format!("--no-{kind}"));
    let mut depends = vec!["apt-cache", "depends", "--recurse"];
    depends.extend(only.iter().map(String::as_str));
    depends.push("postgresql");
    let all = ask("ask which PostgreSQL there is", &depends)?;
    let installed = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n"];
    let installed = ask("ask what is installed", &installed)?;
    let is_installed = |name: &str| installed.lines().any(|l| l == format!("{name} installed"));
    let is_server = |name: &str| {
        let version = name.strip_prefix("postgresql-client-").or(name.strip_prefix("postgresql-"));
        version.is_some_and(|version| version.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let is_wanted = |name: &&str| {
        let library = name.starts_with("lib") && !name.contains("perl") && !name.contains("llvm");
        is_server(name) || library && !is_installed(name)
    };
    // Indented are the relations, in angle brackets what only others provide.
    let names = all.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    Ok(names.filter(is_wanted).map(str::to_owned).collect())
}
