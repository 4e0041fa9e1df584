//! Bind: the page listens on the app's own port while no container holds it.
//!
//! The way for hosts that do not let us redirect. It has gaps: from the moment
//! the old version lets go until we have the port, and from our letting go until
//! the new version answers. And it can be in the engine's way: a start that finds
//! the port taken fails, and engines from 29.0 on then forget the container's
//! network. So [`Bind::release`] comes before anything is started, always.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::plan::{HostAddress, Published};

/// Connections that may wait to be accepted: a burst of visitors, and then some.
const BACKLOG: i32 = 1024;

/// The app's ports, as far as we hold them.
#[derive(Debug, Default)]
pub struct Bind {
    places: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    at: Address,
    held: Option<TcpListener>,
    refused: Option<io::Error>,
}

/// One socket's worth of a published port.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Address {
    socket: SocketAddr,
    /// Whether the host may be without such addresses: the IPv6 half of a port
    /// that was published on every address.
    optional: bool,
}

/// A port that somebody holds.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}\nhint: `ss -ltnp sport = {port}` shows who does", port = address.port())]
pub struct BusyPort {
    /// Where.
    pub address: SocketAddr,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl Bind {
    /// Holds nothing yet.
    pub fn new(published: &[Published]) -> Bind {
        let mut places = Vec::<Place>::new();
        for at in published.iter().flat_map(addresses) {
            if !places.iter().any(|place| place.at.socket == at.socket) {
                places.push(Place { at, held: None, refused: None });
            }
        }
        Bind { places }
    }

    /// Listens wherever that is possible by now and it does not yet. Returns the
    /// listeners that are new, nonblocking. Call it every few milliseconds while
    /// the old version goes down, until there is nothing [`missing`](Bind::missing).
    pub fn try_bind(&mut self) -> Vec<TcpListener> {
        let mut new = Vec::new();
        self.places.retain_mut(|place| {
            if place.held.is_some() {
                return true;
            }
            let attempt = listen(place.at.socket).and_then(|held| Ok((held.try_clone()?, held)));
            match attempt {
                Ok((copy, held)) => {
                    new.push(copy);
                    place.held = Some(held);
                    place.refused = None;
                }
                Err(error) if place.at.optional && says_no_such_address(&error) => return false,
                Err(error) => place.refused = Some(error),
            }
            true
        });
        new
    }

    /// Where it does not listen, and why.
    pub fn missing(&self) -> impl Iterator<Item = (SocketAddr, Option<&io::Error>)> {
        let missing = self.places.iter().filter(|place| place.held.is_none());
        missing.map(|place| (place.at.socket, place.refused.as_ref()))
    }

    /// Stops listening everywhere, at once, on the listeners that were handed out
    /// too: accepting on one of them fails from here on (`InvalidInput`), and the
    /// port is free for anyone who sets SO_REUSEADDR, as engines do. Connections
    /// already accepted live on.
    pub fn release(&mut self) {
        for place in &mut self.places {
            if let Some(listener) = place.held.take() {
                // Closing ours would not do: the page still has its copy.
                let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.release();
    }
}

/// Whether an engine could publish a container's port there now.
///
/// Binds without listening. That is refused by every socket that an engine's
/// would be refused by, yet stands in nobody's way if a container is started at
/// this very moment, and never accepts a visitor only to hang up.
pub fn port_is_free(published: &Published) -> Result<(), BusyPort> {
    for at in addresses(published) {
        match bound(at.socket) {
            Err(error) if at.optional && says_no_such_address(&error) => {}
            Err(source) => {
                return Err(BusyPort { address: at.socket, source });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Where the page listens while visitors are redirected to it: a port that the
/// kernel chooses, on every address of both families, nonblocking. Only IPv4
/// where the host is without IPv6.
pub fn page_listener() -> io::Result<TcpListener> {
    let both = || {
        let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_only_v6(false)?;
        start_listening(socket, (Ipv6Addr::UNSPECIFIED, 0).into())
    };
    both().or_else(|error| match says_no_such_address(&error) {
        true => listen((Ipv4Addr::UNSPECIFIED, 0).into()),
        false => Err(error),
    })
}

/// The sockets that an engine opens for a published port.
fn addresses(published: &Published) -> Vec<Address> {
    let address = |ip: IpAddr, optional| Address { socket: (ip, published.port).into(), optional };
    let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
    match published.host {
        HostAddress::Any => vec![address(v4, false), address(v6, true)],
        HostAddress::AnyV4 => vec![address(v4, false)],
        HostAddress::AnyV6 => vec![address(v6, false)],
        HostAddress::One(ip) => vec![address(ip.to_canonical(), false)],
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    start_listening(unbound(address)?, address)
}

fn start_listening(socket: Socket, address: SocketAddr) -> io::Result<TcpListener> {
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Engines set it too. It lets a port be taken whose last connections are
    // still being buried, but not one that somebody listens on.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

fn says_no_such_address(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}
