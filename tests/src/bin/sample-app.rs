//! The app that the suite updates: `sample-app [--flag value]…`, or
//! `sample-app healthcheck [url]` for an image's `HEALTHCHECK`.
//! What it can be told is in `changeover_tests::sample::Settings`.

use changeover_tests::sample::{self, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let asks = arguments.first().is_some_and(|first| first == "healthcheck");
    let url = if asks { arguments.drain(..).nth(1) } else { None };

    let result = Settings::read(arguments).and_then(|settings| {
        if asks {
            return sample::healthcheck(&settings, url.as_deref()).map(|()| 0);
        }
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .and_then(|runtime| runtime.block_on(sample::run(settings)))
            .map_err(|error| error.to_string())
    });
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("{error}");
            1.into()
        }
    }
}
