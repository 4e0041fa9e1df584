//! The page in a real browser: in all its states, sizes and colours, and in front of
//! everything that is not the new version. The screenshots stay in `target/page-shots/`,
//! on one sheet, `index.html`, for a person to look at.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use changeover_tests::browser;
use changeover_tests::world::program;

#[test]
fn no_state_of_the_page_shuts_anybody_out() {
    let face = [
        ["--page-accent", "#ffd500"],
        ["--page-message", "We are back in a minute."],
        ["--page-support", "mailto:help@example.org"],
    ];
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page-shots");
    look("states.mjs", face.as_flattened(), &[shots]);
}

#[test]
fn the_page_goes_to_the_app_when_that_answers_and_never_before() {
    look("patience.mjs", &[], &[]);
}

/// Runs a script of the browser's in front of a preview.
fn look(script: &str, face: &[&str], args: &[PathBuf]) {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port().to_string();
    drop(free);
    let mut preview = Command::new(program("changeover"))
        .args(["page", "--preview", "--port", &port])
        .args(face)
        .stderr(Stdio::null())
        .spawn()
        .expect("the preview starts");
    let origin = format!("http://127.0.0.1:{port}");
    while std::net::TcpStream::connect(&origin[7..]).is_err() {
        assert!(preview.try_wait().expect("it can be asked").is_none(), "the preview ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let looked = Command::new("node").arg(browser::script(script)).arg(&origin).args(args).status();
    let _ = preview.kill();
    let _ = preview.wait();
    assert!(looked.expect("node runs").success(), "see above");
}
