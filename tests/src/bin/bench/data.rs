//! The backup of an app's data against tar, on the same files, in the same run.
//!
//! Half of what is in the files can be compressed, as in most volumes. All of it is in the
//! kernel's cache, for both. What the second pass takes is time for which an app is stopped.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use changeover::backup::{Backups, Counter, Job, NO_KEY, Report, Source};
use changeover_tests::lab::tools::run;

use crate::table::{Row, Table};
use crate::{ms, ratio};

const FILES: usize = 6_000;
const FILE_SIZE: usize = 170_000;
/// Each hundredth is written anew between the passes.
const CHANGED: usize = 100;
/// What has changed within the last seconds before a look is read twice.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures, or says why not.
pub(crate) fn measure() -> Result<Table, String> {
    let place = Place::new().map_err(|error| error.to_string())?;
    measure_in(&place).map_err(|error| error.to_string())
}

fn measure_in(place: &Place) -> Result<Table, Box<dyn std::error::Error>> {
    place.fill()?;
    std::thread::sleep(SETTLE);
    let (_, packing) = timed(|| place.tar("czf", "data"))?;
    // From now on the peak counts anew.
    fs::write("/proc/self/clear_refs", "5")?;
    let mut backups = Backups::open(&place.of("backups"), NO_KEY)?;
    let job = place.job("data");
    let (first, first_pass) = timed(|| backups.first_pass(&job, &Counter::default()))?;
    place.change(1)?;
    let (second, second_pass) = timed(|| backups.snapshot(&job, &state(), &Counter::default()))?;
    place.change(2)?;
    let back = backups.restore(&job, &state(), &Counter::default())?.unwrap_or_default();
    let (_, unpacking) = timed(|| place.tar("xf", "unpacked"))?;
    let empty = place.job("empty");
    let restore = || backups.restore(&empty, &state(), &Counter::default());
    let (all, restoring) = timed(restore)?;
    let memory = peak_memory();

    let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
    let mut table = Table::default();
    for (what, ours, theirs, name, limit, claim) in [
        ("first pass, while the app serves", first_pass, packing, "tar czf", 0.25, "ratio ≤ 0.25"),
        ("second pass, while it is stopped", second_pass, packing, "tar czf", 0.05, "ratio ≤ 0.05"),
        ("restore into an empty folder", restoring, unpacking, "tar xf", 1.0, "ratio ≤ 1"),
    ] {
        table.add(Row {
            what: what.to_owned(),
            ours: ms(ours),
            alternative: format!("{} {name}", ms(theirs)),
            ratio: Some(ratio(ours, theirs)),
            claim,
            holds: Some(ratio(ours, theirs) <= limit),
        });
    }
    table.add(Row {
        what: "written on the way back, 1 % changed".to_owned(),
        ours: mb(back.changed),
        alternative: format!("{} in all", mb(back.bytes)),
        ratio: Some(back.changed as f64 / back.bytes as f64),
        claim: "ratio ≤ 0.011",
        holds: Some(back.changed as f64 <= back.bytes as f64 * 0.011),
    });
    table.add(Row {
        what: "memory at its peak".to_owned(),
        ours: format!("{memory:.1} MB"),
        alternative: "–".to_owned(),
        ratio: None,
        claim: "≤ 150 MB",
        holds: Some(memory <= 150.0),
    });
    let whole = all.map_or(0, |all: Report| all.bytes);
    assert_eq!(whole, first.bytes, "all of it was restored");
    table.note(format!(
        "{FILES} files, {}; the second pass read {} of it; backups {}, tar.gz {}",
        mb(first.bytes),
        mb(second.changed),
        mb(size(&place.of("backups"))?),
        mb(size(&place.of("data.tar.gz"))?),
    ));
    Ok(table)
}

fn state() -> Vec<String> {
    vec!["old".to_owned()]
}

/// A folder of our own, gone at the end.
struct Place {
    root: PathBuf,
}

impl Place {
    fn new() -> io::Result<Place> {
        let root =
            std::env::temp_dir().join(format!("changeover-bench-data-{}", std::process::id()));
        for part in ["data", "empty", "unpacked"] {
            fs::create_dir_all(root.join(part))?;
        }
        Ok(Place { root })
    }

    fn of(&self, part: &str) -> PathBuf {
        self.root.join(part)
    }

    fn job(&self, part: &str) -> Job {
        let source = Source { name: "web-data".into(), path: "/data".into(), here: self.of(part) };
        Job {
            app: "web".into(),
            update: "bench".into(),
            sources: vec![source],
            exclude: Vec::new(),
        }
    }

    fn fill(&self) -> io::Result<()> {
        for n in 0..FILES {
            let folder = self.of("data").join(format!("{}", n / 100));
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("{n}")), content(n as u64))?;
        }
        Ok(())
    }

    fn change(&self, round: usize) -> io::Result<()> {
        for n in (0..FILES).step_by(CHANGED) {
            let file = self.of("data").join(format!("{}/{n}", n / 100));
            fs::write(file, content((n + round * FILES) as u64))?;
        }
        Ok(())
    }

    fn tar(&self, how: &str, folder: &str) -> Result<String, changeover_tests::lab::InstallError> {
        let mut tar = Command::new("tar");
        tar.arg(how).arg(self.of("data.tar.gz")).arg("-C").arg(self.of(folder));
        if how == "czf" {
            tar.arg(".");
        }
        run("run tar", &mut tar)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Half noise, half its digits.
fn content(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..FILE_SIZE / 16).flat_map(|_| noise()).collect();
    while bytes.len() < FILE_SIZE {
        bytes.extend(noise().map(|byte| b"0123456789abcdef"[usize::from(byte % 16)]));
    }
    bytes
}

fn timed<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<(T, Duration), E> {
    let begun = Instant::now();
    work().map(|done| (done, begun.elapsed()))
}

fn peak_memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / 1000.0
}

fn size(path: &Path) -> io::Result<u64> {
    if !path.is_dir() {
        return Ok(fs::metadata(path)?.len());
    }
    fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}
