//! What a person, or a program, sees of a running command.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::events::Event;

/// Standard output in one of three manners.
pub(super) struct Output {
    manner: Manner,
    last_pull: Mutex<String>,
    /// In which quarter the data was when it was told.
    last_quarter: Mutex<u64>,
}

enum Manner {
    Json,
    Quiet,
    Plain,
    Bars(ProgressBar),
}

impl Output {
    pub(super) fn new(json: bool, quiet: bool) -> Output {
        let manner = match (json, quiet) {
            (true, _) => Manner::Json,
            (_, true) => Manner::Quiet,
            _ if std::io::stdout().is_terminal() => Manner::Bars(spinner()),
            _ => Manner::Plain,
        };
        Output { manner, last_pull: Mutex::default(), last_quarter: Mutex::default() }
    }

    pub(super) fn is_json(&self) -> bool {
        matches!(self.manner, Manner::Json)
    }

    /// Shows an event.
    pub(super) fn event(&self, event: &Event) {
        match &self.manner {
            Manner::Json => self.json(event),
            Manner::Quiet => {
                if matches!(event, Event::Finished { .. }) {
                    print(&event.to_string());
                }
            }
            Manner::Plain => {
                let mut told = self.last_quarter.lock().unwrap_or_else(PoisonError::into_inner);
                match event {
                    Event::Begun { .. } => {
                        *told = 0;
                        return;
                    }
                    Event::Data { done_bytes, total_bytes } => {
                        let now = done_bytes.saturating_mul(4).checked_div(*total_bytes);
                        let now = now.unwrap_or(0);
                        if std::mem::replace(&mut *told, now) == now {
                            return;
                        }
                    }
                    _ => {}
                }
                // A line for each percent would bury everything else.
                if let Event::Pull { status, .. } = event {
                    let mut last = self.last_pull.lock().unwrap_or_else(PoisonError::into_inner);
                    if std::mem::replace(&mut *last, status.clone()) == *status {
                        return;
                    }
                }
                print(&event.to_string());
            }
            Manner::Bars(bar) => show_on(bar, event),
        }
    }

    /// Prints a line for people. Programs have the events.
    pub(super) fn say(&self, line: &str) {
        match &self.manner {
            Manner::Json | Manner::Quiet => {}
            Manner::Plain => print(line),
            Manner::Bars(bar) => bar.suspend(|| print(line)),
        }
    }

    /// Prints what was asked for, also where only the result is wanted.
    pub(super) fn result(&self, line: &str) {
        match &self.manner {
            Manner::Quiet => print(line),
            _ => self.say(line),
        }
    }

    /// Prints a document for programs.
    pub(super) fn json(&self, document: &impl Serialize) {
        if let Ok(line) = serde_json::to_string(document) {
            print(&line);
        }
    }

    /// Takes the progress bar away.
    pub(super) fn done(&self) {
        if let Manner::Bars(bar) = &self.manner {
            bar.finish_and_clear();
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn show_on(bar: &ProgressBar, event: &Event) {
    match event {
        Event::Pull { image, status, done_bytes, total_bytes } if *total_bytes > 0 => {
            if let Ok(style) =
                ProgressStyle::with_template("{spinner} {msg} {bar:30} {bytes}/{total_bytes}")
            {
                bar.set_style(style);
            }
            bar.set_length(*total_bytes);
            bar.set_position(*done_bytes);
            bar.set_message(format!("pull {image}: {status}"));
        }
        Event::Pull { image, status, .. } => bar.set_message(format!("pull {image}: {status}")),
        Event::Data { done_bytes, total_bytes } => {
            if let Ok(style) = ProgressStyle::with_template(
                "{spinner} {msg} {bar:30} {bytes}/{total_bytes} {percent} %",
            ) {
                bar.set_style(style);
            }
            bar.set_length(*total_bytes);
            bar.set_position(*done_bytes);
        }
        Event::Begun { .. } => bar.set_message(event.to_string()),
        Event::Step { .. } | Event::Condemned { .. } | Event::Finished { .. } => {
            bar.set_style(ProgressStyle::default_spinner());
            bar.suspend(|| print(&format!("{} {event}", mark(event))));
            bar.set_message("");
        }
        other => {
            bar.set_style(ProgressStyle::default_spinner());
            bar.suspend(|| print(&format!("· {other}")));
        }
    }
}

fn mark(event: &Event) -> &'static str {
    match event {
        Event::Step { .. } => "✓",
        Event::Finished { outcome, .. } if outcome == "updated" => "✓",
        _ => "✗",
    }
}

/// A time for people: RFC 3339 without the fractions of the second.
pub(super) fn to_the_second(time: &str) -> String {
    let parsed = time.parse::<jiff::Timestamp>();
    parsed.map_or(time.to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Whoever reads may have gone; that is no reason to fail.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::to_the_second;

    #[test]
    fn people_read_whole_seconds() {
        assert_eq!(to_the_second("2026-01-02T03:04:05.678901Z"), "2026-01-02T03:04:05Z");
        assert_eq!(to_the_second("2026-01-02T05:04:05+02:00"), "2026-01-02T03:04:05Z");
        assert_eq!(to_the_second("yesterday"), "yesterday");
    }
}
