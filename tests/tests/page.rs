//! The page in all its states, sizes and colours, in a real browser. The screenshots
//! stay in `target/page-shots/`, for a person to look at.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use changeover_tests::browser;
use changeover_tests::world::program;

#[test]
fn no_state_of_the_page_shuts_anybody_out() {
    browser::install().unwrap_or_else(|error| panic!("{error}"));
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port().to_string();
    drop(free);
    let mut preview = Command::new(program("changeover"))
        .args(["page", "--preview", "--port", &port, "--page-accent", "#ffd500"])
        .args(["--page-message", "We are back in a minute."])
        .args(["--page-support", "mailto:help@example.org"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the preview starts");
    let origin = format!("http://127.0.0.1:{port}");
    while std::net::TcpStream::connect(&origin[7..]).is_err() {
        assert!(preview.try_wait().expect("it can be asked").is_none(), "the preview ended");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/page-shots");
    let states = browser::script("states.mjs");
    let looked = Command::new("node").arg(states).arg(&origin).arg(shots).status();
    let _ = preview.kill();
    let _ = preview.wait();
    assert!(looked.expect("node runs").success(), "see above");
}
