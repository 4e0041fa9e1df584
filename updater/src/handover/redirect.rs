//! Redirect: new connections to the app's port go to the page, by nftables.
//!
//! The engine keeps the port, so nothing that it does can conflict with us. We
//! own one table with rules that look the destination up in sets. Empty sets
//! catch nobody: [`Redirect::capture`] fills them, [`Redirect::release`] empties
//! them, each at one stroke. The kernel asks our rules about the first packet of
//! a connection only; what is established stays where it is, whatever we do. What
//! was established and is no more must not: [`Redirect::forget_dead`].
//!
//! Before changing anything here, know that deleting the table or a chain resets
//! connections that are on the page (the kernel forgets their translation). So
//! release, let them end, and only then [`Redirect::close`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::io::Errno;
use tracing::debug;

use super::PROBE_MARK;
use super::conntrack::{forget_dead, forget_dead_redirected};
use super::netlink::Socket;
use super::nftables::{Changes, Element, Family, Hook, Key, OUTPUT, PREROUTING, Part, Refusal};
use super::rule::{
    Expression, count, does_not_carry, goes_to_this_host, is_in, is_of, opens_a_connection,
    send_to_port,
};
use crate::plan::{HostAddress, Published};

/// Just before the chains of Docker, Podman and iptables, which are at -100: the
/// first one that translates a connection wins.
const PRIORITY: i32 = -101;

/// The redirect of an app's ports to the page. Goes away with this value, and
/// with this process however that ends.
#[derive(Debug)]
pub struct Redirect {
    socket: Socket,
    table: String,
    sets: Vec<Set>,
    published: Vec<Published>,
    ownership: Ownership,
    closed: bool,
}

/// Who clears the table away if this process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// The kernel.
    Kernel,
    /// The next helper that makes a table of this name; before Linux 5.12.
    Successor,
}

/// A set in our table: what is looked up in it and what it holds while capturing.
#[derive(Debug, PartialEq)]
struct Set {
    name: &'static str,
    family: Family,
    key: Key,
    elements: Vec<Element>,
}

impl Redirect {
    /// Makes the table for these ports, with nobody captured yet. `page_port` is
    /// where the page listens, on every address: see [`super::page_listener`].
    pub fn prepare(
        table: &str,
        published: &[Published],
        page_port: u16,
    ) -> Result<Redirect, RedirectError> {
        for_the_best_owner(|ownership| {
            Redirect::prepare_owned_by(ownership, table, published, page_port)
        })
        .map_err(|refusal| explain(refusal, table))
    }

