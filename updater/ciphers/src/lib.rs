//! The ciphers of a restic repository: AES-256 in counter mode, and Poly1305-AES over what
//! comes out.
//!
//! A crate of its own, since the crates for ciphers are generic: what is made of them is
//! compiled as the crate that uses them, and the program is compiled to be small. Nothing in
//! here is generic, so all of it is compiled here, for speed.

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use ctr::Ctr128BE;
use poly1305::Poly1305;

/// Bytes in front of what is sealed.
pub const NONCE: usize = 16;
/// Bytes behind it.
pub const TAG: usize = 16;

/// A key that seals and opens.
#[derive(Clone)]
pub struct Key {
    /// For the cipher.
    pub encrypt: [u8; 32],
    /// For the tag: the cipher's part.
    pub mac_k: [u8; 16],
    /// For the tag: the polynomial's part.
    pub mac_r: [u8; 16],
}

impl Key {
    /// Appends the sealed plain text to `out`. No nonce may be used twice.
    pub fn seal_into(&self, nonce: &[u8; NONCE], plain: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(nonce);
        let at = out.len();
        out.extend_from_slice(plain);
        let sealed = &mut out[at..];
        self.turn(nonce, sealed);
        let tag = self.tag(nonce, sealed);
        out.extend_from_slice(&tag);
    }

    /// The plain text, if nobody has touched the sealed one.
    pub fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = sealed.split_first_chunk::<NONCE>()?;
        let (text, tag) = rest.split_last_chunk::<TAG>()?;
        if self.tag(nonce, text) != *tag {
            return None;
        }
        let mut plain = text.to_vec();
        self.turn(nonce, &mut plain);
        Some(plain)
    }

    /// Seals what is plain, and the other way round.
    fn turn(&self, nonce: &[u8; NONCE], text: &mut [u8]) {
        Ctr128BE::<Aes256>::new(&self.encrypt.into(), &(*nonce).into()).apply_keystream(text);
    }

    fn tag(&self, nonce: &[u8; NONCE], sealed: &[u8]) -> [u8; TAG] {
        let mut block = (*nonce).into();
        Aes128::new(&self.mac_k.into()).encrypt_block(&mut block);
        let mut one_time = [0; 32];
        one_time[..16].copy_from_slice(&self.mac_r);
        one_time[16..].copy_from_slice(&block);
        Poly1305::new(&one_time.into()).compute_unpadded(sealed).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_what_was_touched_does_not() {
        let key = |n| Key { encrypt: [n; 32], mac_k: [n + 1; 16], mac_r: [n + 2; 16] };
        for length in [0, 1, 15, 16, 17, 70_000] {
            let plain = vec![7; length];
            let mut sealed = Vec::new();
            key(1).seal_into(&[9; NONCE], &plain, &mut sealed);
            assert_eq!(sealed.len(), NONCE + length + TAG);
            assert_eq!(key(1).open(&sealed).as_deref(), Some(&plain[..]));
            assert!(key(4).open(&sealed).is_none());
            for at in [0, NONCE, sealed.len() - 1] {
                sealed[at] ^= 1;
                assert!(key(1).open(&sealed).is_none(), "byte {at} of {length}");
                sealed[at] ^= 1;
            }
        }
        assert!(key(1).open(&[0; NONCE + TAG - 1]).is_none());
    }
}
