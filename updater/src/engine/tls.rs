//! TLS to the engine: whom we believe to be it, and how we prove who we are.
//!
//! The files are Docker's: `ca.pem`, `cert.pem` and `key.pem` in one folder.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::EngineError;
use super::endpoint::host_of;

/// What is needed for a connection.
#[derive(Debug, Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    /// Whether there is a certificate of ours.
    has_own: bool,
}

impl Tls {
    /// Reads the files.
    pub(super) fn of(folder: &Path) -> Result<Tls, EngineError> {
        if !folder.is_dir() {
            let why = "there is no such folder".to_owned();
            return Err(EngineError::Certificate { file: folder.to_owned(), why });
        }
        let (ca, own, key) =
            (folder.join("ca.pem"), folder.join("cert.pem"), folder.join("key.pem"));
        let mut roots = RootCertStore::empty();
        match ca.exists() {
            true => {
                for certificate in certificates(&ca)? {
                    roots.add(certificate).map_err(|error| unusable(&ca, &error))?;
                }
            }
            // As a context without one has it.
            false => {
                let known = crate::http::authorities().map_err(|why| unusable(&ca, &why))?;
                roots.add_parsable_certificates(known);
            }
        }
        if roots.is_empty() {
            return Err(unusable(&ca, &"it names nobody who could be believed"));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(folder, &error))?
            .with_root_certificates(roots);
        let has_own = own.exists();
        let config = match has_own {
            false => config.with_no_client_auth(),
            true => {
                let chain = certificates(&own)?;
                let secret = PrivateKeyDer::from_pem_slice(&read(&key)?).map_err(|_| {
                    unusable(&key, &"it has no private key in PEM, or one with a password")
                })?;
                config
                    .with_client_auth_cert(chain, secret)
                    .map_err(|error| unusable(&own, &error))?
            }
        };
        Ok(Tls { config: Arc::new(config), has_own })
    }

    /// Agrees on keys.
    pub(super) async fn agree(
        &self,
        address: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host_of(address).to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(self.config.clone()).connect(name, stream).await
    }

    /// Whether a connection that broke after keys were agreed on may be about who we are: with
    /// TLS 1.3 the other end looks at that last, and its word may come too late to be heard.
    pub(super) fn may_be_unknown(&self) -> bool {
        !self.has_own
    }
}

fn read(file: &Path) -> Result<Vec<u8>, EngineError> {
    std::fs::read(file).map_err(|error| unusable(file, &error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, EngineError> {
    let text = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(unusable(file, &"it has no certificate in PEM")),
    }
}

fn unusable(file: &Path, why: &dyn std::fmt::Display) -> EngineError {
    EngineError::Certificate { file: PathBuf::from(file), why: why.to_string() }
}

/// What TLS says about a connection that broke.
pub(super) enum Trouble {
    /// The other end can't prove to be the engine.
    Untrusted,
    /// It doesn't believe us.
    Unknown,
}

/// Whether a broken connection is about who is who.
pub(super) fn trouble(error: &io::Error) -> Option<Trouble> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return Some(Trouble::Untrusted),
            Some(rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied
                | AlertDescription::HandshakeFailure,
            )) => return Some(Trouble::Unknown),
            _ => {}
        }
        // An io::Error passes its inner error over when it is asked for its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
