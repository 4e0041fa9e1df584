//! What is new: the newest version of an app, what its makers say of it, and whether its
//! image is really there for this machine.
//!
//! Two kinds of source. A registry knows tags: the newest one with the same form as the
//! present one is what is new, or the present one itself where it has been pushed again.
//! A forge knows releases, with notes, and often before their image is there.

mod cache;
mod certificates;
mod feed;
mod fetch;
mod registry;
mod version;

pub use cache::Cache;
pub use feed::{Feed, Release};
pub use fetch::AvailableError;
pub use registry::{Manifest, Repository, Session};
pub use version::{Version, matches};

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::engine::{Credentials, split_reference};

/// The version of the document's JSON.
pub const SCHEMA: u32 = 1;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The tags of the image in its registry.
    Registry,
    /// The releases of a forge.
    Feed(Feed),
}

/// Which versions are for this user.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Channel {
    /// Those that are meant for everybody.
    #[default]
    Stable,
    /// Also alphas, betas, release candidates.
    Pre,
}

/// What is asked.
pub struct Question {
    /// Where to look.
    pub source: Source,
    /// The image, where one is known.
    pub repository: Option<Repository>,
    /// What opens its registry.
    pub credentials: Option<Credentials>,
    /// What opens the forge.
    pub token: Option<String>,
    /// What runs now.
    pub current: Current,
    /// `linux/amd64` and so on.
    pub platform: String,
    /// Which versions are wanted.
    pub channel: Channel,
    /// Only tags like one of these, if there are any. `*` stands for anything.
    pub include: Vec<String>,
    /// No tags like one of these.
    pub exclude: Vec<String>,
    /// Where answers are kept.
    pub cache: Cache,
    /// How long each answer may take.
    pub limit: Duration,
}

/// What runs now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Current {
    /// The image, as it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The version, where tag or label tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the registry calls the image: `sha256:…`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digests: Vec<String>,
}

/// What is available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Available {
    /// Version of this document, [`SCHEMA`].
    pub schema: u32,
    /// The app, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it was looked.
    pub source: String,
    /// What runs now.
    pub current: Current,
    /// The newest version that is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Release>,
    /// Whether that is newer than what runs.
    pub newer: bool,
    /// Its image, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageState>,
    /// Whether an update could be asked for now: it is newer, and its image is there for
    /// this platform.
    pub ready: bool,
}

