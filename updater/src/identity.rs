//! Who am I: the container in which this program runs, proven.
//!
//! Host names, cgroups and mounts only suggest: with `--hostname`, on the host's
//! network or in another container's, they are somebody's choice or somebody else's.
//! A wrong guess would update a stranger. So they only say where to look first, and
//! what counts is one of three proofs: the upper layer of our root file system is the
//! container's, the kernel has put us into the container's own cgroup, or a file that
//! we have just written is read back through the engine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::engine::{Engine, EngineError};

/// Names our container where it can't be found out.
pub const CONTAINER_ENV: &str = "CHANGEOVER_CONTAINER";

/// Names a file that only the asking container has: then that one is `self`, and not the
/// container in which this program runs. An app that starts us beside itself proves by it
/// which container it is, without knowing it.
pub const PROOF_ENV: &str = "CHANGEOVER_PROOF";

/// What could be found out about our own container.
#[derive(Debug, Clone, PartialEq)]
pub enum Own {
    /// This program runs in none of this engine's containers.
    None,
    /// It looks like a container here, but nothing tells whose.
    Unknown,
    /// Inspect of our container.
    Proven(Value),
    /// Inspect of a container that may be ours: good enough to find the engine's
    /// socket by, not to update it.
    Likely(Value),
}

impl Own {
    /// The container, whether it is proven or likely.
    pub fn into_container(self) -> Option<Value> {
        match self {
            Own::None | Own::Unknown => None,
            Own::Proven(container) | Own::Likely(container) => Some(container),
        }
    }
}