    /// Whether a redirect would work here: tries everything that one needs in a
    /// table that is deleted in the same stroke, so nothing ever takes effect.
    pub fn possible() -> Result<(), RedirectError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let table = format!("changeover-check-{:x}", now.unwrap_or_default().as_nanos());
        for_the_best_owner(|ownership| try_out(ownership, &table))
            .map_err(|refusal| explain(refusal, &table))
    }

    /// Sends new connections to the page from here on. Doing it again does no harm.
    pub fn capture(&mut self) -> Result<(), RedirectError> {
        let mut changes = Changes::to(&self.table, &self.socket);
        for set in &self.sets {
            changes.add_elements(set.name, &set.elements);
        }
        changes.commit(&mut self.socket).map_err(|refusal| explain(refusal, &self.table))
    }

    /// Leaves new connections to the app from here on; those that are on the page
    /// end in peace. Doing it again does no harm.
    pub fn release(&mut self) -> Result<(), RedirectError> {
        let mut changes = Changes::to(&self.table, &self.socket);
        for set in &self.sets {
            changes.empty_set(set.name);
        }
        changes.commit(&mut self.socket).map_err(|refusal| explain(refusal, &self.table))
    }

    /// Has the kernel forget connections to these ports that are no more: whoever comes
    /// from where they came from would be taken for them, and go past the rules. Worth
    /// doing at each change, and now and then as long as visitors are captured.
    pub fn forget_dead(&self) {
        note(forget_dead(&self.published));
    }

    /// Deletes the table. Connections that are still on the page are reset.
    pub fn close(mut self) -> Result<(), RedirectError> {
        self.closed = true;
        self.delete_table().map_err(|refusal| explain(refusal, &self.table))
    }

    /// Whether the kernel deletes the table when this process dies. Where it does
    /// not (before Linux 5.12), a killed helper leaves visitors on a dead page
    /// until the next one starts.
    pub fn is_owned(&self) -> bool {
        self.ownership == Ownership::Kernel
    }

    pub(super) fn prepare_owned_by(
        ownership: Ownership,
        table: &str,
        published: &[Published],
        page_port: u16,
    ) -> Result<Redirect, Refusal> {
        let mut socket = open()?;
        before_tracking_begins();
        let sets = sets_for(published);
        let mut changes = Changes::to(table, &socket);
        add_table(&mut changes, ownership);
        add_sets_and_rules(&mut changes, &sets, page_port);
        changes.commit(&mut socket)?;
        let (table, published) = (table.to_owned(), published.to_vec());
        let redirect = Redirect { socket, table, sets, published, ownership, closed: false };
        // From here on the kernel tracks every connection. What it knows from before may
        // be years old, or of a helper that was killed.
        redirect.forget_dead();
        Ok(redirect)
    }

    fn delete_table(&mut self) -> Result<(), Refusal> {
        let mut changes = Changes::to(&self.table, &self.socket);
        changes.delete_table();
        changes.commit(&mut self.socket)
    }
}

impl Drop for Redirect {
    fn drop(&mut self) {
        // Closing the socket deletes an owned table as well, but not while a process
        // that is just being started still has a copy of it.
        if !self.closed {
            let _ = self.delete_table();
        }
    }
}

