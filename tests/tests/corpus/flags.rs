//! Every flag of `docker run` is in the corpus, or it is said why not.

use changeover_tests::lab::EngineKind;

use crate::cases;
use crate::stage::Stage;

/// Flags that no case uses, and why.
#[rustfmt::skip]
const LEFT_OUT: &[(&str, &str)] = &[
    ("help", "makes no container"),
    ("gpus", "needs a GPU"),
    ("storage-opt", "needs a disk with quotas"),
    ("cpu-count", "refused by an engine on Linux"),
    ("cpu-percent", "refused by an engine on Linux"),
    ("io-maxbandwidth", "refused by an engine on Linux"),
    ("io-maxiops", "refused by an engine on Linux"),
    ("rm", "the program refuses it: see the engine suite's refusals"),
];

pub(crate) fn every_flag_is_covered(kind: EngineKind) {
    let help = Stage::of(kind).script("docker run --help", &[]);
    let flags: Vec<String> = help.lines().filter_map(flag).collect();
    assert!(flags.len() > 80, "what is this: {help}");
    let used = used(kind);
    let uncovered: Vec<&String> = flags
        .iter()
        .filter(|flag| !used.contains(flag) && !LEFT_OUT.iter().any(|(left, _)| left == flag))
        .collect();
    assert!(uncovered.is_empty(), "no case of this engine has: {uncovered:?}");
}

/// The flag that this line of the help explains.
fn flag(line: &str) -> Option<String> {
    let words = line.trim_start();
    let long = words.starts_with("--") || (words.starts_with('-') && words.contains(", --"));
    let (_, rest) = long.then(|| words.split_once("--"))??;
    rest.split([' ', '\n']).next().map(str::to_owned)
}

/// Long flags that the cases of this engine use.
fn used(kind: EngineKind) -> Vec<String> {
    let texts = cases::all().into_iter().filter(|case| case.runs_on(kind)).map(|case| case.text());
    texts
        .flat_map(|text| {
            let words = text.split_whitespace().filter_map(|word| word.strip_prefix("--"));
            words
                .map(|word| word.split('=').next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}
