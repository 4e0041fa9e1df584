//! What the page says: one HTML document with everything in it.
//!
//! One document, one request: anything fetched a moment later from the app's
//! port may be answered by the app already.

use std::borrow::Cow;

use super::language::Words;
use super::look::Look;
use crate::status::{Phase, Status, StepState, StepStatus};

/// After this many seconds the page says that it is taking long.
const SLOW_SECONDS: u64 = 60;

/// One status in one language.
pub(super) struct Document<'a> {
    pub(super) look: &'a Look,
    pub(super) words: &'a Words,
    pub(super) status: &'a Status,
}

impl Document<'_> {
    /// Renders the page. `sent` says that it answers something the visitor sent,
    /// a form say, which is lost.
    pub(super) fn html(&self, sent: bool) -> String {
        let Document { look, words, status } = *self;
        let (assets, face) = (&look.assets, &look.face);
        let say = |key: &str| escape(&self.say(key)).into_owned();
        let phase = word(status.phase);
        let (done, total) = progress(status);
        let under_way = matches!(status.phase, Phase::Updating | Phase::RollingBack);
        let slow = under_way && status.elapsed_seconds > SLOW_SECONDS;
        // "latest → latest" would say nothing.
        let versions = status.from != status.to && !status.from.is_empty() && !status.to.is_empty();

        fill(&assets.template, |name| {
            Some(match name {
                "lang" | "dir" | "progress" => say(name),
                "phase" => phase.into(),
                "title" => say(&format!("title.{phase}")),
                "lead" => say(&format!("lead.{phase}")),
                "favicon" => match &face.logo {
                    Some(logo) => escape(logo.as_str()).into_owned(),
                    None => assets.favicon.clone(),
                },
                "logo" => optional(&face.logo, |logo| {
                    format!("<img class=\"logo\" src=\"{}\" alt=\"\">", escape(logo.as_str()))
                }),
                "message" => optional(&face.message, |message| {
                    format!("<p class=\"message\" dir=\"auto\">{}</p>", escape(message.as_str()))
                }),
                "support" => optional(&face.support, |link| {
                    let (link, text) = (escape(link.as_str()), say("support"));
                    format!(
                        "<p class=\"support\"><a href=\"{link}\" rel=\"noreferrer\">{text}</a></p>"
                    )
                }),
                "retry" => status.retry_after_seconds.max(1).to_string(),
                "from" => escape(&status.from).into_owned(),
                "to" => escape(&status.to).into_owned(),
                "from.label" => say("from"),
                "to.label" => say("to"),
                "versions.hidden" => hidden_unless(versions),
                "segments" => segments(&status.steps),
                "steps" => status.steps.iter().map(|step| self.item(step)).collect(),
                "steps.done" => done.to_string(),
                "steps.total" => total.to_string(),
                "step" => escape(&self.current_step()).into_owned(),
                "sent" => say("note.sent"),
                "sent.hidden" => hidden_unless(sent),
                "slow" => say("note.slow"),
                "slow.hidden" => hidden_unless(slow),
                "unreachable" => say("note.unreachable"),
                "go" => say(if status.phase == Phase::NeedsAPerson { "go.try" } else { "go" }),
                "go.hidden" => hidden_unless(status.phase.is_over()),
                // Chromium's own refresh stays where it is at an address with a `#part`.
                "again" => say("go.try"),
                "again.hidden" => hidden_unless(!status.phase.is_over()),
                "status" => data_block(&serde_json::to_string(status).unwrap_or_default()),
                "strings" => data_block(&words.for_script()),
                "css" => look.css.clone(),
                "js" => assets.js.clone(),
                _ => return None,
            })
        })
    }

    /// The same in one line, for those who read neither HTML nor JSON.
    pub(super) fn plain(&self) -> String {
        self.say(&format!("plain.{}", word(self.status.phase)))
    }

    fn say(&self, key: &str) -> String {
        fill_words(self.words.text(key).unwrap_or_default(), |name| match name {
            "app" => Some(self.status.title.clone()),
            "seconds" => Some(self.status.retry_after_seconds.max(1).to_string()),
            _ => None,
        })
    }

    /// The step in the words for visitors. On the way back it is undone.
    fn step_name<'a>(&'a self, step: &'a StepStatus) -> &'a str {
        let back = matches!(self.status.phase, Phase::RollingBack | Phase::RolledBack);
        let kind = if back { "back" } else { "step" };
        self.words.text(&format!("{kind}.{}", step.key)).unwrap_or(&step.name)
    }

    /// The step with how far it is, where that is known.
    fn part<'a>(&'a self, step: &'a StepStatus) -> Cow<'a, str> {
        let name = self.step_name(step);
        let known = (step.percent, step.done_bytes, step.total_bytes);
        let (Some(percent), Some(done), Some(total)) = known else { return name.into() };
        let part = self.words.text("progress.part").unwrap_or_default();
        let part = fill_words(part, |key| match key {
            "name" => Some(name.to_owned()),
            "percent" => Some(percent.to_string()),
            "done" => Some(self.words.size(done)),
            "total" => Some(self.words.size(total)),
            _ => None,
        });
        part.into()
    }

    fn current_step(&self) -> String {
        let steps = &self.status.steps;
        let Some(index) = steps.iter().position(|step| step.state == StepState::Active) else {
            return String::new();
        };
        fill_words(self.words.text("progress.step").unwrap_or_default(), |name| match name {
            "step" => Some((index + 1).to_string()),
            "steps" => Some(steps.len().to_string()),
            "name" => Some(self.step_name(&steps[index]).to_owned()),
            _ => None,
        })
    }

    fn item(&self, step: &StepStatus) -> String {
        let state = state_word(step.state);
        let current = if step.state == StepState::Active { " aria-current=\"step\"" } else { "" };
        format!(
            "<li data-state=\"{state}\"{current}>{}<span class=\"unseen\"> ({})</span></li>",
            escape(&self.part(step)),
            escape(&self.say(&format!("state.{state}"))),
        )
    }
}

