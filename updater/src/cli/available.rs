//! `available`: what is new.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::output::Output;
use super::update::name_of;
use super::{CliError, Exit, duration};
use crate::available::{
    Available, AvailableError, Cache, Channel, Current, Feed, ImageState, Question, Repository,
    Source, Version,
};
use crate::engine::{Engine, Wishes, split_reference};
use crate::launch;
use crate::plan::labels;

/// By which images name their project.
const OCI_SOURCE: &str = "org.opencontainers.image.source";

/// Say what is new, and whether its image is there.
#[derive(Debug, Args)]
pub struct AvailableCommand {
    /// The app, or `self`. Without one, no engine is asked; then --image or --source says
    /// what is looked for.
    #[arg(required_unless_present_any = ["image", "source"])]
    pub name: Option<String>,
    /// Where to look: `registry` for the tags of the image, or the releases of
    /// github:owner/name, gitlab:group/name, gitea:https://host/owner/name,
    /// forgejo:https://host/owner/name; `image` for those of the project that the image
    /// names by its label org.opencontainers.image.source [default: what the app's label
    /// io.changeover.source says, otherwise the registry].
    #[arg(long, env = "CHANGEOVER_SOURCE", value_name = "SOURCE", value_parser = look_in)]
    pub source: Option<LookIn>,
    /// The image [default: the one that the app runs].
    #[arg(long, env = "CHANGEOVER_AVAILABLE_IMAGE", value_name = "REF")]
    pub image: Option<String>,
    /// The version that runs [default: by the app's tag, or its image's version label].
    #[arg(long, env = "CHANGEOVER_CURRENT", value_name = "VERSION")]
    pub current: Option<String>,
    /// Whether pre-releases are for you.
    #[arg(long, env = "CHANGEOVER_CHANNEL", value_enum, default_value = "stable")]
    pub channel: Channel,
    /// Only tags like this, `*` stands for anything; may be given several times.
    #[arg(long, env = "CHANGEOVER_INCLUDE", value_name = "PATTERN", value_delimiter = ',')]
    pub include: Vec<String>,
    /// No tags like this.
    #[arg(long, env = "CHANGEOVER_EXCLUDE", value_name = "PATTERN", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// The platform for which the image has to be there [default: the app's own].
    #[arg(long, env = "CHANGEOVER_PLATFORM", value_name = "OS/ARCH")]
    pub platform: Option<String>,
    /// A file with a token of the forge, where releases are private or many ask.
    #[arg(long, env = "CHANGEOVER_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where the answers of forges are kept [default: the user's cache directory].
    #[arg(long, env = "CHANGEOVER_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// How long each answer may take.
    #[arg(long, env = "CHANGEOVER_TIMEOUT", value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub timeout: Duration,
}

/// What is asked for by `--source`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookIn {
    /// What the image says of itself.
    OfImage,
    /// This.
    Named(Source),
}

fn look_in(text: &str) -> Result<LookIn, String> {
    match text {
        "image" => Ok(LookIn::OfImage),
        named => named.parse().map(LookIn::Named),
    }
}

/// The source that is meant, and whether it was a person who said so. Labels come with the
/// image, whose makers have no say in who hears a token.
fn source_of(wanted: Option<LookIn>, labels: &Value) -> Result<(Source, bool), AvailableError> {
    let label = |name: &str| labels[name].as_str().filter(|text| !text.is_empty());
    match wanted {
        Some(LookIn::Named(source)) => Ok((source, true)),
        Some(LookIn::OfImage) => {
            let project = label(OCI_SOURCE).ok_or_else(|| AvailableError::Asked {
                what: format!("the app's image has no label {OCI_SOURCE}"),
                hint: "--source names its project, say github:owner/name",
            })?;
            let feed = Feed::of_project(project).ok_or_else(|| AvailableError::Asked {
                what: format!("the label {OCI_SOURCE} says {project:?}, and not what forge that is"),
                hint: "--source says so: gitea:https://host/owner/name, gitlab:https://host/group/name",
            })?;
            Ok((Source::Feed(feed), false))
        }
        None => match label(labels::SOURCE) {
            None => Ok((Source::Registry, false)),
            Some(source) => {
                let source = source.parse().map_err(|why| AvailableError::Asked {
                    what: format!("the label {} can't be used: {why}", labels::SOURCE),
                    hint: "--source counts before it",
                })?;
                Ok((source, false))
            }
        },
    }
}

pub(super) async fn available(
    wishes: Wishes,
    args: AvailableCommand,
    output: &Output,
) -> Result<Exit, CliError> {
    let (mut name, mut found, mut clear) = (None, Found::default(), Value::Null);
    if let Some(given) = &args.name {
        let engine = Engine::connect(wishes.choose()?.endpoint).await?;
        let app = name_of(&engine, given).await?;
        found = Found::of(&engine, &app).await?;
        clear = engine.info().await?["RegistryConfig"]["IndexConfigs"].take();
        name = Some(app);
    }
    if let Some(version) = args.current {
        found.current.version = Some(version);
    }
    let image = args.image.clone().or_else(|| found.current.reference.clone());
    let in_the_clear = |host: &str| clear[host]["Secure"] == false;
    let asked = |what| AvailableError::Asked {
        what,
        hint: "an app that was made from an image without a name has no registry; --image names one",
    };
    let repository = image.as_deref().map(|image| Repository::of(image, in_the_clear));
    let (source, is_named) = source_of(args.source, &found.labels)?;
    let token = args.token_file.as_deref().filter(|_| is_named);
    let question = Question {
        repository: repository.transpose().map_err(asked)?,
        credentials: image.as_deref().and_then(launch::stored_credentials),
        token: token.map(read_token).transpose()?,
        source,
        current: found.current,
        platform: args.platform.unwrap_or(found.platform),
        channel: args.channel,
        include: args.include,
        exclude: args.exclude,
        cache: Cache::at(args.cache),
        limit: args.timeout,
    };
    let answer = Available { name, ..question.answer().await? };
    output.done();
    match output.is_json() {
        true => output.json(&answer),
        false => output.result(&in_words(&answer)),
    }
    let worth_it = answer.ready || (answer.newer && answer.image.is_none());
    Ok(if worth_it { Exit::Done } else { Exit::NothingToDo })
}

