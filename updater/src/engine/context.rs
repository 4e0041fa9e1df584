//! Which engine: what flag, environment, settings and Docker's contexts say, in the order in
//! which it counts for `docker` itself, so that an update reaches the engine that `docker ps` shows.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Endpoint, EngineError};

/// What one place says of the engine: the command line, say. Where it names both, the host
/// counts.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// Where it listens.
    pub host: Option<Endpoint>,
    /// A context of Docker's.
    pub context: Option<String>,
}

/// All that says which engine is meant.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// `--host` and `--context`.
    pub flags: Wish,
    /// `DOCKER_HOST` and `DOCKER_CONTEXT`.
    pub environment: Wish,
    /// The config file of this program's own.
    pub file: Wish,
}

/// The engine that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What says so: `DOCKER_HOST`, say.
    pub because: String,
}

impl Wishes {
    /// What the environment says, for who has no command line.
    pub fn of_environment() -> Result<Wishes, EngineError> {
        let of = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let host = of("DOCKER_HOST").map(|host| {
            let wrong = |why| EngineError::Host { host: host.clone(), why };
            host.parse().map_err(wrong)
        });
        let environment = Wish { host: host.transpose()?, context: of("DOCKER_CONTEXT") };
        Ok(Wishes { environment, ..Wishes::default() })
    }

    /// Chooses.
    pub fn choose(self) -> Result<Chosen, EngineError> {
        self.choose_by(&Around::look())
    }

    fn choose_by(self, around: &Around) -> Result<Chosen, EngineError> {
        if let (Some(_), Some(name)) = (&self.flags.host, &self.flags.context) {
            return Err(EngineError::Context {
                name: name.clone(),
                why: "--host is given as well".to_owned(),
                hint: "leave one of them out".to_owned(),
            });
        }
        let places = [
            (self.flags, ["--host", "--context"]),
            (self.environment, ["DOCKER_HOST", "DOCKER_CONTEXT"]),
            (self.file, ["the config file's host", "the config file"]),
        ];
        let mut without_context = false;
        for (wish, [by_host, by_context]) in places {
            if let Some(host) = wish.host {
                let endpoint = host.completed(around.certificates());
                return Ok(Chosen { endpoint, because: by_host.to_owned() });
            }
            match wish.context.filter(|_| !without_context) {
                // It is no context, but what there is without any.
                Some(name) if name == "default" => without_context = true,
                Some(name) => return around.context(&name, by_context),
                None => {}
            }
        }
        let current = || around.current_context().filter(|_| !without_context);
        match current() {
            Some(name) => around.context(&name, "`docker context use`"),
            None => Ok(Chosen { endpoint: Endpoint::usual(), because: "default".to_owned() }),
        }
    }
}

/// What the environment says besides.
#[derive(Default)]
struct Around {
    /// The folder of Docker's client.
    docker: Option<PathBuf>,
    /// Whether hosts are spoken to over TLS.
    tls: bool,
    /// Where the certificates are.
    certificates: Option<PathBuf>,
}

impl Around {
    fn look() -> Around {
        let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let docker = of("DOCKER_CONFIG").map(PathBuf::from);
        Around {
            docker: docker.or_else(|| Some(PathBuf::from(of("HOME")?).join(".docker"))),
            // Docker's client believes anybody where there is only the second. We don't.
            tls: of("DOCKER_TLS_VERIFY").or_else(|| of("DOCKER_TLS")).is_some(),
            certificates: of("DOCKER_CERT_PATH").map(PathBuf::from),
        }
    }

    fn certificates(&self) -> Option<PathBuf> {
        let folder = || self.certificates.clone().or_else(|| self.docker.clone());
        self.tls.then(folder).map(Option::unwrap_or_default)
    }

    /// The context that `docker context use` has chosen, if any.
    fn current_context(&self) -> Option<String> {
        let config = read(&self.docker.as_ref()?.join("config.json"))?;
        let name = config["currentContext"].as_str()?.to_owned();
        (!matches!(name.as_str(), "" | "default")).then_some(name)
    }

