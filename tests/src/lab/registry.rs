//! A real registry inside a lab, so that pulls are real pulls, with or without credentials.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::machine::Service;
use super::{Lab, api, image, wait_for};
use crate::tls::Pair;

/// A registry on 127.0.0.1 in a lab's host network, where Docker allows plain HTTP; or by a
/// name of its own, over TLS.
///
/// It ends with its lab at the latest, and so at a power cut too.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    login: Option<Login>,
    tls: Option<(String, Pair)>,
    dir: PathBuf,
    service: Option<Service>,
}

/// A user of a registry.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: String,
}

impl Registry {
    /// Starts a registry open to everybody.
    pub fn start(lab: &Lab) -> Self {
        Self::start_on(lab, None, None)
    }

    /// Starts a registry of this name that speaks TLS. Who is to know the name, and whom to
    /// believe, is up to the case.
    pub fn start_over_tls(lab: &Lab, name: &str, pair: Pair) -> Self {
        Self::start_on(lab, None, Some((name.to_owned(), pair)))
    }

    /// Starts it again with another certificate.
    pub fn start_again_with(&mut self, lab: &Lab, pair: Pair) {
        self.tls.as_mut().expect("it speaks TLS").1 = pair;
        self.write_config(lab);
        self.start_again(lab);
    }

    /// Starts a registry that asks for credentials, for pulls as well.
    pub fn start_with_login(lab: &Lab, login: Login) -> Self {
        Self::start_on(lab, Some(login), None)
    }

    /// Starts it after [`stop`](Self::stop) or a power cut; what was pushed is still there.
    pub fn start_again(&mut self, lab: &Lab) {
        self.stop();
        let config = self.dir.join("config.yml").display().to_string();
        let machine = lab.machine.as_ref().expect("the lab has power");
        self.service = Some(machine.start(
            "docker-registry",
            &["serve".to_owned(), config],
            &self.dir.join("log"),
        ));
        let port = self.port;
        wait_for("the registry listens", &self.dir, || {
            lab.host_netns().run(|| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok())
        });
    }

    /// Ends it; what was pushed is kept.
    pub fn stop(&mut self) {
        if let Some(service) = self.service.take() {
            service.signal(Signal::KILL);
            service.wait();
        }
    }

    /// Its name in references: `127.0.0.1:5000`.
    pub fn address(&self) -> String {
        let name = self.tls.as_ref().map_or("127.0.0.1", |(name, _)| name);
        format!("{name}:{}", self.port)
    }

    /// Pushes the engine's image `local` as `name` (`app:2`), and answers with the reference to pull
    /// it by (`127.0.0.1:5000/app:2`). The engine keeps both references; [`Lab::forget_image`]
    /// takes them from it, so that the next pull has something to do.
    pub fn push(&self, lab: &Lab, local: &str, name: &str) -> String {
        let reference = format!("{}/{name}", self.address());
        let (repository, tag) = image::split(&reference);
        let (status, answer) =
            lab.api("POST", &format!("/images/{local}/tag?repo={repository}&tag={tag}"), None);
        assert_eq!(status, 201, "cannot tag `{local}` as `{reference}`: {answer}");
        let (status, answer) =
            lab.api_raw("POST", &format!("/images/{repository}/push?tag={tag}"), &self.auth(), &[]);
        check_stream("push", &reference, status, &answer);
        reference
    }

    /// Pulls a reference of this registry into the lab's engine.
    pub fn pull(&self, lab: &Lab, reference: &str) {
        let (repository, tag) = image::split(reference);
        let path = format!("/images/create?fromImage={repository}&tag={tag}");
        let (status, answer) = lab.api_raw("POST", &path, &self.auth(), &[]);
        check_stream("pull", reference, status, &answer);
    }

    fn start_on(lab: &Lab, login: Option<Login>, tls: Option<(String, Pair)>) -> Self {
        // The network is the lab's own, so a port is free if no other registry of the lab has it.
        let place = |port: u16| lab.dir().join(format!("registry-{port}"));
        let port = (5000..5100)
            .find(|port| fs::create_dir(place(*port)).is_ok())
            .expect("a lab has few registries");
        let mut registry = Self { port, login, tls, dir: place(port), service: None };
        registry.write_config(lab);
        registry.start_again(lab);
        registry
    }

    fn write_config(&self, lab: &Lab) {
        let mut config = json!({
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": self.dir.join("storage")}, "delete": {"enabled": true}},
            "http": {"addr": self.address()},
        });
        if let Some((_, pair)) = &self.tls {
            let file = |name: &str, content: &str| {
                let file = self.dir.join(name);
                fs::write(&file, content).expect("the lab's directory is writable");
                file
            };
            let (certificate, key) =
                (file("certificate.pem", &pair.certificate), file("key.pem", &pair.key));
            // By its name it is somewhere else than on the loopback.
            config["http"] = json!({
                "addr": format!(":{}", self.port),
                "tls": { "certificate": certificate, "key": key },
            });
        }
        if let Some(login) = &self.login {
            let made = lab
                .machine_command("htpasswd")
                .args(["-Bbn", &login.user, &login.password])
                .output();
            let made = made.expect("nsenter can be run").stdout;
            fs::write(self.dir.join("htpasswd"), made).expect("the lab's directory is writable");
            config["auth"] =
                json!({"htpasswd": {"realm": "lab", "path": self.dir.join("htpasswd")}});
        }
        // Every JSON document is a YAML document.
        fs::write(self.dir.join("config.yml"), config.to_string())
            .expect("the lab's directory is writable");
    }

    fn auth(&self) -> Vec<(&'static str, String)> {
        let credentials = self
            .login
            .as_ref()
            .map_or_else(|| json!({}), |login| login.credentials(&self.address()));
        vec![("X-Registry-Auth", URL_SAFE.encode(credentials.to_string()))]
    }
}

impl Login {
    /// The credentials for an address as the engine's API takes them (base64url of this JSON).
    pub fn credentials(&self, address: &str) -> Value {
        json!({"username": self.user, "password": self.password, "serveraddress": address})
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Lab {
    /// Removes a reference from the engine, and with the last one the image.
    pub fn forget_image(&self, reference: &str) {
        let (status, answer) = self.api("DELETE", &format!("/images/{reference}?force=true"), None);
        assert!(matches!(status, 200 | 404), "cannot forget `{reference}`: {answer}");
    }
}

/// A push or pull is 200 even when it fails: the last message of the stream says so.
fn check_stream(what: &str, reference: &str, status: u16, answer: &[u8]) {
    let messages = api::json(answer);
    let failed = match &messages {
        Value::Array(messages) => messages.iter().any(|message| !message["error"].is_null()),
        message => !message["error"].is_null(),
    };
    assert!(status == 200 && !failed, "cannot {what} `{reference}`: {status} {messages}");
}
