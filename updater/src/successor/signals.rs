//! Signals by the many names that they have: `SIGINT`, `INT`, `int`, `2`.

/// Those that every Linux has, from 1 on.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// The number of the first real-time signal, `SIGRTMIN`, and of the last one.
const REAL_TIME: std::ops::RangeInclusive<usize> = 34..=64;

/// One name for each signal: `SIGINT` for `2`, `SIGRTMIN+3` for `37`. None given is the
/// one that engines send then.
pub(crate) fn name(signal: &str) -> String {
    let upper = signal.trim().to_uppercase();
    let word = match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "" => "TERM",
        word => word,
    };
    let of_number = |number: usize| match number {
        1..=31 => NAMES[number - 1].to_owned(),
        _ if REAL_TIME.contains(&number) => format!("RTMIN+{}", number - REAL_TIME.start()),
        other => other.to_string(),
    };
    let from_the_end = word.strip_prefix("RTMAX-").and_then(|n| n.parse::<usize>().ok());
    let name = match (word, word.parse(), from_the_end) {
        ("RTMIN", ..) => of_number(*REAL_TIME.start()),
        ("RTMAX", ..) => of_number(*REAL_TIME.end()),
        (_, Ok(number), _) => of_number(number),
        (_, _, Some(n)) if n <= REAL_TIME.end() - REAL_TIME.start() => {
            of_number(REAL_TIME.end() - n)
        }
        _ => word.to_owned(),
    };
    format!("SIG{name}")
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_signal_is_the_same_by_all_its_names() {
        for (one, other) in [
            ("SIGINT", "2"),
            ("int", "INT"),
            ("", "SIGTERM"),
            ("15", "TERM"),
            ("SIGRTMIN+3", "37"),
            ("SIGRTMIN", "34"),
            ("SIGRTMAX-14", "SIGRTMIN+16"),
            ("SIGSYS", "31"),
        ] {
            assert_eq!(name(one), name(other));
        }
        assert_ne!(name("SIGINT"), name("SIGQUIT"));
        assert_eq!(name("unheard"), "SIGUNHEARD");
        assert_eq!(name("99"), "SIG99");
    }
}
