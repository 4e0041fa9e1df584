//! C: ports, networks, names and addresses.

use serde_json::{Value, json};

use super::super::{ApiVersion, Because, Loss, compare};
use super::{Case, map, recorded};
use crate::plan::{Expected, ExpectedPort};

fn port(container: &str, host: u16) -> ExpectedPort {
    ExpectedPort { container: container.to_owned(), host }
}

#[test]
fn every_binding_of_every_port_is_kept_with_its_address_and_protocol() {
    for case in recorded("ports") {
        let bindings = case.create()["HostConfig"]["PortBindings"].clone();
        assert_eq!(bindings, case.old["HostConfig"]["PortBindings"], "{}", case.engine);
        assert_eq!(
            bindings["80/tcp"],
            json!([{ "HostIp": "127.0.0.1", "HostPort": "18080" }, { "HostIp": "", "HostPort": "18081" }])
        );
        let expected = case.successor().expected.ports;
        for port in [port("80/tcp", 18080), port("53/udp", 18053), port("91/tcp", 18091)] {
            assert!(expected.contains(&port), "{port:?} on {}", case.engine);
        }
    }
}

#[test]
fn an_ephemeral_port_is_the_same_after_the_update() {
    for case in recorded("eph") {
        let create = case.create();
        let bindings = &create["HostConfig"]["PortBindings"];
        let live = &case.old["NetworkSettings"]["Ports"];
        let number = |binding: &Value| binding["HostPort"].clone();
        if number(&live["80/tcp"][0]) == number(&live["80/tcp"][1]) {
            let one = json!([{ "HostIp": "", "HostPort": number(&live["80/tcp"][0]) }]);
            assert_eq!(bindings["80/tcp"], one, "{}", case.engine);
        } else {
            assert_eq!(bindings["80/tcp"], live["80/tcp"], "{}", case.engine);
        }
        assert_eq!(bindings["8081/tcp"], live["8081/tcp"]);
    }
}

#[test]
fn a_port_published_by_dash_p_goes_if_the_new_image_has_none() {
    for mut case in recorded("eph") {
        map_mut(&mut case.old["HostConfig"]["PortBindings"]).clear();
        let create = case.create();
        let ports: Vec<&String> = map(&create["HostConfig"]["PortBindings"]).keys().collect();
        assert_eq!(ports, ["80/tcp"], "{}", case.engine);
        assert_eq!(create["HostConfig"]["PublishAllPorts"], true);
    }
}

#[test]
fn among_several_ephemeral_bindings_each_gets_its_own_port() {
    for mut case in recorded("eph") {
        // As 20.10 and 26.1 answered to this request.
        case.old["HostConfig"]["PortBindings"] = json!({ "80/tcp": [
            { "HostIp": "", "HostPort": "4100" }, { "HostIp": "", "HostPort": "" },
            { "HostIp": "127.0.0.1", "HostPort": "0" }, { "HostIp": "", "HostPort": "5000-5010" },
        ] });
        case.old["NetworkSettings"]["Ports"] = json!({ "80/tcp": [
            { "HostIp": "0.0.0.0", "HostPort": "4100" }, { "HostIp": "::", "HostPort": "4100" },
            { "HostIp": "0.0.0.0", "HostPort": "32772" }, { "HostIp": "::", "HostPort": "32771" },
            { "HostIp": "127.0.0.1", "HostPort": "32773" },
            { "HostIp": "0.0.0.0", "HostPort": "5001" }, { "HostIp": "::", "HostPort": "5001" },
        ] });
        assert_eq!(
            case.create()["HostConfig"]["PortBindings"]["80/tcp"],
            json!([
                { "HostIp": "", "HostPort": "4100" },
                { "HostIp": "0.0.0.0", "HostPort": "32772" }, { "HostIp": "::", "HostPort": "32771" },
                { "HostIp": "127.0.0.1", "HostPort": "32773" },
                { "HostIp": "", "HostPort": "5001" },
            ])
        );
    }
}

#[test]
fn a_binding_that_is_no_object_is_one_of_any_port() {
    for mut case in recorded("eph") {
        case.old["HostConfig"]["PortBindings"] = json!({ "80/tcp": ["8080"] });
        let live = json!({ "HostIp": "0.0.0.0", "HostPort": "32772" });
        let pinned = json!({ "HostIp": "", "HostPort": "32772" });
        case.old["NetworkSettings"]["Ports"] = json!({ "80/tcp": [live] });
        assert_eq!(case.create()["HostConfig"]["PortBindings"]["80/tcp"], json!([pinned]));
    }
}

