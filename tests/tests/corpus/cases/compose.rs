//! Compose files. After the update the container is still Compose's own: `up` leaves
//! it alone.

use changeover_tests::lab::EngineKind::V20_10;

use crate::case::{Case, compose};

#[rustfmt::skip]
pub(super) const CASES: &[Case] = &[
    compose("compose", "
services:
  web:
    image: ${IMAGE}
"),
    compose("compose_ports_and_environment", "
services:
  web:
    image: ${IMAGE}
    ports: ['9401:80', '127.0.0.1:9402:82', '9403:81/udp']
    environment: { A: b, COLOUR: mine }
    labels: { a: b, tier: mine }
    command: ['--delay-ms', '3']
    restart: unless-stopped
"),
    compose("compose_networks", "
services:
  web:
    image: ${IMAGE}
    networks:
      front: { aliases: [site], ipv4_address: 10.217.1.7 }
      back: { mac_address: '92:d0:c6:0a:29:41' }
    extra_hosts: ['other:10.1.2.3']
    dns: [10.1.2.3]
networks:
  front: { ipam: { config: [{ subnet: 10.217.1.0/24 }] } }
  back: { ipam: { config: [{ subnet: 10.217.2.0/24 }] } }
").not(&[(V20_10, "takes no MAC address for each network")]),
    compose("compose_volumes", "
services:
  web:
    image: ${IMAGE}
    volumes:
      - mine:/mine
      - ./srv:/srv:ro
      - /anonymous
      - { type: tmpfs, target: /run, tmpfs: { size: 1048576 } }
      - { type: volume, source: mine, target: /again, read_only: true, volume: { nocopy: true } }
volumes: { mine: {} }
").pins("/anonymous /data /old"),
    compose("compose_health_and_stop", "
services:
  web:
    image: ${IMAGE}
    healthcheck: { test: ['CMD', '/sample-app', 'healthcheck', 'http://127.0.0.1/health'], interval: 9s, retries: 2 }
    stop_signal: SIGTERM
    stop_grace_period: 4s
    init: true
    tty: true
    user: '2000'
    working_dir: /bin
    entrypoint: /bin/app
"),
    compose("compose_health_off", "
services:
  web:
    image: ${IMAGE}
    healthcheck: { disable: true }
    hostname: mine
    network_mode: bridge
"),
    compose("compose_limits", "
services:
  web:
    image: ${IMAGE}
    deploy: { resources: { limits: { cpus: '0.5', memory: 64M, pids: 90 }, reservations: { memory: 32M } } }
    ulimits: { nofile: { soft: 1024, hard: 2048 } }
    cap_add: [NET_ADMIN]
    cap_drop: [MKNOD]
    security_opt: ['no-new-privileges:true']
    read_only: true
    tmpfs: [/run]
    sysctls: { net.core.somaxconn: 77 }
    shm_size: 32m
    group_add: ['999']
    logging: { driver: json-file, options: { max-size: 1m } }
"),
    compose("compose_files", "
services:
  web:
    image: ${IMAGE}
    configs: [{ source: inline, target: /etc/inline }]
    secrets: [secret]
configs: { inline: { content: 'a: b' } }
secrets: { secret: { file: ./compose.yaml } }
"),
    compose("compose_with_a_database", "
services:
  db:
    image: app:1
    environment: { PORT: '90' }
  web:
    image: ${IMAGE}
    depends_on: [db]
    links: ['db:data']
"),
];