/// The phase as it is written in JSON, string keys and style sheets.
pub(super) fn word(phase: Phase) -> &'static str {
    match phase {
        Phase::Updating => "updating",
        Phase::RollingBack => "rolling-back",
        Phase::Updated => "updated",
        Phase::RolledBack => "rolled-back",
        Phase::NeedsAPerson => "needs-a-person",
    }
}

fn progress(status: &Status) -> (usize, usize) {
    let done = status.steps.iter().filter(|step| step.state == StepState::Done).count();
    (done, status.steps.len().max(1))
}

fn state_word(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Active => "active",
        StepState::Done => "done",
    }
}

fn segments(steps: &[StepStatus]) -> String {
    steps.iter().map(|step| format!("<i data-state=\"{}\"></i>", state_word(step.state))).collect()
}

/// A fragment of the document, or nothing.
fn optional<T>(setting: &Option<T>, fragment: impl Fn(&T) -> String) -> String {
    setting.as_ref().map(fragment).unwrap_or_default()
}

fn hidden_unless(shown: bool) -> String {
    if shown { String::new() } else { " hidden".into() }
}

/// Makes text harmless in HTML, between tags and in double quotes.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe.into()
}

/// Makes JSON harmless inside `<script type="application/json">`, where no
/// entity is read but `</script>` and `<!--` are.
fn data_block(json: &str) -> String {
    json.replace('<', "\\u003c")
}

/// Fills `{{name}}` in the template. What is filled in is not read again, so a
/// title may hold braces.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    fill_between(template, "{{", "}}", value)
}

/// Fills `{name}` in a sentence.
fn fill_words(sentence: &str, value: impl Fn(&str) -> Option<String>) -> String {
    fill_between(sentence, "{", "}", value)
}

