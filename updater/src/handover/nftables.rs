//! nftables' tables, chains, sets and elements as netlink messages.
//!
//! Names and numbers are those of `linux/netfilter/nf_tables.h`. What rules are
//! made of is in [`super::rule`].

use std::net::IpAddr;

use super::netlink::{self, Attributes, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};
use super::rule::Expression;

/// Changes to one table, made together or not at all.
pub(super) struct Changes<'t> {
    table: &'t str,
    batch: netlink::Batch<Part>,
}

/// What a message was about, in case the kernel refuses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Table,
    Chain(&'static str),
    Set(&'static str),
    Rule,
    /// A rule made only to see whether the kernel has this module.
    Module(&'static str),
    Elements(&'static str),
}

/// A family of addresses. One `inet` table holds both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Family {
    V4,
    V6,
}

/// A place in a packet's way at which the destination can still be changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    pub(super) name: &'static str,
    number: u32,
}

/// Packets that come from outside, from other containers included.
pub(super) const PREROUTING: Hook = Hook { name: "prerouting", number: 0 };
/// Packets that this host sends, possibly to itself.
pub(super) const OUTPUT: Hook = Hook { name: "output", number: 3 };

/// What a set holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// `inet_service`
    Port,
    /// `ipv4_addr . inet_service` or `ipv6_addr . inet_service`
    AddressAndPort,
}

/// One element of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Element {
    /// None where the set's key is [`Key::Port`].
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

impl<'t> Changes<'t> {
    pub(super) fn to(table: &'t str, socket: &netlink::Socket) -> Changes<'t> {
        let batch = socket.begin();
        Changes { table, batch }
    }

    pub(super) fn commit(self, socket: &mut netlink::Socket) -> Result<(), Refusal> {
        if self.batch.is_empty() {
            return Ok(());
        }
        socket.commit(self.batch)
    }

    /// Makes the table, or is refused if there is one of this name. An owned one
    /// belongs to our socket: nobody else can change it, and it goes with us.
    pub(super) fn add_table(&mut self, owned: bool) {
        self.new_table(NLM_F_CREATE | NLM_F_EXCL, owned);
    }

    /// Deletes the table with all that is in it, or is refused if there is none.
    pub(super) fn delete_table(&mut self) {
        self.message(Part::Table, DELTABLE, 0, NFTA_TABLE_NAME, |_| {});
    }

    /// Deletes the table if there is one. Kernels before 6.3 have no word for
    /// that, so it is made first.
    pub(super) fn delete_table_if_any(&mut self) {
        self.new_table(NLM_F_CREATE, false);
        self.delete_table();
    }

    fn new_table(&mut self, flags: u16, owned: bool) {
        self.message(Part::Table, NEWTABLE, flags, NFTA_TABLE_NAME, |table| {
            if owned {
                table.number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
            }
        });
    }

    /// `chain … { type nat hook … priority …; }`
    pub(super) fn add_nat_chain(&mut self, hook: Hook, priority: i32) {
        let part = Part::Chain(hook.name);
        self.message(part, NEWCHAIN, NLM_F_CREATE, NFTA_CHAIN_TABLE, |chain| {
            chain.name(NFTA_CHAIN_NAME, hook.name);
            chain.nest(NFTA_CHAIN_HOOK, |place| {
                place.number(NFTA_HOOK_HOOKNUM, hook.number);
                place.bytes(NFTA_HOOK_PRIORITY, &priority.to_be_bytes());
            });
            chain.name(NFTA_CHAIN_TYPE, "nat");
        });
    }

    /// `set … { type …; }`, empty. The id tells the sets of a batch apart.
    pub(super) fn add_set(&mut self, name: &'static str, family: Family, key: Key, id: u32) {
        let (type_, length) = match (key, family) {
            (Key::Port, _) => (TYPE_PORT, 2),
            (Key::AddressAndPort, Family::V4) => (TYPE_V4 << TYPE_BITS | TYPE_PORT, 4 + 4),
            (Key::AddressAndPort, Family::V6) => (TYPE_V6 << TYPE_BITS | TYPE_PORT, 16 + 4),
        };
        let part = Part::Set(name);
        self.message(part, NEWSET, NLM_F_CREATE, NFTA_SET_TABLE, |set| {
            set.name(NFTA_SET_NAME, name);
            set.number(NFTA_SET_FLAGS, 0);
            set.number(NFTA_SET_KEY_TYPE, type_);
            set.number(NFTA_SET_KEY_LEN, length);
            set.number(NFTA_SET_ID, id);
        });
    }

    /// Puts elements into a set; those that it has already are no mistake.
    pub(super) fn add_elements(&mut self, set: &'static str, elements: &[Element]) {
        // An attribute's length is a 16-bit number, and these become one.
        for some in elements.chunks(1000) {
            self.message(
                Part::Elements(set),
                NEWSETELEM,
                NLM_F_CREATE,
                NFTA_SET_ELEM_LIST_TABLE,
                |list| {
                    list.name(NFTA_SET_ELEM_LIST_SET, set);
                    list.nest(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
                        for element in some {
                            list.nest(NFTA_LIST_ELEM, |item| {
                                item.nest(NFTA_SET_ELEM_KEY, |key| {
                                    key.bytes(NFTA_DATA_VALUE, &element.as_key());
                                });
                            });
                        }
                    });
                },
            );
        }
    }

