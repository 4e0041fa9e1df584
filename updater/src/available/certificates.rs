//! Certificates for one registry, where Docker and Podman have them.
//!
//! A folder `HOST:PORT` in `certs.d` has certificates of authorities that are believed there
//! (`*.crt`), and with which one proves who one is (`*.cert`, `*.key`). An engine reads the
//! folder on its own host, so this knows of it only where we see that host's files.

use std::path::{Path, PathBuf};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::http::{HttpError, Own};

/// What is there for a registry, by its name in references.
pub(super) fn of(registry: &str) -> Result<(Vec<CertificateDer<'static>>, Option<Own>), HttpError> {
    read(registry, &places())
}

/// The folders of rootless engines first, as they belong to whoever asks.
fn places() -> Vec<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let settings = of("XDG_CONFIG_HOME").or_else(|| Some(of("HOME")?.join(".config")));
    let own = settings.iter().map(PathBuf::as_path);
    let all = own.chain([Path::new("/etc")]);
    all.flat_map(|at| ["docker", "containers"].map(|whose| at.join(whose).join("certs.d")))
        .collect()
}

fn read(
    registry: &str,
    places: &[PathBuf],
) -> Result<(Vec<CertificateDer<'static>>, Option<Own>), HttpError> {
    let wrong = |file: &Path, why: &dyn std::fmt::Display| HttpError::File {
        host: registry.to_owned(),
        file: file.to_owned(),
        why: why.to_string(),
    };
    let text = |file: &Path| std::fs::read(file).map_err(|error| wrong(file, &error));
    let certificates = |file: &Path| -> Result<Vec<_>, HttpError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text(file)?).collect();
        let found = found.unwrap_or_default();
        match found.is_empty() {
            true => Err(wrong(file, &"it has no certificate in PEM")),
            false => Ok(found),
        }
    };
    let (mut authorities, mut own) = (Vec::new(), None);
    for place in places {
        let files = std::fs::read_dir(place.join(registry)).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
        files.sort();
        for file in &files {
            match file.extension().and_then(|end| end.to_str()) {
                Some("crt") => authorities.extend(certificates(file)?),
                Some("cert") if own.is_none() => {
                    let key = file.with_extension("key");
                    let secret = PrivateKeyDer::from_pem_slice(&text(&key)?)
                        .map_err(|_| wrong(&key, &"it has no private key in PEM"))?;
                    own = Some(Own { chain: certificates(file)?, key: secret });
                }
                _ => {}
            }
        }
    }
    Ok((authorities, own))
}
