//! TLS for tests: a certificate made on the spot, an app that serves with it, and visitors
//! who trust nobody else.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the certificates are for.
const NAME: &str = "web.test";

/// A certificate and its key, both PEM.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate; it is its own root.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Pair {
    /// One that is valid for decades.
    pub fn new() -> Pair {
        Pair::valid_until(2090)
    }

    /// One that is valid until the first day of this year.
    pub fn valid_until(year: i32) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([NAME.to_owned()]).expect("a name");
        (params.not_before, params.not_after) =
            (date_time_ymd(2001, 1, 1), date_time_ymd(year, 1, 1));
        let certificate = params.self_signed(&key).expect("signed").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// An authority that signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    /// A new one, known to nobody.
    pub fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("signed").pem();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for these names and addresses.
    pub fn sign(&self, names: &[&str]) -> Pair {
        self.sign_until(2090, names)
    }

    /// One that is valid until the first day of this year.
    pub fn sign_until(&self, year: i32, names: &[&str]) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        (params.not_before, params.not_after) =
            (date_time_ymd(2001, 1, 1), date_time_ymd(year, 1, 1));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// Its own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A folder as Docker's client wants it: whom to believe, and a certificate of this
    /// one's for whoever has the folder.
    pub fn write_for(&self, folder: &Path, names: &[&str]) {
        let own = self.sign(names);
        fs::create_dir_all(folder).expect("it is writable");
        let files =
            [("ca.pem", &self.certificate), ("cert.pem", &own.certificate), ("key.pem", &own.key)];
        for (name, content) in files {
            fs::write(folder.join(name), content).expect("it is writable");
        }
    }
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Default for Pair {
    fn default() -> Pair {
        Pair::new()
    }
}

/// What an app serves with.
pub fn acceptor(certificate: &[u8], key: &[u8]) -> io::Result<TlsAcceptor> {
    acceptor_of(certificate, key, None)
}

/// What somebody serves with who only lets those in whom an authority knows.
pub fn acceptor_for(pair: &Pair, clients: &Authority) -> io::Result<TlsAcceptor> {
    acceptor_of(pair.certificate.as_bytes(), pair.key.as_bytes(), Some(clients))
}

fn acceptor_of(
    certificate: &[u8],
    key: &[u8],
    clients: Option<&Authority>,
) -> io::Result<TlsAcceptor> {
    let wrong = |what: &str| io::Error::other(format!("no {what} in PEM"));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("certificate"))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong("key"))?;
    let provider = Arc::new(default_provider());
    let config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = match clients {
        None => config.with_no_client_auth(),
        Some(clients) => {
            let root = CertificateDer::from_pem_slice(clients.certificate().as_bytes());
            let mut roots = RootCertStore::empty();
            roots.add(root.map_err(|_| wrong("authority"))?).map_err(io::Error::other)?;
            let known = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(known.build().map_err(io::Error::other)?)
        }
    };
    let config = config.with_single_cert(chain, key).map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Visitors who trust one certificate.
#[derive(Clone)]
pub struct Trust(TlsConnector);

impl Trust {
    /// Whoever trusts this one.
    pub fn of(certificate: &str) -> Trust {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the usual versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trust(TlsConnector::from(Arc::new(config)))
    }

    /// Agrees on keys with whoever is at the other end.
    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(NAME).expect("a name");
        self.0.connect(name, stream).await
    }
}