/// Why `self` names nobody.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Not in a container.
    #[error(
        "`self` is the container in which this program runs, and it runs in none of this engine's\nhint: name the container; `docker ps` lists them"
    )]
    NotInAContainer,
    /// In a container, but which?
    #[error(
        "cannot prove in which container this program runs: its root file system is read-only, or the engine's archive calls are denied\nhint: set {CONTAINER_ENV} to the container's name, or name it instead of `self`"
    )]
    Unproven,
    /// The environment names nobody.
    #[error(
        "{CONTAINER_ENV} is `{0}`, and there is no such container\nhint: `docker ps -a` lists them"
    )]
    NoSuchContainer(String),
    /// Nobody, or more than one, has the file of [`PROOF_ENV`].
    #[error(
        "{PROOF_ENV} is `{path}`, and of the running containers {count} have that file, so it proves nothing\nhint: write a new file with a random name to the container's own file system (not to a volume or a tmpfs), and name it"
    )]
    NoProof {
        /// The file.
        path: String,
        /// How many have it.
        count: usize,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The name of our own container. What [`CONTAINER_ENV`] says is believed, and what
/// [`PROOF_ENV`] says is looked for.
pub async fn own_name(engine: &Engine) -> Result<String, IdentityError> {
    let said = |name| std::env::var(name).ok().filter(|said| !said.is_empty());
    let own = match (said(CONTAINER_ENV), said(PROOF_ENV)) {
        (Some(name), _) => {
            engine.container(&name).await?.ok_or(IdentityError::NoSuchContainer(name))?
        }
        (None, Some(path)) => with_file(engine, path).await?,
        (None, None) => match own_container(engine).await? {
            Own::Proven(own) => own,
            Own::Likely(_) | Own::Unknown => return Err(IdentityError::Unproven),
            Own::None => return Err(IdentityError::NotInAContainer),
        },
    };
    Ok(own["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned())
}

/// The only running container that has this file.
async fn with_file(engine: &Engine, path: String) -> Result<Value, IdentityError> {
    let (mut found, mut failed) = (Vec::new(), None);
    for summary in engine.containers().await? {
        let id = summary["Id"].as_str().unwrap_or_default();
        if summary["State"] != "running" {
            continue;
        }
        let has = match engine.path_stat(id, &path).await {
            Ok(stat) => Ok(stat.is_some()),
            Err(_) => has_written(engine, id, &path).await,
        };
        match has {
            Ok(true) => found.extend(engine.container(id).await?),
            Ok(false) => {}
            Err(error) => failed = Some(error),
        }
    }
    match (found.len(), failed) {
        (1, _) => Ok(found.remove(0)),
        (0, Some(error)) => Err(error.into()),
        (count, _) => Err(IdentityError::NoProof { path, count }),
    }
}

/// Whether a container has written this file to its own file system, where the archive call
/// won't say: Docker 28.5.2 fails at each mount below a link to an absolute path, as
/// `/var/run` is one in Debian, and the socket is mostly mounted there.
async fn has_written(engine: &Engine, id: &str, path: &str) -> Result<bool, EngineError> {
    Ok(engine.changes(id).await?.iter().any(|change| change["Path"] == path))
}

/// Our own container, as far as it can be found out.
pub async fn own_container(engine: &Engine) -> Result<Own, EngineError> {
    if !in_a_container() {
        return Ok(Own::None);
    }
    let traces = Traces::read();
    let nonce = Nonce::leave(&traces.mounts);
    // A machine may look like a container (many are made from images) without being one
    // of this engine's: then nobody has our file.
    let mut next_best = if nonce.is_some() { Own::None } else { Own::Unknown };
    for id in candidates(engine, &traces).await? {
        let Some(container) = engine.container(&id).await? else { continue };
        if traces.prove(&container) {
            return Ok(Own::Proven(container));
        }
        match sees(engine, &id, nonce.as_ref()).await {
            Ok(true) => return Ok(Own::Proven(container)),
            Ok(false) => {}
            // Who may not ask can't rule it out either.
            Err(_) if next_best == Own::None => next_best = Own::Unknown,
            Err(_) => {}
        }
        if !matches!(next_best, Own::Likely(_))
            && traces.suggest(&id)
            && has_socket(engine, &container)
        {
            next_best = Own::Likely(container);
        }
    }
    Ok(next_best)
}

fn in_a_container() -> bool {
    // With a read-only root, Podman hides its file under a tmpfs; what it says in the
    // environment is there in any case.
    Path::new("/.dockerenv").exists()
        || Path::new("/run/.containerenv").exists()
        || std::env::var_os("container").is_some()
}

/// Ids to look at: those that are suggested, then all that run.
async fn candidates(engine: &Engine, traces: &Traces) -> Result<Vec<String>, EngineError> {
    let (mut suggested, mut running) = (Vec::new(), Vec::new());
    for summary in engine.containers().await? {
        let Some(id) = summary["Id"].as_str().map(str::to_owned) else { continue };
        // Whatever its state: while a container is being started, its process runs
        // before the engine says so.
        if traces.suggest(&id) {
            suggested.push(id);
        } else if summary["State"] == "running" {
            running.push(id);
        }
    }
    suggested.append(&mut running);
    Ok(suggested)
}

/// Whether the socket that we use is one of the container's mounts.
fn has_socket(engine: &Engine, container: &Value) -> bool {
    let socket = engine.endpoint().socket();
    socket.is_none_or(|socket| path_on_host(container, socket).is_some())
}

/// Where a path of the container is on the host, if it lies on one of its mounts. Of mounts
/// within mounts the innermost is what is seen there.
pub(crate) fn path_on_host(container: &Value, path: &Path) -> Option<PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // /var/run is a link to /run in most images.
    let path = real(path);
    let lies_on = |mount: &Value| {
        let destination = real(Path::new(mount["Destination"].as_str()?));
        let rest = path.strip_prefix(&destination).ok()?.to_owned();
        let source = Path::new(mount["Source"].as_str().unwrap_or_default()).to_owned();
        Some((destination.components().count(), source, rest))
    };
    let around = container["Mounts"].as_array()?.iter().filter_map(lies_on);
    let (_, source, rest) = around.max_by_key(|(depth, ..)| *depth)?;
    // A tmpfs is nowhere on the host.
    (!source.as_os_str().is_empty()).then(|| match rest.as_os_str().is_empty() {
        true => source,
        false => source.join(rest),
    })
}

/// What the kernel shows of the container around us.
struct Traces {
    /// Ids, or the starts of ids, that may be ours.
    ids: Vec<String>,
    /// The id in the path of our cgroup, if there is exactly one: an engine in a
    /// container leaves several.
    cgroup: Option<String>,
    /// The name of the upper layer of our root file system.
    upper: Option<String>,
    /// Where file systems are mounted.
    mounts: Vec<PathBuf>,
}

impl Traces {
    fn read() -> Traces {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Traces::of(
            &text("/proc/self/cgroup"),
            &text("/proc/self/mountinfo"),
            text("/etc/hostname").trim(),
        )
    }

    fn of(cgroup: &str, mountinfo: &str, hostname: &str) -> Traces {
        let in_cgroup = ids_in(cgroup);
        let only = match in_cgroup.as_slice() {
            [id] => Some(id.clone()),
            _ => None,
        };
        let mut ids = in_cgroup;
        ids.extend(ids_in(mountinfo));
        /// The length of an id in short, which is the host name by default.
        const SHORT: usize = 12;
        if hostname.len() == SHORT && hostname.bytes().all(|b| b.is_ascii_hexdigit()) {
            ids.push(hostname.to_owned());
        }
        let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4));
        Traces {
            ids,
            cgroup: only,
            upper: upper_layer(mountinfo),
            mounts: points.map(PathBuf::from).collect(),
        }
    }

    fn suggest(&self, id: &str) -> bool {
        self.ids.iter().any(|trace| id.starts_with(trace.as_str()))
    }

    fn prove(&self, container: &Value) -> bool {
        let layer = container["GraphDriver"]["Data"]["UpperDir"].as_str().and_then(layer_of);
        (layer.is_some() && layer == self.upper)
            || (self.cgroup.is_some() && self.cgroup.as_deref() == container["Id"].as_str())
    }
}

