//! Published ports. Each host port belongs to one case.

use crate::case::{Case, run};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    run("port", "--publish 9001:80 $IMAGE"),
    run("port_on_an_address", "-p 127.0.0.1:9002:80 $IMAGE"),
    run("port_on_an_ipv6_address", "-p '[::1]:9003:80' $IMAGE"),
    run("port_of_udp", "-p 9004:81/udp $IMAGE"),
    run("port_of_sctp", "--expose 85/sctp $IMAGE"),
    run("ports_in_a_range", "-p 9006-9008:80-82 $IMAGE"),
    run("port_on_two_of_the_host", "-p 9009:80 -p 127.0.0.1:9010:80 $IMAGE"),
    run("port_of_tcp_and_udp", "-p 9011:80/tcp -p 9011:80/udp $IMAGE"),
    run("port_nobody_exposes", "-p 9012:8123 $IMAGE"),
    run("port_that_only_the_old_image_exposes", "-p 9013:81/udp $IMAGE"),

    run("port_of_the_engines_choice", "-p 80 $IMAGE").pins("/data /old 80/tcp"),
    run("port_of_the_engines_choice_on_an_address", "-p 127.0.0.1::80 $IMAGE").pins("/data /old 80/tcp"),
    run("port_zero", "-p 0:80 $IMAGE").pins("/data /old 80/tcp"),
    run("port_of_a_range_of_the_host", "-p 9014-9019:80 $IMAGE").pins("/data /old 80/tcp"),
    run("ports_chosen_and_given", "-p 80 -p 127.0.0.1:9020:80 -p 9021:82 $IMAGE").pins("/data /old 80/tcp"),
    run("port_of_the_engines_choice_twice", "-p 80 -p 80/udp $IMAGE").pins("/data /old 80/tcp 80/udp"),

    run("all_ports", "--publish-all $IMAGE").pins("/data /old 80/tcp").pins_again("/fresh 82/tcp"),
    run("all_ports_and_a_given_one", "-P -p 9022:80 $IMAGE").pins_again("/fresh 82/tcp"),
    run("all_ports_and_exposed_ones", "-P --expose 90 --expose 91/udp $IMAGE").pins("/data /old 80/tcp 90/tcp 91/udp").pins_again("/fresh 82/tcp"),

    run("port_on_ipv4_only", "-p 0.0.0.0:9023:80 $IMAGE"),
    run("port_in_a_network_of_its_own", "--network one -p 9024:80 $IMAGE"),
    run("port_in_an_internal_network", "--network inside -p 9025:80 $IMAGE"),
    run("port_in_an_ipv6_network", "--network six -p 9026:80 $IMAGE"),
    run("port_of_a_long_form", "--publish published=9027,target=80,protocol=tcp $IMAGE"),
    run("port_in_no_network", "--network none -p 9028:80 $IMAGE"),
];