    /// Empties a set; an empty one is no mistake.
    pub(super) fn empty_set(&mut self, set: &'static str) {
        let (part, table) = (Part::Elements(set), NFTA_SET_ELEM_LIST_TABLE);
        // Without a list of elements, the message means all of them.
        self.message(part, DELSETELEM, 0, table, |list| {
            list.name(NFTA_SET_ELEM_LIST_SET, set);
        });
    }

    /// Adds a rule behind those that the chain has.
    pub(super) fn add_rule(&mut self, hook: Hook, part: Part, rule: &[Expression]) {
        let flags = NLM_F_CREATE | NLM_F_APPEND;
        self.message(part, NEWRULE, flags, NFTA_RULE_TABLE, |message| {
            message.name(NFTA_RULE_CHAIN, hook.name);
            message.nest(NFTA_RULE_EXPRESSIONS, |list| {
                for expression in rule {
                    list.nest(NFTA_LIST_ELEM, |item| expression.write(item));
                }
            });
        });
    }

    /// Adds a message; all of them begin with the table's name.
    fn message(
        &mut self,
        part: Part,
        number: u16,
        flags: u16,
        table_attribute: u16,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let table = self.table;
        self.batch.message(part, number, flags, NFPROTO_INET, |message| {
            message.name(table_attribute, table);
            fill(message);
        });
    }
}

/// Why changes were not made. None were.
pub(super) type Refusal = netlink::Refusal<Part>;

impl Element {
    /// As the kernel compares it: each field in network order, from a multiple of four.
    fn as_key(&self) -> Vec<u8> {
        let port = self.port.to_be_bytes();
        match self.address {
            None => port.to_vec(),
            Some(IpAddr::V4(ip)) => [&ip.octets()[..], &port, &[0, 0]].concat(),
            Some(IpAddr::V6(ip)) => [&ip.octets()[..], &port, &[0, 0]].concat(),
        }
    }
}

impl Family {
    /// As `meta nfproto` has it.
    pub(super) fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }
}

const NFPROTO_INET: u8 = 1;

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: u32 = 2;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_SET_ELEM_KEY: u16 = 1;

// What `nft` calls the types of keys. The kernel only remembers them for it.
const TYPE_V4: u32 = 7;
const TYPE_V6: u32 = 8;
const TYPE_PORT: u32 = 13;
const TYPE_BITS: u32 = 6;

const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;

pub(super) const NFTA_LIST_ELEM: u16 = 1;
pub(super) const NFTA_DATA_VALUE: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::rule::does_not_carry;

    #[test]
    #[cfg(target_endian = "little")]
    fn a_rule_is_written_as_nft_writes_it() {
        // strace nft add rule inet y p meta mark != 0x10c7
        #[rustfmt::skip]
        let from_nft: &[&[u8]] = &[
            b"\x14\0\0\0\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x0a", // the batch begins
            // Ours asks for an acknowledgement too: flags 0c05 instead of 0c01.
            b"\x78\0\0\0\x06\x0a\x05\x0c\x01\0\0\0\0\0\0\0\x01\0\0\0",
            b"\x06\0\x01\0y\0\0\0", b"\x06\0\x02\0p\0\0\0",
            b"\x54\0\x04\x80",
            b"\x24\0\x01\x80", b"\x09\0\x01\0meta\0\0\0\0",
            b"\x14\0\x02\x80", b"\x08\0\x02\0\0\0\0\x03", b"\x08\0\x01\0\0\0\0\x01",
            b"\x2c\0\x01\x80", b"\x08\0\x01\0cmp\0",
            b"\x20\0\x02\x80", b"\x08\0\x01\0\0\0\0\x01", b"\x08\0\x02\0\0\0\0\x01",
            b"\x0c\0\x03\x80", b"\x08\0\x01\0\xc7\x10\0\0",
            b"\x14\0\0\0\x11\0\x01\0\x02\0\0\0\0\0\0\0\0\0\0\x0a", // the batch ends
        ];
        let chain = Hook { name: "p", number: 0 };
        let mut changes = Changes { table: "y", batch: netlink::Batch::starting_at(0) };
        changes.add_rule(chain, Part::Rule, &does_not_carry(0x10c7));
        assert_eq!(changes.batch.end().0, from_nft.concat());
    }
}