#[test]
fn a_stopped_container_keeps_asking_for_any_port() {
    for mut case in recorded("eph") {
        case.old["State"]["Running"] = false.into();
        case.old["NetworkSettings"]["Ports"] = json!({});
        let asked = case.old["HostConfig"]["PortBindings"].clone();
        assert_eq!(case.create()["HostConfig"]["PortBindings"], asked, "{}", case.engine);
        assert_eq!(case.successor().expected.ports, []);
    }
}

#[test]
fn a_port_that_was_asked_for_and_is_not_published_is_not_expected() {
    for mut case in recorded("nets") {
        // So it is on an internal network.
        case.old["NetworkSettings"]["Ports"] = json!({});
        assert_eq!(case.successor().expected.ports, [], "{}", case.engine);
    }
}

#[test]
fn between_two_restarts_the_ports_are_those_that_were_asked_for() {
    for mut case in recorded("nets") {
        case.old["NetworkSettings"]["Ports"] = json!({});
        case.old["State"]["Restarting"] = true.into();
        assert_eq!(case.successor().expected.ports, [port("80/tcp", 18070)], "{}", case.engine);
    }
}

#[test]
fn a_published_port_stays_exposed_when_the_new_image_has_forgotten_it() {
    for case in recorded("ports") {
        let exposed = case.create()["ExposedPorts"].clone();
        assert!(exposed.get("8081/tcp").is_some(), "{}", case.engine);
    }
}

#[test]
fn every_network_is_kept_and_the_main_one_comes_first() {
    for case in recorded("nets") {
        let successor = case.successor();
        assert_eq!(successor.create["HostConfig"]["NetworkMode"], "back", "{}", case.engine);
        assert_eq!(successor.expected.networks, ["back", "front", "third"]);
        let in_create = &successor.create["NetworkingConfig"]["EndpointsConfig"];
        let later: Vec<&str> = successor.connect.iter().map(|one| one.network.as_str()).collect();
        if case.api < ApiVersion::ENDPOINTS_IN_CREATE {
            assert_eq!(map(in_create).keys().collect::<Vec<_>>(), ["back"]);
            assert_eq!(later, ["front", "third"]);
        } else {
            assert_eq!(map(in_create).len(), 3, "{}", case.engine);
            assert!(later.is_empty());
        }
    }
}

/// The endpoint of a network, wherever it is sent.
#[test]
fn a_network_that_the_mode_names_by_id_is_named_once_and_by_name() {
    for mut case in recorded("nets") {
        let id = case.old["NetworkSettings"]["Networks"]["back"]["NetworkID"].clone();
        let id = id.as_str().expect("an id").to_owned();
        for id in [&id, &id[..12]] {
            case.old["HostConfig"]["NetworkMode"] = id.into();
            let create = case.create();
            assert_eq!(create["HostConfig"]["NetworkMode"], "back", "{}", case.engine);
            let networks = &create["NetworkingConfig"]["EndpointsConfig"];
            assert!(networks.get("back").is_some(), "{networks} on {}", case.engine);
            assert!(networks.get(id).is_none(), "twice on {}", case.engine);
            // Which is said, and no reason to give the new container up.
            let lines = case.shown();
            let mode = lines.iter().find(|one| one.field == "NetworkMode").expect("is said");
            assert_eq!(mode.because, Because::Pinned, "{}", case.engine);
        }
    }
}

#[test]
fn a_network_that_is_listed_by_its_short_id_too_is_one() {
    for mut case in recorded("nets") {
        let networks = &mut case.old["NetworkSettings"]["Networks"];
        let back = networks["back"].clone();
        let id = back["NetworkID"].as_str().expect("an id")[..12].to_owned();
        networks[&id] = back;
        case.old["HostConfig"]["NetworkMode"] = id.as_str().into();
        let successor = case.successor();
        assert!(!successor.expected.networks.contains(&id), "{}", case.engine);
        assert!(!successor.connect.iter().any(|one| one.network == id), "{}", case.engine);
        let create = case.create();
        assert_eq!(create["HostConfig"]["NetworkMode"], "back", "{}", case.engine);
        assert!(!create.to_string().contains(&id), "{create} on {}", case.engine);
        let unexplained = case.shown().into_iter().find(|one| one.because == Because::Unexplained);
        assert_eq!(unexplained, None, "{}", case.engine);
    }
}

fn endpoint(case: &Case, network: &str) -> Value {
    let successor = case.successor();
    let later = successor.connect.into_iter().find(|one| one.network == network);
    match later {
        Some(connect) => connect.endpoint,
        None => successor.create["NetworkingConfig"]["EndpointsConfig"][network].clone(),
    }
}

