//! What rules are made of.
//!
//! A rule is a list of [`Expression`]s that the kernel walks until one does not
//! hold; they hand values on through registers. What `nft` would print stands
//! beside each function. Names and numbers are those of
//! `linux/netfilter/nf_tables.h`.

use super::netlink::Attributes;
use super::nftables::{Family, Key, NFTA_DATA_VALUE};

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

impl Expression {
    pub(super) fn write(&self, item: &mut Attributes<'_>) {
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

const IPPROTO_TCP: u8 = 6;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;

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
