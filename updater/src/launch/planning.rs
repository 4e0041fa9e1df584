//! The plan: from what was found and what is asked for, to what will be done.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::warn;

use super::image::canonical;
use super::preflight::Found;
use super::{
    HealthRequest, LaunchError, Prepared, Remark, Request, Retag, Surroundings, backup,
    certificate, compose, dependants, layer, podman, reach, text, told,
};
use crate::engine::{Engine, split_reference};
use crate::face::{Face, title_from_labels};
use crate::plan::{GatePlan, Image, Member, Old, PageSettings, Plan, Probe, Published, SCHEMA};
use crate::successor::{Inputs, Loss, Pair, Successor, differences, predicted, successor};

/// What the engine waits for between the stop signal and SIGKILL, if nobody said.
const STOP_SECONDS: u64 = 10;

pub(super) async fn plan(
    engine: &Engine,
    request: &Request,
    found: Found,
    new_image: Value,
) -> Result<Prepared, LaunchError> {
    let mut made = make_successor(
        engine,
        &found,
        &Source {
            old: &found.old,
            old_image: found.old_image.as_ref(),
            new_image: &new_image,
            reference: &request.image,
        },
    )?;
    made.platform = request.platform.clone().or(made.platform);
    let mut published = reach::published(&found.old, &request.page_ports, 0);
    published.extend(reach::lent(engine, request, &found.old).await?);
    if !runs(&found.old) {
        reach::refuse_held_port(&found, request, &published)?;
    }
    let probe = match runs(&found.old) {
        true => reach::choose_probe(engine, &request.health, &found.old, &mut published).await,
        false => Probe::Running,
    };
    let unseen = reach::without_a_page(engine, &found, &published, &probe).await?;
    let differences = differences(&Pair {
        old: &found.old,
        old_image: found.old_image.as_ref(),
        new: &predicted(&made.create, &made.connect, &new_image),
        new_image: &new_image,
        moved: &[],
    });
    let unseen = unseen.into_iter().chain(reach::with_gaps(engine, &found, &published));
    let mut remains = Remains { remarks: unseen.collect(), ..Remains::default() };
    if !runs(&found.old) {
        remains.remarks.push(Remark::LeftStopped { container: found.app.clone() });
    }
    let carry =
        look_at_remains(engine, &found.app, &found.old, &request.carry, &made, &mut remains)
            .await?;
    let retag = look_at_compose(request, &found, &mut remains)?;
    let image = Image {
        reference: request.image.clone(),
        id: text(&new_image, "/Id").to_owned(),
        digest: digest_of(&new_image, &request.image),
    };
    let mut members = vec![Member {
        carry,
        retag,
        hidden: podman::hidden(engine, &found.old),
        ..member(&found.old, found.old_image.as_ref(), image, made, probe)
    }];
    for dependant in &found.dependants {
        let member =
            along(engine, &found, dependant, &members, &mut published, &mut remains).await?;
        members.push(member);
    }
    let backup = backup::choose(&request.backup, &found, &mut remains.remarks)?;
    if backup.is_some() {
        backup::nobody_at_them(engine, &found.app).await?;
    }
    let plan = Plan {
        notify: told::notify(engine, request, &found, &members[0].probe, &published).await?,
        history: told::history(request, &found)?,
        schema: SCHEMA,
        update: new_id(),
        app: found.app.clone(),
        asked_at: Timestamp::now().to_string(),
        handover: reach::choose_handover(&found, request, published)?,
        gate: GatePlan {
            timeout_seconds: whole_seconds(request.health_timeout),
            stable_seconds: whole_seconds(request.stable),
        },
        page: PageSettings {
            title: request
                .title
                .clone()
                .or_else(|| title_from_labels(&found.old["Config"]["Labels"]))
                .unwrap_or_else(|| found.app.clone()),
            face: face(request, &found.old["Config"]["Labels"]),
            certificate: certificate::choose(engine, request, &found).await?,
            from: version_of(&members[0].old.image.reference),
            to: version_of(&request.image),
        },
        members,
        backup,
        goes_back: request.goes_back,
        own_helper_image: None,
    };
    let surroundings = Surroundings::of(engine, found.own.as_ref());
    Ok(Prepared {
        plan,
        differences,
        losses: remains.losses,
        remarks: remains.remarks,
        leftovers: found.leftovers,
        surroundings,
    })
}

