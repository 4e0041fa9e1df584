//! The hand-over: who answers on the app's own port while it is being replaced.
//!
//! Two ways to put the page there. [`Redirect`] leaves the port to the engine
//! and has the kernel send new connections elsewhere; nothing is ever in
//! anybody's way. [`Bind`] listens on the port while no container does; it is
//! for hosts that do not let us redirect, and it cannot be free of gaps. Both
//! are held by this process: a dead helper holds nothing.

pub mod bind;
mod conntrack;
mod netlink;
mod nftables;
pub mod probe;
pub mod redirect;
mod rule;
mod sockets;
mod switch;
#[cfg(test)]
mod tests;

pub use bind::{Bind, BusyPort, page_listener, port_is_free};
pub use probe::connect_as_probe;
pub use redirect::{Redirect, RedirectError};
pub use switch::{Switch, SwitchError};

/// The socket mark of our own probes: the redirect lets them through, so that
/// they see the published port while visitors see the page.
///
/// Marks are shared by everything on a host. This value stays clear of the bits
/// that Kubernetes, Tailscale, Calico and Cilium give a meaning to.
pub const PROBE_MARK: u32 = 0x10c7;
