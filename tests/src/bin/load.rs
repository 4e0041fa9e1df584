//! Visitors by hand:
//! `load --target 127.0.0.1:8080 --rate 200 --seconds 10 [--target …] [--path /] [--old 1] [--new 2] [--netns NAME]`.
//! Prints the table and exits with 1 if a request failed.

use changeover_tests::load::{Load, Options, Target, netns};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

fn main() -> ExitCode {
    let (options, seconds) = match read(std::env::args().skip(1)) {
        Ok(read) => read,
        Err(error) => {
            eprintln!(
                "{error}\nusage: load --target ADDRESS:PORT [--target …] [--rate 200] [--seconds 10] [--path /] [--old 1] [--new 2] [--netns NAME]"
            );
            return 2.into();
        }
    };
    match Load::start(options) {
        Ok(load) => {
            std::thread::sleep(Duration::from_secs(seconds));
            let report = load.stop();
            println!("{report}");
            ExitCode::from(u8::from(!report.failures().is_empty()))
        }
        Err(error) => {
            eprintln!("cannot start: {error}");
            2.into()
        }
    }
}

fn read(mut arguments: impl Iterator<Item = String>) -> Result<(Options, u64), String> {
    let mut options = Options::new(Vec::new());
    let mut seconds = 10;
    let mut from = None;
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("`{flag}` needs a value"))?;
        match flag.as_str() {
            "--target" => options.targets.push(Target::new(value.clone(), parse(&value)?)),
            "--rate" => options.rate_per_second = parse(&value)?,
            "--seconds" => seconds = parse(&value)?,
            "--path" => options.path = value,
            "--old" => options.old = value,
            "--new" => options.new = value,
            "--netns" => from = Some(netns(&value)),
            _ => return Err(format!("no such flag: `{flag}`")),
        }
    }
    if options.targets.is_empty() {
        return Err("no target".to_owned());
    }
    options.targets.iter_mut().for_each(|target| target.enter.clone_from(&from));
    Ok((options, seconds))
}

fn parse<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("not understood: `{text}`"))
}