/// A container that depends on the app: recreated on its own image, onto the new ids.
async fn along(
    engine: &Engine,
    found: &Found,
    old: &Value,
    before: &[Member],
    published: &mut Vec<Published>,
    remains: &mut Remains,
) -> Result<Member, LaunchError> {
    let name = text(old, "/Name").trim_start_matches('/').to_owned();
    let image = engine.image(text(old, "/Image")).await.map_err(LaunchError::engine)?;
    let Some(image) = image else {
        return Err(LaunchError::Unsuitable {
            app: found.app.clone(),
            why: format!("`{name}` has to be recreated with it, and its image is gone"),
            hint: format!("pull {} again, or remove `{name}`", text(old, "/Config/Image")),
        });
    };
    // Its tag may mean another image by now; then only the id is still its own.
    let reference = text(old, "/Config/Image");
    let same = engine.image(reference).await.map_err(LaunchError::engine)?;
    let same = same.is_some_and(|same| same["Id"] == image["Id"]);
    let reference = if same { reference } else { text(old, "/Image") };
    let source = Source { old, old_image: Some(&image), new_image: &image, reference };
    let mut made = make_successor(engine, found, &source)?;
    dependants::redirect_references(&mut made.create, before);
    let mut ports = reach::published(old, &[], before.len());
    let probe = match runs(old) {
        true => reach::choose_probe(engine, &HealthRequest::default(), old, &mut ports).await,
        false => Probe::Running,
    };
    published.extend(ports);
    let carry = look_at_remains(engine, &found.app, old, &[], &made, remains).await?;
    let digest = digest_of(&image, reference);
    let id = text(&image, "/Id").to_owned();
    let image_of = Image { reference: reference.to_owned(), id, digest };
    let hidden = podman::hidden(engine, old);
    Ok(Member { carry, hidden, ..member(old, Some(&image), image_of, made, probe) })
}

/// Finds out whether the user's Compose file would undo the update; returns the
/// reference that is to mean the new image afterwards.
fn look_at_compose(
    request: &Request,
    found: &Found,
    remains: &mut Remains,
) -> Result<Option<String>, LaunchError> {
    let before = text(&found.old, "/Config/Image");
    let named = compose::look(&found.old, found.on_host);
    let earlier = || {
        let record = Plan::recorded_in(&found.old["Config"]["Labels"])?;
        record.members.into_iter().find(|member| member.name == found.app)?.retag
    };
    let own = match (&request.retag, &named) {
        (Retag::To(reference), _) => Some(reference.clone()),
        (Retag::Own, compose::Named::Here(pin)) => Some(pin.image.clone()),
        (Retag::Own, _) => Some(earlier().unwrap_or_else(|| before.to_owned())),
        (Retag::No, _) => None,
    };
    if let Some(own) = &own
        && (own.contains('@') || own.starts_with("sha256:") || own.is_empty())
    {
        return Err(LaunchError::Unsuitable {
            app: found.app.clone(),
            why: format!("--retag has no tag to give to the new image: it was made from {own}"),
            hint: "name the image by a tag where it is written down, or leave --retag out".into(),
        });
    }
    let is_true = |reference: &str| {
        compose::is_same(reference, &request.image)
            || own.as_ref().is_some_and(|own| compose::is_same(reference, own))
    };
    match named {
        compose::Named::Here(pin) if !is_true(&pin.image) => {
            remains.remarks.push(Remark::ComposePin { pin, image: request.image.clone() });
        }
        compose::Named::Unknown(files) if !is_true(before) => {
            remains.remarks.push(Remark::ComposeUnknown {
                files,
                before: before.to_owned(),
                image: request.image.clone(),
            });
        }
        _ => {}
    }
    Ok(own.filter(|own| !compose::is_same(own, &request.image)))
}

/// What stays behind, of all members together.
#[derive(Default)]
struct Remains {
    losses: Vec<Loss>,
    remarks: Vec<Remark>,
}

/// Finds out what of a container wouldn't come along; returns what is carried over.
async fn look_at_remains(
    engine: &Engine,
    app: &str,
    old: &Value,
    asked: &[String],
    made: &Successor,
    remains: &mut Remains,
) -> Result<Vec<String>, LaunchError> {
    let name = text(old, "/Name").trim_start_matches('/').to_owned();
    remains.losses.extend(made.losses.iter().cloned());
    if !made.hidden_macs.is_empty() {
        remains.remarks.push(Remark::MacAddresses {
            container: name.clone(),
            networks: made.hidden_macs.clone(),
        });
    }
    if engine.podman().is_some() && podman::hidden(engine, old).is_none() {
        remains.remarks.push(Remark::HiddenSettings { container: name.clone() });
    }
    for path in asked {
        let there = engine.path_stat(text(old, "/Id"), path).await.map_err(LaunchError::engine)?;
        if there.is_none() {
            return Err(LaunchError::Unsuitable {
                app: app.to_owned(),
                why: format!("there is no {path} in it that could be carried over"),
                hint: "`docker diff` lists what it has written".into(),
            });
        }
    }
    let layer = match layer::look(engine, old, asked).await {
        Ok(layer) => layer,
        Err(error) if error.is_refusal() => {
            let why = error.to_string();
            remains.remarks.push(Remark::UnknownLayer { container: name, why });
            return Ok(asked.to_vec());
        }
        Err(error) => return Err(LaunchError::engine(error)),
    };
    if !layer.lost.is_empty() {
        remains.losses.push(Loss::WritableLayer { container: name.clone(), files: layer.lost });
    }
    if !layer.empty.is_empty() {
        remains.remarks.push(Remark::EmptyFiles { container: name.clone(), files: layer.empty });
    }
    if !layer.changed.is_empty() || !layer.deleted.is_empty() {
        remains.remarks.push(Remark::ChangedFiles {
            container: name,
            changed: layer.changed,
            deleted: layer.deleted,
        });
    }
    Ok(layer.carried)
}