/// Words of 64 hexadecimal digits, each once.
fn ids_in(text: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_hexdigit()) {
        if word.len() == 64 && !ids.iter().any(|id| id == word) {
            ids.push(word.to_owned());
        }
    }
    ids
}

/// The upper layer of the overlay that is mounted on `/`, from mountinfo
/// (proc_pid_mountinfo(5)).
fn upper_layer(mountinfo: &str) -> Option<String> {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    let options = root.split(" - overlay ").nth(1)?.split(' ').nth(1)?;
    layer_of(options.split(',').find_map(|option| option.strip_prefix("upperdir="))?)
}

/// The random name of a layer in the path of its upper directory, `…/NAME/diff`. The
/// rest depends on who looks.
fn layer_of(upper: &str) -> Option<String> {
    /// Docker and Podman name layers by 64 digits.
    const LONG_ENOUGH: usize = 32;
    let name = Path::new(upper).parent()?.file_name()?.to_str()?;
    (name.len() >= LONG_ENOUGH).then(|| name.to_owned())
}

/// A file with a random content in our root file system, gone when this is dropped.
struct Nonce {
    path: PathBuf,
    content: String,
}

impl Nonce {
    /// Writes it to the first place that takes it. A volume or a tmpfs won't do: the
    /// one may be shared, the other isn't shown by the engine.
    fn leave(mounts: &[PathBuf]) -> Option<Nonce> {
        let content = fs::read_to_string("/proc/sys/kernel/random/uuid").ok()?;
        let content = content.trim().to_owned();
        let places = ["/", "/tmp", "/var/tmp", "/run", "/home", "/app"].map(PathBuf::from);
        let homes = [std::env::current_dir().ok(), std::env::var_os("HOME").map(PathBuf::from)];
        places.into_iter().chain(homes.into_iter().flatten()).find_map(|place| {
            let place = place.canonicalize().ok().filter(|place| lies_on_root(place, mounts))?;
            let path = place.join(format!(".changeover-{content}"));
            let mut file = fs::File::create_new(&path).ok()?;
            let nonce = Nonce { path, content: content.clone() };
            std::io::Write::write_all(&mut file, content.as_bytes()).ok()?;
            Some(nonce)
        })
    }
}

