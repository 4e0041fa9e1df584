//! `completions` and `man`: what the command line says of itself, in other formats.

use std::io::{self, Write};
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, CliError, Exit};

pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "changeover", &mut script);
    print(&script);
    Exit::Done
}

/// Prints the manual page of the whole, or writes those of all commands to a directory.
pub(super) fn man(dir: Option<&Path>) -> Result<Exit, CliError> {
    let wrong = |source| CliError::ManualPage { dir: dir.map(Path::to_owned), source };
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(wrong)?;
            clap_mangen::generate_to(Cli::command(), dir).map_err(wrong)?;
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command()).render(&mut page).map_err(wrong)?;
            print(&page);
        }
    }
    Ok(Exit::Done)
}

/// A reader that has seen enough, say `head`, is no failure.
fn print(text: &[u8]) {
    let _ = io::stdout().write_all(text);
}
