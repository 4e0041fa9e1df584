//! What the kernel's connection tracking knows of the app's ports: visitors who came
//! before the page did, and what is left of those who are long gone.
//!
//! Before changing anything here, know that a connection's entry outlives it and keeps
//! its translation. Who comes from the same address and port while it is there meets it,
//! and goes where the one before went, whatever the rules say now. In most cases the
//! kernel makes a new entry for them; not where the answering side has reset the
//! connection (10 s), nor where the end wasn't seen (5 days): the kernel tracks a family
//! of addresses only while some table needs it, and ours may be the only one. Nor where
//! they came before tracking began: an answer that is sent as it begins is then the first
//! that is seen of them. It would be one from the port that the entry has for its own, so
//! the kernel sends it from another one, and nobody takes it.
//!
//! Names and numbers are those of `linux/netfilter/nfnetlink_conntrack.h`. The
//! kernel loads `nf_conntrack_netlink` when it is first asked.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::netlink::{
    HEADER, NLA_F_NESTED, NLM_F_ACK, NLM_F_REQUEST, aligned, errno_of, netfilter_socket,
    write_message,
};
use super::sockets::Sockets;
use crate::plan::{HostAddress, Published};

/// How many connections to these ports are open and not on the page. Counts those
/// that somebody on this host has to the same ports elsewhere as well, where a port
/// was published on every address.
pub(super) fn open_connections(published: &[Published], page_port: u16) -> Result<usize, Errno> {
    let mut open = 0;
    each_connection(|connection, _| {
        let counts = connection.is_open()
            && connection.is_to(published)
            && connection.answered_by.port() != page_port;
        open += usize::from(counts);
    })?;
    Ok(open)
}

/// Forgets connections to these ports that are no more, so that nobody who comes from
/// the same port is sent after them. Returns how many those were.
pub(super) fn forget_dead(published: &[Published]) -> Result<usize, Errno> {
    let mut sockets = Sockets::open().ok();
    forget(|connection| {
        if connection.is_turned_round(published) {
            return sockets
                .as_mut()
                .is_some_and(|sockets| sockets.know_none(connection.from, connection.to));
        }
        connection.is_to(published)
            && match connection.state {
                TCP_CONNTRACK_CLOSE => true,
                // One that is just about to be answered has no socket yet.
                TCP_CONNTRACK_SYN_SENT if connection.answered_by != connection.to => false,
                TCP_CONNTRACK_SYN_SENT..=TCP_CONNTRACK_LAST_ACK => {
                    // Where somebody else answers, only they know.
                    connection.is_answered_here()
                        && sockets.as_mut().is_some_and(|sockets| {
                            sockets.know_none(connection.answered_by, connection.from)
                        })
                }
                _ => false,
            }
    })
}

/// Forgets connections that were sent to another port of this host, a page's, and are no
/// more. Worth doing before tracking begins. Returns how many those were.
pub(super) fn forget_dead_redirected() -> Result<usize, Errno> {
    let Ok(mut sockets) = Sockets::open() else { return Ok(0) };
    forget(|connection| {
        connection.answered_by.port() != connection.to.port()
            // One that is just about to be answered has no socket yet.
            && connection.state > TCP_CONNTRACK_SYN_SENT
            && connection.is_answered_here()
            && sockets.know_none(connection.answered_by, connection.from)
    })
}

fn forget(mut is_over: impl FnMut(&Connection) -> bool) -> Result<usize, Errno> {
    let mut requests = Vec::new();
    each_connection(|connection, (family, attributes)| {
        if is_over(&connection)
            && let Some(original) = find(attributes, CTA_TUPLE_ORIG)
        {
            // Without its tuple, the message would mean all that there are.
            let mut request = Vec::new();
            let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
            write_message(&mut request, kind, NLM_F_REQUEST | NLM_F_ACK, 1, (family, 0), |entry| {
                entry.bytes(CTA_TUPLE_ORIG | NLA_F_NESTED, original);
                for one in [CTA_ID, CTA_ZONE] {
                    if let Some(value) = find(attributes, one) {
                        entry.bytes(one, value);
                    }
                }
            });
            requests.push(request);
        }
    })?;
    let fd = netfilter_socket()?;
    let mut buffer = [0; 1 << 10];
    let mut forgotten = 0;
    for request in requests {
        rustix::io::retry_on_intr(|| send(&fd, &request, SendFlags::empty()))?;
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&fd, &mut buffer[..], RecvFlags::DONTWAIT))?;
        let code = messages(&buffer[..length])
            .first()
            .and_then(|(_, answer)| answer.first_chunk().map(|code| i32::from_ne_bytes(*code)));
        match code {
            Some(0) => forgotten += 1,
            // It has ended by itself.
            Some(code) if errno_of(code) == Errno::NOENT => {}
            code => return Err(errno_of(code.unwrap_or(0))),
        }
    }
    Ok(forgotten)
}

