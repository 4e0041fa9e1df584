//! nftables' words as netlink messages: a table and what we put into it.
//!
//! Names and numbers are those of `linux/netfilter/nf_tables.h`. A rule is a
//! list of [`Expression`]s that the kernel walks until one does not hold; they
//! hand values on through registers. What `nft` would print for a rule stands
//! beside the function that writes it.

use std::net::IpAddr;

use super::netlink::{self, Attributes, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL};

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

/// One step of a rule. Those that load put a value into a register, those that
/// compare take it from there; it is the first one unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    LoadMeta(u32),
    LoadPayload {
        base: u32,
        offset: u32,
        length: u32,
        register: u32,
    },
    LoadTypeOfDestination,
    LoadConstant(Vec<u8>),
    Mask(Vec<u8>),
    Equal(Vec<u8>),
    NotEqual(Vec<u8>),
    InSet(&'static str),
    Count,
    /// Changes the destination's port to the one in the register.
    ChangePort(Family),
}

/// `tcp flags & (fin | syn | rst | ack) == syn`: a packet that opens a connection.
pub(super) fn opens_a_connection() -> Vec<Expression> {
    const FIN_SYN_RST_ACK: u8 = 0x17;
    const SYN: u8 = 0x02;
    vec![
        Expression::LoadMeta(NFT_META_L4PROTO),
        Expression::Equal(vec![IPPROTO_TCP]),
        Expression::LoadPayload {
            base: NFT_PAYLOAD_TRANSPORT_HEADER,
            offset: 13,
            length: 1,
            register: NFT_REG_1,
        },
        Expression::Mask(vec![FIN_SYN_RST_ACK]),
        Expression::Equal(vec![SYN]),
    ]
}

/// `meta mark != …`
pub(super) fn does_not_carry(mark: u32) -> Vec<Expression> {
    vec![Expression::LoadMeta(NFT_META_MARK), Expression::NotEqual(mark.to_ne_bytes().to_vec())]
}

/// `meta nfproto …`
pub(super) fn is_of(family: Family) -> Vec<Expression> {
    vec![Expression::LoadMeta(NFT_META_NFPROTO), Expression::Equal(vec![family.number()])]
}

/// `fib daddr type local`: an address of this host, whichever it has at that moment.
pub(super) fn goes_to_this_host() -> Vec<Expression> {
    const RTN_LOCAL: u32 = 2;
    vec![Expression::LoadTypeOfDestination, Expression::Equal(RTN_LOCAL.to_ne_bytes().to_vec())]
}

/// `tcp dport @…` or `ip daddr . tcp dport @…`
pub(super) fn is_in(set: &'static str, family: Family, key: Key) -> Vec<Expression> {
    let (offset, length, behind_it) = match family {
        Family::V4 => (16, 4, NFT_REG32_01),
        Family::V6 => (24, 16, NFT_REG32_04),
    };
    let port_into = |register| Expression::LoadPayload {
        base: NFT_PAYLOAD_TRANSPORT_HEADER,
        offset: 2,
        length: 2,
        register,
    };
    match key {
        Key::Port => vec![port_into(NFT_REG_1), Expression::InSet(set)],
        Key::AddressAndPort => vec![
            Expression::LoadPayload {
                base: NFT_PAYLOAD_NETWORK_HEADER,
                offset,
                length,
                register: NFT_REG_1,
            },
            port_into(behind_it),
            Expression::InSet(set),
        ],
    }
}

/// `counter`
pub(super) fn count() -> Vec<Expression> {
    vec![Expression::Count]
}

/// `dnat to :…`: to another port of the very address it was sent to.
pub(super) fn send_to_port(family: Family, port: u16) -> Vec<Expression> {
    vec![Expression::LoadConstant(port.to_be_bytes().to_vec()), Expression::ChangePort(family)]
}

impl Family {
    fn number(self) -> u8 {
        match self {
            Family::V4 => 2,
            Family::V6 => 10,
        }
    }
}

impl Expression {
    fn write(&self, item: &mut Attributes<'_>) {
        item.name(NFTA_EXPR_NAME, self.name());
        item.nest(NFTA_EXPR_DATA, |data| self.write_data(data));
    }

