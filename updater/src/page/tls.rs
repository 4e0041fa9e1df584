//! TLS: the page in place of an app that speaks it itself.
//!
//! TLS 1.2 and 1.3, one certificate for every name, HTTP/1.1. Nothing is remembered
//! of a visitor: whoever comes back to the page is as welcome with a new handshake.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::stream::Stream;

/// A certificate and its key, ready for use.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    valid: Option<(Timestamp, Timestamp)>,
}

/// Why a certificate can't be used. Nothing of the key is ever in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is none.
    #[error("there is no certificate in it\nhint: it must be PEM: -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// There is none.
    #[error("there is no private key in it\nhint: it must be PEM: -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// Nobody is there to ask for the password.
    #[error("the private key is encrypted\nhint: `openssl pkey -in KEY -out NEW` decrypts it")]
    EncryptedKey,
    /// They are of different pairs.
    #[error("the private key is not the certificate's")]
    OtherKey,
    /// Whatever else it is.
    #[error("certificate and key cannot be used together")]
    Unusable(#[source] rustls::Error),
}

impl Tls {
    /// Reads a chain of certificates, the server's own first, and its key.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Tls, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::NoCertificate)?;
        let own = chain.first().ok_or(TlsError::NoCertificate)?;
        let valid = validity(own);
        let is_encrypted = |line: &[u8]| line.windows(9).any(|word| word == b"ENCRYPTED");
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| match is_encrypted(key) {
            true => TlsError::EncryptedKey,
            false => TlsError::NoKey,
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::OtherKey,
                other => TlsError::Unusable(other),
            })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), valid })
    }

    /// What visitors' browsers will complain about: they do of the app's, too, if it
    /// is the same certificate.
    pub fn complaint(&self, now: Timestamp) -> Option<String> {
        match self.valid? {
            (_, until) if until < now => Some(format!("the certificate has expired ({until})")),
            (from, _) if from > now => Some(format!("the certificate is not valid before {from}")),
            _ => None,
        }
    }

    /// Agrees on keys with a visitor. Where that fails, they have been told by an
    /// alert, and the socket is still open.
    pub(super) async fn accept(&self, stream: TcpStream) -> Result<Stream, TcpStream> {
        match self.acceptor.accept(stream).into_fallible().await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err((_, stream)) => Err(stream),
        }
    }
}

/// From when and until when a certificate is valid: the one thing in it that is asked
/// for here, and too little for a library. RFC 5280, 4.1.
fn validity(certificate: &[u8]) -> Option<(Timestamp, Timestamp)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate, _) = element(certificate)?;
    let (_, mut fields, _) = element(certificate)?;
    if *fields.first()? == VERSION {
        fields = element(fields)?.2;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    let (SEQUENCE, times, _) = element(fields)? else { return None };
    let (kind, from, rest) = element(times)?;
    let from = time(kind, from)?;
    let (kind, until, _) = element(rest)?;
    Some((from, time(kind, until)?))
}

/// The first element of some DER: its tag, its content, and what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], mut rest) = der.split_first_chunk::<2>()?;
    let length = match length {
        short @ 0..0x80 => short.into(),
        long => {
            let (bytes, after) = rest.split_at_checked((long & 0x7f).into())?;
            rest = after;
            bytes
                .iter()
                .try_fold(0_usize, |sum, byte| Some(sum.checked_mul(256)? + usize::from(*byte)))?
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` after that.
fn time(kind: u8, text: &[u8]) -> Option<Timestamp> {
    const UTC_TIME: u8 = 0x17;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let century = match kind {
        UTC_TIME if text < "50" => "20",
        UTC_TIME => "19",
        _ => "",
    };
    let time = DateTime::strptime("%Y%m%d%H%M%S", format!("{century}{text}")).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|time| time.timestamp())
}

#[cfg(test)]
pub(super) mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate for `localhost`, and its key, both PEM.
    pub(in crate::page) fn made() -> (String, String) {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        (cert.pem(), signing_key.serialize_pem())
    }

    fn refused(certificate: &str, key: &str) -> TlsError {
        match Tls::from_pem(certificate.as_bytes(), key.as_bytes()) {
            Err(error) => error,
            Ok(_) => panic!("accepted"),
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let ((certificate, key), (_, other)) = (made(), made());
        assert!(Tls::from_pem(certificate.as_bytes(), key.as_bytes()).is_ok());
        let both = format!("{key}{certificate}");
        assert!(Tls::from_pem(both.as_bytes(), both.as_bytes()).is_ok(), "all in one file");
        assert!(matches!(refused(&certificate, &other), TlsError::OtherKey));
        assert!(matches!(refused("", &key), TlsError::NoCertificate));
        assert!(matches!(refused(&key, &key), TlsError::NoCertificate));
        assert!(matches!(refused(&certificate, &certificate), TlsError::NoKey));
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert!(matches!(refused(&certificate, &encrypted), TlsError::EncryptedKey));
        let garbled = certificate.replacen('M', "!", 1);
        assert!(matches!(refused(&garbled, &key), TlsError::NoCertificate));
    }

    #[test]
    fn an_expired_certificate_is_complained_about() {
        let pair = KeyPair::generate().expect("a key");
        let complaint = |from, until, at: &str| {
            let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
            (params.not_before, params.not_after) = (from, until);
            let made = params.self_signed(&pair).expect("signed");
            let tls = Tls::from_pem(made.pem().as_bytes(), pair.serialize_pem().as_bytes());
            tls.expect("usable").complaint(at.parse().expect("a time"))
        };
        // Beyond 2049, dates are written in another way.
        let (old, new, far) =
            (date_time_ymd(1998, 2, 3), date_time_ymd(2024, 5, 6), date_time_ymd(2051, 1, 1));
        assert_eq!(complaint(old, new, "2020-01-01T00:00:00Z"), None);
        assert_eq!(
            complaint(old, new, "2024-05-06T00:00:01Z").as_deref(),
            Some("the certificate has expired (2024-05-06T00:00:00Z)")
        );
        assert_eq!(complaint(new, far, "2050-12-31T23:59:59Z"), None);
        assert_eq!(
            complaint(new, far, "2024-05-05T23:59:59Z").as_deref(),
            Some("the certificate is not valid before 2024-05-06T00:00:00Z")
        );
    }

    #[test]
    fn der_that_breaks_off_is_no_reason_to_panic() {
        let (certificate, _) = made();
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        assert!(validity(&der).is_some());
        for end in 0..der.len() {
            let _ = validity(&der[..end]);
        }
        assert_eq!(validity(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
        assert_eq!(validity(&[0x30, 0x8f, 0xff]), None);
    }
}