    fn context(&self, name: &str, by: &str) -> Result<Chosen, EngineError> {
        let wrong = |why: &str, hint: &str| EngineError::Context {
            name: name.to_owned(),
            why: format!("{why} (it is named by {by})"),
            hint: hint.to_owned(),
        };
        let docker = self.docker.clone().unwrap_or_default();
        let digest = Sha256::digest(name.as_bytes());
        let folder: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let context = read(&docker.join("contexts/meta").join(&folder).join("meta.json"));
        let context = context.ok_or_else(|| {
            let hint = "`docker context ls` lists them; --host names an engine without one";
            wrong(&format!("there is none of this name in {}", docker.display()), hint)
        })?;
        let host = context.pointer("/Endpoints/docker/Host").and_then(Value::as_str);
        let host = host
            .filter(|host| !host.is_empty())
            .ok_or_else(|| wrong("it names no engine", "`docker context update` gives it one"))?;
        let endpoint: Endpoint = host.parse().map_err(|why: String| {
            let (why, hint) = why.split_once("; ").unwrap_or((&why, "--host names another one"));
            wrong(why, hint)
        })?;
        let certificates = docker.join("contexts/tls").join(&folder).join("docker");
        let skips = context.pointer("/Endpoints/docker/SkipTLSVerify") == Some(&true.into());
        let certificates = (skips || certificates.is_dir()).then_some(certificates);
        Ok(Chosen {
            endpoint: endpoint.completed(certificates),
            because: format!("the context `{name}`, by {by}"),
        })
    }
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    /// What docker makes of `nas`.
    const NAS: &str = "047de0f543c7e3596bb6dbd0e65f2c30357720a63eca423f08c52fae314f6806";

    /// A folder of Docker's client, gone with it.
    struct Docker(Around);

    impl Docker {
        fn new(name: &str) -> Docker {
            let folder = format!("changeover-{name}-{}", std::process::id());
            let docker = Some(std::env::temp_dir().join(folder));
            Docker(Around { docker, ..Around::default() })
        }

        fn write(&self, file: &str, content: &Value) {
            let file = self.path(file);
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, content.to_string()).expect("a file");
        }

        fn path(&self, file: &str) -> PathBuf {
            self.0.docker.as_ref().expect("it has one").join(file)
        }

        /// `docker context create nas --docker host=…`
        fn nas_at(&self, host: &str) {
            let nas = json!({ "Name": "nas", "Endpoints": { "docker": { "Host": host } } });
            self.write(&format!("contexts/meta/{NAS}/meta.json"), &nas);
        }

