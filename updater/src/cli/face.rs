//! The page's settings on the command line, and its preview.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{CliError, Exit};
use crate::face::{Colour, Face, Language, Link, Logo, Message};
use crate::page::{self, Page, Preview};
use crate::progress::sample_status;
use crate::status::{Phase, Status};

/// The app's own face on the page. The app's container can say the same by labels,
/// `io.changeover.page.title` and so on; a flag comes first.
#[derive(Debug, Clone, Args)]
pub struct PageArgs {
    /// The app's name on the page [default: the container's].
    #[arg(
        long = "title",
        visible_alias = "page-title",
        env = "CHANGEOVER_TITLE",
        value_name = "TEXT"
    )]
    pub title: Option<String>,
    /// A sentence or two of your own on the page.
    #[arg(long, env = "CHANGEOVER_PAGE_MESSAGE", value_name = "TEXT")]
    pub page_message: Option<Message>,
    /// A picture above the title: a file (SVG, PNG, JPEG, GIF, WebP) or a data: address, at most 6 KB encoded.
    #[arg(long, env = "CHANGEOVER_PAGE_LOGO", value_name = "FILE", value_parser = logo)]
    pub page_logo: Option<Logo>,
    /// The page's colour, say #12806f; made darker or lighter where it could not be read.
    #[arg(long, env = "CHANGEOVER_PAGE_ACCENT", value_name = "COLOUR")]
    pub page_accent: Option<Colour>,
    /// Where visitors find help: an https:, http:, mailto: or tel: address.
    #[arg(long, env = "CHANGEOVER_PAGE_SUPPORT", value_name = "ADDRESS")]
    pub page_support: Option<Link>,
    /// The page's only language [default: each visitor's own].
    #[arg(long, env = "CHANGEOVER_PAGE_LANGUAGE", value_name = "CODE")]
    pub page_language: Option<Language>,
    /// A directory on the engine's host with a page of your own: files of these names
    /// replace ours: index.html, page.css, page.js, favicon.svg, strings.LANGUAGE.json.
    #[arg(long, env = "CHANGEOVER_PAGE_DIR", value_name = "DIR", value_parser = directory)]
    pub page_dir: Option<PathBuf>,
}

impl PageArgs {
    /// The face that they ask for.
    pub fn face(&self) -> Face {
        Face {
            message: self.page_message.clone(),
            logo: self.page_logo.clone(),
            accent: self.page_accent.clone(),
            support: self.page_support.clone(),
            language: self.page_language.clone(),
            folder: self.page_dir.clone(),
        }
    }
}

/// Show the page to whoever designs it.
#[derive(Debug, Args)]
pub struct PageCommand {
    /// Serve every state of the page on this machine until it is stopped.
    #[arg(long, required = true)]
    pub preview: bool,
    /// Where.
    #[arg(long, env = "CHANGEOVER_PREVIEW_PORT", value_name = "PORT", default_value_t = 8090)]
    pub port: u16,
    /// How.
    #[command(flatten)]
    pub page: PageArgs,
}

/// Serves the preview for good.
pub(super) async fn preview(command: PageCommand) -> Result<Exit, CliError> {
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), command.port);
    let cannot = |source| CliError::Preview { address, source };
    let listener = TcpListener::bind(address).map_err(cannot)?;
    let (title, face) = (command.page.title.as_deref().unwrap_or("Acme Wiki"), command.page.face());
    let page = |status: Status| match &face.folder {
        Some(folder) => Page::from_folder(status, &face, folder),
        None => Ok(Page::with_face(status, &face)),
    };
    let mut states = Vec::new();
    let mut items = String::new();
    for (name, about, phase, step, seconds) in STATES {
        let page =
            page(sample_status(title, phase, step, seconds)).map_err(CliError::PageFolder)?;
        items.push_str(&format!("<li><a href=\"/{name}/\">{about}</a></li>\n"));
        if name.starts_with("live") {
            tokio::spawn(play(page.clone(), title.to_owned(), phase));
        } else {
            tokio::spawn(hold(page.clone(), page.status()));
        }
        states.push((name.to_owned(), page));
    }
    let languages: String = page::languages()
        .iter()
        .map(|code| format!("<a href=\"/updating/?changeover-lang={code}\">{code}</a> "))
        .collect();
    let index = INDEX.replace("{items}", &items).replace("{languages}", &languages);
    eprintln!("http://{address}/");
    Preview { states, index }.serve(listener).await.map_err(cannot)?;
    Ok(Exit::Done)
}

/// Name, what it is, phase, the step under way and the seconds gone.
const STATES: [(&str, &str, Phase, &str, u64); 11] = [
    ("preparing", "The new version is prepared", Phase::Updating, "create-new", 1),
    ("backing-up", "The data is backed up", Phase::Updating, "back-up", 8),
    ("updating", "The new version starts", Phase::Updating, "start-new", 12),
    ("slow", "It takes more than a minute", Phase::Updating, "gate", 95),
    ("updated", "The new version answers", Phase::Updated, "gate", 17),
    ("rolling-back", "The old version comes back", Phase::RollingBack, "start-new", 41),
    ("putting-back", "The data is put back", Phase::RollingBack, "put-back", 44),
    ("rolled-back", "The old version answers again", Phase::RolledBack, "gate", 48),
    ("needs-a-person", "Neither answers", Phase::NeedsAPerson, "gate", 130),
    ("live-update", "A whole update, over and over", Phase::Updating, "create-new", 0),
    ("live-rollback", "A whole rollback, over and over", Phase::RollingBack, "create-new", 0),
];

const INDEX: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n\
<meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\n\
<title>The page's states</title>\n<h1>The page's states</h1>\n<ul>\n{items}</ul>\n\
<form method=\"post\" action=\"/updating/\"><button>After a form was sent</button></form>\n\
<p>{languages}</p></html>\n";

/// Lets no time pass on a page.
async fn hold(page: Page, status: Status) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        page.publish(status.clone());
    }
}

/// An update, or one that is taken back, again and again.
async fn play(page: Page, title: String, end: Phase) {
    const FORTH: [&str; 5] = ["create-new", "stop-old", "promote-new", "start-new", "gate"];
    const BACK: [&str; 4] = ["gate", "start-new", "promote-new", "stop-old"];
    loop {
        let mut scenes: Vec<_> = FORTH.iter().map(|step| (Phase::Updating, *step)).collect();
        if end == Phase::RollingBack {
            scenes.extend(BACK.iter().map(|step| (Phase::RollingBack, *step)));
            scenes.push((Phase::RolledBack, "gate"));
        } else {
            scenes.push((Phase::Updated, "gate"));
        }
        for (second, (phase, step)) in (0..).zip(scenes) {
            page.publish(sample_status(&title, phase, step, 2 * second));
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
}

fn logo(text: &str) -> Result<Logo, String> {
    if text.starts_with("data:") { text.parse() } else { Logo::from_file(Path::new(text)) }
}

fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.is_absolute() {
        true => Ok(path),
        false => Err("the engine needs the whole path, from `/`".into()),
    }
}
