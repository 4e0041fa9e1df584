//! `changeover available` against forges and registries, good ones and bad ones. No engine
//! is needed: the image is named on the command line.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use changeover_tests::forge::{Asked, Forge, Reply};
use changeover_tests::tls::{self, Authority, Pair};
use changeover_tests::world::{Done, Running, program};
use serde_json::{Value, json};

/// A folder of a test's own, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("available-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(&file, text).expect("a file");
        file
    }

    /// Runs the command; answers are kept in here.
    fn ask(&self, args: &[&str]) -> Done {
        self.ask_with(args, &[])
    }

    fn ask_with(&self, args: &[&str], environment: &[(&str, PathBuf)]) -> Done {
        let mut command = Command::new(program("changeover"));
        command.args(["available", "--json", "--cache"]).arg(self.0.join("cache")).args(args);
        for name in ["SSL_CERT_FILE", "DOCKER_HOST", "CHANGEOVER_CONFIG"] {
            command.env_remove(name);
        }
        command.env("DOCKER_CONFIG", self.0.join("docker")).envs(environment.iter().cloned());
        Running::start(&mut command).finish()
    }

    /// What is kept in the cache: the addresses whose answer it has.
    fn kept(&self) -> Vec<String> {
        let files = fs::read_dir(self.0.join("cache")).into_iter().flatten().flatten();
        let known = files.map(|file| fs::read(file.path()).expect("a file"));
        let known = known.map(|text| serde_json::from_slice::<Value>(&text).expect("JSON"));
        let kept = known.filter(|known| !known["answer"].is_null());
        kept.map(|known| known["url"].as_str().expect("an address").to_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn release(tag: &str) -> Value {
    json!({ "tag_name": tag, "body": format!("what is new in {tag}"), "draft": false,
        "prerelease": tag.contains("rc"), "published_at": "2026-01-02T03:04:05Z",
        "html_url": format!("https://forge.example/{tag}") })
}

/// Releases on two pages, with a mark by which to ask again.
fn forge() -> Forge {
    Forge::start("127.0.0.1", None, |asked, own| match asked.path.as_str() {
        _ if asked.headers.get("if-none-match").is_some_and(|mark| mark == "\"one\"") => {
            Reply::Answer(304, Vec::new(), String::new())
        }
        path if path.ends_with("&page=2") => Reply::ok(json!([release("v1.10.0")]).to_string()),
        path => {
            let next =
                format!("<http://{own}{path}&page=2>; rel=\"next\", <http://x/>; rel=\"last\"");
            let mut draft = release("v9.0.0");
            draft["draft"] = true.into();
            let releases =
                json!([draft, release("v2.0.0-rc.1"), release("v1.9.0"), release("nightly")]);
            let headers = vec![("Link", next), ("ETag", "\"one\"".to_owned())];
            Reply::Answer(200, headers, releases.to_string())
        }
    })
}

#[track_caller]
fn answer(done: Done, code: i32) -> Value {
    let done = done.expect(code);
    assert_eq!(done.events.len(), 1, "{:#?}", done.events);
    done.events[0].clone()
}

#[test]
fn the_newest_release_is_found_on_whichever_page_and_asked_for_once() {
    let (folder, forge) = (Folder::new("pages"), forge());
    for (source, path) in [
        ("github", "/api/v3/repos/acme/web/releases?per_page=100"),
        ("gitlab", "/api/v4/projects/acme%2Fweb/releases?per_page=100"),
        ("forgejo", "/api/v1/repos/acme/web/releases?limit=50"),
    ] {
        let source = format!("{source}:http://{}/acme/web", forge.address());
        let args = ["--source", &source, "--current", "1.9.0"];
        let before = forge.seen().len();
        let first = answer(folder.ask(&args), 0);
        assert_eq!(first["newest"]["tag"], "v1.10.0");
        assert_eq!(first["newest"]["notes"], "what is new in v1.10.0");
        assert_eq!(first["newer"], true);
        assert_eq!(answer(folder.ask(&args), 0), first);
        let asked: Vec<Asked> = forge.seen()[before..].to_vec();
        let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
        assert_eq!(paths, [path, &format!("{path}&page=2"), path]);
        assert!(!asked[1].headers.contains_key("if-none-match"));
        assert!(asked[2].headers.contains_key("if-none-match"));
        let pre = answer(folder.ask(&[args.as_slice(), &["--channel", "pre"]].concat()), 0);
        assert_eq!(pre["newest"]["tag"], "v2.0.0-rc.1");
        let without = [args.as_slice(), &["--exclude", "v1.10*"]].concat();
        assert_eq!(answer(folder.ask(&without), 10)["newest"]["tag"], "v1.9.0");
        let current = ["--source", &source, "--current", "1.10.0"];
        assert_eq!(answer(folder.ask(&current), 10)["newer"], false);
    }
}

#[test]
fn a_feed_that_misbehaves_is_named_and_nothing_is_kept() {
    let folder = Folder::new("bad");
    let bytes = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
    type Answers = fn(&Asked, SocketAddr) -> Reply;
    let garbage: [(&str, Answers, &[&str]); 9] = [
        ("slow", |_, _| Reply::Silence, &["has not answered within 1 s"]),
        ("broken", |_, _| Reply::status(500), &["status 500", "later"]),
        ("unknown", |_, _| Reply::status(404), &["status 404", "private"]),
        ("a log-in page", |_, _| Reply::ok("<html>log in</html>"), &["makes no sense", "proxy"]),
        ("no list", |_, _| Reply::ok("{}"), &["no list of releases"]),
        ("no tags", |_, _| Reply::ok("[{}]"), &["has no tag"]),
        ("endless", |_, _| Reply::Endless, &["more than 16 MB"]),
        (
            "in a circle",
            |asked, _| Reply::Answer(302, vec![("Location", asked.path.clone())], String::new()),
            &["one address after the other"],
        ),
        (
            "cut off",
            |_, _| Reply::Answer(200, vec![("Content-Length", "9".into())], "[".into()),
            &["no answer that makes sense"],
        ),
    ];
    for (what, answers, words) in garbage {
        let forge = Forge::start("127.0.0.1", None, answers);
        let source = format!("github:http://{}/acme/web", forge.address());
        refused(&folder, &["--source", &source, "--timeout", "1s"], what, words);
    }
    let no_http = Forge::start("127.0.0.1", None, move |_, _| bytes("SSH-2.0-OpenSSH\r\n"));
    let source = format!("github:http://{}/acme/web", no_http.address());
    refused(&folder, &["--source", &source], "no HTTP", &["no answer that makes sense"]);
    // Nobody there.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|there| there.local_addr());
    let source = format!("github:http://{}/acme/web", free.expect("a port"));
    refused(&folder, &["--source", &source], "down", &["cannot connect", "127.0.0.1"]);
}

#[track_caller]
fn refused(folder: &Folder, args: &[&str], what: &str, words: &[&str]) {
    let done = folder.ask(args);
    assert_eq!(done.code, 21, "{what}: {:#?}", done.events);
    let event = done.event("error").unwrap_or_else(|| panic!("{what}: no error event"));
    for word in words {
        assert!(done.stderr.contains(word), "{what}: no {word:?} in: {}", done.stderr);
    }
    assert!(event["error"].as_str().is_some_and(|said| !said.is_empty()), "{what}");
    assert!(folder.kept().is_empty(), "{what}: {:?}", folder.kept());
}

#[test]
fn whoever_cannot_prove_who_they_are_is_not_believed() {
    let folder = Folder::new("tls");
    let pair = Pair::new();
    let forge = Forge::start("127.0.0.1", Some(&pair), |_, _| Reply::ok("[]"));
    let source = format!("github:https://127.0.0.1:{}/acme/web", forge.address().port());
    let args = ["--source", source.as_str()];
    refused(&folder, &args, "self-signed", &["cannot prove who it is", "SSL_CERT_FILE"]);
    // Believed, but by another name.
    let own = folder.write("own.pem", &pair.certificate);
    let done = folder.ask_with(&args, &[("SSL_CERT_FILE", own)]);
    assert!(done.stderr.contains("cannot prove who it is"), "{}", done.stderr);
    assert!(forge.seen().is_empty(), "something was said to a stranger");
    // Plain HTTP where TLS should be.
    let plain = Forge::start("127.0.0.1", None, |_, _| Reply::ok("[]"));
    let source = format!("github:https://127.0.0.1:{}/acme/web", plain.address().port());
    refused(&folder, &["--source", &source], "no TLS", &["no answer that makes sense"]);
}

#[test]
fn whoever_an_authority_vouches_for_is_believed() {
    let folder = Folder::new("vouched");
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"]);
    let forge = Forge::start("127.0.0.1", Some(&pair), |_, _| {
        Reply::ok(json!([release("v1.10.0")]).to_string())
    });
    let source = format!("github:https://127.0.0.1:{}/acme/web", forge.address().port());
    let args = ["--source", source.as_str(), "--current", "1.9.0"];
    let by = |name: &str, text: &str| [("SSL_CERT_FILE", folder.write(name, text))];
    let found = folder.ask_with(&args, &by("ca.pem", authority.certificate()));
    assert_eq!(answer(found, 0)["newest"]["notes"], "what is new in v1.10.0");
    assert_eq!(forge.seen().len(), 1);

    // Another authority's word, and none at all.
    let refused = |bundle: &[(&str, PathBuf)], words: &[&str]| {
        let done = folder.ask_with(&args, bundle).expect(21);
        let event = done.event("error").expect("it says so");
        assert_eq!(event["code"], "source-untrusted");
        for word in words.iter().chain(&["SSL_CERT_FILE"]) {
            assert!(done.stderr.contains(word), "no {word:?} in: {}", done.stderr);
        }
        assert!(folder.kept().is_empty(), "{:?}", folder.kept());
    };
    refused(&by("other.pem", Authority::new().certificate()), &["cannot prove who it is"]);
    let nowhere = folder.0.join("nowhere.pem");
    refused(&[("SSL_CERT_FILE", nowhere)], &["nowhere.pem", "cannot be read", "No such file"]);
    refused(&by("empty.pem", ""), &["empty.pem", "no certificate in it"]);
    refused(&by("broken.pem", "-----BEGIN CERTIFICATE-----\nx"), &["no certificate in it"]);
    assert_eq!(forge.seen().len(), 1, "something was said to a stranger");
}

/// A registry with `acme/web`, 1.0.0 and 2.0.0 for this processor.
fn answers_as_a_registry(asked: &Asked, _: SocketAddr) -> Reply {
    let path = asked.path.as_str();
    match path.rsplit_once('/').map_or("", |(_, last)| last.split('?').next().unwrap_or(last)) {
        "" => Reply::ok("{}"),
        "list" => Reply::ok(json!({ "name": "acme/web", "tags": ["1.0.0", "2.0.0"] }).to_string()),
        "2.0.0" => Reply::ok(
            json!({ "manifests": [
                { "platform": { "os": "linux", "architecture": "amd64" } },
                { "platform": { "os": "linux", "architecture": "arm64" } },
            ] })
            .to_string(),
        ),
        _ => Reply::status(404),
    }
}

#[test]
fn a_registry_on_this_machine_may_speak_tls_without_proof_as_with_docker() {
    let folder = Folder::new("local-registry");
    for pair in [None, Some(Pair::new())] {
        let registry = Forge::start("127.0.0.1", pair.as_ref(), answers_as_a_registry);
        let image = format!("{}/acme/web", registry.address());
        let done = folder.ask(&["--image", &image, "--current", "1.0.0"]).expect(0);
        assert_eq!(done.events[0]["newest"]["tag"], "2.0.0", "{done:#?}");
    }
}

#[test]
fn a_registry_is_shown_the_certificate_that_docker_has_for_it() {
    let folder = Folder::new("certificates");
    let house = Authority::new();
    let acceptor = tls::acceptor_for(&house.sign(&["127.0.0.1"]), &house).expect("certificates");
    let registry = Forge::start_with("127.0.0.1", Some(acceptor), answers_as_a_registry);
    let at = registry.address();
    let settings = [("XDG_CONFIG_HOME", folder.0.join("settings"))];
    let image = format!("{at}/acme/web");
    let ask = || {
        folder.ask_with(&["--image", &image, "--current", "1.0.0", "--timeout", "5s"], &settings)
    };
    ask().expect(21);
    assert!(registry.seen().is_empty(), "it lets anybody in");
    let own = house.sign(&["somebody"]);
    let place = format!("settings/docker/certs.d/{at}");
    let certificate = folder.write(&format!("{place}/client.cert"), &own.certificate);
    let key = certificate.with_extension("key");
    for wrong in [None, Some("no key")] {
        wrong.inspect(|text| fs::write(&key, text).expect("a file"));
        let done = ask().expect(21);
        assert_eq!(done.event("error").expect("it says so")["code"], "password-file");
        done.says(&key.display().to_string()).says("*.cert");
    }
    fs::write(&key, &own.key).expect("a file");
    assert_eq!(ask().expect(0).events[0]["newest"]["tag"], "2.0.0");
}

#[test]
fn a_registry_that_misbehaves_is_named() {
    let folder = Folder::new("bad-registry");
    type Answers = fn(&Asked, SocketAddr) -> Reply;
    let token = "Bearer realm=\"http://127.0.0.1:1/token\"";
    let bad: [(&str, Answers, &str, &[&str]); 9] = [
        ("slow", |_, _| Reply::Silence, "source-unreachable", &["has not answered within 1 s"]),
        ("broken", |_, _| Reply::status(503), "source-refused", &["status 503", "later"]),
        ("unknown", |_, _| Reply::status(404), "source-refused", &["status 404"]),
        ("a log-in page", |_, _| Reply::ok("<html>log in</html>"), "source-garbled", &["no sense"]),
        ("no list", |_, _| Reply::ok("[]"), "source-garbled", &["no list of tags"]),
        ("endless", |_, _| Reply::Endless, "source-garbled", &["more than"]),
        (
            "cut off",
            |_, _| Reply::Answer(200, vec![("Content-Length", "9".into())], "[".into()),
            "source-garbled",
            &["no answer that makes sense"],
        ),
        (
            "tired",
            |_, _| Reply::Answer(429, vec![("Retry-After", "600".into())], String::new()),
            "rate-limited",
            &["no more questions before"],
        ),
        (
            "pages without an end",
            |asked, _| {
                let next = format!("<{}&last=x>; rel=\"next\"", asked.path);
                let tags = json!({ "name": "acme/web", "tags": ["1.0.0"] });
                Reply::Answer(200, vec![("Link", next)], tags.to_string())
            },
            "source-garbled",
            &["no end"],
        ),
    ];
    let asked = |address: SocketAddr, code: &str, what: &str, words: &[&str]| {
        let image = format!("{address}/acme/web");
        let args = ["--image", &image, "--current", "1.4.0", "--timeout", "1s"];
        let done = folder.ask(&args);
        assert_eq!(done.code, 21, "{what}: {:#?}", done.events);
        let event = done.event("error").unwrap_or_else(|| panic!("{what}: no error event"));
        assert_eq!(event["code"], code, "{what}: {event}");
        for word in words {
            assert!(done.stderr.contains(word), "{what}: no {word:?} in: {}", done.stderr);
        }
    };
    for (what, answers, code, words) in bad {
        let registry = Forge::start("127.0.0.1", None, answers);
        asked(registry.address(), code, what, words);
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|there| there.local_addr());
    asked(free.expect("a port"), "source-unreachable", "down", &["cannot connect"]);
    // Who gives out its tokens is down.
    let challenge = move |_: &Asked, _| {
        Reply::Answer(401, vec![("WWW-Authenticate", token.to_owned())], String::new())
    };
    let registry = Forge::start("127.0.0.1", None, challenge);
    asked(registry.address(), "source-unreachable", "no tokens", &["127.0.0.1:1"]);
}

#[test]
fn whoever_asks_for_rest_gets_it() {
    let folder = Folder::new("limits");
    let tired: [fn() -> Reply; 2] = [
        || Reply::Answer(429, vec![("Retry-After", "600".into())], String::new()),
        || {
            let reset = jiff::Timestamp::now().as_second() + 600;
            let headers =
                [("X-RateLimit-Remaining", "0".into()), ("X-RateLimit-Reset", reset.to_string())];
            Reply::Answer(403, headers.into(), String::new())
        },
    ];
    for reply in tired {
        let forge = Forge::start("127.0.0.1", None, move |_, _| reply());
        let source = format!("github:http://{}/acme/web", forge.address());
        for _ in 0..3 {
            refused(
                &folder,
                &["--source", &source],
                "tired",
                &["no more questions before", "token"],
            );
        }
        assert_eq!(forge.seen().len(), 1, "it was asked again");
    }
}

#[test]
fn a_token_is_for_the_forge_alone() {
    let folder = Folder::new("token");
    let token = folder.write("token", "s3cret\n");
    let elsewhere = Forge::start("127.0.0.1", None, |_, _| Reply::ok("[]"));
    let away = format!("http://{}/elsewhere", elsewhere.address());
    let forge = Forge::start("127.0.0.1", None, move |_, _| {
        Reply::Answer(301, vec![("Location", away.clone())], String::new())
    });
    let source = format!("github:http://{}/acme/web", forge.address());
    let token = token.to_str().expect("a path");
    folder.ask(&["--source", &source, "--token-file", token]).expect(10);
    let said = |forge: &Forge| forge.seen()[0].headers.get("authorization").cloned();
    assert_eq!(said(&forge).as_deref(), Some("Bearer s3cret"));
    assert_eq!(said(&elsewhere), None);
}

const CONFIG: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000cc";

/// A registry with token authentication, two pages of tags, an index, a single manifest
/// and a tag without an image. `realm` is where it sends those who want a token.
fn registry(realm: Option<String>) -> Forge {
    Forge::start("127.0.0.1", None, move |asked, own| {
        let path = asked.path.as_str();
        if path.starts_with("/token?") {
            return Reply::ok(json!({ "token": "entry" }).to_string());
        }
        if asked.headers.get("authorization").is_none_or(|said| said != "Bearer entry") {
            let realm = realm.clone().unwrap_or_else(|| format!("http://{own}/token"));
            let challenge = format!("Bearer realm=\"{realm}\",service=\"shop\",scope=\"x\"");
            return Reply::Answer(401, vec![("WWW-Authenticate", challenge)], String::new());
        }
        let digest = |of: &str| vec![("Docker-Content-Digest", format!("sha256:{of}"))];
        match path {
            "/v2/acme/web/tags/list?n=1000" => Reply::Answer(
                200,
                vec![("Link", "</v2/acme/web/tags/list?n=1000&last=x>; rel=\"next\"".into())],
                json!({ "name": "acme/web", "tags": ["1.4.0", "latest", "1.5", "1.10.0-alpine", "2.0.0-rc1"] })
                    .to_string(),
            ),
            "/v2/acme/web/tags/list?n=1000&last=x" => {
                Reply::ok(json!({ "name": "acme/web", "tags": ["1.9.0", "1.5.0", "../x"] }).to_string())
            }
            "/v2/acme/web/manifests/1.9.0" | "/v2/acme/web/manifests/2.0.0" => Reply::Answer(
                200,
                digest("aa"),
                json!({ "manifests": [
                    { "platform": { "os": "linux", "architecture": "amd64" } },
                    { "platform": { "os": "linux", "architecture": "arm", "variant": "v7" } },
                    { "platform": { "os": "unknown", "architecture": "unknown" } },
                ] })
                .to_string(),
            ),
            "/v2/acme/web/manifests/1.10.0-alpine" => {
                Reply::Answer(200, digest("bb"), json!({ "config": { "digest": CONFIG } }).to_string())
            }
            path if path == format!("/v2/acme/web/blobs/{CONFIG}") => {
                Reply::ok(json!({ "os": "linux", "architecture": "arm64" }).to_string())
            }
            _ => Reply::status(404),
        }
    })
}

#[test]
fn the_newest_tag_of_the_same_form_is_what_is_new() {
    let (folder, registry) = (Folder::new("tags"), registry(None));
    let image = format!("{}/acme/web", registry.address());
    let on = |platform: &str, current: &str, code: i32| {
        let args = ["--image", &image, "--current", current, "--platform", platform];
        answer(folder.ask(&args), code)
    };
    let found = on("linux/amd64", "1.4.0", 0);
    assert_eq!((&found["newest"]["tag"], &found["ready"]), (&json!("1.9.0"), &json!(true)));
    assert_eq!(found["image"]["reference"], format!("{image}:1.9.0"));
    assert_eq!(found["image"]["digest"], "sha256:aa");
    assert_eq!(found["image"]["platforms"], json!(["linux/amd64", "linux/arm/v7"]));
    assert_eq!(on("linux/arm", "1.4.0", 0)["ready"], true);
    let missing = on("linux/riscv64", "1.4.0", 10);
    assert_eq!((&missing["newer"], &missing["image"]["there"]), (&json!(true), &json!(false)));
    // A variant stays what it is; its image is a single one.
    let alpine = on("linux/arm64", "1.4.0-alpine", 0);
    assert_eq!(alpine["newest"]["tag"], "1.10.0-alpine");
    assert_eq!(alpine["image"]["platforms"], json!(["linux/arm64"]));
    assert_eq!(on("linux/amd64", "1.9.0", 10)["newer"], false);
    let tokens = registry.seen().into_iter().filter(|asked| asked.path.starts_with("/token?"));
    for asked in tokens {
        assert_eq!(asked.path, "/token?service=shop&scope=repository%3Aacme%2Fweb%3Apull");
        assert_eq!(asked.headers.get("authorization"), None, "nobody has logged in");
    }
}

#[test]
fn a_release_whose_image_is_not_there_yet_is_told_as_such() {
    let (folder, registry) = (Folder::new("early"), registry(None));
    let image = format!("{}/acme/web", registry.address());
    for (tag, there) in [("v2.0.0", true), ("v3.0.0", false)] {
        let forge = Forge::start("127.0.0.1", None, move |_, _| {
            Reply::ok(json!([release(tag)]).to_string())
        });
        let source = format!("gitea:http://{}/acme/web", forge.address());
        let args = [
            "--source",
            &source,
            "--image",
            &image,
            "--current",
            "1.9.0",
            "--platform",
            "linux/amd64",
        ];
        let found = answer(folder.ask(&args), if there { 0 } else { 10 });
        assert_eq!((&found["newer"], &found["ready"]), (&json!(true), &json!(there)), "{found:#}");
        // The image's tag has no v.
        assert_eq!(found["image"]["reference"], format!("{image}:{}", &tag[1..]));
    }
}

#[test]
fn a_login_goes_to_its_registry_and_to_nobody_else() {
    let folder = Folder::new("login");
    let evil =
        Forge::start("127.0.0.2", None, |_, _| Reply::ok(json!({ "token": "entry" }).to_string()));
    let (own, led_away) =
        (registry(None), registry(Some(format!("http://{}/token", evil.address()))));
    let other = registry(None);
    let auth = STANDARD.encode("jo:s3cret");
    let logins = json!({ "auths": {
        own.address().to_string(): { "auth": auth },
        led_away.address().to_string(): { "auth": auth },
    } });
    folder.write("docker/config.json", &logins.to_string());
    for registry in [&own, &led_away, &other] {
        let image = format!("{}/acme/web", registry.address());
        let args = ["--image", &image, "--current", "1.4.0", "--platform", "linux/amd64"];
        assert_eq!(answer(folder.ask(&args), 0)["newest"]["tag"], "1.9.0");
    }
    let heard = |forge: &Forge| {
        let said = forge.seen().into_iter().filter_map(|a| a.headers.get("authorization").cloned());
        said.filter(|said| said.starts_with("Basic")).collect::<Vec<_>>()
    };
    assert_eq!(heard(&own), [format!("Basic {auth}")]);
    assert!(heard(&other).is_empty() && heard(&evil).is_empty() && heard(&led_away).is_empty());
    assert!(!evil.seen().is_empty(), "it was asked, without the password");
}
