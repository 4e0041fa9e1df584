//! Broken inputs, by a seed, for whatever reads something: bytes that are flipped, cut,
//! doubled and spliced, documents whose parts are replaced by what nobody expects.
//!
//! A reader's test is named `no_input_makes_…` and stands beside it, or here where it is
//! several readers in a row. `make fuzz` runs them with a million inputs and more; in
//! the suite they get a share.

use serde_json::{Value, json};

use crate::seeded::Dice;

/// Runs `read` with broken variants of `samples`, so many in a thousandth of the whole.
/// It fails by panicking, and then says the input.
pub(crate) fn bytes(share: u64, samples: &[&[u8]], mut read: impl FnMut(&[u8])) {
    let mut dice = Dice::new(samples.len() as u64 + share);
    for n in 0..inputs(share) {
        let mut input = dice.pick(samples).to_vec();
        for _ in 0..=dice.between(0, 4) {
            break_bytes(&mut dice, &mut input, samples);
        }
        attempt(n, &input.escape_ascii().to_string(), || read(&input));
    }
}

/// The same for JSON: what comes out is JSON still.
pub(crate) fn documents(share: u64, samples: &[Value], mut read: impl FnMut(&Value)) {
    let mut dice = Dice::new(share);
    for n in 0..inputs(share) {
        let mut input = samples[dice.between(0, samples.len() as u64) as usize].clone();
        for _ in 0..=dice.between(0, 3) {
            break_document(&mut dice, &mut input);
        }
        attempt(n, &input, || read(&input));
    }
}

/// How many inputs a share is; `CHANGEOVER_FUZZ` is the whole.
pub(crate) fn inputs(share: u64) -> u64 {
    let whole = std::env::var("CHANGEOVER_FUZZ").ok().and_then(|n| n.trim().parse().ok());
    whole.unwrap_or(20_000_u64) * share / 1000
}

fn attempt(n: u64, input: &dyn std::fmt::Display, read: impl FnOnce()) {
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    assert!(done.is_ok(), "input {n} makes it panic: {input}");
}

fn break_bytes(dice: &mut Dice, input: &mut Vec<u8>, samples: &[&[u8]]) {
    const ODD: [&[u8]; 12] = [
        b"\0",
        b"\xff\xff\xff\xff",
        b"\r\n\r\n",
        b"\"",
        b"{",
        b"[[[[[[[[",
        b"-1",
        b";q=",
        b"18446744073709551616",
        b"1e999",
        b"\\ud800",
        b"\xf0\x9f\x92\xa9",
    ];
    let at = dice.between(0, input.len() as u64 + 1) as usize;
    match dice.between(0, 6) {
        0 => input.truncate(at),
        1 => {
            let odd = dice.pick(&ODD);
            input.splice(at..at, odd.iter().copied());
        }
        2 => {
            let other = dice.pick(samples);
            let from = dice.between(0, other.len() as u64 + 1) as usize;
            input.truncate(at);
            input.extend(&other[from..]);
        }
        3 => {
            let again = input[at..].to_vec();
            input.extend(again.iter().take(4096));
        }
        _ if at < input.len() => input[at] = dice.between(0, 256) as u8,
        _ => {}
    }
}

fn break_document(dice: &mut Dice, document: &mut Value) {
    let mut place = document;
    // Down to somewhere, and one in five stays where it is.
    loop {
        let many = match &*place {
            Value::Object(map) => map.len(),
            Value::Array(list) => list.len(),
            _ => 0,
        };
        if many == 0 || dice.chance(20) {
            break;
        }
        let nth = dice.between(0, many as u64) as usize;
        let next = match place {
            Value::Object(map) => map.values_mut().nth(nth),
            Value::Array(list) => list.get_mut(nth),
            _ => None,
        };
        place = next.expect("there are so many");
    }
    let before = place.take();
    *place = match dice.between(0, 12) {
        0 => Value::Null,
        1 => json!(dice.chance(50)),
        2 => json!(dice.pick(&[0_i64, -1, 1, i64::MIN, i64::MAX])),
        3 => json!(u64::MAX),
        4 => json!(1e308),
        5 => json!(dice.pick(&["", "/", ":", "@", "\0", "é", "日本", "=", "::", "0", "a:b:c:d"])),
        6 => json!("x".repeat(70_000)),
        7 => json!([]),
        8 => json!({}),
        9 => json!([before, before]),
        10 => json!({ "": before }),
        // Text that breaks off, or has a letter of several bytes where one was expected.
        _ => match before.as_str() {
            Some(text) => {
                let kept: String = text.chars().take(dice.between(0, 12) as usize).collect();
                json!(kept + dice.pick(&["", "é", "/tcp", "\n"]))
            }
            None => json!([before]),
        },
    };
}