#[test]
fn static_addresses_aliases_links_and_driver_options_are_kept() {
    for case in recorded("nets") {
        let back = endpoint(&case, "back");
        let addresses = json!({ "IPv4Address": "10.88.1.9", "IPv6Address": "fd00:88:1::9" });
        assert_eq!(back["IPAMConfig"], addresses, "{}", case.engine);
        assert_eq!(back["Aliases"], json!(["web", "www"]));
        let front = endpoint(&case, "front");
        assert_eq!(front["IPAMConfig"], json!({ "IPv4Address": "10.88.2.9" }));
        assert_eq!(front["Aliases"], json!(["inner", "innermost"]));
        assert_eq!(front["Links"], json!(["bare:linked"]));
        assert_eq!(endpoint(&case, "third")["DriverOpts"], json!({ "com.example.opt": "1" }));
        for operational in ["IPAddress", "EndpointID", "NetworkID", "Gateway", "DNSNames"] {
            assert_eq!(front.get(operational), None, "{operational}");
        }
    }
    for case in recorded("macs").iter().filter(|case| case.engine == "28.5") {
        assert_eq!(endpoint(case, "third")["GwPriority"], 7);
    }
}

#[test]
fn the_old_short_id_is_no_alias_of_the_new_container() {
    for case in recorded("nets") {
        let short_id = &case.old["Id"].as_str().expect("an id")[..12];
        assert!(!case.create().to_string().contains(short_id), "{}", case.engine);
        assert_eq!(endpoint(&case, "third").get("Aliases"), None);
    }
}

#[test]
fn a_requested_mac_address_is_kept_and_a_generated_one_is_not() {
    for name in ["nets", "mac"] {
        for case in recorded(name) {
            let create = case.create();
            let main = if name == "nets" { "back" } else { "bridge" };
            let requested = &case.old["Config"]["MacAddress"];
            let (legacy, endpoint) = (create.get("MacAddress"), endpoint(&case, main));
            if case.api < ApiVersion::ENDPOINTS_IN_CREATE {
                assert_eq!((legacy, endpoint.get("MacAddress")), (Some(requested), None));
            } else {
                assert_eq!((legacy, endpoint.get("MacAddress")), (None, Some(requested)));
            }
        }
    }
    for case in recorded("nets").into_iter().chain(recorded("user")) {
        for network in ["front", "third", "bridge"] {
            assert_eq!(endpoint(&case, network).get("MacAddress"), None, "{}", case.engine);
        }
    }
}

#[test]
fn a_mac_address_that_no_engine_generates_is_kept_on_the_other_networks_too() {
    for case in recorded("macs") {
        assert_eq!(endpoint(&case, "front")["MacAddress"], "00:16:3e:11:22:33", "{}", case.engine);
        assert_eq!(endpoint(&case, "back").get("MacAddress"), None);
        // A locally administered address could be a generated one since engine 28.
        let third = endpoint(&case, "third");
        assert_eq!(third.get("MacAddress").is_some(), case.engine == "26.1");
    }
}

#[test]
fn a_mac_address_that_looks_chosen_is_kept_on_the_other_networks_too() {
    for mut case in recorded("macs").into_iter().filter(|case| case.engine == "28.5") {
        for chosen in ["02:42:0a:01:02:03", "52:54:00:a1:b2:c3", "0a:00:00:12:34:56"] {
            case.old["NetworkSettings"]["Networks"]["third"]["MacAddress"] = chosen.into();
            assert_eq!(endpoint(&case, "third")["MacAddress"], chosen);
            assert!(!case.successor().hidden_macs.contains(&"third".to_owned()), "{chosen}");
        }
    }
}

#[test]
fn a_mac_address_that_may_be_lost_is_told_where_that_can_be() {
    for case in recorded("macs").into_iter().chain(recorded("nets")) {
        let hidden = case.successor().hidden_macs;
        assert_eq!(hidden.contains(&"third".to_owned()), case.engine == "28.5", "{}", case.engine);
        assert!(!hidden.contains(&"back".to_owned()) || case.old["Config"]["MacAddress"].is_null());
    }
    for case in recorded("user").into_iter().chain(recorded("host")).chain(recorded("side")) {
        assert!(case.successor().hidden_macs.is_empty(), "one network at most: {}", case.engine);
    }
}

#[test]
fn a_generated_hostname_is_generated_again() {
    for name in ["ports", "host", "side", "utshost"] {
        for case in recorded(name) {
            assert_eq!(case.create().get("Hostname"), None, "{name} on {}", case.engine);
        }
    }
}

