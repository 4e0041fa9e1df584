//! What a registry has of an image: its tags, and for which platforms one of them is there.
//!
//! Asked as any client does: without a word first, then with the token that the registry
//! says it wants. What `docker login` has left goes to the registry that it was left for,
//! and to where that one gives out its tokens, nowhere else.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::certificates;
use super::fetch::{AvailableError, ask, garbled, good, is_loopback, json, next_page};
use crate::engine::{Credentials, split_reference};
use crate::http::{Answer, HttpError, Request, Trust, Url, send};

/// Pages of tags that are looked at, of a thousand each.
const PAGES: usize = 50;
/// How long a registry may take to say that it speaks TLS, where it needn't.
const TLS_LIMIT: Duration = Duration::from_secs(3);
/// The answer to that is nothing that anybody reads.
const MOST_OF_A_GREETING: usize = 64 << 10;
/// An index leads to manifests, a manifest to its configuration.
const KINDS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// A repository in its registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// As people write it: `ghcr.io/acme/web`.
    pub name: String,
    /// The registry's name in references, with the port.
    known_as: String,
    registry: Url,
    /// The same in the clear, where Docker would try that too.
    in_the_clear: Option<Url>,
    path: String,
}

/// An image that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// What it is known by, whatever its tag.
    pub digest: String,
    /// For which platforms there is one, `linux/amd64` and so on.
    pub platforms: Vec<String>,
}

/// A conversation with a registry about one repository.
pub struct Session<'a> {
    repository: &'a Repository,
    credentials: Option<Credentials>,
    authorization: Option<(&'static str, String)>,
    limit: Duration,
    /// Once it is known.
    way: Option<Way>,
}

/// How a registry is spoken to.
struct Way {
    registry: Url,
    trust: Trust,
}

impl Repository {
    /// The repository of a reference, `web:2` or `ghcr.io/acme/web@sha256:…`. `in_the_clear`
    /// says which registries the engine speaks plain HTTP with.
    pub fn of(reference: &str, in_the_clear: impl Fn(&str) -> bool) -> Result<Repository, String> {
        let (name, _) = split_reference(split_reference(reference).0);
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => ("docker.io", name),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_./".contains(c);
        if path.is_empty() || !path.chars().all(plain) || path.split('/').any(str::is_empty) {
            return Err(format!("`{reference}` is no image of a registry"));
        }
        let known_as = host.to_owned();
        let (host, path) = match (host, path.contains('/')) {
            ("docker.io" | "index.docker.io", true) => ("registry-1.docker.io", path.to_owned()),
            ("docker.io" | "index.docker.io", false) => {
                ("registry-1.docker.io", format!("library/{path}"))
            }
            _ => (host, path.to_owned()),
        };
        let registry: Url = format!("https://{host}/").parse()?;
        let in_the_clear = is_loopback(&registry.host) || in_the_clear(host);
        let in_the_clear = in_the_clear.then(|| {
            let port = if host.contains(':') { registry.port } else { 80 };
            Url { tls: false, port, ..registry.clone() }
        });
        Ok(Repository { name: name.to_owned(), known_as, registry, in_the_clear, path })
    }

    fn at(&self, registry: &Url, rest: &str) -> Url {
        Url { path: format!("/v2/{}/{rest}", self.path), ..registry.clone() }
    }
}

