//! The certificate with which the page speaks TLS, where the app does so itself: where
//! it lies, and how it is read.
//!
//! Only places travel in the plan. The key is read by the helper when it starts, from
//! the engine's host or from the app's own container, and stays in its memory.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::{Engine, FileError};
use crate::page::{Tls, TlsError};
use crate::place::Place;
use crate::plan::labels;

/// Where certificate and key lie. They may be one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, and those that lead to its root.
    pub certificate: Place,
    /// The private key.
    pub key: Place,
}

/// Why the page can't speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the files can't be read.
    #[error("`{place}` cannot be read")]
    OnHost {
        /// Which.
        place: Place,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// One of the files can't be read.
    #[error("`{place}` cannot be read")]
    InApp {
        /// Which.
        place: Place,
        /// Why.
        #[source]
        source: FileError,
    },
    /// They are no certificate and key.
    #[error("`{certificate}` with the key of `{key}` is of no use")]
    Tls {
        /// The certificate.
        certificate: Place,
        /// The key.
        key: Place,
        /// Why.
        #[source]
        source: TlsError,
    },
}

impl Certificate {
    /// From what was asked for. A key that isn't named is in the certificate's file.
    pub fn new(certificate: Place, key: Option<Place>) -> Certificate {
        Certificate { key: key.unwrap_or_else(|| certificate.clone()), certificate }
    }

    /// What a container's labels say. Both are paths in that very container: whoever
    /// makes an image has no say in what is read on the host.
    pub fn from_labels(all: &Value) -> Result<Option<Certificate>, String> {
        let read = |name: &str| {
            let label = format!("{}{name}", labels::PAGE);
            let Some(text) = all[label.as_str()].as_str() else { return Ok(None) };
            let place = Place::in_app(text);
            place.map(Some).map_err(|why| format!("the label {label} is not used: {why}"))
        };
        let (certificate, key) = (read("tls-cert")?, read("tls-key")?);
        Ok(certificate.map(|certificate| Certificate::new(certificate, key)))
    }

    /// Both files, the certificate first.
    pub fn places(&self) -> [&Place; 2] {
        [&self.certificate, &self.key]
    }

    /// Reads both files and puts them to the test. Those of the app come from the
    /// container `app`; `on_host` says where a file of the host can be read from here.
    pub async fn read(
        &self,
        engine: &Engine,
        app: &str,
        on_host: impl Fn(&Place, &Path) -> PathBuf,
    ) -> Result<Tls, CertificateError> {
        let mut read = Vec::new();
        for place in self.places() {
            read.push(match place {
                Place::Host(path) => std::fs::read(on_host(place, path))
                    .map_err(|source| CertificateError::OnHost { place: place.clone(), source })?,
                Place::App(path) => engine
                    .file(app, path)
                    .await
                    .map_err(|source| CertificateError::InApp { place: place.clone(), source })?,
            });
        }
        let tls = Tls::from_pem(&read[0], &read[1]).map_err(|source| CertificateError::Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            source,
        })?;
        if let Some(complaint) = tls.complaint(Timestamp::now()) {
            tracing::warn!("`{}`: {complaint}; the page uses it even so", self.certificate);
        }
        Ok(tls)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_means_a_file_of_its_own_container() {
        let of = |cert: &str, key: Option<&str>| {
            let mut labels = json!({ "io.changeover.page.tls-cert": cert });
            if let Some(key) = key {
                labels["io.changeover.page.tls-key"] = key.into();
            }
            Certificate::from_labels(&labels)
        };
        let app = |path: &str| Place::App(path.to_owned());
        let both = of("/tls/cert.pem", Some("app:/tls/key.pem")).expect("read").expect("there");
        assert_eq!(both.places(), [&app("/tls/cert.pem"), &app("/tls/key.pem")]);
        let one = of("/tls/all.pem", None).expect("read").expect("there");
        assert_eq!(one.places(), [&app("/tls/all.pem"), &app("/tls/all.pem")]);
        assert!(of("tls/cert.pem", None).is_err() && of("/a", Some("b")).is_err());
        assert_eq!(Certificate::from_labels(&json!({})), Ok(None));
        assert_eq!(Certificate::from_labels(&Value::Null), Ok(None));
    }

    #[test]
    fn it_travels_as_it_was_written() {
        let certificate = Certificate::new("app:/c.pem".parse().expect("a place"), None);
        let json = json!(certificate);
        assert_eq!(json, json!({ "certificate": "app:/c.pem", "key": "app:/c.pem" }));
        assert_eq!(serde_json::from_value::<Certificate>(json).expect("read"), certificate);
    }
}
