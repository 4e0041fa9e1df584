//! nginx, Debian's package, for what stands in front of an app.

use std::path::{Path, PathBuf};

use crate::unpacked::Unpacked;

/// A configuration with this in its `http` block. nginx keeps its own files in the folder, and
/// removes the one with its process id when it ends: with /dev/null there, the machine's.
pub fn config(folder: &Path, servers: &str) -> String {
    let folder = folder.display();
    let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders = kinds.map(|kind| format!("{kind}_temp_path {folder}/nginx-{kind};")).concat();
    format!(
        "daemon off; user root; pid {folder}/nginx.pid; error_log stderr;
         events {{}}
         http {{ access_log off; {folders}
         {servers} }}"
    )
}

/// The program on this machine.
pub fn program() -> PathBuf {
    unpacked().folder.join("usr/sbin/nginx")
}

/// What an image of it has to hold: program, libraries, and who `root` is.
pub fn files(scratch: &Path) -> Vec<(String, PathBuf)> {
    let passwd = scratch.join("passwd");
    let group = scratch.join("group");
    std::fs::write(&passwd, "root:x:0:0::/:\n").expect("a folder of ours");
    std::fs::write(&group, "root:x:0:\n").expect("a folder of ours");
    let mut files = unpacked().linked(&[program()]);
    files.push(("nginx".to_owned(), program()));
    files.extend([("etc/passwd".to_owned(), passwd), ("etc/group".to_owned(), group)]);
    files
}

fn unpacked() -> Unpacked {
    Unpacked::new("nginx", || Ok(vec!["nginx".to_owned()]))
}
