//! Releases of a forge: GitHub, GitLab, Gitea and Forgejo.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cache::{Cache, Known};
use super::fetch::{AvailableError, ask, garbled, good, json, next_page};
use crate::http::{Answer, Url};

/// Pages of releases that are looked at.
const PAGES: usize = 10;
/// Notes that are longer are cut: nobody reads them in a dialogue.
const NOTES: usize = 20_000;

/// Where releases are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    kind: Kind,
    /// The forge, without the project.
    forge: Url,
    /// `owner/name`, in GitLab with its groups.
    project: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    GitHub,
    GitLab,
    Gitea,
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Release {
    /// Its tag.
    pub tag: String,
    /// Whether its makers call it one that isn't for everybody yet.
    pub prerelease: bool,
    /// When it came out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published_at: Option<String>,
    /// What is new, as its makers wrote it: Markdown, and not to be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
    /// Where people read more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Feed {
    fn first_page(&self) -> Url {
        let project = &self.project;
        let base = self.forge.path.trim_end_matches('/');
        let mut url = self.forge.clone();
        url.path = match self.kind {
            Kind::GitHub if self.forge.host == "github.com" => {
                url.host = "api.github.com".to_owned();
                format!("/repos/{project}/releases?per_page=100")
            }
            Kind::GitHub => format!("{base}/api/v3/repos/{project}/releases?per_page=100"),
            Kind::GitLab => {
                let project = project.replace('/', "%2F");
                format!("{base}/api/v4/projects/{project}/releases?per_page=100")
            }
            Kind::Gitea => format!("{base}/api/v1/repos/{project}/releases?limit=50"),
        };
        url
    }

    /// All releases, whatever their order. An answer that is still true is not fetched
    /// again, and nobody is asked who has asked not to be.
    pub async fn releases(
        &self,
        token: Option<&str>,
        cache: &Cache,
        limit: Duration,
    ) -> Result<Vec<Release>, AvailableError> {
        let first = self.first_page();
        let known = cache.read(&first);
        if let Some(until) = known.not_before.filter(|until| *until > jiff::Timestamp::now()) {
            return Err(AvailableError::RateLimited { host: first.host, until });
        }
        let secret = token.map(|token| ("authorization", format!("Bearer {token}")));
        let mut headers = vec![("accept", "application/json".to_owned())];
        if let (Some(etag), Some(_)) = (&known.etag, &known.answer) {
            headers.push(("if-none-match", etag.clone()));
        }
        let (mut releases, mut etag) = (Vec::new(), None);
        let mut page = Some(first.clone());
        for n in 0..PAGES {
            let Some(url) = page else { break };
            let (at, answer) = ask("GET", &url, &headers, secret.as_ref(), limit, None).await?;
            let answer = match good(&at, answer) {
                Err(AvailableError::RateLimited { host, until }) => {
                    let known = Known { not_before: Some(until), ..known };
                    cache.write(&first, &known);
                    return Err(AvailableError::RateLimited { host, until });
                }
                other => other?,
            };
            if n == 0 {
                if answer.status == 304 {
                    let kept = known.answer.and_then(|kept| serde_json::from_value(kept).ok());
                    return kept
                        .ok_or_else(|| garbled(&at, "it says that nothing is new, unasked"));
                }
                etag = answer.header("etag").map(str::to_owned);
                headers.retain(|(name, _)| *name != "if-none-match");
            }
            releases.extend(self.read(&at, &answer)?);
            page = next_page(&at, &answer);
        }
        if etag.is_some() {
            let known = Known { etag, answer: Some(json!(releases)), ..Known::default() };
            cache.write(&first, &known);
        }
        Ok(releases)
    }

    fn read(&self, url: &Url, answer: &Answer) -> Result<Vec<Release>, AvailableError> {
        let list = json(url, answer)?;
        let list = list.as_array().ok_or_else(|| garbled(url, "it is no list of releases"))?;
        let mut releases = Vec::new();
        for found in list {
            let text = |name: &str| found[name].as_str().filter(|text| !text.is_empty());
            let tag = text("tag_name").ok_or_else(|| garbled(url, "a release has no tag"))?;
            if found["draft"] == true || found["upcoming_release"] == true {
                continue;
            }
            let notes = text("body").or(text("description"));
            let link = text("html_url").or(found.pointer("/_links/self").and_then(Value::as_str));
            releases.push(Release {
                tag: tag.to_owned(),
                prerelease: found["prerelease"] == true,
                published_at: text("published_at").or(text("released_at")).map(str::to_owned),
                notes: notes.map(|notes| notes.chars().take(NOTES).collect()),
                // It may become a link for somebody to click.
                url: link.filter(|link| link.starts_with("https://")).map(str::to_owned),
            });
        }
        Ok(releases)
    }
}