/// A plan as small as it can be.
pub(crate) fn plan() -> Value {
    json!({
        "schema": 1, "update": "u", "app": "web", "asked_at": "2026-01-01T00:00:00Z",
        "members": [{
            "name": "web",
            "old": { "id": "old", "image": { "reference": "web:1", "id": "1" }, "running": true,
                "policy": { "Name": "always", "MaximumRetryCount": 0 },
                "started_at": "2026-01-01T00:00:00Z", "stop_seconds": 10 },
            "image": { "reference": "web:2", "id": "2" }, "create": {}, "connect": [],
            "expected": { "networks": [], "ports": [] }, "probe": "running",
        }],
        "handover": { "mode": "none", "may_fall_back": false, "because": "", "published": [] },
        "gate": { "timeout_seconds": 9, "stable_seconds": 1 },
        "page": { "title": "web", "from": "1", "to": "2" },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ApiVersion;
    use crate::events::Event;
    use crate::face::Face;
    use crate::plan::{Plan, labels};
    use crate::status::Status;
    use crate::successor::{Inputs, compare, successor};
    use crate::swap::facts::{Container, Facts, MemberFacts};
    use crate::swap::{next, shows_page};

    fn recorded() -> Vec<Value> {
        let text = include_str!("successor/fixtures/docker-28.5.json");
        let all: Value = serde_json::from_str(text).expect("a fixture is JSON");
        all.as_object().expect("an object").values().cloned().collect()
    }

    #[test]
    fn no_input_makes_the_successor_panic() {
        let recorded = recorded();
        let image = recorded.iter().find(|said| said["RootFS"].is_object()).expect("an image");
        documents(200, &recorded, |old| {
            let inputs = Inputs {
                old,
                old_image: Some(old),
                new_image: image,
                reference: "web:2",
                api: ApiVersion(1, 51),
                engine_name: "host",
                engine_platform: "linux/amd64",
                donor_gone: false,
            };
            if let Ok(made) = successor(&inputs) {
                compare(&made.expected, old);
            }
            let container = Container::from_inspect(old);
            let _ = container.policy_is(&container.policy);
            crate::gate::address::own_addresses(old);
            Face::from_labels(&old["Config"]["Labels"]);
        });
    }

    #[test]
    fn no_input_makes_the_decision_panic() {
        let mut recorded = recorded();
        recorded.truncate(6);
        let mut understood = 0_u32;
        let mut dice = Dice::new(7);
        documents(250, &[plan()], |plan| {
            let helper = json!({ "Config": { "Labels": { labels::PLAN: plan.to_string() } } });
            let Ok(plan) = crate::helper::read_plan(&helper) else { return };
            understood += 1;
            let mut look = || {
                let mut seen = recorded[dice.between(0, 6) as usize].clone();
                break_document(&mut dice, &mut seen);
                dice.chance(70).then(|| Container::from_inspect(&seen))
            };
            let members = plan.members.iter();
            let members =
                members.map(|_| MemberFacts { old: look(), new: look(), ..Default::default() });
            let facts = Facts { members: members.collect(), refusal: None, ..Default::default() };
            let decided = next(&plan, &facts);
            shows_page(&plan, &facts, &decided);
            let _ = Plan::recorded_in(&json!({ labels::RECORD: json!(plan.record()).to_string() }));
        });
        assert!(understood > 100, "hardly any plan was understood: {understood}");
    }

    #[test]
    fn no_input_makes_a_line_of_text_panic() {
        let samples: [&[u8]; 8] = [
            br#"{"event":"step","key":"stop-old","name":"stop","member":"web","milliseconds":12}"#,
            br#"{"event":"finished","outcome":"updated","seconds":1.5}"#,
            br#"{"schema":1,"update":"u","title":"web","from":"1","to":"2","phase":"updating","steps":[],"started_at":"","elapsed_seconds":1,"retry_after_seconds":2}"#,
            br#"{"auths":{"ghcr.io":{"auth":"dTpw"}},"credHelpers":{"a":"b"},"credsStore":""}"#,
            b"unix:///var/run/docker.sock",
            b"ghcr.io:5000/acme/web:1.2@sha256:0123456789abcdef",
            b"1.51",
            br##"{"Config":{"Labels":{"io.changeover.page.accent":"#12806f"}}}"##,
        ];
        bytes(250, &samples, |input| {
            let text = String::from_utf8_lossy(input);
            if let Ok(event) = serde_json::from_str::<Event>(&text) {
                let _ = event.to_string();
            }
            let _ = serde_json::from_slice::<Status>(input);
            let _ = text.parse::<crate::engine::Endpoint>();
            let _ = text.parse::<ApiVersion>();
            crate::engine::split_reference(&text);
            let _ = crate::plan::HostAddress::from_host_ip(&text);
            let _ = docker_credential::get_credential_from_reader(input, "ghcr.io");
        });
    }
}
