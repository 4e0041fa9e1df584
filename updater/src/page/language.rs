//! Which language a visitor reads.
//!
//! `?changeover-lang=de` comes first, then the operator's setting, then what the
//! browser says, then English. Whoever reads nothing that we have gets English.

use std::collections::BTreeMap;

/// The page's words in one language.
#[derive(Debug, Clone)]
pub(super) struct Words {
    /// The language, say `pt` or `zh-Hans`.
    pub(super) code: String,
    /// Every string by its key.
    strings: BTreeMap<String, String>,
}

impl Words {
    /// Reads one `strings.<lang>.json`. What is missing is filled from `fallback`.
    pub(super) fn read(json: &[u8], fallback: Option<&Words>) -> Result<Words, serde_json::Error> {
        let mut strings: BTreeMap<String, String> = serde_json::from_slice(json)?;
        for (key, text) in fallback.into_iter().flat_map(|words| &words.strings) {
            strings.entry(key.clone()).or_insert_with(|| text.clone());
        }
        let code = strings.get("lang").cloned().unwrap_or_default();
        Ok(Words { code, strings })
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.strings.get(key).map(String::as_str)
    }

    /// So many bytes as people say it: never more than there are, and with a decimal only
    /// where that tells something. The scripts have the same by heart.
    pub(super) fn size(&self, bytes: u64) -> String {
        let text = |key| self.text(key).unwrap_or_default();
        let mut units = text("size.units").split(' ').peekable();
        let mut unit = units.next().unwrap_or_default();
        let mut tenths = bytes / 100_000;
        while let Some(larger) = units.next_if(|_| tenths >= 10_000) {
            (tenths, unit) = (tenths / 1000, larger);
        }
        let number = match (tenths / 10, tenths % 10) {
            (whole @ 0..10, tenth) => format!("{whole}{}{tenth}", text("size.point")),
            (whole, _) => whole.to_string(),
        };
        text("size").replace("{number}", &number).replace("{unit}", unit)
    }

    /// What the script needs: nothing that only the server says.
    pub(super) fn for_script(&self) -> String {
        let server_only = ["lang", "dir", "support", "note.", "plain.", "client."];
        let mut strings = self.strings.clone();
        strings.retain(|key, _| !server_only.iter().any(|start| key.starts_with(start)));
        serde_json::to_string(&strings).unwrap_or_default()
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.strings.keys().map(String::as_str)
    }
}

/// What a visitor told us about languages.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    /// The query of the address.
    pub(super) query: Option<&'a str>,
    /// `Accept-Language`.
    pub(super) accept: Option<&'a str>,
}

/// The place of the language that fits best. The first one is for everybody else.
pub(super) fn choose(languages: &[Words], fixed: Option<&str>, wish: Wish<'_>) -> usize {
    let asked = wish.query.into_iter().flat_map(|query| query.split('&'));
    let asked = asked.filter_map(|pair| pair.strip_prefix("changeover-lang="));
    if let Some(found) = asked.chain(fixed).find_map(|tag| find(languages, tag)) {
        return found;
    }
    let ranges = ranges(wish.accept.unwrap_or_default());
    let exact = ranges.iter().find_map(|tag| find(languages, tag));
    // Better the other script than another language, but only if there is nothing else.
    exact.or_else(|| ranges.iter().find_map(|tag| find(languages, primary(tag)))).unwrap_or(0)
}

/// The language that a tag means: `de-AT` is German.
pub(super) fn find(languages: &[Words], tag: &str) -> Option<usize> {
    let tag = tag.to_ascii_lowercase().replace('_', "-");
    let wanted = match primary(&tag) {
        "zh" => {
            let traditional = ["hant", "tw", "hk", "mo"];
            let mut parts = tag.split('-').skip(1);
            match parts.any(|part| traditional.contains(&part)) && !tag.contains("hans") {
                true => return None,
                false => "zh-hans",
            }
        }
        // What browsers called Hebrew before 1989, and some still do.
        "iw" => "he",
        other => other,
    };
    let matches = |code: &str| code.eq_ignore_ascii_case(&tag) || code.eq_ignore_ascii_case(wanted);
    languages.iter().position(|words| matches(&words.code))
}

fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or_default()
}

