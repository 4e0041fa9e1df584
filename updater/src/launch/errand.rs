//! The container that does an errand at the backups: they are on the engine's host, which
//! may be another machine than this one.

use std::pin::pin;

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::backup::{mount_for_helper, mounts, name_in_backup};
use super::helper::{own_image, store_mounts};
use super::{LaunchError, text};
use crate::backup::errand::{Errand, Listed, Order, Word, source};
use crate::engine::{Engine, EngineError};
use crate::plan::{Store, helper_name, labels};

/// Which backups, and how they are read.
#[derive(Debug, Clone)]
pub struct Backups {
    /// The app.
    pub app: String,
    /// Where they are.
    pub to: Store,
    /// A file on the engine's host that holds the key.
    pub key_file: Option<std::path::PathBuf>,
    /// A published image of ours; otherwise one is made from this binary.
    pub image: Option<String>,
}

impl Backups {
    /// Which there are, oldest first.
    pub async fn list(&self, engine: &Engine) -> Result<Vec<Listed>, LaunchError> {
        let mut found = Vec::new();
        self.run(engine, Errand::List, Vec::new(), |word| {
            if let Word::Backup(one) = word {
                found.push(one);
            }
        })
        .await?;
        Ok(found)
    }

    /// Reads all of them.
    pub async fn verify(
        &self,
        engine: &Engine,
        on_word: impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        self.run(engine, Errand::Verify, Vec::new(), on_word).await
    }

    /// Removes all but the newest.
    pub async fn prune(
        &self,
        engine: &Engine,
        keep: usize,
        on_word: impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        self.nobody_else(engine).await?;
        self.run(engine, Errand::Prune { keep }, Vec::new(), on_word).await
    }

    /// Makes the data of the stopped app what it was.
    pub async fn restore(
        &self,
        engine: &Engine,
        app: &Value,
        wanted: &Listed,
        on_word: impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        self.nobody_else(engine).await?;
        if app["State"]["Running"] == true {
            return Err(self.no(
                "it runs, and would be writing to its data meanwhile".into(),
                &format!(
                    "docker stop {0}; changeover backup restore {0} …; docker start {0}",
                    self.app
                ),
            ));
        }
        let kept = mounts(app)
            .filter(|mount| wanted.paths.iter().any(|path| path == text(mount, "/Destination")));
        let sources = kept
            .map(|mount| {
                let path = text(mount, "/Destination").to_owned();
                ((name_in_backup(app, &path), path), mount_for_helper(app, mount))
            })
            .collect();
        self.run(engine, Errand::Restore { snapshot: wanted.id.clone() }, sources, on_word).await
    }

    fn no(&self, why: String, hint: &str) -> LaunchError {
        LaunchError::NoErrand { app: self.app.clone(), why, hint: hint.to_owned() }
    }

    fn none(&self) -> LaunchError {
        LaunchError::NoBackups { app: self.app.clone(), place: self.to.to_string() }
    }

    /// An update may be at them.
    async fn nobody_else(&self, engine: &Engine) -> Result<(), LaunchError> {
        let helper = engine.container(&helper_name(&self.app)).await;
        match helper.map_err(LaunchError::engine)? {
            Some(helper) if !super::is_finished(&helper) => {
                Err(LaunchError::AlreadyUnderWay { app: self.app.clone() })
            }
            _ => Ok(()),
        }
    }

    async fn run(
        &self,
        engine: &Engine,
        errand: Errand,
        sources: Vec<((String, String), Value)>,
        mut on_word: impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        // A volume that isn't there would be made by being mounted.
        if let Store::Volume(name) = &self.to
            && !engine.has_volume(name).await.map_err(LaunchError::engine)?
        {
            return Err(self.none());
        }
        let image = match &self.image {
            Some(image) => image.clone(),
            None => own_image(engine, &self.app).await?,
        };
        let (sources, data): (Vec<_>, Vec<_>) = sources.into_iter().unzip();
        let order =
            Order { errand, app: self.app.clone(), sources, has_key: self.key_file.is_some() };
        let mut all: Vec<Value> = data;
        for (n, mount) in all.iter_mut().enumerate() {
            mount["Target"] = source(n).into();
        }
        all.extend(store_mounts(&self.to, self.key_file.as_deref()));
        let done = self.run_container(engine, &image, &order, &all, &mut on_word).await;
        if self.image.is_none() {
            // An update may be using it; then that one clears it away.
            let _ = engine.remove_image(&image).await;
        }
        done
    }

