//! Loads TLS from a certificate file and a key file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::options::TlsFiles;

/// Why TLS can't be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file can't be read or has the wrong content.
    #[error("{}: {reason}; the file must contain {wanted} in PEM format", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
        /// The reason.
        reason: String,
    },
    /// The private key is encrypted.
    #[error(
        "{}: the private key is encrypted; decrypt it with `openssl pkey -in {} -out FILE`, and name that \
         file instead",
        path.display(), path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together.
    #[error("the certificate {} and the key {} can't be used together: {source}", files.cert.display(), files.key.display())]
    Pair {
        /// The two files.
        files: TlsFiles,
        /// The error of the TLS library.
        source: rustls::Error,
    },
}

/// Reads the files, and offers HTTP/2 and HTTP/1.1 over TLS.
pub(crate) fn acceptor(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let file_error = |path: &PathBuf, wanted| {
        let path = path.clone();
        move |reason: String| TlsError::File { path, wanted, reason }
    };
    let cert_error = file_error(&files.cert, "certificates");
    let certs = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())
        .and_then(|certs| if certs.is_empty() { Err("it contains none".to_owned()) } else { Ok(certs) })
        .map_err(cert_error)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| match is_encrypted(&files.key) {
        true => TlsError::EncryptedKey { path: files.key.clone() },
        false => file_error(&files.key, "a private key")(error.to_string()),
    })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key))
        .map_err(|source| TlsError::Pair { files: files.clone(), source })?;
    // A client that offers both gets HTTP/2.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Whether a PEM file has an encrypted key: `ENCRYPTED PRIVATE KEY` (PKCS #8), or an older format
/// with the header `Proc-Type: 4,ENCRYPTED`.
fn is_encrypted(key: &Path) -> bool {
    fs::read(key).is_ok_and(|pem| String::from_utf8_lossy(&pem).contains("ENCRYPTED"))
}
