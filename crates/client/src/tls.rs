//! The TLS configuration.

use std::sync::Arc;

use reqwest::Url;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::{ClientOptions, Error};

/// The TLS configuration, with an explicit crypto provider: a library must not install a default
/// provider for the whole process.
pub(crate) fn config(options: &ClientOptions, bases: &[Url]) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?;
    let has_tls_proxy = options.proxy.as_deref().is_some_and(|url| url.starts_with("https:"));
    let verified = if bases.iter().all(|base| base.scheme() == "http") && !has_tls_proxy {
        // Loading the system's certificates takes milliseconds, and they may be missing. An `http`
        // endpoint does not need them.
        builder.with_root_certificates(RootCertStore::empty())
    } else if let Some(pem) = &options.ca_certificates {
        builder.with_root_certificates(root_certificates(pem)?)
    } else {
        builder.with_platform_verifier().map_err(|error| unusable(&error.to_string()))?
    };
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn root_certificates(pem: &[u8]) -> Result<RootCertStore, Error> {
    let rule = || {
        let rule = "the CA certificates must contain at least one certificate in PEM format (-----BEGIN CERTIFICATE-----)";
        Error::Options(rule.to_owned())
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| rule())?).map_err(|_| rule())?;
    }
    if roots.is_empty() { Err(rule()) } else { Ok(roots) }
}

/// The error for an HTTP client that cannot be created.
pub(crate) fn unusable(cause: &str) -> Error {
    Error::Options(format!("the HTTP client cannot be created: {cause}"))
}
