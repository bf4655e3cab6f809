//! TLS from a certificate file and a key file, which are read again when they change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::options::TlsFiles;
use crate::validity::certificate_expiry;

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

/// The certificate and the key that new connections use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Loaded>,
}

/// What was read from the files.
#[derive(Debug)]
struct Loaded {
    contents: Contents,
    config: Arc<ServerConfig>,
    expires_at: Option<u64>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads a certificate and its key.
    ///
    /// # Errors
    /// A file can't be read or has the wrong content, the key is encrypted, or the certificate and
    /// the key do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let loaded = Loaded::of(files, Contents::read(files)?)?;
        Ok(Self { files: files.clone(), current: RwLock::new(loaded) })
    }

    /// Reads the files again. New connections use what they contain; open ones stay as they are.
    /// Returns whether the files had changed.
    ///
    /// # Errors
    ///
    /// As for `load`. The previous certificate and key then stay in use.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let contents = Contents::read(&self.files)?;
        if self.current.read().contents == contents {
            return Ok(false);
        }
        let loaded = Loaded::of(&self.files, contents)?;
        *self.current.write() = loaded;
        Ok(true)
    }

    /// The earliest expiry of the certificates in the file, in seconds since 1970. `None` if it
    /// can't be read from any of them.
    pub fn expires_at(&self) -> Option<u64> {
        self.current.read().expires_at
    }

    /// The time until the certificate expires. Zero if it has expired, and `None` if its expiry is
    /// not known.
    pub(crate) fn time_left(&self, now: SystemTime) -> Option<Duration> {
        let expiry = UNIX_EPOCH + Duration::from_secs(self.expires_at()?);
        Some(expiry.duration_since(now).unwrap_or_default())
    }

    /// The acceptor for a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.read().config.clone())
    }

    /// The path of the certificate.
    pub fn path(&self) -> &Path {
        &self.files.cert
    }

    #[cfg(test)]
    pub(crate) fn with_config(config: ServerConfig) -> Self {
        let files = TlsFiles { cert: PathBuf::new(), key: PathBuf::new() };
        let loaded = Loaded { contents: Contents::default(), config: Arc::new(config), expires_at: None };
        Self { files, current: RwLock::new(loaded) }
    }
}

impl Contents {
    fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = |path: &PathBuf, wanted| {
            fs::read(path).map_err(|error| file_error(path, wanted)(error.to_string()))
        };
        Ok(Self { cert: read(&files.cert, CERTIFICATES)?, key: read(&files.key, PRIVATE_KEY)? })
    }
}

impl Loaded {
    /// A configuration with the certificate and the key in the files. It offers HTTP/2 and
    /// HTTP/1.1.
    fn of(files: &TlsFiles, contents: Contents) -> Result<Self, TlsError> {
        let certs = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| error.to_string())
            .and_then(|certs| if certs.is_empty() { Err("it contains none".to_owned()) } else { Ok(certs) })
            .map_err(file_error(&files.cert, CERTIFICATES))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
            match is_encrypted(&contents.key) {
                true => TlsError::EncryptedKey { path: files.key.clone() },
                false => file_error(&files.key, PRIVATE_KEY)(error.to_string()),
            }
        })?;
        let expires_at = certs.iter().filter_map(|cert| certificate_expiry(cert)).min();
        let mut config =
            ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .and_then(|builder| builder.with_no_client_auth().with_single_cert(certs, key))
                .map_err(|source| TlsError::Pair { files: files.clone(), source })?;
        // A client that offers both gets HTTP/2.
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { contents, config: Arc::new(config), expires_at })
    }
}

const CERTIFICATES: &str = "certificates";
const PRIVATE_KEY: &str = "a private key";

fn file_error(path: &Path, wanted: &'static str) -> impl FnOnce(String) -> TlsError {
    let path = path.to_owned();
    move |reason| TlsError::File { path, wanted, reason }
}

/// Whether a PEM file has an encrypted key: `ENCRYPTED PRIVATE KEY` (PKCS #8), or an older format
/// with the header `Proc-Type: 4,ENCRYPTED`.
fn is_encrypted(key: &[u8]) -> bool {
    String::from_utf8_lossy(key).contains("ENCRYPTED")
}