/// What a successor is made from, apart from the engine.
struct Source<'a> {
    old: &'a Value,
    old_image: Option<&'a Value>,
    new_image: &'a Value,
    reference: &'a str,
}

fn make_successor(
    engine: &Engine,
    found: &Found,
    source: &Source,
) -> Result<Successor, LaunchError> {
    successor(&Inputs {
        old: source.old,
        old_image: source.old_image,
        new_image: source.new_image,
        reference: source.reference,
        api: engine.api(),
        engine_name: text(&found.info, "/Name"),
        engine_platform: &format!("linux/{}", canonical(text(&found.info, "/Architecture"))),
        donor_gone: false,
    })
    .map_err(|error| LaunchError::Unsuitable {
        app: found.app.clone(),
        why: error.to_string(),
        hint: "does this engine speak Docker's API?".into(),
    })
}

/// The app's face: as asked for, or else as its labels have it. A label that is
/// wrong costs the app its colour, not its update.
fn face(request: &Request, labels: &Value) -> Face {
    let (face, complaints) = Face::from_labels(labels);
    for complaint in complaints {
        warn!("{complaint}");
    }
    request.face.clone().or(face)
}

fn member(
    old: &Value,
    old_image: Option<&Value>,
    image: Image,
    made: Successor,
    probe: Probe,
) -> Member {
    Member {
        name: text(old, "/Name").trim_start_matches('/').to_owned(),
        old: Old {
            id: text(old, "/Id").to_owned(),
            image: Image {
                reference: text(old, "/Config/Image").to_owned(),
                id: text(old, "/Image").to_owned(),
                digest: old_image.and_then(|image| digest_of(image, "")),
            },
            running: runs(old),
            policy: own_policy(old),
            started_at: started_at(old),
            stop_seconds: old["Config"]["StopTimeout"].as_u64().unwrap_or(STOP_SECONDS),
        },
        image,
        create: Some(made.create),
        platform: made.platform,
        connect: made.connect,
        carry: Vec::new(),
        retag: None,
        hidden: None,
        expected: made.expected,
        probe,
    }
}

/// The restart policy as it can be set again. Where none was asked for, inspect shows
/// an empty name, which the engine takes for "leave it as it is".
fn own_policy(container: &Value) -> Value {
    let policy = &container["HostConfig"]["RestartPolicy"];
    match policy["Name"].as_str() {
        None | Some("") => json!({ "Name": "no", "MaximumRetryCount": 0 }),
        Some(_) => policy.clone(),
    }
}

/// When it was started, unless the engine starts it again and again: then the time
/// tells nothing.
fn started_at(container: &Value) -> String {
    let since = text(container, "/State/StartedAt").parse::<Timestamp>().ok();
    let just_now = since.is_some_and(|since| {
        Timestamp::now().duration_since(since) < jiff::SignedDuration::from_secs(60)
    });
    let restarts = container["State"]["Restarting"] == true
        || just_now && container["RestartCount"].as_u64().is_some_and(|count| count > 0);
    match restarts {
        true => String::new(),
        false => text(container, "/State/StartedAt").to_owned(),
    }
}

/// Rounded up: half a second is not none.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn runs(container: &Value) -> bool {
    container["State"]["Running"] == true
}

/// `repository@sha256:…` of an image, of this repository if it has several.
fn digest_of(image: &Value, reference: &str) -> Option<String> {
    let (repository, _) = split_reference(reference);
    let digests: Vec<&str> =
        image["RepoDigests"].as_array()?.iter().filter_map(Value::as_str).collect();
    let same = digests.iter().find(|digest| digest.split('@').next() == Some(repository));
    same.or(digests.first()).map(|digest| (*digest).to_owned())
}

/// The version for people: the tag, or the start of the digest.
fn version_of(reference: &str) -> String {
    match split_reference(reference) {
        (_, Some(digest)) if digest.starts_with("sha256:") => digest.chars().take(19).collect(),
        (_, Some(tag)) => tag.to_owned(),
        (name, None) if name.starts_with("sha256:") => name.chars().take(19).collect(),
        (_, None) => "latest".to_owned(),
    }
}

/// Sorts by time, and two asked for in the same microsecond still differ.
fn new_id() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let noise = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0u8);
    format!("{:014x}{:06x}", since.as_micros(), noise & 0xff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_nobody_chose_can_be_set_again() {
        let made_without = json!({ "HostConfig": { "RestartPolicy": { "Name": "" } } });
        assert_eq!(own_policy(&made_without)["Name"], "no");
        let chosen = json!({ "Name": "on-failure", "MaximumRetryCount": 3 });
        assert_eq!(own_policy(&json!({ "HostConfig": { "RestartPolicy": chosen } })), chosen);
    }

    #[test]
    fn people_read_the_tag() {
        assert_eq!(version_of("ghcr.io/acme/web:2.1"), "2.1");
        assert_eq!(version_of("host:5000/web"), "latest");
        assert_eq!(version_of("web@sha256:0123456789abcdef"), "sha256:0123456789ab");
    }
}