/// Walks over all connections: what matters of each, and its family and attributes.
fn each_connection(mut visit: impl FnMut(Connection, (u8, &[u8]))) -> Result<(), Errno> {
    let fd = netfilter_socket()?;
    let mut request = Vec::new();
    let kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
    write_message(&mut request, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, (0, 0), |_| {});
    rustix::io::retry_on_intr(|| send(&fd, &request, SendFlags::empty()))?;

    let mut buffer = vec![0; 32 << 10];
    loop {
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&fd, &mut buffer[..], RecvFlags::DONTWAIT))?;
        for (kind, payload) in messages(&buffer[..length]) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                    return Err(errno_of(code));
                }
                _ => {
                    let Some((header, attributes)) = payload.split_first_chunk::<NFGENMSG>() else {
                        continue;
                    };
                    if let Some(connection) = Connection::read(attributes) {
                        visit(connection, (header[0], attributes));
                    }
                }
            }
        }
    }
}

/// A TCP connection, as far as it matters here.
#[derive(Debug, PartialEq)]
struct Connection {
    /// Whence its visitor came.
    from: SocketAddr,
    /// Where its visitor wanted to go.
    to: SocketAddr,
    /// Who answers.
    answered_by: SocketAddr,
    /// To whom, as the one who answers sees it.
    answered_to: SocketAddr,
    state: u8,
}

impl Connection {
    fn read(attributes: &[u8]) -> Option<Connection> {
        let state = find(find(attributes, CTA_PROTOINFO)?, CTA_PROTOINFO_TCP)?;
        let (from, to) = ends(find(attributes, CTA_TUPLE_ORIG)?)?;
        let (answered_by, answered_to) = ends(find(attributes, CTA_TUPLE_REPLY)?)?;
        let state = *find(state, CTA_PROTOINFO_TCP_STATE)?.first()?;
        Some(Connection { from, to, answered_by, answered_to, state })
    }

    /// Whether it ends at a socket of this host, be it on another port than was meant.
    fn is_answered_here(&self) -> bool {
        self.answered_to == self.from
            && self.answered_by.ip() == self.to.ip()
            && (self.to.ip().is_loopback() || UdpSocket::bind((self.to.ip(), 0)).is_ok())
    }

    /// Whether the kernel takes the app for the one who came, since an answer was the first
    /// that it saw. Whoever comes from there later is taken for the one who answers.
    fn is_turned_round(&self, published: &[Published]) -> bool {
        let Connection { from, to, answered_by, answered_to, .. } = *self;
        let turned = Connection { from: to, to: from, answered_by: from, answered_to: to, ..*self };
        (answered_by, answered_to) == (to, from)
            && turned.is_to(published)
            && turned.is_answered_here()
    }

    /// From its first packet until both sides have said goodbye.
    fn is_open(&self) -> bool {
        (TCP_CONNTRACK_SYN_SENT..=TCP_CONNTRACK_CLOSE_WAIT).contains(&self.state)
    }

    fn is_to(&self, published: &[Published]) -> bool {
        let ip = self.to.ip();
        published.iter().any(|published| {
            published.port == self.to.port()
                && match published.host {
                    HostAddress::Any => true,
                    HostAddress::AnyV4 => ip.is_ipv4(),
                    HostAddress::AnyV6 => ip.is_ipv6(),
                    HostAddress::One(one) => one == ip,
                }
        })
    }
}

/// Source and destination of a tuple.
fn ends(tuple: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (addresses, ports) = (find(tuple, CTA_TUPLE_IP)?, find(tuple, CTA_TUPLE_PROTO)?);
    let end = |v4, v6, port| {
        let v4 = || Some(Ipv4Addr::from(*find(addresses, v4)?.first_chunk()?).into());
        let v6 = || Some(Ipv6Addr::from(*find(addresses, v6)?.first_chunk()?).into());
        let port = u16::from_be_bytes(*find(ports, port)?.first_chunk()?);
        Some(SocketAddr::new(v4().or_else(v6)?, port))
    };
    Some((
        end(CTA_IP_V4_SRC, CTA_IP_V6_SRC, CTA_PROTO_SRC_PORT)?,
        end(CTA_IP_V4_DST, CTA_IP_V6_DST, CTA_PROTO_DST_PORT)?,
    ))
}

