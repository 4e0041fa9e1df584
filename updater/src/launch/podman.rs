//! Podman, which has no daemon: what can't be done there, what can't be promised, and what
//! it doesn't say in Docker's way.

use serde_json::{Map, Value, json};

use super::{LaunchError, text};
use crate::engine::{Engine, Podman};
use crate::events::Event;
use crate::plan::{Hidden, Plan};

/// Refuses a Podman that can't change restart policies: they are what decides who comes
/// back after a crash, and new gets the app's own only once it has proved itself.
pub(super) fn refuse_too_old(engine: &Engine, app: &str) -> Result<(), LaunchError> {
    match engine.podman() {
        Some(podman) if podman < Podman::OLDEST => Err(LaunchError::Unsuitable {
            app: app.to_owned(),
            why: format!("Podman {podman} cannot change a container's restart policy"),
            hint: format!("update Podman to {} or later", Podman::OLDEST),
        }),
        _ => Ok(()),
    }
}

/// What an operator should know before an update on Podman.
pub(super) fn remark(engine: &Engine, app: &str) -> Option<Event> {
    engine.podman()?;
    Some(Event::Warning {
        text: format!(
            "this is Podman, where nobody starts containers at boot: should the machine go down \
             during the update, `changeover resume {app}` brings it to its end (with \
             podman-restart.service enabled, the helper does)"
        ),
    })
}

/// Completes what Podman shows of a container in Docker's way; with another engine, nothing
/// is done.
///
/// The home directory that Podman writes into the environment, after the user, isn't told
/// from one that was given: kept, it would be the wrong one for an image with another user.
/// Kernel settings aren't shown at all, nor is it which addresses are fixed. Podman remembers
/// them with the command line that made the container, and we those of one that we have made.
pub(super) async fn complete(engine: &Engine, container: &mut Value) -> Result<(), LaunchError> {
    if engine.podman().is_none() {
        return Ok(());
    }
    let id = text(container, "/Id").to_owned();
    let own = engine.podmans_container(&id).await.map_err(LaunchError::engine)?;
    let given = || Some(read(&command_line(&own)?, container));
    if let Some(hidden) = recorded(container).or_else(given) {
        show(&hidden, container);
    }
    let is_home = |entry: &Value| entry.as_str().is_some_and(|entry| entry.starts_with("HOME="));
    let Some(environment) = container["Config"]["Env"].as_array_mut() else { return Ok(()) };
    if environment.iter().any(is_home) {
        let given = match engine.podmans_kube(&id).await {
            Ok(kube) => is_given(&kube, "HOME"),
            // It has no words for a container with devices, say.
            Err(error) if error.is_refusal() => {
                command_line(&own).is_none_or(|line| may_give(&line, "HOME"))
            }
            Err(error) => return Err(LaunchError::engine(error)),
        };
        environment.retain(|entry| given || !is_home(entry));
    }
    Ok(())
}

/// What was hidden of a completed container, to be written down for the next update; `None`
/// where its engine shows everything itself, or nobody knows.
pub(super) fn hidden(engine: &Engine, container: &Value) -> Option<Hidden> {
    engine.podman()?;
    let sysctls = container["HostConfig"]["Sysctls"].as_object()?.clone();
    let networks = container["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
    let fixed = networks.filter(|(_, endpoint)| endpoint["IPAMConfig"].is_object());
    let addresses = fixed.map(|(name, endpoint)| (name.clone(), endpoint["IPAMConfig"].clone()));
    Some(Hidden { sysctls, addresses: addresses.collect() })
}

/// What we have written down ourselves, as we made the container.
fn recorded(container: &Value) -> Option<Hidden> {
    let record = Plan::recorded_in(&container["Config"]["Labels"])?;
    let name = text(container, "/Name").trim_start_matches('/');
    record.members.into_iter().find(|member| member.name == name)?.hidden
}

fn show(hidden: &Hidden, container: &mut Value) {
    container["HostConfig"]["Sysctls"] = hidden.sysctls.clone().into();
    for (network, addresses) in &hidden.addresses {
        // It may have been disconnected since.
        let networks = container["NetworkSettings"]["Networks"].as_object_mut();
        if let Some(endpoint) = networks.and_then(|networks| networks.get_mut(network)) {
            endpoint["IPAMConfig"] = addresses.clone();
        }
    }
}

/// The command line that made the container, without what the container is to run; `None`
/// if it was made through the API.
fn command_line(podmans: &Value) -> Option<Vec<String>> {
    let words = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let line = words(&podmans["Config"]["CreateCommand"]);
    let command = words(&podmans["Config"]["Cmd"]);
    let line = line.strip_suffix(command.as_slice()).unwrap_or(&line).to_vec();
    (!line.is_empty()).then_some(line)
}

/// What the command line gives to the container that inspect doesn't show.
fn read(line: &[String], container: &Value) -> Hidden {
    let pairs = |text: &str| -> Vec<(String, Value)> {
        let pairs = text.split(',').filter_map(|one| one.split_once('='));
        pairs.map(|(key, value)| (key.to_owned(), value.into())).collect()
    };
    let mut addresses = Map::new();
    let mut fix = |network: &str, family: &str, address: &Value| {
        let fixed = addresses.entry(network).or_insert_with(|| json!({}));
        fixed[family] = address.clone();
    };
    let networks = container["NetworkSettings"]["Networks"].as_object();
    let only = networks.and_then(|networks| networks.keys().next());
    for (option, family) in [("--ip", "IPv4Address"), ("--ip6", "IPv6Address")] {
        if let (Some(network), Some(address)) = (only, values(line, option).first()) {
            fix(network, family, &(*address).into());
        }
    }
    for network in values(line, "--network").into_iter().chain(values(line, "--net")) {
        let Some((network, options)) = network.split_once(':') else { continue };
        for (option, value) in pairs(options) {
            let is_v6 = value.as_str().is_some_and(|address| address.contains(':'));
            match option.as_str() {
                "ip" if !is_v6 => fix(network, "IPv4Address", &value),
                "ip" | "ip6" => fix(network, "IPv6Address", &value),
                _ => {}
            }
        }
    }
    let sysctls = values(line, "--sysctl").into_iter().flat_map(pairs).collect();
    Hidden { sysctls, addresses }
}

/// Whether the command line may give the container a variable of this name, itself or by a
/// file.
fn may_give(line: &[String], name: &str) -> bool {
    line.iter().any(|word| word.contains(name) || word.starts_with("--env-"))
}

/// What is given to this option, in both ways of writing it.
fn values<'a>(line: &'a [String], option: &str) -> Vec<&'a str> {
    let following = line.iter().skip(1).chain([const { &String::new() }]);
    let pairs = line.iter().zip(following);
    let value = pairs.filter_map(|(word, next)| match word.strip_prefix(option)? {
        "" => Some(next.as_str()),
        rest => rest.strip_prefix('='),
    });
    value.collect()
}

