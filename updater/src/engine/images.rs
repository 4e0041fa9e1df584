//! Calls about images.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Request, segment};
use super::{Engine, EngineError};

impl Engine {
    /// `docker image inspect` by reference or id; `None` if it isn't there.
    pub async fn image(&self, reference: &str) -> Result<Option<Value>, EngineError> {
        let reference = segment(reference);
        let mut image =
            self.json_if_there(Request::get(format!("/images/{reference}/json"))).await?;
        // What Podman says in Docker's way lacks the health check.
        if let (Some(image), Some(_)) = (&mut image, self.podman()) {
            let path = format!("/libpod/images/{reference}/json");
            let own = self.json_if_there(Request::get(path)).await?.unwrap_or_default();
            if own["Healthcheck"].is_object() && image["Config"].is_object() {
                image["Config"]["Healthcheck"] = own["Healthcheck"].clone();
            }
        }
        Ok(image)
    }

    /// Makes an image of one layer from a tar of its files. `changes` are lines of
    /// a Dockerfile, say `ENTRYPOINT ["/changeover"]`.
    pub async fn import_image(
        &self,
        reference: &str,
        files: Vec<u8>,
        changes: &[String],
    ) -> Result<(), EngineError> {
        let (repository, tag) = split_reference(reference);
        let mut request = Request::post("/images/create").query("fromSrc", "-");
        request = match self.podman() {
            // Version 4 doesn't see the tag, and all of them take it with the name.
            Some(_) => request.query("repo", reference),
            None => request.query("repo", repository).query("tag", tag.unwrap_or("latest")),
        };
        request = request.tar(files).within(Duration::from_secs(120));
        for change in changes {
            request = request.query("changes", change.as_str());
        }
        let reply = self.call(request).await?;
        // The status was sent before the work was done; what went wrong later is
        // in the last line.
        let text = String::from_utf8_lossy(&reply.body);
        let failed = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        match failed.filter_map(|line| line["error"].as_str().map(str::to_owned)).next() {
            Some(message) => Err(EngineError::Reply { status: 500, message }),
            None => Ok(()),
        }
    }

    /// The tags of a repository that this engine has, as references.
    pub async fn tags_of(&self, repository: &str) -> Result<Vec<String>, EngineError> {
        let filters = json!({ "reference": [repository] }).to_string();
        let images = self.json(Request::get("/images/json").query("filters", filters)).await?;
        let images = images.as_array().into_iter().flatten();
        let tags = images.flat_map(|image| image["RepoTags"].as_array().into_iter().flatten());
        Ok(tags.filter_map(|tag| tag.as_str().map(str::to_owned)).collect())
    }

    /// Summaries of the images with this label (`key=value`).
    pub async fn images_labelled(&self, label: &str) -> Result<Vec<Value>, EngineError> {
        let filters = json!({ "label": [label] }).to_string();
        let images = self.json(Request::get("/images/json").query("filters", filters)).await?;
        Ok(images.as_array().cloned().unwrap_or_default())
    }

    /// Gives an image another reference, which may have meant another image before.
    pub async fn tag(&self, id: &str, reference: &str) -> Result<(), EngineError> {
        let (repository, tag) = split_reference(reference);
        let request = Request::post(format!("/images/{}/tag", segment(id)))
            .query("repo", repository)
            .query("tag", tag.unwrap_or("latest"));
        self.call(request).await.map(drop)
    }

    /// Removes an image reference; `Ok(false)` where a container still uses it.
    pub async fn remove_image(&self, reference: &str) -> Result<bool, EngineError> {
        match self.call(Request::delete(format!("/images/{reference}"))).await {
            Ok(_) => Ok(true),
            Err(e) if e.status() == Some(404) => Ok(true),
            Err(e) if e.status() == Some(409) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Splits a reference into repository and tag or digest: `host:5000/a/b:1` is
/// `host:5000/a/b` and `1`.
pub fn split_reference(reference: &str) -> (&str, Option<&str>) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (repository, Some(digest));
    }
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (reference, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split_reference;

    #[test]
    fn a_port_is_not_taken_for_a_tag() {
        assert_eq!(split_reference("web"), ("web", None));
        assert_eq!(split_reference("web:2"), ("web", Some("2")));
        assert_eq!(split_reference("host:5000/web"), ("host:5000/web", None));
        assert_eq!(split_reference("host:5000/web:2"), ("host:5000/web", Some("2")));
        assert_eq!(split_reference("web:1@sha256:ab"), ("web:1", Some("sha256:ab")));
    }
}
