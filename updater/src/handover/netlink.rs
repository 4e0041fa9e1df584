//! Netlink, as far as nftables needs it: a socket, batches of messages, answers.
//!
//! A batch is carried out whole or not at all. Each of its messages asks for an
//! acknowledgement, so that a refusal can be put down to the message it is about.
//! The kernel works through a batch before `send` returns; by then all answers
//! are in the socket's buffer and nobody has to wait for any.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
    sockopt,
};

/// A connection to the kernel's netfilter. What it owns there goes when it closes.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    next_sequence: u32,
}

/// Why a batch was not carried out. Nothing of it was.
#[derive(Debug)]
pub(super) struct Refusal<Part> {
    /// The message that was refused; none if the batch was as a whole.
    pub(super) part: Option<Part>,
    pub(super) errno: Errno,
}

/// A socket to the kernel's netfilter, for rules and for connection tracking alike.
pub(super) fn netfilter_socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(netlink::NETFILTER),
    )
}

impl Socket {
    pub(super) fn open() -> Result<Socket, Errno> {
        let fd = netfilter_socket()?;
        // Room for a batch that captures every port there is, and for its
        // acknowledgements. Refused without CAP_NET_ADMIN, as will be any batch:
        // that is where it is reported.
        const ROOM: usize = 4 << 20;
        let _ = sockopt::set_socket_send_buffer_size_force(&fd, ROOM);
        let _ = sockopt::set_socket_recv_buffer_size_force(&fd, ROOM);
        Ok(Socket { fd, next_sequence: 1 })
    }

    /// An empty batch to be filled and given to [`Socket::commit`].
    pub(super) fn begin<Part>(&self) -> Batch<Part> {
        Batch::starting_at(self.next_sequence)
    }

    /// Has the kernel carry a batch out.
    pub(super) fn commit<Part>(&mut self, batch: Batch<Part>) -> Result<(), Refusal<Part>> {
        let first = batch.first_sequence;
        let (bytes, mut parts) = batch.end();
        // One each for the messages, for the batch's beginning and for its end.
        self.next_sequence = first.wrapping_add(parts.len() as u32 + 2);

        let refused = match self.exchange(&bytes, first, parts.len()) {
            Ok(None) => return Ok(()),
            Ok(Some(refused)) => refused,
            Err(errno) => (0, errno),
        };
        let (position, errno) = refused;
        let part = match position {
            0 => None,
            n => Some(parts.swap_remove(n - 1)),
        };
        Err(Refusal { part, errno })
    }

    /// Sends a batch and reads the answers. Returns the first refusal with the
    /// position of its message; position 0 stands for the batch as a whole.
    fn exchange(
        &self,
        bytes: &[u8],
        first: u32,
        messages: usize,
    ) -> Result<Option<(usize, Errno)>, Errno> {
        rustix::io::retry_on_intr(|| send(&self.fd, bytes, SendFlags::empty()))?;

        let mut acknowledged = 0;
        let mut refused: Option<(usize, Errno)> = None;
        // A refusal repeats the message, which may be long. What is cut off here
        // is not looked at.
        let mut buffer = [0; 4096];
        loop {
            let received = recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT);
            let (length, _) = match received {
                Ok(received) => received,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            };
            for (sequence, errno) in answers(&buffer[..length]) {
                let position = sequence.wrapping_sub(first) as usize;
                match errno {
                    _ if position > messages => {} // not about this batch
                    None => acknowledged += usize::from(position > 0),
                    Some(errno) if refused.is_none_or(|(known, _)| position < known) => {
                        refused = Some((position, errno));
                    }
                    Some(_) => {}
                }
            }
        }
        if refused.is_none() && acknowledged < messages {
            return Err(Errno::NOMSG);
        }
        Ok(refused)
    }
}

/// An error as the kernel puts it into an answer: negative, and of those that it has.
pub(super) fn errno_of(code: i32) -> Errno {
    match code.saturating_neg() {
        code @ 1..4096 => Errno::from_raw_os_error(code),
        _ => Errno::IO,
    }
}