/// Whether this YAML of a pod gives the container a variable of this name.
fn is_given(kube: &str, name: &str) -> bool {
    let entry = format!("- name: {name}");
    kube.lines().any(|line| line.trim() == entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_podman_hides_is_read_from_the_command_line() {
        let of = |line: &[&str], command: &[&str]| {
            let own = json!({ "Config": { "CreateCommand": line, "Cmd": command } });
            let container = json!({ "NetworkSettings": { "Networks": { "one": {} } } });
            let Hidden { sysctls, addresses } = read(&command_line(&own)?, &container);
            Some(json!([sysctls, addresses]))
        };
        let line = [
            "podman",
            "run",
            "--sysctl",
            "net.core.somaxconn=77",
            "-d",
            "--ip",
            "10.1.2.3",
            "--sysctl=net.ipv4.ip_forward=1,kernel.msgmax=4",
            "--ip6=fd00::3",
            "app:1",
        ];
        let sysctls = json!({
            "net.core.somaxconn": "77", "net.ipv4.ip_forward": "1", "kernel.msgmax": "4",
        });
        let addresses = json!({ "one": { "IPv4Address": "10.1.2.3", "IPv6Address": "fd00::3" } });
        assert_eq!(of(&line, &[]), Some(json!([sysctls, addresses])));
        let line = [
            "podman",
            "run",
            "--net=one:ip=10.1.2.4,alias=x",
            "--network",
            "two:ip=fd00::4",
            "app:1",
        ];
        let addresses =
            json!({ "one": { "IPv4Address": "10.1.2.4" }, "two": { "IPv6Address": "fd00::4" } });
        assert_eq!(of(&line, &[]), Some(json!([{}, addresses])));
        let none = ["podman", "run", "--network", "one", "app:1", "tool", "--sysctl", "a.b=c"];
        assert_eq!(of(&none, &none[5..]), Some(json!([{}, {}])));
        assert_eq!(of(&[], &[]), None, "made through the API: nobody knows");
    }

    #[test]
    fn what_was_hidden_is_shown_and_told_to_the_next_update() {
        let mut container = json!({
            "HostConfig": {}, "NetworkSettings": { "Networks": { "one": { "IPAMConfig": null } } },
        });
        let of_one = json!({ "IPv4Address": "10.1.2.3" });
        let hidden = Hidden {
            sysctls: Map::from_iter([("kernel.msgmax".to_owned(), "4".into())]),
            addresses: Map::from_iter([
                ("one".to_owned(), of_one.clone()),
                ("gone".to_owned(), json!({})),
            ]),
        };
        show(&hidden, &mut container);
        assert_eq!(container["HostConfig"]["Sysctls"], json!({ "kernel.msgmax": "4" }));
        let networks = json!({ "one": { "IPAMConfig": of_one } });
        assert_eq!(container["NetworkSettings"]["Networks"], networks);
    }

    #[test]
    fn a_variable_is_given_if_podman_would_tell_kubernetes() {
        // Recorded from Podman 5.4.
        let kube = "spec:\n  containers:\n  - env:\n    - name: ZED\n      value: \"1\"\n    - name: HOME\n      value: /mine\n    image: localhost/app:1\n    name: web\n";
        assert!(is_given(kube, "HOME") && is_given(kube, "ZED"));
        assert!(!is_given(kube, "web") && !is_given(kube, "value"));
        let line = ["podman", "run", "--device", "/dev/null", "app:1"].map(str::to_owned);
        assert!(!may_give(&line, "HOME"));
        for way in ["--env=HOME=/mine", "HOME=/mine", "--env-file", "--env-host"] {
            assert!(may_give(&[&line[..], &[way.to_owned()]].concat(), "HOME"), "{way}");
        }
    }
}