    async fn run_container(
        &self,
        engine: &Engine,
        image: &str,
        order: &Order,
        mounts: &[Value],
        on_word: &mut impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        let name = errand_name(&self.app);
        let body = body(image, order, mounts);
        let id = match engine.create(&name, None, &body).await {
            // One that was cut off in the middle.
            Err(error) if error.status() == Some(409) => {
                let other = engine.container(&name).await.map_err(LaunchError::engine)?;
                if other.as_ref().is_some_and(|other| other["State"]["Running"] == true) {
                    return Err(self.no(
                        format!("another command is at them, in the container `{name}`"),
                        "wait until it has ended",
                    ));
                }
                engine.remove_by_force(&name).await.map_err(LaunchError::engine)?;
                engine.create(&name, None, &body).await
            }
            created => created,
        };
        let failed = |source: EngineError| {
            match source.to_string() {
            text if text.contains("bind source path does not exist") => self.no(
                "the folder of --backup-to, or the file of --backup-key-file, is not there on the engine's host"
                    .to_owned(),
                "name one that is there",
            ),
            _ => LaunchError::engine(source),
        }
        };
        let id = id.map_err(failed)?;
        let followed = self.follow(engine, &id, on_word).await;
        let _ = engine.remove_by_force(&id).await;
        followed
    }

    async fn follow(
        &self,
        engine: &Engine,
        id: &str,
        on_word: &mut impl FnMut(Word),
    ) -> Result<(), LaunchError> {
        engine.start(id).await.map_err(LaunchError::engine)?;
        let mut lines = pin!(engine.output(id, true).map_err(LaunchError::engine)?);
        while let Some(line) = lines.next().await {
            let line = line.map_err(LaunchError::engine)?;
            match serde_json::from_str(&line) {
                Ok(Word::None) => return Err(self.none()),
                Ok(Word::Failed { reason }) => {
                    let (why, hint) = match reason.split_once("\nhint: ") {
                        Some((why, hint)) => (why.to_owned(), hint.to_owned()),
                        None => (reason, "`changeover doctor` looks at engine and disk".into()),
                    };
                    return Err(self.no(why, &hint));
                }
                Ok(word) => on_word(word),
                Err(_) => {}
            }
        }
        let ended = engine.container(id).await.map_err(LaunchError::engine)?;
        match ended.map(|ended| ended["State"]["ExitCode"] == 0) {
            Some(true) => Ok(()),
            _ => Err(self.no(
                "the container that was at them was killed".into(),
                "ask again; what was begun is done again from its start",
            )),
        }
    }
}

/// The name of the container that is at the backups of an app.
pub(super) fn errand_name(app: &str) -> String {
    format!("{app}.changeover-backup")
}

fn body(image: &str, order: &Order, mounts: &[Value]) -> Value {
    json!({
        "Image": image,
        "Entrypoint": ["/changeover"],
        "Cmd": ["errand", "--order", json!(order).to_string()],
        "User": "0:0",
        "Healthcheck": { "Test": ["NONE"] },
        "Labels": { labels::ROLE: "errand", labels::APP: order.app },
        "HostConfig": {
            "NetworkMode": "none",
            "Mounts": mounts,
            "RestartPolicy": { "Name": "no" },
            "ReadonlyRootfs": true,
            "CapDrop": ["ALL"],
            "CapAdd": super::helper::FOR_DATA,
            "SecurityOpt": ["no-new-privileges", "label=disable"],
            "PidsLimit": 64,
            "LogConfig": { "Type": "json-file", "Config": {} },
        },
    })
}
