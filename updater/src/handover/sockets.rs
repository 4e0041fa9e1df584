//! Whether this host has a socket for a connection.
//!
//! Names and numbers are those of `linux/sock_diag.h` and `linux/inet_diag.h`. The
//! kernel loads `tcp_diag` when it is first asked.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};

use super::netlink::{HEADER, NLM_F_REQUEST, errno_of};

/// The host's TCP sockets, those of the network that we are in.
pub(super) struct Sockets {
    fd: OwnedFd,
    /// Whether the kernel can tell, once that was tried.
    tells: Option<bool>,
}

/// What the kernel says of a connection.
#[derive(Debug, PartialEq)]
enum Found {
    /// It has a socket.
    Connection,
    /// It has none, or one that only waits for others or for the end.
    Nobody,
    /// There is nothing at all, which a kernel that cannot tell says as well.
    Nothing,
}

impl Sockets {
    pub(super) fn open() -> Result<Sockets, Errno> {
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            Some(netlink::SOCK_DIAG),
        )?;
        Ok(Sockets { fd, tells: None })
    }

    /// Whether it is certain that no socket at `here` is connected to `there`.
    pub(super) fn know_none(&mut self, here: SocketAddr, there: SocketAddr) -> bool {
        match self.find(here, there) {
            Ok(Found::Nobody) => true,
            Ok(Found::Nothing) => self.can_tell(),
            Ok(Found::Connection) | Err(_) => false,
        }
    }

    /// Asks for a listener of our own.
    fn can_tell(&mut self) -> bool {
        if self.tells.is_none() {
            let listener = std::net::TcpListener::bind((IpAddr::from([127, 0, 0, 1]), 0));
            let address = listener.as_ref().ok().and_then(|one| one.local_addr().ok());
            let somebody = SocketAddr::from(([127, 0, 0, 1], 1));
            let found = address.map(|address| self.find(address, somebody));
            self.tells = Some(matches!(found, Some(Ok(Found::Nobody))));
        }
        self.tells == Some(true)
    }

    fn find(&self, here: SocketAddr, there: SocketAddr) -> Result<Found, Errno> {
        let question = question(here, there);
        rustix::io::retry_on_intr(|| send(&self.fd, &question, SendFlags::empty()))?;
        let mut buffer = [0; 4 << 10];
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT))?;
        found(&buffer[..length])
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn question(here: SocketAddr, there: SocketAddr) -> Vec<u8> {
    const LENGTH: u32 = 72;
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => [&ip.octets()[..], &[0; 12]].concat(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    [
        &LENGTH.to_ne_bytes()[..],
        &SOCK_DIAG_BY_FAMILY.to_ne_bytes(),
        &NLM_F_REQUEST.to_ne_bytes(),
        &[0; 8],
        &[if here.is_ipv4() { AF_INET } else { AF_INET6 }, IPPROTO_TCP, 0, 0],
        &[0xff; 4], // in whatever state
        &here.port().to_be_bytes(),
        &there.port().to_be_bytes(),
        &address(here.ip()),
        &address(there.ip()),
        &[0; 4],    // on whatever interface
        &[0xff; 8], // INET_DIAG_NOCOOKIE
    ]
    .concat()
}

fn found(answer: &[u8]) -> Result<Found, Errno> {
    const NLMSG_ERROR: u16 = 2;
    const TCP_TIME_WAIT: u8 = 6;
    const TCP_CLOSE: u8 = 7;
    const TCP_LISTEN: u8 = 10;
    let (header, payload) = answer.split_first_chunk::<HEADER>().ok_or(Errno::BADMSG)?;
    match u16::from_ne_bytes([header[4], header[5]]) {
        SOCK_DIAG_BY_FAMILY => match payload.get(1).ok_or(Errno::BADMSG)? {
            &TCP_LISTEN | &TCP_TIME_WAIT | &TCP_CLOSE => Ok(Found::Nobody),
            _ => Ok(Found::Connection),
        },
        NLMSG_ERROR => {
            let code = payload.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
            match errno_of(code) {
                Errno::NOENT => Ok(Found::Nothing),
                errno => Err(errno),
            }
        }
        _ => Err(Errno::BADMSG),
    }
}

const SOCK_DIAG_BY_FAMILY: u16 = 20;

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_told_from_a_listener_and_from_nothing() {
        let at = |ip: IpAddr, port| SocketAddr::new(ip, port);
        for ip in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
            let mut sockets = Sockets::open().expect("a socket");
            let listener = TcpListener::bind((ip, 0)).expect("listen");
            let here = listener.local_addr().expect("its address");
            let visitor = TcpStream::connect(here).expect("connect");
            let there = visitor.local_addr().expect("its address");
            // Not accepted yet, and it counts all the same.
            assert_eq!(sockets.find(here, there), Ok(Found::Connection));
            assert_eq!(sockets.find(here, at(ip, 1)), Ok(Found::Nobody));
            assert_eq!(sockets.find(at(ip, 1), at(ip, 2)), Ok(Found::Nothing));
            assert!(!sockets.know_none(here, there));
            assert!(sockets.know_none(here, at(ip, 1)));
            assert!(sockets.know_none(at(ip, 1), at(ip, 2)));
            // A kernel that says of everything that it isn't there is not believed.
            sockets.tells = Some(false);
            assert!(!sockets.know_none(at(ip, 1), at(ip, 2)));
        }
    }

    #[test]
    fn no_input_makes_an_answer_about_a_socket_panic() {
        let here = SocketAddr::from(([127, 0, 0, 1], 80));
        let whole = question(here, here);
        crate::fuzzed::bytes(150, &[&whole], |input| drop(found(input)));
        assert_eq!(found(&[]), Err(Errno::BADMSG));
    }
}