impl Drop for Nonce {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lies_on_root(place: &Path, mounts: &[PathBuf]) -> bool {
    !mounts.iter().any(|mount| mount != Path::new("/") && place.starts_with(mount))
}

/// Whether the engine sees our file in this container.
async fn sees(engine: &Engine, id: &str, nonce: Option<&Nonce>) -> Result<bool, EngineError> {
    let Some((nonce, path)) = nonce.and_then(|nonce| Some((nonce, nonce.path.to_str()?))) else {
        return Ok(false);
    };
    let archive = match engine.small_file(id, path).await {
        Ok(archive) => archive.unwrap_or_default(),
        // Its name alone is as good: nobody else can have chosen it.
        Err(_) => return has_written(engine, id, path).await,
    };
    Ok(archive.windows(nonce.content.len()).any(|part| part == nonce.content.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const A: &str = "aa11223344556677889900aabbccddeeff00112233445566778899aabbccddee";
    const B: &str = "bb11223344556677889900aabbccddeeff00112233445566778899aabbccddee";
    const LAYER: &str = "cc11223344556677889900aabbccddeeff00112233445566778899aabbccddee";

    fn mountinfo() -> String {
        format!(
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n\
             648 600 0:61 / / rw,relatime master:3 - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/overlay2/{LAYER}/diff,workdir=/w\n\
             660 648 8:1 /var/lib/docker/containers/{A}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n\
             661 648 8:1 /data /data rw - ext4 /dev/sda1 rw"
        )
    }

    #[test]
    fn the_mounts_of_another_container_prove_nothing() {
        // In `container:` network mode, /etc/hostname is the other's.
        let traces = Traces::of("0::/", &mountinfo(), "web");
        let other = json!({ "Id": A });
        assert!(traces.suggest(A) && !traces.prove(&other));
        let own = json!({ "Id": B, "GraphDriver": { "Data": {
            "UpperDir": format!("/mnt/docker/overlay2/{LAYER}/diff") } } });
        assert!(traces.prove(&own));
    }

    #[test]
    fn a_cgroup_of_our_own_is_proof_and_that_of_a_nested_engine_is_none() {
        let alone = Traces::of(&format!("0::/system.slice/docker-{B}.scope"), "", "web");
        assert!(alone.prove(&json!({ "Id": B })) && !alone.prove(&json!({ "Id": A })));
        let nested = Traces::of(&format!("12:pids:/docker/{A}/docker/{B}"), "", "web");
        assert!(!nested.prove(&json!({ "Id": A })) && !nested.prove(&json!({ "Id": B })));
        // Of cgroups v1 there are many lines, all with the same id.
        let v1 = Traces::of(&format!("2:pids:/docker/{B}\n1:cpu:/docker/{B}"), "", "web");
        assert!(v1.prove(&json!({ "Id": B })));
    }

    #[test]
    fn what_is_missing_on_both_sides_is_no_match() {
        let traces = Traces::of("0::/", "", "");
        assert!(!traces.prove(&json!({})) && !traces.suggest(A));
        assert!(!traces.prove(&json!({ "GraphDriver": { "Data": null } })));
        assert_eq!(layer_of("/diff"), None);
    }

    #[test]
    fn a_host_name_counts_only_where_it_looks_like_an_id() {
        let generated = Traces::of("", "", &A[..12]);
        assert!(generated.suggest(A));
        assert!(!Traces::of("", "", "a").suggest(A));
    }

    /// Mounts as engines show them: Docker 28.5, a rootless one, Synology's, and Podman 5.4.
    #[test]
    fn the_socket_is_where_its_mount_has_it_on_the_host() {
        let bind = |source: &str, destination: &str| {
            json!({ "Type": "bind", "Source": source, "Destination": destination,
                "Mode": "", "RW": true, "Propagation": "rprivate" })
        };
        let data = || {
            json!({ "Type": "volume", "Name": "data", "Destination": "/data", "Driver": "local",
                "Source": "/volume1/@docker/volumes/data/_data", "Mode": "z", "RW": true,
                "Propagation": "" })
        };
        let at = |mounts: &[Value], path: &str| {
            let found = path_on_host(&json!({ "Mounts": mounts }), Path::new(path));
            found.map(|path| path.display().to_string())
        };
        let is_at = |mounts: &[Value], path: &str, host: &str| {
            assert_eq!(at(mounts, path).as_deref(), Some(host), "{path} of {mounts:?}");
        };
        // No folder of this machine has these names, so that no link of its own plays a part.
        let usual = bind("/var/run/docker.sock", "/nowhere/run/docker.sock");
        is_at(&[data(), usual.clone()], "/nowhere/run/docker.sock", "/var/run/docker.sock");
        let rootless = bind("/run/user/1000/docker.sock", "/nowhere/engine.sock");
        is_at(&[rootless], "/nowhere/engine.sock", "/run/user/1000/docker.sock");
        let podmans = bind("/run/podman/podman.sock", "/nowhere/run/docker.sock");
        is_at(&[podmans], "/nowhere/run/docker.sock", "/run/podman/podman.sock");
        // With the folder around it, and with another mount in there: the innermost counts,
        // whichever comes first.
        let host = bind("/", "/nowhere/host");
        let within = bind("/srv/engine", "/nowhere/host/run");
        let both = [host.clone(), within.clone()];
        is_at(&both, "/nowhere/host/var/run/docker.sock", "/var/run/docker.sock");
        is_at(&both, "/nowhere/host/run/docker.sock", "/srv/engine/docker.sock");
        is_at(&[within, host], "/nowhere/host/run/docker.sock", "/srv/engine/docker.sock");
        // On no mount, or on one that is nowhere on the host.
        assert_eq!(at(&[usual, data()], "/nowhere/else.sock"), None);
        let memory = json!({ "Type": "tmpfs", "Source": "", "Destination": "/nowhere/memory" });
        assert_eq!(at(&[memory], "/nowhere/memory/docker.sock"), None);
    }

    #[test]
    fn a_file_on_a_volume_is_no_proof() {
        let traces = Traces::of("", &mountinfo(), "");
        assert!(lies_on_root(Path::new("/"), &traces.mounts));
        assert!(lies_on_root(Path::new("/database"), &traces.mounts));
        assert!(!lies_on_root(Path::new("/data/uploads"), &traces.mounts));
    }
}
