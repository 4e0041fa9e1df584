//! Networks, addresses and names.

use changeover_tests::lab::EngineKind::{self, V20_10, V26_1};

use crate::case::{Case, run, script};

const ONE_IN_CREATE: &[(EngineKind, &str)] = &[(V20_10, "takes one network in create")];

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("network", "--network one $IMAGE"),
    run("network_with_aliases", "--network one --network-alias site --network-alias app $IMAGE"),
    run("network_address", "--network one --ip 10.216.1.77 $IMAGE"),
    run("network_addresses_of_both_families", "--network six --ip 10.216.6.77 --ip6 fd00:216:6::77 $IMAGE"),
    run("network_with_ipv6", "--network six $IMAGE"),
    run("network_link_local_address", "--network one --link-local-ip 169.254.7.7 $IMAGE"),
    run("network_mac", "--network one --mac-address 92:d0:c6:0a:29:01 $IMAGE"),
    run("network_mac_on_the_default_bridge", "--mac-address 92:d0:c6:0a:29:02 $IMAGE"),
    run("network_long_form", "--network name=one,alias=site,ip=10.216.1.78 $IMAGE"),
    run("network_driver_options", "--network name=one,driver-opt=com.example.any=thing $IMAGE"),
    run("network_sysctls", "--network name=one,driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1 $IMAGE")
        .not(&[(V20_10, "28 brought it"), (V26_1, "28 brought it")]),
    run("network_none", "--network none $IMAGE"),
    run("network_host", "--network host --env PORT=9101 $IMAGE"),
    run("network_of_the_host_and_a_hostname", "--network host --hostname mine --env PORT=9102 $IMAGE"),
    run("network_bridge_by_name", "--network bridge $IMAGE"),
    run("network_default", "--network default $IMAGE"),
    run("network_internal", "--network inside --ip 10.216.4.77 $IMAGE"),
    run("network_of_a_neighbour", "--network container:neighbour --env PORT=9103 $IMAGE"),
    script("network_by_id", "docker run --detach --name $NAME --network $(docker network ls --quiet --no-trunc --filter name=^one$) $IMAGE"),
    script("network_by_short_id", "docker run --detach --name $NAME --network $(docker network ls --quiet --filter name=^two$) --network-alias site $IMAGE"),

    run("networks_in_create", "--network one --network two --network three $IMAGE").not(ONE_IN_CREATE),
    run("networks_in_create_with_settings", "--network name=two,alias=second,ip=10.216.2.79 --network name=one,alias=first,ip=10.216.1.79 $IMAGE").not(ONE_IN_CREATE),
    run("networks_with_macs", "--network name=one,mac-address=92:d0:c6:0a:29:11 --network name=two,mac-address=90:d0:c6:0a:29:12 $IMAGE").not(ONE_IN_CREATE),
    run("networks_with_priorities", "--network name=one,gw-priority=1 --network name=two,gw-priority=10 $IMAGE")
        .not(&[(V20_10, "API 1.48 brought it"), (V26_1, "API 1.48 brought it")]),
    script("networks_connected_later", "docker run --detach --name $NAME --network one $IMAGE
        docker network connect two $NAME
        docker network connect --alias late --ip 10.216.3.80 three $NAME"),
    script("networks_connected_before_the_start", "docker create --name $NAME $IMAGE
        docker network connect --alias site one $NAME
        docker start $NAME"),
    script("networks_exchanged", "docker run --detach --name $NAME $IMAGE
        docker network connect --ip 10.216.1.81 one $NAME
        docker network disconnect bridge $NAME"),
    script("networks_with_a_driver_option", "docker run --detach --name $NAME --network one $IMAGE
        docker network connect --driver-opt com.example.any=thing two $NAME"),
    script("networks_with_ipv6_connected_later", "docker run --detach --name $NAME --network one $IMAGE
        docker network connect --ip6 fd00:216:6::82 --ip 10.216.6.82 six $NAME"),

    run("link", "--link linked $IMAGE"),
    run("link_with_an_alias", "--link linked:db $IMAGE"),
    run("link_in_a_network", "--network one --link neighbour:db $IMAGE"),
    script("link_of_one_network", "docker run --detach --name $NAME $IMAGE
        docker network connect --link neighbour:db one $NAME"),

    run("hostname", "--hostname mine $IMAGE"),
    run("hostname_and_domain", "--hostname mine --domainname example.org $IMAGE"),
    run("hostname_with_dots", "-h mine.example.org $IMAGE"),
    run("hosts", "--add-host other:10.1.2.3 --add-host six:fd00::1 $IMAGE"),
    run("hosts_by_the_gateway", "--add-host host.docker.internal:host-gateway $IMAGE"),
    run("names", "--dns 10.1.2.3 --dns fd00::53 --dns-option ndots:2 --dns-search example.org $IMAGE"),
    run("names_without_search", "--dns-search . $IMAGE"),
];