/// The tags of an `Accept-Language`, most wanted first.
fn ranges(header: &str) -> Vec<&str> {
    // Nobody reads more languages than that; a header may be 64 KB long.
    let mut ranges: Vec<(&str, f32)> = header
        .split(',')
        .take(32)
        .filter_map(|entry| {
            let mut parts = entry.split(';').map(str::trim);
            let tag = parts.next()?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
            let weight = weight.unwrap_or(1.0);
            (weight > 0.0).then_some((tag, weight))
        })
        .collect();
    ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranges.into_iter().map(|(tag, _)| tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::assets::Assets;

    const LANGUAGES: [&str; 16] = [
        "en", "ar", "de", "es", "fr", "he", "it", "ja", "ko", "nl", "pl", "pt", "ru", "tr", "uk",
        "zh-Hans",
    ];

    fn chosen(query: &str, fixed: Option<&str>, accept: &str) -> String {
        let assets = Assets::ours();
        let wish = Wish { query: Some(query), accept: Some(accept) };
        assets.languages[choose(&assets.languages, fixed, wish)].code.clone()
    }

    #[test]
    fn no_input_makes_the_choice_of_a_language_panic() {
        let assets = Assets::ours();
        let languages = &assets.languages;
        let samples: [&[u8]; 3] =
            [b"de-AT,en;q=0.5,zh-TW;q=0.1", b"a=b&changeover-lang=zh_CN", b"*;q=NaN, iw"];
        crate::fuzzed::bytes(150, &samples, |input| {
            let text = String::from_utf8_lossy(input);
            let wish = Wish { query: Some(&text), accept: Some(&text) };
            assert!(choose(languages, Some(&text), wish) < languages.len());
        });
    }

    #[test]
    fn every_language_is_there_english_first() {
        let assets = Assets::ours();
        let codes: Vec<&str> = assets.languages.iter().map(|words| words.code.as_str()).collect();
        assert_eq!(codes, LANGUAGES);
    }

    #[test]
    fn browsers_get_what_they_ask_for() {
        for (accept, expected) in [
            ("", "en"),
            ("*", "en"),
            ("de", "de"),
            ("de-AT", "de"),
            ("DE-at,en;q=0.5", "de"),
            ("en;q=0.5, fr;q=0.9", "fr"),
            ("fr;q=0.5,en;q=0.9", "en"),
            ("sv,da;q=0.9,nl;q=0.8", "nl"),
            ("sv", "en"),
            ("de;q=0, it;q=0.1", "it"),
            ("pt-BR,pt;q=0.9", "pt"),
            ("iw", "he"),
            ("zh", "zh-Hans"),
            ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"),
            ("zh-Hans-HK", "zh-Hans"),
            ("zh-TW,en;q=0.5", "en"),
            ("zh-TW,zh;q=0.9,en;q=0.5", "zh-Hans"),
            ("zh-Hant", "zh-Hans"),
            ("english please; q=x,,;;,-", "en"),
        ] {
            assert_eq!(chosen("", None, accept), expected, "{accept}");
        }
    }

    #[test]
    fn the_address_comes_before_the_setting_and_the_setting_before_the_browser() {
        assert_eq!(chosen("", Some("fr"), "de"), "fr");
        assert_eq!(chosen("a=b&changeover-lang=ja", Some("fr"), "de"), "ja");
        assert_eq!(chosen("changeover-lang=xx", None, "de"), "de");
        assert_eq!(chosen("changeover-lang=", Some("xx"), "de"), "de");
        assert_eq!(chosen("changeover-lang=zh_CN", None, ""), "zh-Hans");
    }

    #[test]
    fn no_string_is_missing_or_unknown_and_placeholders_are_the_same() {
        let languages = &Assets::ours().languages;
        let english = &languages[0];
        for code in LANGUAGES {
            let file = format!("../maintenance-ui/strings.{code}.json");
            // From the file, since a missing string is English by now.
            let json = std::fs::read(&file).expect("the strings are there");
            let words = Words::read(&json, None).expect("JSON");
            let (keys, expected): (Vec<_>, Vec<_>) =
                (words.keys().collect(), english.keys().collect());
            assert_eq!(keys, expected, "{code}");
            for key in expected {
                let (ours, theirs) = (words.text(key), english.text(key));
                assert_eq!(placeholders(ours), placeholders(theirs), "{code} {key}");
                assert!(ours.is_some_and(|text| !text.trim().is_empty()), "{code} {key}");
            }
            let dir = if ["ar", "he"].contains(&code) { "rtl" } else { "ltr" };
            assert_eq!(words.text("dir"), Some(dir), "{code}");
            assert_eq!(words.text("lang"), Some(code));
        }
    }

    #[test]
    fn sizes_are_said_as_people_say_them() {
        let languages = &Assets::ours().languages;
        let said = |code: &str, bytes| {
            let words = languages.iter().find(|words| words.code == code).expect("it is there");
            words.size(bytes).replace('\u{a0}', " ")
        };
        for (bytes, expected) in [
            (0, "0.0 MB"),
            (99_999, "0.0 MB"),
            (9_999_999, "9.9 MB"),
            (10_000_000, "10 MB"),
            (412_345_678, "412 MB"),
            (999_999_999, "999 MB"),
            (1_000_000_000, "1.0 GB"),
            (34_500_000_000, "34 GB"),
            (1_960_000_000_000, "1.9 TB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(said("en", bytes), expected);
        }
        let said = ["de", "fr", "ru", "ar"].map(|code| said(code, 1_234_567_890));
        assert_eq!(said, ["1,2 GB", "1,2 Go", "1,2 ГБ", "1.2 غ.ب"]);
    }

    #[test]
    fn no_string_was_left_in_english() {
        let languages = &Assets::ours().languages;
        for words in &languages[1..] {
            let same = words.keys().filter(|key| {
                let text = words.text(key).unwrap_or_default();
                text.split_whitespace().count() > 2 && languages[0].text(key) == Some(text)
            });
            let ours = ["progress.tab", "size.units"];
            let same: Vec<&str> = same.filter(|key| !ours.contains(key)).collect();
            assert!(same.is_empty(), "{}: {same:?}", words.code);
        }
    }

    /// What is written the other way would turn a sentence around, as a name or a `GB` is.
    #[test]
    fn from_right_to_left_names_and_sizes_stand_for_themselves() {
        for words in Assets::ours().languages.iter().filter(|w| w.text("dir") == Some("rtl")) {
            for key in words.keys() {
                let text = words.text(key).unwrap_or_default();
                for name in ["{app}", "{done}", "{total}"] {
                    let isolated = text.matches(&format!("\u{2068}{name}\u{2069}")).count();
                    assert_eq!(text.matches(name).count(), isolated, "{} {key}", words.code);
                }
            }
        }
    }

    fn placeholders(text: Option<&str>) -> Vec<&str> {
        let parts = text.unwrap_or_default().split('{').skip(1);
        let mut names: Vec<&str> = parts.filter_map(|part| part.split('}').next()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
