//! Calls about containers and the networks they are on.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::wire::{Request, segment};
use super::{Engine, EngineError};

/// How often a list is asked for while Podman takes a container on it away.
const LIST_TRIES: u32 = 50;
const LIST_PAUSE: Duration = Duration::from_millis(100);

impl Engine {
    /// `docker inspect` of a container by name or id; `None` if there is none.
    pub async fn container(&self, name_or_id: &str) -> Result<Option<Value>, EngineError> {
        // A slash would lead to another part of the API, and no name has one.
        if name_or_id.is_empty() || name_or_id.contains('/') {
            return Ok(None);
        }
        let name_or_id = segment(name_or_id);
        match self.json_if_there(Request::get(format!("/containers/{name_or_id}/json"))).await {
            // Podman had found it, and then it went away.
            Err(error) if error.is_for_one_that_is_gone() => Ok(None),
            answer => answer,
        }
    }

    /// What Podman says of a container in its own way.
    pub async fn podmans_container(&self, id: &str) -> Result<Value, EngineError> {
        self.json(Request::get(format!("/libpod/containers/{}/json", segment(id)))).await
    }

    /// What Podman writes down for Kubernetes to make this container, as YAML: of its
    /// environment, only what was given.
    pub async fn podmans_kube(&self, id: &str) -> Result<String, EngineError> {
        let reply = self.call(Request::get("/libpod/generate/kube".to_owned()).query("names", id));
        Ok(String::from_utf8_lossy(&reply.await?.body).into_owned())
    }

    /// Summaries of all containers, running or not, with this label
    /// (`key` or `key=value`).
    pub async fn containers_labelled(&self, label: &str) -> Result<Vec<Value>, EngineError> {
        let filters = json!({ "label": [label] }).to_string();
        self.list(Request::get("/containers/json").query("all", "1").query("filters", filters))
            .await
    }

    /// Summaries of all containers, running or not.
    pub async fn containers(&self) -> Result<Vec<Value>, EngineError> {
        self.list(Request::get("/containers/json").query("all", "1")).await
    }

    /// Whether there is a volume of this name.
    pub async fn has_volume(&self, name: &str) -> Result<bool, EngineError> {
        let request = Request::get(format!("/volumes/{}", segment(name)));
        Ok(self.json_if_there(request).await?.is_some())
    }

    /// One file of a container, as the tar archive that the engine makes of it; `None` if
    /// there is none. For small ones: it is read whole.
    pub async fn small_file(&self, id: &str, path: &str) -> Result<Option<Bytes>, EngineError> {
        let request = Request::get(format!("/containers/{id}/archive")).query("path", path);
        match self.call(request).await {
            Ok(reply) => Ok(Some(reply.body)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, request: Request) -> Result<Vec<Value>, EngineError> {
        let mut tries = 0;
        loop {
            match self.json(request.clone()).await {
                // Podman fails where one of all containers goes away while it looks at them,
                // which takes its time.
                Err(e) if tries < LIST_TRIES && e.is_for_one_that_is_gone() => {
                    tries += 1;
                    tokio::time::sleep(LIST_PAUSE).await;
                }
                answer => return Ok(answer?.as_array().cloned().unwrap_or_default()),
            }
        }
    }

    /// Creates a container and returns its id.
    pub async fn create(
        &self,
        name: &str,
        platform: Option<&str>,
        body: &Value,
    ) -> Result<String, EngineError> {
        let mut request = Request::post("/containers/create").query("name", name).body(body);
        if let Some(platform) = platform {
            request = request.query("platform", platform);
        }
        Ok(self.json(request).await?["Id"].as_str().unwrap_or_default().to_owned())
    }

    /// Starts a container; one that runs already is fine.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/start"));
        self.call(request.within(Duration::from_secs(120))).await.map(drop)
    }

    /// Stops a container with its own signal and within its own time, `grace`.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/stop"));
        self.call(request.within(grace + Duration::from_secs(60))).await.map(drop)
    }

    /// Stops a container, if it runs, with its own signal and within its own time, `grace`,
    /// and starts it.
    pub async fn restart(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/restart"));
        self.call(request.within(grace + Duration::from_secs(120))).await.map(drop)
    }