impl<'a> Session<'a> {
    /// Begins one, in which each answer may take so long.
    pub fn new(
        repository: &'a Repository,
        credentials: Option<Credentials>,
        limit: Duration,
    ) -> Session<'a> {
        Session { repository, credentials, authorization: None, limit, way: None }
    }

    /// Where something of the repository is.
    async fn at(&mut self, rest: &str) -> Result<Url, AvailableError> {
        let way = match self.way.take() {
            Some(way) => way,
            None => self.find_way().await?,
        };
        let url = self.repository.at(&way.registry, rest);
        self.way = Some(way);
        Ok(url)
    }

    /// Docker tries TLS first with whomever it would speak to in the clear as well, and believes
    /// anybody there.
    async fn find_way(&self) -> Result<Way, AvailableError> {
        let Repository { known_as, registry, in_the_clear, .. } = self.repository;
        let (authorities, own) = certificates::of(known_as)?;
        let anybody = in_the_clear.is_some();
        let trust = Trust { home: registry.clone(), authorities, own, anybody };
        let registry = match in_the_clear {
            Some(in_the_clear) if !self.speaks_tls(&trust).await => in_the_clear,
            _ => registry,
        };
        Ok(Way { registry: registry.clone(), trust })
    }

    async fn speaks_tls(&self, trust: &Trust) -> bool {
        let root = Url { path: "/v2/".to_owned(), ..trust.home.clone() };
        let limit = self.limit.min(TLS_LIMIT);
        let body = Default::default();
        let (method, most, trust) = ("GET", MOST_OF_A_GREETING, Some(trust));
        let answer = send(&root, Request { method, headers: &[], body, limit, most, trust }).await;
        matches!(answer, Ok(_) | Err(HttpError::TooLarge { .. }))
    }

    fn trust(&self) -> Option<&Trust> {
        self.way.as_ref().map(|way| &way.trust)
    }

    /// All tags.
    pub async fn tags(&mut self) -> Result<Vec<String>, AvailableError> {
        let mut tags = Vec::new();
        let mut page = Some(self.at("tags/list?n=1000").await?);
        for _ in 0..PAGES {
            let Some(url) = page else { break };
            let (at, answer) = self.get("GET", &url).await?;
            let answer = good(&at, answer)?;
            let found = json(&at, &answer)?;
            // A repository without any says null.
            match &found["tags"] {
                Value::Array(some) => {
                    tags.extend(some.iter().filter_map(Value::as_str).map(str::to_owned));
                }
                Value::Null if found["name"].is_string() => {}
                _ => return Err(garbled(&at, "it is no list of tags")),
            }
            page = next_page(&at, &answer);
        }
        // They come by the alphabet: the newest may be among those that weren't read.
        match page {
            Some(url) => Err(garbled(&url, "its list of tags has no end")),
            None => Ok(tags),
        }
    }

    /// What a tag means now; `None` if it isn't there.
    pub async fn manifest(&mut self, tag: &str) -> Result<Option<Manifest>, AvailableError> {
        let url = self.at(&format!("manifests/{tag}")).await?;
        let (at, answer) = self.get("GET", &url).await?;
        if answer.status == 404 {
            return Ok(None);
        }
        let answer = good(&at, answer)?;
        let manifest = json(&at, &answer)?;
        let digest = answer.header("docker-content-digest").map(str::to_owned);
        let digest = digest.unwrap_or_else(|| sha256(&answer.body));
        if let Some(list) = manifest["manifests"].as_array() {
            let platforms = list.iter().filter_map(|part| platform(&part["platform"])).collect();
            return Ok(Some(Manifest { digest, platforms }));
        }
        let Some(config) = manifest.pointer("/config/digest").and_then(Value::as_str) else {
            return Err(garbled(&at, "it is no manifest"));
        };
        if !is_digest(config) {
            return Err(garbled(&at, "it names its configuration by no digest"));
        }
        let url = self.at(&format!("blobs/{config}")).await?;
        let (at, answer) = self.get("GET", &url).await?;
        let config = json(&at, &good(&at, answer)?)?;
        Ok(Some(Manifest { digest, platforms: platform(&config).into_iter().collect() }))
    }

    /// Asks, and again with a token where the registry wants one.
    async fn get(
        &mut self,
        method: &'static str,
        url: &Url,
    ) -> Result<(Url, Answer), AvailableError> {
        let headers = [("accept", KINDS.to_owned())];
        let secret = self.authorization.as_ref();
        let (at, answer) = ask(method, url, &headers, secret, self.limit, self.trust()).await?;
        if answer.status != 401 {
            return Ok((at, answer));
        }
        let Some(challenge) = answer.header("www-authenticate").map(str::to_owned) else {
            return Ok((at, answer));
        };
        let Some(authorization) = self.authorize(url, &challenge).await? else {
            return Ok((at, answer));
        };
        self.authorization = Some(authorization);
        let secret = self.authorization.as_ref();
        ask(method, url, &headers, secret, self.limit, self.trust()).await
    }

    /// What the registry wants to hear, if there is anything to say.
    async fn authorize(
        &self,
        registry: &Url,
        challenge: &str,
    ) -> Result<Option<(&'static str, String)>, AvailableError> {
        let (scheme, rest) = challenge.split_once(' ').unwrap_or((challenge, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Ok(self.basic());
        }
        let Some(realm) = parameter(rest, "realm") else { return Ok(None) };
        let mut url: Url =
            realm.parse().map_err(|_| garbled(registry, "its token server is no address"))?;
        if registry.tls && !url.tls {
            return Err(AvailableError::Astray { from: registry.to_string(), to: realm });
        }
        let scope = format!("repository:{}:pull", self.repository.path);
        let service = parameter(rest, "service").unwrap_or_default();
        let mark = if url.path.contains('?') { '&' } else { '?' };
        url.path.push_str(&format!("{mark}service={}&scope={}", escape(&service), escape(&scope)));
        // The registry could send us anywhere for a token. Anybody may ask, but only one of
        // its own house hears the password.
        let secret = self.basic().filter(|_| is_of_the_house(registry, &url));
        let (at, answer) = ask("GET", &url, &[], secret.as_ref(), self.limit, self.trust()).await?;
        let answer = json(&at, &good(&at, answer)?)?;
        let token = answer["token"].as_str().or(answer["access_token"].as_str());
        let token = token.ok_or_else(|| garbled(&at, "there is no token in it"))?;
        Ok(Some(("authorization", format!("Bearer {token}"))))
    }

    fn basic(&self) -> Option<(&'static str, String)> {
        // An identity token would have to be changed for another first; without it, what is
        // public is still seen.
        let Some(Credentials::Password { user, password }) = &self.credentials else { return None };
        Some(("authorization", format!("Basic {}", BASE64.encode(format!("{user}:{password}")))))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Whether a token server belongs to the registry: the same host, or one under the same
/// roof, as auth.docker.io is with registry-1.docker.io.
fn is_of_the_house(registry: &Url, realm: &Url) -> bool {
    if registry.host == realm.host {
        return true;
    }
    let is_name = |url: &Url| url.host.parse::<std::net::IpAddr>().is_err();
    let Some((_, roof)) = registry.host.split_once('.') else { return false };
    roof.contains('.')
        && is_name(registry)
        && (realm.host == roof || realm.host.ends_with(&format!(".{roof}")))
}

/// A parameter of a challenge: `realm="https://…"`.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let start = format!("{name}=\"");
    let at = challenge
        .match_indices(&start)
        .map(|(at, _)| at)
        .find(|at| *at == 0 || matches!(challenge.as_bytes()[at - 1], b',' | b' '))?;
    let rest = &challenge[at + start.len()..];
    Some(rest[..rest.find('"')?].to_owned())
}

fn platform(of: &Value) -> Option<String> {
    let part = |name: &str| of[name].as_str().filter(|part| !part.is_empty() && *part != "unknown");
    let (os, architecture) = (part("os")?, part("architecture")?);
    Some(match part("variant") {
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    })
}

fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(kind, hex)| {
        kind.chars().all(|c| c.is_ascii_alphanumeric())
            && hex.chars().all(|c| c.is_ascii_hexdigit())
    })
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |all, byte| match plain(byte) {
        true => all + &char::from(byte).to_string(),
        false => all + &format!("%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(reference: &str) -> Repository {
        Repository::of(reference, |host| host == "nas:5000").expect("an image")
    }

    #[test]
    fn a_repository_is_found_in_its_registry() {
        let at = |reference: &str| {
            let found = of(reference);
            found.at(&found.registry, "tags/list").to_string()
        };
        let in_the_clear =
            |reference: &str| of(reference).in_the_clear.map(|registry| registry.to_string());
        assert_eq!(at("nginx:1.27"), "https://registry-1.docker.io/v2/library/nginx/tags/list");
        assert_eq!(at("docker.io/acme/web"), "https://registry-1.docker.io/v2/acme/web/tags/list");
        assert_eq!(at("ghcr.io/acme/web:2@sha256:ab"), "https://ghcr.io/v2/acme/web/tags/list");
        assert_eq!(at("localhost:5000/web"), "https://localhost:5000/v2/web/tags/list");
        assert_eq!(in_the_clear("localhost:5000/web").as_deref(), Some("http://localhost:5000/"));
        assert_eq!(in_the_clear("localhost/web").as_deref(), Some("http://localhost/"));
        assert_eq!(in_the_clear("nas:5000/web").as_deref(), Some("http://nas:5000/"));
        assert_eq!(in_the_clear("ghcr.io/acme/web"), None);
        assert_eq!(
            (of("nas:5000/web").known_as, of("web").known_as),
            ("nas:5000".into(), "docker.io".into())
        );
        for wrong in ["", "sha256:0123", "Web", "a//b", "a/../b?x"] {
            let read = Repository::of(wrong, |_| false);
            assert!(read.is_err() || wrong == "sha256:0123", "{wrong}: {read:?}");
        }
    }

    #[test]
    fn a_password_stays_in_the_house() {
        let url = |host: &str| -> Url { format!("https://{host}/").parse().expect("an address") };
        let own = |registry: &str, realm: &str| is_of_the_house(&url(registry), &url(realm));
        assert!(own("registry-1.docker.io", "auth.docker.io"));
        assert!(own("registry.gitlab.com", "gitlab.com") && own("ghcr.io", "ghcr.io"));
        for (registry, realm) in [
            ("ghcr.io", "evil.io"),
            ("registry.gitlab.com", "evilgitlab.com"),
            ("registry.gitlab.com", "gitlab.com.evil.example"),
            ("10.0.0.1", "10.9.0.0.1"),
            ("10.0.0.1", "11.0.0.1"),
        ] {
            assert!(!own(registry, realm), "{registry} {realm}");
        }
    }

    #[test]
    fn a_challenge_is_read() {
        let challenge =
            r#"realm="https://auth.example/token",service="registry.example",scope="a:b,c""#;
        assert_eq!(parameter(challenge, "realm").as_deref(), Some("https://auth.example/token"));
        assert_eq!(parameter(challenge, "service").as_deref(), Some("registry.example"));
        assert_eq!(parameter(challenge, "alm"), None);
        assert_eq!(parameter(r#"realm="cut off"#, "realm"), None);
    }
}