        fn choose(&self, wishes: Wishes) -> Result<(String, String), String> {
            let chosen = wishes.choose_by(&self.0).map_err(|error| error.to_string())?;
            Ok((chosen.endpoint.to_string(), chosen.because))
        }
    }

    impl Drop for Docker {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.path(""));
        }
    }

    fn host(host: &str) -> Wish {
        Wish { host: Some(host.parse().expect("an endpoint")), context: None }
    }

    fn context(name: &str) -> Wish {
        Wish { host: None, context: Some(name.to_owned()) }
    }

    #[test]
    fn flag_comes_before_environment_before_context_before_what_is_usual() {
        let docker = Docker::new("order");
        let usual = Endpoint::usual().to_string();
        let at = |wishes: Wishes| docker.choose(wishes).expect("an engine").0;
        let none = Wishes::default;
        assert_eq!(at(none()), usual);
        docker.write("config.json", &json!({ "auths": {} }));
        assert_eq!(at(none()), usual);
        docker.nas_at("tcp://nas:1");
        assert_eq!(at(none()), usual, "a context that nobody has chosen");
        docker.write("config.json", &json!({ "currentContext": "nas" }));
        assert_eq!(at(none()), "tcp://nas:1");
        let file = Wishes { file: host("tcp://file:1"), ..none() };
        assert_eq!(at(file.clone()), "tcp://file:1");
        let named = Wishes { environment: context("nas"), ..file };
        assert_eq!(at(named.clone()), "tcp://nas:1");
        let both = Wish { context: Some("nas".into()), ..host("tcp://env:1") };
        let both = Wishes { environment: both, ..named };
        assert_eq!(at(both.clone()), "tcp://env:1", "DOCKER_HOST overrides DOCKER_CONTEXT");
        let flag = Wishes { flags: context("nas"), ..both.clone() };
        assert_eq!(at(flag), "tcp://nas:1");
        let flag = Wishes { flags: host("/flag"), ..both.clone() };
        assert_eq!(at(flag), "unix:///flag");
        // `default` is what there is without contexts.
        let default = Wishes { flags: context("default"), ..both };
        assert_eq!(at(default), "tcp://env:1");
        assert_eq!(at(Wishes { environment: context("default"), ..none() }), usual);
        let two = Wish { context: Some("nas".into()), ..host("/flag") };
        let said = docker.choose(Wishes { flags: two, ..none() }).expect_err("one too many");
        assert!(said.contains("--host is given as well"), "{said}");
    }

    #[test]
    fn it_says_what_has_chosen() {
        let docker = Docker::new("why");
        docker.nas_at("tcp://nas:1");
        docker.write("config.json", &json!({ "currentContext": "nas" }));
        let why = |wishes: Wishes| docker.choose(wishes).expect("an engine").1;
        let none = Wishes::default;
        assert_eq!(why(none()), "the context `nas`, by `docker context use`");
        let named = Wishes { environment: context("nas"), ..none() };
        assert_eq!(why(named), "the context `nas`, by DOCKER_CONTEXT");
        assert_eq!(why(Wishes { environment: host("/a"), ..none() }), "DOCKER_HOST");
        assert_eq!(why(Wishes { flags: host("/a"), ..none() }), "--host");
    }

    #[test]
    fn a_context_that_cannot_be_used_says_why() {
        let docker = Docker::new("wrong");
        let said = |name: &str| {
            docker.choose(Wishes { flags: context(name), ..Wishes::default() }).expect_err("wrong")
        };
        assert!(said("attic").contains("`attic`") && said("attic").contains("docker context ls"));
        docker.nas_at("ssh://me@nas");
        let ssh = said("nas");
        assert!(ssh.contains("hint: copy this program") && ssh.contains("--context"), "{ssh}");
        docker.nas_at("");
        assert!(said("nas").contains("names no engine"));
        docker.nas_at("npipe:////./pipe/docker_engine");
        assert!(said("nas").contains("expected unix://"), "{}", said("nas"));
    }

    #[test]
    fn tls_is_where_docker_has_it() {
        let mut docker = Docker::new("tls");
        let at = |docker: &Docker, wishes: Wishes| {
            wishes.choose_by(&docker.0).expect("an engine").endpoint
        };
        let flag = || Wishes { flags: host("tcp://nas"), ..Wishes::default() };
        let nas = || Wishes { flags: context("nas"), ..Wishes::default() };
        docker.nas_at("tcp://nas");
        assert_eq!(at(&docker, flag()), Endpoint::Tcp("nas:2375".into()));
        assert_eq!(at(&docker, nas()), Endpoint::Tcp("nas:2375".into()));
        // A context has certificates of its own.
        docker.write(&format!("contexts/tls/{NAS}/docker/ca.pem"), &json!(""));
        let certificates = docker.path(&format!("contexts/tls/{NAS}/docker"));
        assert_eq!(at(&docker, nas()), Endpoint::Tls { address: "nas:2376".into(), certificates });
        docker.0.tls = true;
        let certificates = docker.path("").parent().expect("it has one").join(docker.path(""));
        let tls = |certificates| Endpoint::Tls { address: "nas:2376".into(), certificates };
        assert_eq!(at(&docker, flag()), tls(certificates));
        docker.0.certificates = Some("/certs".into());
        assert_eq!(at(&docker, flag()), tls("/certs".into()));
        // One that believes anybody doesn't here.
        let skips =
            json!({ "Endpoints": { "docker": { "Host": "tcp://nas", "SkipTLSVerify": true } } });
        docker.write(&format!("contexts/meta/{NAS}/meta.json"), &skips);
        fs::remove_dir_all(docker.path("contexts/tls")).expect("ours");
        assert!(matches!(at(&docker, nas()), Endpoint::Tls { .. }));
    }
}
