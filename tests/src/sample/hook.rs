//! What the app is told: it remembers every message, and may be slow of hearing.

use std::sync::Mutex;

use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

/// The messages of this run.
#[derive(Default)]
pub(super) struct Heard(Mutex<Vec<Value>>);

impl Heard {
    /// Takes a message in; the first `fails` are answered with 503.
    pub(super) async fn take(&self, request: Request<Incoming>, fails: u64) -> (u16, String) {
        let headers = request.headers().iter();
        let headers: serde_json::Map<String, Value> = headers
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())
            })
            .collect();
        let Ok(body) = request.into_body().collect().await else { return (400, String::new()) };
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        let mut heard = self.0.lock().expect("nobody panics with it");
        let status = if (heard.len() as u64) < fails { 503 } else { 204 };
        heard.push(json!({ "headers": headers, "body": body, "status": status }));
        (status, String::new())
    }

    /// All of them as JSON.
    pub(super) fn all(&self) -> String {
        json!(*self.0.lock().expect("nobody panics with it")).to_string()
    }
}