fn fill_between(
    template: &str,
    open: &str,
    close: &str,
    value: impl Fn(&str) -> Option<String>,
) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once(open) {
        filled.push_str(before);
        let Some((name, after)) = after.split_once(close) else {
            filled.push_str(open);
            rest = after;
            continue;
        };
        filled.push_str(&value(name).unwrap_or_default());
        rest = after;
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Face;
    use crate::page::assets::Assets;
    use crate::page::sample;

    fn html(status: &Status, sent: bool) -> String {
        in_a_face(status, sent, Face::default())
    }

    fn in_a_face(status: &Status, sent: bool, face: Face) -> String {
        let look = Look::new(face);
        Document { look: &look, words: &look.assets.languages[0], status }.html(sent)
    }

    #[test]
    fn a_hostile_title_stays_text() {
        let mut status = sample(Phase::Updating);
        status.title = "</title><script>alert(1)</script>{{js}}{app}\"'&".into();
        status.from = "<b>1</b>".into();
        status.steps[0].key = "unknown".into();
        status.steps[0].name = "<img src=x onerror=alert(1)>".into();
        let html = html(&status, false);
        assert!(!html.contains("<script>alert"));
        assert!(!html.contains("<b>1</b>"));
        assert!(!html.contains("<img"));
        assert!(html.contains(
            "<h1 id=\"title\">&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;\
             {{js}}{app}&quot;&#39;&amp; is being updated</h1>"
        ));
        assert_eq!(html.matches("</script>").count(), 3);
    }

    #[test]
    fn a_step_says_how_far_it_is_where_that_is_known() {
        let mut status = sample(Phase::Updating);
        let unknown = "aria-current=\"step\">Stop the previous version<span";
        assert!(html(&status, false).contains(unknown), "nobody knows");
        status.steps[1].percent = Some(42);
        status.steps[1].done_bytes = Some(424_000_000);
        status.steps[1].total_bytes = Some(1_009_523_809);
        let html = html(&status, false).replace('\u{a0}', " ");
        let item = "aria-current=\"step\">Stop the previous version: 42% (424 MB of 1.0 GB)<span";
        assert!(html.contains(item), "{html}");
        // Aloud, only the step.
        assert!(html.contains("Step 2 of 3: Stop the previous version\""), "{html}");
    }

    #[test]
    fn every_place_in_the_template_is_filled_in_every_phase() {
        let look = Look::new(Face::default());
        let assets = &look.assets;
        for (phase, words) in
            PHASES.iter().flat_map(|phase| assets.languages.iter().map(|words| (*phase, words)))
        {
            for sent in [false, true] {
                let html = Document { look: &look, words, status: &sample(phase) }.html(sent);
                let (body, _) = html.split_once("<script").expect("there is a script");
                let (head, rest) = body.split_once("<style>").expect("there is a style sheet");
                let (_, main) = rest.split_once("</style>").expect("it ends");
                assert!(head.contains(&format!("lang=\"{}\"", words.code)));
                assert!(!head.contains("{{") && !main.contains('{'), "{phase:?}: {main}");
                assert!(!head.contains("<title></title>") && !main.contains("></h1>"));
            }
        }
    }

    #[test]
    fn every_phase_has_its_words() {
        let assets = Assets::ours();
        for phase in PHASES {
            for kind in ["title", "lead", "plain"] {
                let key = format!("{kind}.{}", word(phase));
                assert!(assets.languages[0].text(&key).is_some(), "{key}");
            }
        }
    }

    #[test]
    fn the_phase_is_written_as_in_json() {
        for phase in PHASES {
            assert_eq!(serde_json::json!(phase), word(phase));
        }
    }

    #[test]
    fn the_policy_has_the_hashes_of_what_is_in_the_document() {
        let html = html(&sample(Phase::Updating), false);
        let Look { assets, policy, .. } = Look::new(Face::default());
        let policy = policy.to_str().expect("text");
        assert!(html.contains(&format!("<style>{}</style>", assets.css)));
        assert!(html.contains(&format!("<script>{}</script>", assets.js)));
        // An inline style attribute would be refused by the policy.
        assert!(!html.contains(" style=") && !html.contains("onclick"));
        assert_eq!(policy.matches("sha256-").count(), 2);
    }

    #[test]
    fn the_document_asks_nobody_else_for_anything() {
        let html = html(&sample(Phase::Updating), false);
        assert!(!html.contains("src=\"") && !html.contains("url(") && !html.contains("@import"));
        assert_eq!(html.matches("://").count(), 0);
    }

    #[test]
    fn the_app_shows_its_own_face() {
        let logo = "data:image/svg+xml;base64,PHN2Zy8+";
        let face = Face {
            message: "Back <b>soon</b>.".parse().ok(),
            logo: logo.parse().ok(),
            accent: "#aa3366".parse().ok(),
            support: "https://example.org/?a&b=\"".parse().ok(),
            ..Face::default()
        };
        let html = in_a_face(&sample(Phase::Updating), false, face.clone());
        assert!(html.contains("<p class=\"message\" dir=\"auto\">Back &lt;b&gt;soon"));
        assert!(html.contains("href=\"https://example.org/?a&amp;b=&quot;\" rel"));
        assert_eq!(html.matches(logo).count(), 2);
        assert!(html.contains("--app-light: #aa3366;"));
        // The colour is part of the style that the policy allows.
        let (ours, other) = (Look::new(Face::default()).policy, Look::new(face).policy);
        assert_ne!(ours, other);
        assert!(!html.contains(" style="));
    }

    #[test]
    fn a_page_of_ones_own_takes_the_place_of_ours() {
        let folder = std::env::temp_dir().join(format!("changeover-page-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let own = "<!doctype html><html lang=\"{{lang}}\"><title>{{title}}</title>\
                   <style>b{color:red}</style><b>{{lead}}</b><script>{{js}}</script>";
        std::fs::write(folder.join("index.html"), own).expect("written");
        std::fs::write(folder.join("strings.de.json"), r#"{"lead.updating": "Gleich."}"#)
            .expect("written");
        let look = Look::from_folder(&folder, Face::default()).expect("a page");
        let words = look.assets.languages.iter().find(|words| words.code == "de").expect("German");
        let status = sample(Phase::Updating);
        let html = Document { look: &look, words, status: &status }.html(false);
        assert!(html.contains("<title>Acme Wiki wird aktualisiert</title>"), "{html}");
        assert!(html.contains("<b>Gleich.</b>"));
        let policy = look.policy.to_str().expect("text");
        assert_eq!(policy.matches("sha256-").count(), 2);
        std::fs::write(folder.join("page.css"), "x".repeat(1 << 20)).expect("written");
        assert!(Look::from_folder(&folder, Face::default()).is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }

    #[test]
    fn equal_versions_are_not_shown() {
        let mut status = sample(Phase::Updating);
        assert!(html(&status, false).contains("<dl id=\"versions\">"));
        status.from = status.to.clone();
        assert!(html(&status, false).contains("<dl id=\"versions\" hidden>"));
    }

    #[test]
    fn a_long_update_and_a_lost_form_are_owned_up_to() {
        let mut status = sample(Phase::Updating);
        status.elapsed_seconds = SLOW_SECONDS + 1;
        let html = html(&status, true);
        assert!(html.contains("<p id=\"slow\" class=\"note\">"));
        assert!(html.contains("<p id=\"sent\" class=\"note\">"));
    }

    const PHASES: [Phase; 5] = [
        Phase::Updating,
        Phase::RollingBack,
        Phase::Updated,
        Phase::RolledBack,
        Phase::NeedsAPerson,
    ];
}