/// What runs, as far as the engine knows.
struct Found {
    current: Current,
    platform: String,
    labels: Value,
}

impl Default for Found {
    fn default() -> Found {
        let architecture = launch::canonical(std::env::consts::ARCH);
        let platform = format!("linux/{architecture}");
        Found { current: Current::default(), platform, labels: Value::Null }
    }
}

impl Found {
    async fn of(engine: &Engine, app: &str) -> Result<Found, CliError> {
        let container = engine.container(app).await?;
        let container = container.ok_or_else(|| CliError::NoSuchContainer(app.to_owned()))?;
        let text = |of: &Value, at: &str| {
            of.pointer(at)
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let reference = text(&container, "/Config/Image");
        let image = engine.image(&text(&container, "/Image").unwrap_or_default()).await?;
        let image = image.unwrap_or_default();
        let tag = reference.as_deref().and_then(|reference| split_reference(reference).1);
        let tag = tag.filter(|tag| Version::of(tag).is_some()).map(str::to_owned);
        let labelled = || {
            let label = "org.opencontainers.image.version";
            container["Config"]["Labels"][label].as_str().map(str::to_owned)
        };
        let digests = image["RepoDigests"].as_array().into_iter().flatten();
        let digests = digests.filter_map(|digest| digest.as_str()?.split_once('@'));
        let digests = digests.map(|(_, digest)| digest.to_owned()).collect();
        let os = text(&image, "/Os").unwrap_or_else(|| "linux".into());
        let architecture = text(&image, "/Architecture");
        let platform = match architecture {
            Some(architecture) => format!("{os}/{architecture}"),
            None => Found::default().platform,
        };
        let version = tag.or_else(labelled);
        let labels = container["Config"]["Labels"].clone();
        Ok(Found { current: Current { reference, version, digests }, platform, labels })
    }
}

fn read_token(file: &Path) -> Result<String, AvailableError> {
    let text = std::fs::read_to_string(file)
        .map_err(|source| AvailableError::File { file: file.display().to_string(), source })?;
    Ok(text.trim().to_owned())
}

fn in_words(answer: &Available) -> String {
    let current = &answer.current;
    let now = current.reference.as_deref().or(current.version.as_deref()).unwrap_or("unknown");
    let mut text = match &answer.newest {
        Some(newest) if answer.newer => {
            format!("{} has {}; {now} runs", answer.source, newest.tag)
        }
        _ => format!("{} has nothing newer than {now}", answer.source),
    };
    if let Some(image) = answer.image.as_ref().filter(|_| answer.newer) {
        let ImageState { reference, platform, platforms, .. } = image;
        text.push_str(&match (image.there, platforms.is_empty()) {
            (true, _) => format!("\n  image: {reference} is there for {platform}"),
            (false, true) => format!("\n  image: {reference} is not there yet"),
            (false, false) => format!(
                "\n  image: {reference} is not there for {platform} yet, only for {}",
                platforms.join(", ")
            ),
        });
    }
    let newest = answer.newest.as_ref().filter(|_| answer.newer);
    if let Some(url) = newest.and_then(|newest| newest.url.as_deref()) {
        text.push_str(&format!("\n  {url}"));
    }
    if let Some(notes) = newest.and_then(|newest| newest.notes.as_deref()) {
        notes.lines().take(20).for_each(|line| text.push_str(&format!("\n  | {line}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_source_is_the_one_that_is_named_or_the_one_that_a_label_names() {
        let github: Source = "github:acme/web".parse().expect("a source");
        let of = |wanted: Option<&str>, labels: Value| {
            source_of(wanted.map(|text| look_in(text).expect("good")), &labels)
        };
        let oci = |url: &str| json!({ OCI_SOURCE: url });
        let own =
            |text: &str| json!({ labels::SOURCE: text, OCI_SOURCE: "https://gitlab.com/a/b" });
        let found = |wanted, labels| of(wanted, labels).expect("a source");
        assert_eq!(found(None, Value::Null), (Source::Registry, false));
        // That one is for people who read; many images name a project without releases.
        assert_eq!(found(None, oci("https://github.com/acme/web")), (Source::Registry, false));
        assert_eq!(
            found(Some("image"), oci("https://github.com/acme/web")),
            (github.clone(), false)
        );
        assert_eq!(found(None, own("github:acme/web")), (github.clone(), false));
        assert_eq!(found(Some("registry"), own("github:acme/web")), (Source::Registry, true));
        assert_eq!(found(Some("github:acme/web"), Value::Null), (github, true));
        let refused = |wanted, labels| of(wanted, labels).expect_err("no source").to_string();
        assert!(refused(Some("image"), Value::Null).contains("has no label org.opencontainers"));
        let unknown = refused(Some("image"), oci("https://git.acme.example/acme/web"));
        assert!(unknown.contains("git.acme.example") && unknown.contains("gitea:https://"));
        assert!(refused(None, own("acme")).contains("io.changeover.source"));
    }
}
