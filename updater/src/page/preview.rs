//! Every state of the page on one port, for those who design one.
//!
//! Each state is a page of its own under `/<name>/`. A script that asks under
//! `/.changeover/` gets the state of the page that it runs on.

use std::io;

use bytes::Bytes;
use hyper::header::REFERER;
use hyper::{Request, StatusCode};

use super::answer::{self, Answer};
use super::connection::Answers;
use super::reply::Reply;
use super::{Page, Serving};

/// The states, each with its name and what it is, and the index of them as HTML.
pub struct Preview {
    /// Name, and page.
    pub states: Vec<(String, Page)>,
    /// What stands at `/`.
    pub index: String,
}

impl Preview {
    /// Serves them on this listener for good.
    pub async fn serve(self, listener: std::net::TcpListener) -> io::Result<()> {
        if let Some((_, first)) = self.states.first().cloned() {
            Serving::start(&first, self, listener)?.forever().await;
        }
        Ok(())
    }

    fn state(&self, path: &str) -> Option<&Page> {
        let name = path.trim_start_matches('/').split('/').next();
        self.states.iter().find(|(state, _)| Some(state.as_str()) == name).map(|(_, page)| page)
    }
}

impl Answers for Preview {
    fn answer(&self, request: &Request<()>) -> Answer {
        let referrer = request.headers().get(REFERER).and_then(|value| value.to_str().ok());
        let referrer = referrer.and_then(|address| address.parse::<hyper::Uri>().ok());
        let page = self.state(request.uri().path());
        match page.or_else(|| self.state(referrer.as_ref()?.path())) {
            Some(page) => answer::answer(page, request),
            None => {
                let (html, index) = ("text/html; charset=utf-8", self.index.clone());
                Answer::Whole(Reply::new(StatusCode::OK, html, index.into()))
            }
        }
    }

    fn refuse(&self, status: StatusCode) -> Reply {
        Reply::new(status, "text/plain; charset=utf-8", Bytes::new())
    }
}
