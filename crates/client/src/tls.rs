//! The HTTP client and its TLS configuration.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Proxy, Url, redirect};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::transport::root_cause;
use crate::{ClientOptions, Error};

/// The time limit for connecting. The time limit of the attempt applies as well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Builds the HTTP client that the options describe.
pub(crate) fn http_client(options: &ClientOptions, base: &Url) -> Result<reqwest::Client, Error> {
    if let Some(client) = &options.http_client {
        return Ok(client.clone());
    }
    let mut builder = reqwest::Client::builder()
        .user_agent(&options.user_agent)
        .connect_timeout(CONNECT_TIMEOUT.min(options.timeout))
        // Following a redirect would turn a POST into a GET.
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true)
        // Probes return the certificate.
        .tls_info(true)
        .tls_backend_preconfigured(tls_config(options, base)?);
    if let Some(url) = &options.proxy {
        builder = builder.proxy(proxy(url)?);
    }
    builder.build().map_err(|error| unusable(&root_cause(&error)))
}

/// The TLS configuration, with an explicit crypto provider: a library must not install a default
/// provider for the whole process.
fn tls_config(options: &ClientOptions, base: &Url) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?;
    let has_tls_proxy = options.proxy.as_deref().is_some_and(|url| url.starts_with("https:"));
    let verified = if base.scheme() == "http" && !has_tls_proxy {
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

fn proxy(url: &str) -> Result<Proxy, Error> {
    // The URL may contain a password, so no error repeats it.
    let rule = || Error::Options("the proxy must be a URL such as http://host:3128".to_owned());
    let parsed = Url::parse(url).map_err(|_| rule())?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(rule());
    }
    Proxy::all(parsed).map_err(|_| rule())
}

fn unusable(cause: &str) -> Error {
    Error::Options(format!("the HTTP client cannot be created: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_installs_no_crypto_provider_for_the_process() {
        for endpoint in ["http://127.0.0.1:1", "https://127.0.0.1:1"] {
            let options = ClientOptions::new(endpoint);
            http_client(&options, &options.base().unwrap()).unwrap();
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn ca_certificates_and_proxies_that_cannot_be_parsed_are_refused() {
        let options = ClientOptions::new("https://h");
        let base = options.base().unwrap();
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = http_client(&options.clone().ca_certificates(pem), &base).unwrap_err();
            assert!(error.to_string().contains("PEM"), "{error}");
        }
        for url in ["secret", "socks5://user:secret@h", ""] {
            let error = http_client(&options.clone().proxy(url), &base).unwrap_err();
            assert!(error.to_string().contains("http://host:3128"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