impl Feed {
    /// The feed of a project by the address at which people see it, where the forge is a
    /// well-known one; whatever file or branch of it that leads to.
    pub fn of_project(address: &str) -> Option<Feed> {
        let rest = address.trim().strip_prefix("https://")?;
        let (forge, path) = rest.split_once('/')?;
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let project = match forge {
            "gitlab.com" => path.split("/-/").next().unwrap_or_default().to_owned(),
            _ => path.split('/').take(2).collect::<Vec<_>>().join("/"),
        };
        format!("https://{forge}/{project}").parse().ok()
    }
}

impl FromStr for Feed {
    type Err = String;

    /// `github:owner/name`, `gitlab:group/name`, `gitea:https://git.example/owner/name`,
    /// `https://github.com/owner/name`.
    fn from_str(text: &str) -> Result<Feed, String> {
        let wrong = || {
            format!(
                "`{text}` names no releases: write github:owner/name, gitlab:group/name, gitea:https://host/owner/name or forgejo:https://host/owner/name"
            )
        };
        let (kind, rest) = match text.split_once(':').ok_or_else(wrong)? {
            ("github", rest) => (Kind::GitHub, rest),
            ("gitlab", rest) => (Kind::GitLab, rest),
            ("gitea" | "forgejo", rest) => (Kind::Gitea, rest),
            _ if text.starts_with("https://github.com/") => (Kind::GitHub, text),
            _ if text.starts_with("https://gitlab.com/") => (Kind::GitLab, text),
            _ if text.starts_with("https://codeberg.org/") => (Kind::Gitea, text),
            _ => return Err(wrong()),
        };
        let (forge, project) = match (rest.contains("://"), kind) {
            (true, _) => {
                let url: Url = rest.parse()?;
                (Url { path: "/".into(), ..url.clone() }, url.path)
            }
            (false, Kind::GitHub) => ("https://github.com".parse()?, rest.to_owned()),
            (false, Kind::GitLab) => ("https://gitlab.com".parse()?, rest.to_owned()),
            (false, Kind::Gitea) => return Err(wrong()),
        };
        let project = project.trim_matches('/').trim_end_matches(".git").to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let parts = project.split('/').filter(|part| !matches!(*part, "" | "." | "..")).count();
        let all = project.split('/').count();
        let fits = if kind == Kind::GitLab { all >= 2 } else { all == 2 };
        match fits && parts == all && project.chars().all(plain) {
            true => Ok(Feed { kind, forge, project }),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.forge, self.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_is_known_by_its_address() {
        let of = |address: &str| Feed::of_project(address).map(|feed| feed.to_string());
        let web = Some("https://github.com/acme/web".to_owned());
        for address in [
            "https://github.com/acme/web",
            "https://github.com/acme/web.git",
            "https://github.com/acme/web/",
            "https://github.com/acme/web/tree/main/docker",
            "https://github.com/acme/web?tab=readme#top",
        ] {
            assert_eq!(of(address), web, "{address}");
        }
        let gitlab = of("https://gitlab.com/acme/tools/web/-/tree/main");
        assert_eq!(gitlab.as_deref(), Some("https://gitlab.com/acme/tools/web"));
        assert!(of("https://codeberg.org/acme/web").is_some());
        for other in [
            "",
            "acme/web",
            "git@github.com:acme/web.git",
            "http://github.com/acme/web",
            "https://github.com/acme",
            "https://github.com.evil.example/acme/web",
            "https://git.acme.example/acme/web",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn feeds_are_found_where_forges_have_them() {
        let page = |text: &str| {
            let feed: Feed = text.parse().unwrap_or_else(|error| panic!("{error}"));
            feed.first_page().to_string()
        };
        assert_eq!(
            page("github:acme/web"),
            "https://api.github.com/repos/acme/web/releases?per_page=100"
        );
        assert_eq!(page("https://github.com/acme/web.git"), page("github:acme/web"));
        assert_eq!(
            page("github:https://git.corp.example/acme/web"),
            "https://git.corp.example/api/v3/repos/acme/web/releases?per_page=100"
        );
        assert_eq!(
            page("gitlab:acme/tools/web"),
            "https://gitlab.com/api/v4/projects/acme%2Ftools%2Fweb/releases?per_page=100"
        );
        assert_eq!(
            page("forgejo:https://codeberg.org/acme/web"),
            "https://codeberg.org/api/v1/repos/acme/web/releases?limit=50"
        );
        for wrong in [
            "",
            "acme/web",
            "github:web",
            "gitea:acme/web",
            "github:a/b/c",
            "github:a/..",
            "svn:a/b",
            "github:a b/c",
        ] {
            assert!(wrong.parse::<Feed>().is_err(), "{wrong}");
        }
    }
}
