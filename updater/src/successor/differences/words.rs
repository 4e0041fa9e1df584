//! Values in words: short, and without what may be a secret.

use std::time::Duration;

use serde_json::Value;

/// A value that is nobody's secret.
pub(super) fn in_words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Only health checks have numbers of this size: nanoseconds.
        Value::Number(number) => match number.as_u64() {
            Some(nanoseconds) if nanoseconds >= 1_000_000 => {
                format!("{:?}", Duration::from_nanos(nanoseconds))
            }
            _ => number.to_string(),
        },
        Value::Object(map) if map.is_empty() => "yes".to_owned(),
        other => other.to_string(),
    }
}

/// A value that may be one: numbers and switches aren't, texts and what holds them
/// may be.
pub(super) fn if_no_secret(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Object(map) if map.is_empty() => "yes".to_owned(),
        _ => HIDDEN.to_owned(),
    }
}

pub(super) const HIDDEN: &str = "(not shown)";

/// As much of a value as a line of a terminal takes, and nothing that moves its cursor.
pub(super) fn shorten(value: &str) -> String {
    const LONGEST: usize = 72;
    const SHORT_ID: usize = 12;
    let id = value.strip_prefix("sha256:").unwrap_or(value);
    if id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id[..SHORT_ID].to_owned();
    }
    let mut shown: String = value.chars().take(LONGEST).flat_map(visible).collect();
    if value.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    if shown.is_empty() { "(empty)".to_owned() } else { shown }
}

fn visible(character: char) -> Vec<char> {
    if character.is_control() { character.escape_default().collect() } else { vec![character] }
}
