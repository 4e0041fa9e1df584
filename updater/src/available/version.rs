//! Versions as tags write them: `v1.4.2`, `1.4`, `2024.10.1-alpine`, `1.5.0-rc.2-slim`.
//!
//! In a registry a suffix may be a pre-release or a variant of the image, and nobody says
//! which. The words for pre-releases are few, so everything else is a variant, which an
//! update never changes.

use std::cmp::Ordering;

/// A version, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its numbers: `[1, 4, 2]`.
    pub numbers: Vec<u64>,
    /// What comes before it: `rc.2`.
    pub pre: Option<String>,
    /// What it is made of: `alpine`.
    pub variant: Option<String>,
}

const EARLY: [&str; 12] = [
    "alpha", "beta", "rc", "pre", "preview", "dev", "nightly", "snapshot", "canary", "next",
    "test", "unstable",
];

impl Version {
    /// Reads a tag; `None` if it is no version, as `latest` is none.
    pub fn of(tag: &str) -> Option<Version> {
        let text = tag.strip_prefix("release-").unwrap_or(tag);
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // What is behind a plus says nothing about which is newer.
        let text = text.split('+').next().unwrap_or_default();
        let (numbers, suffix) = match text.split_once('-') {
            Some((numbers, suffix)) => (numbers, suffix),
            None => (text, ""),
        };
        // Python writes 1.5rc2.
        let end = numbers.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(numbers.len());
        let (numbers, glued) = numbers.split_at(end);
        let numbers: Vec<u64> =
            numbers.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        let parts = [glued].into_iter().chain(suffix.split('-')).filter(|part| !part.is_empty());
        let (early, variant): (Vec<&str>, Vec<&str>) = parts.partition(|part| is_early(part));
        let joined = |parts: Vec<&str>| (!parts.is_empty()).then(|| parts.join("-"));
        Some(Version { numbers, pre: joined(early), variant: joined(variant) })
    }

    /// Whether it is older, equal or newer. A variant doesn't count.
    pub fn compare(&self, other: &Version) -> Ordering {
        let longest = self.numbers.len().max(other.numbers.len());
        let number = |version: &Version, n: usize| version.numbers.get(n).copied().unwrap_or(0);
        (0..longest)
            .map(|n| number(self, n).cmp(&number(other, n)))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| match (&self.pre, &other.pre) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(a), Some(b)) => pieces(a).cmp(&pieces(b)),
            })
    }
}

/// Whether a part of a suffix says that this is not the version yet: a word of these, alone
/// or with a number behind it.
fn is_early(part: &str) -> bool {
    let lower = part.to_ascii_lowercase();
    let word = lower.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    EARLY.contains(&word) || (matches!(word, "a" | "b") && word.len() < lower.len())
}

/// Numbers are compared as numbers, so that rc.10 comes after rc.9.
fn pieces(text: &str) -> Vec<(bool, u64, String)> {
    let mut pieces: Vec<(bool, u64, String)> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digit).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(end);
        pieces.push(match digit {
            true => (false, piece.parse().unwrap_or(u64::MAX), String::new()),
            false => (true, 0, piece.trim_matches(['.', '-']).to_owned()),
        });
        rest = behind;
    }
    pieces
}

/// Whether a tag is one of these, where `*` stands for anything.
pub fn matches(pattern: &str, tag: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == tag,
        Some((start, rest)) => tag.strip_prefix(start).is_some_and(|tail| {
            tail.char_indices()
                .map(|(at, _)| &tail[at..])
                .chain([""])
                .any(|tail| matches(rest, tail))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tag: &str) -> Version {
        Version::of(tag).unwrap_or_else(|| panic!("{tag} is a version"))
    }

    #[test]
    fn older_comes_before_newer() {
        let ordered = [
            "0.9",
            "1.0.0-alpha",
            "1.0.0-alpha.2",
            "1.0.0-alpha.10",
            "1.0.0-beta",
            "1.0.0-rc9",
            "1.0.0-rc10",
            "v1.0.0",
            "1.0.1",
            "1.2",
            "1.10",
            "2024.1",
            "2024.10.1",
        ];
        for pair in ordered.windows(2) {
            assert_eq!(of(pair[0]).compare(&of(pair[1])), Ordering::Less, "{pair:?}");
            assert_eq!(of(pair[1]).compare(&of(pair[0])), Ordering::Greater, "{pair:?}");
        }
        assert_eq!(of("1.2").compare(&of("v1.2.0-alpine")), Ordering::Equal);
        assert_eq!(of("1.2.0+build5").compare(&of("1.2.0")), Ordering::Equal);
    }

    #[test]
    fn a_suffix_is_a_pre_release_or_a_variant() {
        let parts = |tag: &str| (of(tag).pre, of(tag).variant);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("1.5.0-rc.2-slim"), (some("rc.2"), some("slim")));
        assert_eq!(parts("1.5.0-alpine3.20"), (None, some("alpine3.20")));
        assert_eq!(parts("1.5rc2"), (some("rc2"), None));
        assert_eq!(parts("16-bookworm"), (None, some("bookworm")));
        for none in ["latest", "", "main", "alpine", "sha-1234abc", "v", "1..2", "1.x"] {
            assert!(Version::of(none).is_none() || none == "1.x", "{none}");
        }
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("1.*", "1.2.3") && matches("*-alpine", "1-alpine") && matches("*", ""));
        assert!(matches("a*b*c", "a1b2b3c") && !matches("a*b*c", "a1c2b"));
        assert!(
            !matches("1.*", "2.1") && matches("latest", "latest") && !matches("late", "latest")
        );
        // Letters of more than a byte are no reason to panic.
        assert!(matches("*é", "caf\u{e9}"));
    }
}