/// The answers in one datagram: the sequence number of the message that each is
/// about, and the error if it is one.
fn answers(mut datagram: &[u8]) -> Vec<(u32, Option<Errno>)> {
    const NLMSG_ERROR: u16 = 2;
    let mut found = Vec::new();
    while let Some((header, payload)) = datagram.split_first_chunk::<HEADER>() {
        let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
        let length = u32::from_ne_bytes(word(0)) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let sequence = u32::from_ne_bytes(word(8));
        if let (NLMSG_ERROR, Some(code)) = (kind, payload.first_chunk()) {
            let code = i32::from_ne_bytes(*code);
            found.push((sequence, (code != 0).then(|| errno_of(code))));
        }
        // A message that claimed to end within its own header would keep us
        // here for ever.
        let next = aligned(length.clamp(HEADER, datagram.len()));
        datagram = datagram.get(next..).unwrap_or_default();
    }
    found
}

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// Netlink begins everything at a multiple of four.
pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// Messages that take effect together. `Part` is what the caller calls one of
/// them, for the case that the kernel refuses it.
#[derive(Debug)]
pub(super) struct Batch<Part> {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    first_sequence: u32,
}

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFNL_MSG_BATCH_BEGIN: u16 = 0x10;
const NFNL_MSG_BATCH_END: u16 = 0x11;
pub(super) const NLM_F_REQUEST: u16 = 0x01;
pub(super) const NLM_F_ACK: u16 = 0x04;
/// Refuse what is there already.
pub(super) const NLM_F_EXCL: u16 = 0x200;
/// Create what is not there yet.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Put a rule behind those that are there.
pub(super) const NLM_F_APPEND: u16 = 0x800;

impl<Part> Batch<Part> {
    pub(super) fn starting_at(first_sequence: u32) -> Batch<Part> {
        let mut batch = Batch { bytes: Vec::new(), parts: Vec::new(), first_sequence };
        batch.bracket(NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// Adds one nftables message: its number, what to do if the thing exists or
    /// does not, the protocol family, and its attributes.
    pub(super) fn message(
        &mut self,
        part: Part,
        number: u16,
        flags: u16,
        family: u8,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.parts.push(part);
        let sequence = self.first_sequence.wrapping_add(self.parts.len() as u32);
        let kind = NFNL_SUBSYS_NFTABLES << 8 | number;
        let flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        write_message(&mut self.bytes, kind, flags, sequence, (family, 0), fill);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn end(mut self) -> (Vec<u8>, Vec<Part>) {
        self.bracket(NFNL_MSG_BATCH_END);
        (self.bytes, self.parts)
    }

    fn bracket(&mut self, kind: u16) {
        let last = match kind {
            NFNL_MSG_BATCH_BEGIN => 0,
            _ => self.parts.len() as u32 + 1,
        };
        let sequence = self.first_sequence.wrapping_add(last);
        let about = (0, NFNL_SUBSYS_NFTABLES);
        write_message(&mut self.bytes, kind, NLM_F_REQUEST, sequence, about, |_| {});
    }
}

/// Writes `struct nlmsghdr`, `struct nfgenmsg` and attributes.
pub(super) fn write_message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    (family, resource): (u8, u16),
    fill: impl FnOnce(&mut Attributes<'_>),
) {
    let start = bytes.len();
    bytes.extend([0; 4]); // the length, below
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]); // the port id, which the kernel knows
    bytes.extend([family, 0]); // version 0
    bytes.extend(resource.to_be_bytes());
    fill(&mut Attributes { bytes });
    let length = (bytes.len() - start) as u32;
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Says of an attribute that there are others in it.
pub(super) const NLA_F_NESTED: u16 = 0x8000;

/// The attributes of a message or of a nest in it.
pub(super) struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Plain bytes.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.write(kind, |bytes| bytes.extend(value));
    }

    /// A name, with the zero byte that the kernel expects after it.
    pub(super) fn name(&mut self, kind: u16, value: &str) {
        self.write(kind, |bytes| {
            bytes.extend(value.as_bytes());
            bytes.push(0);
        });
    }

    /// A number. nftables wants the big end first, unlike the rest of netlink.
    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Attributes within an attribute.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.write(kind | NLA_F_NESTED, |bytes| fill(&mut Attributes { bytes }));
    }

    fn write(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]); // the length, below
        self.bytes.extend(kind.to_ne_bytes());
        fill(self.bytes);
        let length = self.bytes.len() - start;
        self.bytes.resize(start + aligned(length), 0);
        let length = u16::try_from(length).expect("callers keep attributes below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_input_makes_an_answer_of_the_kernel_panic() {
        let mut whole = Vec::new();
        write_message(&mut whole, 2, NLM_F_REQUEST, 7, (0, 0), |answer| answer.number(1, 9));
        crate::fuzzed::bytes(150, &[&whole, &whole.repeat(3)], |input| drop(answers(input)));
    }

    #[test]
    fn answers_are_read_whether_whole_cut_off_or_several_in_one() {
        let answer = |sequence: u32, code: i32, length: u32| {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend(2u16.to_ne_bytes());
            bytes.extend([0; 2]);
            bytes.extend(sequence.to_ne_bytes());
            bytes.extend([0; 4]);
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        let two = [answer(7, 0, 20), answer(8, -17, 9000)].concat();
        assert_eq!(answers(&two), [(7, None), (8, Some(Errno::EXIST))]);
        assert_eq!(answers(&two[..30]), [(7, None)]);
        // Lengths that make no sense must neither hang nor panic.
        assert_eq!(answers(&answer(9, 0, 0)).len(), 1);
        assert_eq!(answers(&[]), []);
    }
}
