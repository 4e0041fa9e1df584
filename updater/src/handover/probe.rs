//! Connections of our own that see the published port as visitors will see it,
//! although visitors are being sent to the page at the moment.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::PROBE_MARK;

/// Connects past the redirect, within `limit`.
pub async fn connect_as_probe(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    match socket.set_mark(PROBE_MARK) {
        // Who may not set a mark may not redirect either, so there is nothing to get past.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        outcome => outcome?,
    }
    socket.set_nonblocking(true)?;
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(address);
    tokio::time::timeout(limit, connecting)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