    fn name(&self) -> &'static str {
        match self {
            Expression::LoadMeta(_) => "meta",
            Expression::LoadPayload { .. } => "payload",
            Expression::LoadTypeOfDestination => "fib",
            Expression::LoadConstant(_) => "immediate",
            Expression::Mask(_) => "bitwise",
            Expression::Equal(_) | Expression::NotEqual(_) => "cmp",
            Expression::InSet(_) => "lookup",
            Expression::Count => "counter",
            Expression::ChangePort(_) => "nat",
        }
    }

    fn write_data(&self, data: &mut Attributes<'_>) {
        match self {
            Expression::LoadMeta(key) => {
                data.number(NFTA_META_KEY, *key);
                data.number(NFTA_META_DREG, NFT_REG_1);
            }
            Expression::LoadPayload { base, offset, length, register } => {
                data.number(NFTA_PAYLOAD_DREG, *register);
                data.number(NFTA_PAYLOAD_BASE, *base);
                data.number(NFTA_PAYLOAD_OFFSET, *offset);
                data.number(NFTA_PAYLOAD_LEN, *length);
            }
            Expression::LoadTypeOfDestination => {
                data.number(NFTA_FIB_DREG, NFT_REG_1);
                data.number(NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
                data.number(NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
            }
            Expression::LoadConstant(value) => {
                data.number(NFTA_IMMEDIATE_DREG, NFT_REG_1);
                write_value(data, NFTA_IMMEDIATE_DATA, value);
            }
            Expression::Mask(mask) => {
                data.number(NFTA_BITWISE_SREG, NFT_REG_1);
                data.number(NFTA_BITWISE_DREG, NFT_REG_1);
                data.number(NFTA_BITWISE_LEN, mask.len() as u32);
                write_value(data, NFTA_BITWISE_MASK, mask);
                write_value(data, NFTA_BITWISE_XOR, &vec![0; mask.len()]);
            }
            Expression::Equal(value) => write_comparison(data, NFT_CMP_EQ, value),
            Expression::NotEqual(value) => write_comparison(data, NFT_CMP_NEQ, value),
            Expression::InSet(set) => {
                data.name(NFTA_LOOKUP_SET, set);
                data.number(NFTA_LOOKUP_SREG, NFT_REG_1);
            }
            Expression::Count => {}
            Expression::ChangePort(family) => {
                data.number(NFTA_NAT_TYPE, NFT_NAT_DNAT);
                // Named although nothing is said of addresses: kernels before 5.8
                // ask for it.
                data.number(NFTA_NAT_FAMILY, family.number().into());
                data.number(NFTA_NAT_REG_PROTO_MIN, NFT_REG_1);
            }
        }
    }
}

fn write_comparison(data: &mut Attributes<'_>, operator: u32, value: &[u8]) {
    data.number(NFTA_CMP_SREG, NFT_REG_1);
    data.number(NFTA_CMP_OP, operator);
    write_value(data, NFTA_CMP_DATA, value);
}

fn write_value(data: &mut Attributes<'_>, kind: u16, value: &[u8]) {
    data.nest(kind, |nest| nest.bytes(NFTA_DATA_VALUE, value));
}

const NFPROTO_INET: u8 = 1;
const IPPROTO_TCP: u8 = 6;

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
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;

/// Sixteen bytes; the 32-bit registers lie in it one behind the other.
const NFT_REG_1: u32 = 1;
const NFT_REG32_01: u32 = 9;
const NFT_REG32_04: u32 = 12;

const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFT_META_MARK: u32 = 3;
const NFT_META_NFPROTO: u32 = 15;
const NFT_META_L4PROTO: u32 = 16;

const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;

const NFTA_FIB_DREG: u16 = 1;
const NFTA_FIB_RESULT: u16 = 2;
const NFTA_FIB_FLAGS: u16 = 3;
const NFT_FIB_RESULT_ADDRTYPE: u32 = 3;
const NFTA_FIB_F_DADDR: u32 = 2;

const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;

const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;

const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFT_CMP_EQ: u32 = 0;
const NFT_CMP_NEQ: u32 = 1;

const NFTA_LOOKUP_SET: u16 = 1;
const NFTA_LOOKUP_SREG: u16 = 2;

const NFTA_NAT_TYPE: u16 = 1;
const NFTA_NAT_FAMILY: u16 = 2;
const NFTA_NAT_REG_PROTO_MIN: u16 = 5;
const NFT_NAT_DNAT: u32 = 1;
