//! The repository's encryption, as restic defines it: AES-256 in counter mode, and
//! Poly1305-AES over what comes out, in [`changeover_ciphers`]. The key that a person knows opens a key file,
//! and the key in there opens everything else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use changeover_ciphers::{NONCE, TAG};
use serde::{Deserialize, Serialize};

use super::BackupError;

/// What every sealed thing is longer by: the nonce in front and the tag behind.
pub(super) const OVERHEAD: usize = NONCE + TAG;
/// Cost of guessing a key, and of opening a repository: 32 MB and a tenth of a second.
const SCRYPT_N_LOG: u8 = if cfg!(test) { 4 } else { 15 };
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// A key that seals and opens.
#[derive(Clone)]
pub(super) struct Key(changeover_ciphers::Key);

/// A file in `keys/`: the repository's key, sealed by what a person knows.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyFile {
    hostname: String,
    username: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    created: String,
    data: String,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct KeyJson {
    mac: MacJson,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacJson {
    k: String,
    r: String,
}

impl Key {
    /// A fresh one.
    pub(super) fn random() -> Key {
        Key::from_bytes(&random::<64>())
    }

    fn from_bytes(bytes: &[u8; 64]) -> Key {
        let mut key = changeover_ciphers::Key { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        Key(key)
    }

    /// The key that a password opens a key file with.
    fn from_password(password: &[u8], salt: &[u8], file: (u64, u32, u32)) -> Option<Key> {
        let (n, r, p) = file;
        let log = u8::try_from(n.checked_ilog2()?).ok()?;
        // What somebody else has written there shall not eat the machine.
        let bounded = n.is_power_of_two() && log <= 20 && r <= 32 && p <= 16;
        let params = scrypt::Params::new(log, r, p).ok().filter(|_| bounded)?;
        let mut derived = [0; 64];
        scrypt::scrypt(password, salt, &params, &mut derived).ok()?;
        Some(Key::from_bytes(&derived))
    }

    /// Appends the sealed plain text to `out`.
    pub(super) fn seal_into(&self, plain: &[u8], out: &mut Vec<u8>) {
        self.0.seal_into(&random::<NONCE>(), plain, out);
    }

    /// The sealed plain text.
    pub(super) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(plain.len() + OVERHEAD);
        self.seal_into(plain, &mut out);
        out
    }

    /// The plain text, if nobody has touched the sealed one.
    pub(super) fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        self.0.open(sealed)
    }
}

impl KeyFile {
    /// Seals `key` with a password.
    pub(super) fn new(key: &Key, password: &[u8]) -> Option<KeyFile> {
        let salt = random::<64>();
        let cost = (1 << SCRYPT_N_LOG, SCRYPT_R, SCRYPT_P);
        let user = Key::from_password(password, &salt, cost)?;
        let plain = KeyJson {
            mac: MacJson { k: BASE64.encode(key.0.mac_k), r: BASE64.encode(key.0.mac_r) },
            encrypt: BASE64.encode(key.0.encrypt),
        };
        Some(KeyFile {
            hostname: "changeover".into(),
            username: "changeover".into(),
            kdf: "scrypt".into(),
            n: cost.0,
            r: cost.1,
            p: cost.2,
            created: jiff::Timestamp::now().to_string(),
            data: BASE64.encode(user.seal(&serde_json::to_vec(&plain).ok()?)),
            salt: BASE64.encode(salt),
        })
    }

    /// The repository's key, if the password is right.
    pub(super) fn open(&self, password: &[u8]) -> Option<Key> {
        let salt = BASE64.decode(&self.salt).ok()?;
        let user = Key::from_password(password, &salt, (self.n, self.r, self.p))?;
        let plain = user.open(&BASE64.decode(&self.data).ok()?)?;
        let json: KeyJson = serde_json::from_slice(&plain).ok()?;
        let part = |text: &str| BASE64.decode(text).ok();
        Some(Key(changeover_ciphers::Key {
            encrypt: part(&json.encrypt)?.try_into().ok()?,
            mac_k: part(&json.mac.k)?.try_into().ok()?,
            mac_r: part(&json.mac.r)?.try_into().ok()?,
        }))
    }
}

/// The name of something by its content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Id(pub(super) [u8; 32]);

impl Id {
    pub(super) fn of(content: &[u8]) -> Id {
        // In assembler, so it is fast however we are compiled.
        let digest = ring::digest::digest(&ring::digest::SHA256, content);
        let mut id = [0; 32];
        id.copy_from_slice(digest.as_ref());
        Id(id)
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u8| char::from(DIGITS[usize::from(n)]);
        id.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl TryFrom<String> for Id {
    type Error = BackupError;

    fn try_from(text: String) -> Result<Id, BackupError> {
        let bad = || BackupError::Damaged(format!("`{text}` is no id"));
        let mut id = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(bad());
        }
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        Ok(Id(id))
    }
}

/// Bytes from the kernel. It has them, or we must not go on.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        match rustix::rand::getrandom(&mut bytes[filled..], flags) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_opens_with_its_password_alone() {
        let key = Key::random();
        let file = KeyFile::new(&key, b"secret").expect("it can be sealed");
        assert_eq!(file.open(b"secret").expect("the right one").0.encrypt, key.0.encrypt);
        assert!(file.open(b"secret ").is_none());
    }

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = Id::of(b"");
        let text = String::from(id);
        assert_eq!(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(text, id.to_string());
        assert_eq!(Id::try_from(text).expect("its own"), id);
        assert!(Id::try_from("+1".repeat(32)).is_err());
    }
}
