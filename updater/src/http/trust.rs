//! Whom we believe over TLS, and how we prove who we are.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{HttpError, Url};

/// What is known of one server, and of those whom it sends us to.
#[derive(Debug)]
pub struct Trust {
    /// That server. Nobody else is shown who we are, or believed without proof.
    pub home: Url,
    /// Authorities who are believed besides those of this machine.
    pub authorities: Vec<CertificateDer<'static>>,
    /// With which we prove who we are.
    pub own: Option<Own>,
    /// Whether that server is believed whatever it shows, as one is that could as well be spoken
    /// to in the clear.
    pub anybody: bool,
}

/// A certificate of ours, with its key.
#[derive(Debug)]
pub struct Own {
    /// It, and whoever signed it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

impl Trust {
    /// Whether there is no proof of who answers there.
    pub fn is_blind(&self, url: &Url) -> bool {
        self.anybody && self.home.same_origin(url)
    }
}

/// How to talk to this one. A list of authorities of our own would know nothing of a company's
/// own, and would grow old in a program that stays: those are believed that this machine's
/// owner trusts.
pub(super) fn config(trust: Option<&Trust>, url: &Url) -> Result<ClientConfig, HttpError> {
    let host = || url.host.clone();
    let broken = |error: rustls::Error| HttpError::Untrusted {
        host: host(),
        source: io::Error::other(error),
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(broken)?;
    let builder = if trust.is_some_and(|trust| trust.is_blind(url)) {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let more = trust.map(|trust| trust.authorities.clone()).unwrap_or_default();
        let mut roots = RootCertStore::empty();
        match authorities() {
            Ok(known) => drop(roots.add_parsable_certificates(known)),
            Err(_) if !more.is_empty() => {}
            Err(why) => return Err(HttpError::NoAuthorities { host: host(), why }),
        }
        roots.add_parsable_certificates(more);
        if roots.is_empty() {
            let why = "none of the certificates here is one of an authority".to_owned();
            return Err(HttpError::NoAuthorities { host: host(), why });
        }
        builder.with_root_certificates(roots)
    };
    let at_home = trust.filter(|trust| trust.home.same_origin(url));
    let mut config = match at_home.and_then(|trust| trust.own.as_ref()) {
        Some(own) => {
            builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(broken)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Whether what went wrong is who they are, and not the connection.
pub(super) fn is_about_trust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

/// What `SSL_CERT_FILE` names, or else the system's bundle; or in words why there is none.
pub(crate) fn authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    const BUNDLES: [&str; 4] = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let named = std::env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty());
    let (text, from) = match named.map(PathBuf::from) {
        Some(file) => {
            let from = format!("{}, which SSL_CERT_FILE names,", file.display());
            let unreadable = |error| format!("{from} cannot be read ({error})");
            (std::fs::read(&file).map_err(unreadable)?, from)
        }
        None => {
            let found = BUNDLES.iter().find_map(|file| Some((std::fs::read(file).ok()?, *file)));
            let (text, file) =
                found.ok_or("this machine or container has no certificates of authorities")?;
            (text, file.to_owned())
        }
    };
    let found: Vec<_> = CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect();
    match found.is_empty() {
        true => Err(format!("{from} has no certificate in it")),
        false => Ok(found),
    }
}

/// Believes whoever answers.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