#[test]
fn a_hostname_of_ones_own_is_kept_on_the_hosts_network() {
    for mut case in recorded("host") {
        case.old["Config"]["Hostname"] = "mine".into();
        assert_eq!(case.create()["Hostname"], "mine", "{}", case.engine);
    }
}

#[test]
fn in_anothers_network_nothing_is_sent_that_would_be_refused() {
    for mut case in recorded("side") {
        case.old["Config"]["Domainname"] = "of.the.other".into();
        let create = case.create();
        for field in ["Hostname", "Domainname", "ExposedPorts", "MacAddress", "NetworkingConfig"] {
            assert_eq!(create.get(field), None, "{field} on {}", case.engine);
        }
        assert_eq!(create["HostConfig"]["NetworkMode"], case.old["HostConfig"]["NetworkMode"]);
        assert_eq!(case.successor().expected, Default::default());
    }
}

#[test]
fn on_the_default_bridge_no_alias_is_sent() {
    for mut case in recorded("user") {
        case.old["NetworkSettings"]["Networks"]["bridge"]["Aliases"] = json!(["web"]);
        assert_eq!(endpoint(&case, "bridge").get("Aliases"), None, "{}", case.engine);
    }
}

#[test]
fn on_the_hosts_network_no_endpoint_is_sent_and_no_port_expected() {
    for case in recorded("host") {
        assert_eq!(case.create().get("NetworkingConfig"), None, "{}", case.engine);
        assert_eq!(case.successor().expected.networks, ["host"]);
        assert_eq!(case.successor().expected.ports, []);
    }
}

#[test]
fn links_are_kept() {
    for case in recorded("links") {
        assert_eq!(case.create()["HostConfig"]["Links"], case.old["HostConfig"]["Links"]);
    }
}

#[test]
fn a_network_the_container_has_left_is_not_joined_again() {
    for mut case in recorded("nets") {
        map_mut(&mut case.old["NetworkSettings"]["Networks"]).remove("back");
        let successor = case.successor();
        assert_eq!(successor.expected.networks, ["front", "third"], "{}", case.engine);
        let in_create = map(&successor.create["NetworkingConfig"]["EndpointsConfig"]);
        assert!(!in_create.is_empty() && !in_create.contains_key("back"));
    }
}

#[test]
fn a_container_without_any_network_gets_its_main_one_back_and_that_is_said() {
    for mut case in recorded("nets") {
        map_mut(&mut case.old["NetworkSettings"]["Networks"]).clear();
        let successor = case.successor();
        let network = "back".to_owned();
        assert_eq!(successor.losses, [Loss::Disconnection { network }], "{}", case.engine);
        assert_eq!(successor.expected.networks, ["back"]);
    }
}

#[test]
fn a_container_whose_network_is_switched_off_lacks_none() {
    for mut case in recorded("user") {
        case.old["NetworkSettings"]["Networks"] = json!({});
        case.old["Config"]["NetworkDisabled"] = true.into();
        let successor = case.successor();
        assert_eq!(successor.losses, [], "{}", case.engine);
        assert!(successor.expected.networks.is_empty());
        assert_eq!(successor.create["NetworkDisabled"], true);
    }
}

#[test]
fn a_new_container_without_its_network_or_port_is_found_out() {
    for case in recorded("nets") {
        let expected = case.successor().expected;
        let mut actual = case.old.clone();
        assert_eq!(compare(&expected, &actual), [""; 0], "{}", case.engine);
        map_mut(&mut actual["NetworkSettings"]["Networks"]).remove("back");
        map_mut(&mut actual["NetworkSettings"]["Ports"]).clear();
        assert_eq!(
            compare(&expected, &actual),
            ["network `back` is missing", "port 18070 → 80/tcp is not published"]
        );
        actual["State"]["Running"] = false.into();
        assert_eq!(compare(&expected, &actual), ["network `back` is missing"]);
        map_mut(&mut actual["NetworkSettings"]["Networks"]).insert("another".to_owned(), json!({}));
        let too_many = "network `another` is one too many";
        assert_eq!(compare(&expected, &actual), ["network `back` is missing", too_many]);
    }
}

#[test]
fn the_networks_of_the_one_whose_network_it_shares_are_not_its_own() {
    // Podman 5.4 shows them in inspect.
    let guest = json!({
        "HostConfig": { "NetworkMode": "container:0123456789ab" },
        "NetworkSettings": { "Networks": { "its": {} } },
        "State": { "Running": false },
    });
    assert_eq!(compare(&Expected::default(), &guest), [""; 0]);
}

fn map_mut(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    value.as_object_mut().expect("an object")
}
