//! The app's side of an "Update now": a front end, and the endpoint that it speaks to, as
//! `docs/protocol.md` has it.

use std::path::Path;

use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::answers::App;

/// The front end may do no more than this: its own files, nothing inline.
const POLICY: &str = "default-src 'self'; img-src data:";

/// The answer to what concerns the front end; `None` for everything else.
pub(super) async fn answer(app: &App, method: &Method, path: &str) -> Option<Response<Vec<u8>>> {
    let www = app.settings.www.as_deref()?;
    let (status, kind, body) = match (method, path) {
        (&Method::GET, "/update") => (200, "application/json", state(app).await.to_string().into()),
        (&Method::POST, "/update") => start(app).await,
        (&Method::GET, "/") => file(www, "index.html")?,
        (&Method::GET, _) => file(www, path.trim_start_matches('/'))?,
        _ => return None,
    };
    let mut answer = Response::new(body);
    *answer.status_mut() = StatusCode::from_u16(status).expect("ours are valid");
    for (name, value) in [
        ("content-type", kind),
        ("content-security-policy", POLICY),
        ("x-app-version", &app.settings.version.to_string()),
    ] {
        answer.headers_mut().insert(name, value.parse().expect("a header"));
    }
    Some(answer)
}

async fn state(app: &App) -> Value {
    let mut state = json!({
        "version": app.settings.version.to_string(),
        "boot": app.boot_id.trim(),
        "running": false,
    });
    if let Some(version) = &app.settings.available {
        let notes = "Faster <b>search</b>\nand a new look.";
        state["available"] = json!({ "version": version, "notes": notes });
    }
    if let Some(command) = &app.settings.status_command
        && let Ok((true, said)) = run(command).await
        && let Ok(last) = serde_json::from_str::<Value>(&said)
    {
        match last["state"].as_str() {
            Some("updating" | "interrupted") => state["running"] = true.into(),
            outcome => {
                let (update, reason) = (&last["update"], &last["reason"]);
                state["last"] = json!({ "update": update, "outcome": outcome, "reason": reason });
            }
        }
    }
    state
}

async fn start(app: &App) -> (u16, &'static str, Vec<u8>) {
    let command = app.settings.update_command.as_deref().unwrap_or_default();
    match run(command).await {
        Ok((true, _)) => (202, "application/json", b"{}".to_vec()),
        Ok((false, said)) => problem(&said),
        Err(error) => problem(&error.to_string()),
    }
}

fn problem(detail: &str) -> (u16, &'static str, Vec<u8>) {
    let problem = json!({ "status": 422, "title": "The update was refused", "detail": detail });
    (422, "application/problem+json", problem.to_string().into())
}

/// Runs a command; says whether it succeeded and what it said.
async fn run(command: &str) -> std::io::Result<(bool, String)> {
    let mut words = command.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    let done = command.args(words).output().await?;
    let said = if done.status.success() { done.stdout } else { done.stderr };
    Ok((done.status.success(), String::from_utf8_lossy(&said).trim().to_owned()))
}

fn file(www: &Path, name: &str) -> Option<(u16, &'static str, Vec<u8>)> {
    // What has a slash or a dot in front is none of ours.
    let plain = name.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-".contains(letter));
    let kind = match name.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        _ => return None,
    };
    let bytes = (plain && !name.starts_with('.')).then(|| std::fs::read(www.join(name)).ok())??;
    Some((200, kind, bytes))
}