    /// Renames a container.
    pub async fn rename(&self, id: &str, to: &str) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/rename")).query("name", to);
        self.call(request).await.map(drop)
    }

    /// Changes the restart policy and nothing else.
    pub async fn set_policy(&self, id: &str, policy: &Value) -> Result<(), EngineError> {
        let request = Request::post(format!("/containers/{id}/update"));
        match self.call(request.body(&json!({ "RestartPolicy": policy }))).await {
            Err(error) if error.is_for_no_health_check() => {
                self.set_policy_without_health_check(id, policy).await
            }
            answer => answer.map(drop),
        }
    }

    /// The same, in Podman's own way. Where a health check is switched off, it misses that
    /// check's time limit, and changes nothing unless one says once more that it is off.
    async fn set_policy_without_health_check(
        &self,
        id: &str,
        policy: &Value,
    ) -> Result<(), EngineError> {
        let name = policy["Name"].as_str().unwrap_or_default();
        let mut request = Request::post(format!("/libpod/containers/{id}/update"))
            .query("restartPolicy", name)
            .body(&json!({ "no_healthcheck": true }));
        if let Some(retries @ 1..) = policy["MaximumRetryCount"].as_u64() {
            request = request.query("restartRetries", retries.to_string());
        }
        self.call(request).await.map(drop)
    }

    /// Removes a container that does not run, but not its volumes. One that is
    /// gone, or on its way, is fine.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        self.delete_container(id, false).await
    }

    /// Kills and removes a container of our own, with its anonymous volumes.
    pub async fn remove_by_force(&self, id: &str) -> Result<(), EngineError> {
        self.delete_container(id, true).await
    }

    async fn delete_container(&self, id: &str, force: bool) -> Result<(), EngineError> {
        let mut request = Request::delete(format!("/containers/{id}"));
        if force {
            request = request.query("force", "1").query("v", "1");
        }
        match self.call(request).await {
            Err(e) if e.status() == Some(404) => Ok(()),
            Err(EngineError::Reply { status: 409, message })
                if message.contains("already in progress") =>
            {
                Ok(())
            }
            done => done.map(drop),
        }
    }

    /// Connects a container to a network.
    pub async fn connect_network(
        &self,
        network: &str,
        container: &str,
        endpoint: &Value,
    ) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "EndpointConfig": endpoint });
        let request = Request::post(format!("/networks/{}/connect", segment(network))).body(&body);
        self.call(request).await.map(drop)
    }

    /// Takes a container off a network, also off one that is gone.
    pub async fn disconnect_network(
        &self,
        network: &str,
        container: &str,
    ) -> Result<(), EngineError> {
        let body = json!({ "Container": container, "Force": true });
        let path = format!("/networks/{}/disconnect", segment(network));
        self.call(Request::post(path).body(&body)).await.map(drop)
    }

    /// What the container changed in its own file system, by path.
    pub async fn changes(&self, id: &str) -> Result<Vec<Value>, EngineError> {
        let changes = self.json(Request::get(format!("/containers/{id}/changes"))).await?;
        Ok(changes.as_array().cloned().unwrap_or_default())
    }

    /// Runs a command in the container to its end; returns its exit code.
    pub async fn exec(
        &self,
        id: &str,
        command: &Value,
        limit: Duration,
    ) -> Result<i64, EngineError> {
        self.exec_and_hear(id, command, limit).await.map(|(code, _)| code)
    }

    /// The same with what the command has written, of both streams.
    pub async fn exec_and_hear(
        &self,
        id: &str,
        command: &Value,
        limit: Duration,
    ) -> Result<(i64, String), EngineError> {
        let create = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
        let exec = self.json(Request::post(format!("/containers/{id}/exec")).body(&create)).await?;
        let exec = exec["Id"].as_str().unwrap_or_default().to_owned();
        // The output ends when the command does.
        let start = Request::post(format!("/exec/{exec}/start"))
            .body(&json!({ "Detach": false, "Tty": false }))
            .within(limit);
        let said = self.call(start).await?;
        let done = self.json(Request::get(format!("/exec/{exec}/json"))).await?;
        Ok((done["ExitCode"].as_i64().unwrap_or(-1), without_frames(&said.body)))
    }
}

/// Text out of an engine's stream: each piece has a head that says which stream it is of,
/// and how long it is.
fn without_frames(mut stream: &[u8]) -> String {
    let mut text = Vec::new();
    while let Some((head, rest)) = stream.split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (piece, rest) = rest.split_at(length.min(rest.len()));
        text.extend_from_slice(piece);
        stream = rest;
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::without_frames;

    #[test]
    fn a_stream_of_pieces_is_one_text() {
        let whole = b"\x01\0\0\0\0\0\0\x02ab\x02\0\0\0\0\0\0\x01c";
        assert_eq!(without_frames(whole), "abc");
        for cut in 0..whole.len() {
            assert!("abc".starts_with(&without_frames(&whole[..cut])), "cut at {cut}");
        }
    }
}