/// Kind and payload of each message in a datagram.
fn messages(mut datagram: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while datagram.len() >= HEADER {
        let length = u32::from_ne_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]);
        let length = (length as usize).clamp(HEADER, datagram.len());
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        found.push((kind, &datagram[HEADER..length]));
        datagram = datagram.get(aligned(length)..).unwrap_or_default();
    }
    found
}

/// The value of an attribute.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    const NLA_TYPE_MASK: u16 = 0x3fff;
    const NLA_HEADER: usize = 4;
    while attributes.len() >= NLA_HEADER {
        let length = u16::from_ne_bytes([attributes[0], attributes[1]]).into();
        let length = usize::clamp(length, NLA_HEADER, attributes.len());
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]) & NLA_TYPE_MASK;
        if kind == wanted {
            return Some(&attributes[NLA_HEADER..length]);
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    None
}

/// Length of `struct nfgenmsg`.
const NFGENMSG: usize = 4;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP: u16 = 0x300;
const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = 1;
const IPCTNL_MSG_CT_DELETE: u16 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_PROTOINFO: u16 = 4;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;

const TCP_CONNTRACK_SYN_SENT: u8 = 1;
const TCP_CONNTRACK_CLOSE_WAIT: u8 = 5;
const TCP_CONNTRACK_LAST_ACK: u8 = 6;
const TCP_CONNTRACK_CLOSE: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (value.len() as u16 + 4).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(aligned(bytes.len()), 0);
        bytes
    }

    fn connection(to: [u8; 4], port: u16, answered_by: u16, state: u8) -> Vec<u8> {
        let ports = |from: u16, to: u16| {
            [attribute(2, &from.to_be_bytes()), attribute(3, &to.to_be_bytes())].concat()
        };
        let ips = |from: [u8; 4], to: [u8; 4]| [attribute(1, &from), attribute(2, &to)].concat();
        let tuple = |ips: Vec<u8>, ports: Vec<u8>| {
            [attribute(0x8001, &ips), attribute(0x8002, &ports)].concat()
        };
        let there = tuple(ips([192, 0, 2, 1], to), ports(40_000, port));
        let back = tuple(ips(to, [192, 0, 2, 1]), ports(answered_by, 40_000));
        let state = attribute(0x8001, &attribute(1, &[state]));
        [attribute(0x8001, &there), attribute(0x8002, &back), attribute(0x8004, &state)].concat()
    }

    #[test]
    fn only_open_connections_to_the_app_itself_count() {
        let at = |host| {
            [Published {
                host,
                port: 8080,
                container_port: 80,
                member: 0,
                answers: true,
                only: None,
                lent: false,
            }]
        };
        let everywhere = at(HostAddress::Any);
        let here = at(HostAddress::One(Ipv4Addr::LOCALHOST.into()));
        let counts = |bytes: Vec<u8>, published: &[Published]| {
            let connection = Connection::read(&bytes).expect("it is whole");
            connection.is_open()
                && connection.is_to(published)
                && connection.answered_by.port() != 999
        };
        assert!(counts(connection([10, 0, 0, 1], 8080, 80, 3), &everywhere));
        assert!(counts(connection([127, 0, 0, 1], 8080, 8080, 1), &here));
        assert!(!counts(connection([10, 0, 0, 1], 8080, 80, 3), &here), "another address");
        assert!(!counts(connection([10, 0, 0, 1], 8081, 80, 3), &everywhere), "another port");
        assert!(!counts(connection([10, 0, 0, 1], 8080, 999, 3), &everywhere), "on the page");
        assert!(!counts(connection([10, 0, 0, 1], 8080, 80, 7), &everywhere), "over");
    }

    #[test]
    fn no_input_makes_a_list_of_connections_panic() {
        let one = connection([10, 0, 0, 1], 8080, 80, 3);
        let datagram = |kind: u16| {
            let length = (HEADER + NFGENMSG + one.len()) as u32;
            let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
            [head, vec![0; NFGENMSG], one.clone()].concat()
        };
        let (entry, end) = (datagram(0x100), datagram(NLMSG_DONE));
        crate::fuzzed::bytes(150, &[&entry, &end, &one], |input| {
            for (_, payload) in messages(input) {
                payload.get(NFGENMSG..).and_then(Connection::read);
            }
            Connection::read(input);
        });
    }

    #[test]
    fn what_breaks_off_is_no_connection() {
        let whole = connection([10, 0, 0, 1], 8080, 80, 3);
        for length in 0..whole.len() {
            let _ = Connection::read(&whole[..length]);
        }
        assert_eq!(Connection::read(&[]), None);
        assert!(messages(&[0; 15]).is_empty());
        assert_eq!(messages(&[0; 16]).len(), 1);
    }
}