/// Whether an image is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ImageState {
    /// What an update would be given as `--image`.
    pub reference: String,
    /// Whether the registry has it for the platform.
    pub there: bool,
    /// For which it should be.
    pub platform: String,
    /// For which it is.
    pub platforms: Vec<String>,
    /// What the registry calls it, whatever its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Question {
    /// Answers it.
    pub async fn answer(self) -> Result<Available, AvailableError> {
        match &self.source {
            Source::Registry => self.by_tags().await,
            Source::Feed(feed) => self.by_releases(feed).await,
        }
    }

    fn version(&self) -> Option<Version> {
        Version::of(self.current.version.as_deref()?)
    }

    fn wanted(&self, tag: &str, version: &Version, is_early: bool) -> bool {
        let like = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, tag));
        let early = is_early || version.pre.is_some();
        (self.channel == Channel::Pre || !early)
            && (self.include.is_empty() || like(&self.include))
            && !like(&self.exclude)
    }

    async fn by_tags(&self) -> Result<Available, AvailableError> {
        let repository = self.repository.as_ref().ok_or_else(|| AvailableError::Asked {
            what: "there is no image whose tags could be looked at".into(),
            hint: "name the app, or give --image",
        })?;
        let mut session = Session::new(repository, self.credentials.clone(), self.limit);
        let current = self.version();
        let tags = session.tags().await?;
        let same_form = |version: &Version| {
            current.as_ref().is_none_or(|now| {
                now.variant == version.variant && now.numbers.len() == version.numbers.len()
            })
        };
        let newest = tags
            .into_iter()
            .filter(|tag| is_tag(tag))
            .filter_map(|tag| Version::of(&tag).map(|version| (tag, version)))
            .filter(|(tag, version)| same_form(version) && self.wanted(tag, version, false))
            .max_by(|(_, a), (_, b)| a.compare(b));
        let own_tag = self.current.reference.as_deref().and_then(|r| split_reference(r).1);
        let own_tag = own_tag.unwrap_or("latest").to_owned();
        let is_newer = |found: &Version| match &current {
            Some(now) => found.compare(now).is_gt(),
            // What runs is no version, `latest` say: it is followed by its digest.
            None => self.current.reference.is_none(),
        };
        let (tag, pushed_again) = match newest {
            Some((tag, version)) if is_newer(&version) => (tag, false),
            _ if is_tag(&own_tag) => (own_tag, true),
            // By digest: there is nothing that could have moved.
            _ => return Ok(self.nothing(&repository.name)),
        };
        let found = session.manifest(&tag).await?;
        let is_known = |digest: &String| self.current.digests.contains(digest);
        let newer = match &found {
            Some(found) if pushed_again => {
                !self.current.digests.is_empty() && !is_known(&found.digest)
            }
            _ => !pushed_again,
        };
        let image = self.state(format!("{}:{tag}", repository.name), found);
        let release =
            Release { tag, prerelease: false, published_at: None, notes: None, url: None };
        Ok(self.found(repository.name.clone(), release, newer, Some(image)))
    }

    async fn by_releases(&self, feed: &Feed) -> Result<Available, AvailableError> {
        let releases = feed.releases(self.token.as_deref(), &self.cache, self.limit).await?;
        let newest = releases
            .into_iter()
            .filter_map(|release| Version::of(&release.tag).map(|version| (release, version)))
            .filter(|(release, version)| self.wanted(&release.tag, version, release.prerelease))
            .max_by(|(_, a), (_, b)| a.compare(b));
        let Some((release, version)) = newest else { return Ok(self.nothing(&feed.to_string())) };
        let current = self.version();
        let image = match &self.repository {
            None => None,
            Some(repository) => {
                let mut session = Session::new(repository, self.credentials.clone(), self.limit);
                let variant = current.as_ref().and_then(|current| current.variant.clone());
                Some(self.image_of(&mut session, repository, &release.tag, variant).await?)
            }
        };
        let newer = match (&current, &image) {
            (Some(current), _) => version.compare(current).is_gt(),
            (None, Some(ImageState { digest: Some(digest), .. })) => {
                !self.current.digests.contains(digest)
            }
            (None, _) => true,
        };
        Ok(self.found(feed.to_string(), release, newer, image))
    }

    /// The image of a release: its tag may have lost the `v`, or got a variant behind it.
    async fn image_of(
        &self,
        session: &mut Session<'_>,
        repository: &Repository,
        tag: &str,
        variant: Option<String>,
    ) -> Result<ImageState, AvailableError> {
        let bare = tag.strip_prefix("release-").unwrap_or(tag);
        let bare = bare.strip_prefix(['v', 'V']).unwrap_or(bare);
        let suffix = variant.map(|variant| format!("-{variant}")).unwrap_or_default();
        let mut names = vec![format!("{bare}{suffix}"), format!("{tag}{suffix}")];
        names.dedup();
        names.retain(|name| is_tag(name));
        let reference = |name: &str| format!("{}:{name}", repository.name);
        for name in &names {
            if let Some(found) = session.manifest(name).await? {
                return Ok(self.state(reference(name), Some(found)));
            }
        }
        Ok(self.state(reference(names.first().map_or(tag, String::as_str)), None))
    }

    fn state(&self, reference: String, found: Option<Manifest>) -> ImageState {
        let (digest, platforms) = match found {
            Some(found) => (Some(found.digest), found.platforms),
            None => (None, Vec::new()),
        };
        let fits = |one: &String| {
            one.strip_prefix(&self.platform)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let there = platforms.iter().any(fits);
        ImageState { reference, there, platform: self.platform.clone(), platforms, digest }
    }

    fn found(
        &self,
        source: String,
        newest: Release,
        newer: bool,
        image: Option<ImageState>,
    ) -> Available {
        Available {
            ready: newer && image.as_ref().is_some_and(|image| image.there),
            newest: Some(newest),
            newer,
            image,
            ..self.nothing(&source)
        }
    }

    fn nothing(&self, source: &str) -> Available {
        Available {
            schema: SCHEMA,
            name: None,
            source: source.to_owned(),
            current: self.current.clone(),
            newest: None,
            newer: false,
            image: None,
            ready: false,
        }
    }
}

/// Whether a registry may call a tag so. What it says ends up in an address.
fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 128 && text.chars().all(plain) && !text.starts_with('.')
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        match text {
            "registry" => Ok(Source::Registry),
            feed => feed.parse().map(Source::Feed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Url;

    #[test]
    fn no_input_makes_a_tag_or_an_address_panic() {
        let samples: [&[u8]; 6] = [
            b"v1.5.0-rc.2-alpine3.20+build",
            b"release-2024.10.1",
            b"gitlab:https://git.example/acme/tools/web.git",
            b"https://[::1]:8443/a/b?c=d#e",
            b"ghcr.io/acme/web:2@sha256:ab",
            b"*-alpine*",
        ];
        crate::fuzzed::bytes(50, &samples, |input| {
            let text = String::from_utf8_lossy(input);
            if let Some(version) = Version::of(&text) {
                assert!(version.compare(&version).is_eq(), "{text}");
            }
            let _ = (text.parse::<Source>(), is_tag(&text), matches("1.*-a", &text));
            let _ = Repository::of(&text, |_| false);
            if let Ok(url) = text.parse::<Url>() {
                let again = url.to_string().parse::<Url>();
                assert_eq!(again.as_ref(), Ok(&url));
            }
        });
    }
}
