//! restic, to open the backups without us.

use std::path::PathBuf;

use crate::unpacked::Unpacked;

/// Its program, as Debian has it.
pub fn restic() -> PathBuf {
    let unpacked = Unpacked::new("restic", || Ok(vec!["restic".to_owned()]));
    unpacked.folder.join("usr/bin/restic")
}