/// Why there is no redirect, or why it could not be changed. No message says
/// more than what is known: a refused change has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum RedirectError {
    /// No CAP_NET_ADMIN in the network namespace we are in.
    #[error(
        "not permitted to redirect connections\n\
         hint: run as root with `--cap-add NET_ADMIN` and the host's network, or choose `--handover bind`"
    )]
    NotPermitted {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// No nf_tables at all.
    #[error(
        "this kernel has no nftables\n\
         hint: load it on the host with `modprobe nf_tables`, or choose `--handover bind`"
    )]
    NoNftables {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// nf_tables without chains of type `nat` for both families at once.
    #[error(
        "this kernel cannot redirect in an nftables table for both IPv4 and IPv6: it is older than 5.2 or lacks `nft_chain_nat`\n\
         hint: load it on the host with `modprobe nft_chain_nat`, or choose `--handover bind`"
    )]
    NoNat {
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// One of the things that our rules are made of is not there.
    #[error(
        "this kernel lacks `{module}`, which the redirect needs\n\
         hint: load it on the host with `modprobe {module}`, or choose `--handover bind`"
    )]
    NoModule {
        /// The kernel module that has it.
        module: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The table exists and is somebody else's, probably another live helper's.
    #[error(
        "the nftables table `inet {table}` belongs to another process\n\
         hint: another update of the same app may be under way; `nft list table inet {table}` shows what it does"
    )]
    NotOurs {
        /// The table's name.
        table: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The table went away under us; only one without an owner can.
    #[error(
        "the nftables table `inet {table}` is gone, so visitors are no longer redirected\n\
         hint: something on this host replaced the firewall's rules during the update"
    )]
    Gone {
        /// The table's name.
        table: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Anything else.
    #[error("the kernel refused {what} of the nftables table `inet {table}`")]
    Refused {
        /// The table's name.
        table: String,
        /// What was refused.
        what: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

fn explain(refusal: Refusal, table: &str) -> RedirectError {
    let source = io::Error::from(refusal.errno);
    let table = table.to_owned();
    match (refusal.part, refusal.errno) {
        (Some(Part::Table), Errno::EXIST | Errno::PERM) => RedirectError::NotOurs { table, source },
        (_, Errno::PERM | Errno::ACCESS) => RedirectError::NotPermitted { source },
        (None, Errno::OPNOTSUPP | Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT | Errno::NOENT) => {
            RedirectError::NoNftables { source }
        }
        (Some(Part::Chain(_)), Errno::NOENT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => {
            RedirectError::NoNat { source }
        }
        (Some(Part::Module(module)), Errno::NOENT | Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => {
            RedirectError::NoModule { module, source }
        }
        (Some(Part::Table | Part::Elements(_)), Errno::NOENT) => {
            RedirectError::Gone { table, source }
        }
        (part, _) => RedirectError::Refused {
            table,
            what: match part {
                None => "a change".to_owned(),
                Some(Part::Table) => "the making".to_owned(),
                Some(Part::Chain(name)) => format!("chain `{name}`"),
                Some(Part::Set(name)) => format!("set `{name}`"),
                Some(Part::Elements(name)) => format!("the elements of set `{name}`"),
                Some(Part::Rule) => "a rule".to_owned(),
                Some(Part::Module(module)) => format!("a rule that needs `{module}`"),
            },
            source,
        },
    }
}

/// Does it with a table that the kernel clears away, or, where the kernel knows
/// no owners, with one that the next helper would have to.
fn for_the_best_owner<T>(attempt: impl Fn(Ownership) -> Result<T, Refusal>) -> Result<T, Refusal> {
    attempt(Ownership::Kernel).or_else(|refusal| match (&refusal.part, refusal.errno) {
        (Some(Part::Table), Errno::OPNOTSUPP | Errno::INVAL) => attempt(Ownership::Successor),
        _ => Err(refusal),
    })
}

/// The first chain of type `nat` makes the kernel track a family's connections. Those that
/// are there already must not meet what is left of others.
fn before_tracking_begins() {
    note(forget_dead_redirected());
}

fn note(forgotten: Result<usize, Errno>) {
    match forgotten {
        Ok(0) => {}
        Ok(forgotten) => debug!(forgotten, "connections that are no more"),
        // Without `nf_conntrack_netlink`; a visitor in a thousand may notice.
        Err(error) => debug!(%error, "cannot forget connections that are no more"),
    }
}

fn open() -> Result<Socket, Refusal> {
    Socket::open().map_err(|errno| Refusal { part: None, errno })
}

fn add_table(changes: &mut Changes<'_>, ownership: Ownership) {
    if ownership == Ownership::Successor {
        changes.delete_table_if_any();
    }
    changes.add_table(ownership == Ownership::Kernel);
    for hook in HOOKS {
        changes.add_nat_chain(hook, PRIORITY);
    }
}

/// Visitors from elsewhere pass the first, those on this very host the second.
const HOOKS: [Hook; 2] = [PREROUTING, OUTPUT];

fn add_sets_and_rules(changes: &mut Changes<'_>, sets: &[Set], page_port: u16) {
    for (id, set) in (1..).zip(sets) {
        changes.add_set(set.name, set.family, set.key, id);
    }
    for hook in HOOKS {
        for set in sets {
            changes.add_rule(hook, Part::Rule, &rule(set, page_port));
        }
    }
}

fn rule(set: &Set, page_port: u16) -> Vec<Expression> {
    [
        is_of(set.family),
        // Where connections were not tracked before, established ones look new to
        // a chain of type nat; translating them would reset them.
        opens_a_connection(),
        does_not_carry(PROBE_MARK),
        // Without this, what the host sends to the same port elsewhere would be
        // caught as well. For single addresses too: a floating one may move away.
        goes_to_this_host(),
        is_in(set.name, set.family, set.key),
        count(),
        // Not `redirect`, which picks an address of the interface that the packet
        // came in by, and drops the packet if that has none.
        send_to_port(set.family, page_port),
    ]
    .concat()
}

fn try_out(ownership: Ownership, table: &str) -> Result<(), Refusal> {
    let published: Vec<Published> = [
        HostAddress::Any,
        HostAddress::One(Ipv4Addr::LOCALHOST.into()),
        HostAddress::One(Ipv6Addr::LOCALHOST.into()),
    ]
    .map(|host| Published {
        host,
        port: 1,
        container_port: 1,
        member: 0,
        answers: false,
        only: None,
        lent: false,
    })
    .into();
    let sets = sets_for(&published);

    let mut socket = open()?;
    // For a moment the chains are there.
    before_tracking_begins();
    let mut changes = Changes::to(table, &socket);
    add_table(&mut changes, ownership);
    // One at a time first, so that the refusal names what is missing.
    for (module, rule) in [
        ("nft_fib_inet", goes_to_this_host()),
        ("nft_counter", count()),
        ("nft_nat", send_to_port(Family::V4, 1)),
    ] {
        changes.add_rule(PREROUTING, Part::Module(module), &rule);
    }
    add_sets_and_rules(&mut changes, &sets, 1);
    for set in &sets {
        changes.add_elements(set.name, &set.elements);
    }
    changes.delete_table();
    changes.commit(&mut socket)
}

/// The sets that these ports need, and no others.
fn sets_for(published: &[Published]) -> Vec<Set> {
    let mut sets = BTreeMap::<(Key, Family), BTreeSet<Element>>::new();
    for Published { host, port, .. } in published {
        let mut put = |family, address: Option<IpAddr>| {
            let key = address.map_or(Key::Port, |_| Key::AddressAndPort);
            let element = Element { address, port: *port };
            sets.entry((key, family)).or_default().insert(element);
        };
        match host {
            HostAddress::Any => {
                put(Family::V4, None);
                put(Family::V6, None);
            }
            HostAddress::AnyV4 => put(Family::V4, None),
            HostAddress::AnyV6 => put(Family::V6, None),
            HostAddress::One(ip) => match ip.to_canonical() {
                ip @ IpAddr::V4(_) => put(Family::V4, Some(ip)),
                ip @ IpAddr::V6(_) => put(Family::V6, Some(ip)),
            },
        }
    }
    sets.into_iter()
        .map(|((key, family), elements)| Set {
            name: match (key, family) {
                (Key::Port, Family::V4) => "ports_v4",
                (Key::Port, Family::V6) => "ports_v6",
                (Key::AddressAndPort, Family::V4) => "addresses_v4",
                (Key::AddressAndPort, Family::V6) => "addresses_v6",
            },
            family,
            key,
            elements: elements.into_iter().collect(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_or_smaller_kernel_lacks_is_named() {
        for (part, errno, named) in [
            (None, Errno::PROTONOSUPPORT, "no nftables"),
            (None, Errno::OPNOTSUPP, "no nftables"),
            (None, Errno::PERM, "--cap-add NET_ADMIN"),
            (Some(Part::Table), Errno::EXIST, "`inet web`"),
            (Some(Part::Chain("output")), Errno::NOENT, "nft_chain_nat"),
            (Some(Part::Module("nft_fib_inet")), Errno::NOENT, "nft_fib_inet"),
            (Some(Part::Rule), Errno::INVAL, "a rule"),
        ] {
            let error = explain(Refusal { part, errno }, "web").to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_kernel_without_owners_is_given_a_table_without_one() {
        for errno in [Errno::OPNOTSUPP, Errno::INVAL] {
            let chosen = for_the_best_owner(|ownership| match ownership {
                Ownership::Kernel => Err(Refusal { part: Some(Part::Table), errno }),
                Ownership::Successor => Ok(ownership),
            });
            assert_eq!(chosen.expect("the second try"), Ownership::Successor);
        }
    }
}
