//! HTTPS end to end.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::command::Service;

/// A certificate authority, and a certificate for loopback that it signed, in `directory`.
pub(crate) fn certificates(directory: &Path) -> [PathBuf; 3] {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    [write("ca.pem", authority.pem()), write("cert.pem", leaf.pem()), write("key.pem", key.serialize_pem())]
}

#[test]
fn a_client_with_a_ca_certificate_trusts_only_that_authority() {
    let directory = tempfile::tempdir().unwrap();
    let paths = certificates(directory.path());
    let [ca, cert, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let service = Service::start(&["--memory", "--tls-cert", cert, "--tls-key", key]);
    assert!(service.endpoint.starts_with("https://"), "{}", service.endpoint);

    let trusting = service.call(&["register", "alice", "--ca-cert", ca]);
    assert_eq!(trusting.code, 0, "{}", trusting.err);

    let other = tempfile::tempdir().unwrap();
    let [other_ca, ..] = certificates(other.path());
    let distrusting = service.call(&["health", "--ca-cert", other_ca.to_str().unwrap()]);
    assert_eq!(distrusting.code, 1);
    assert!(distrusting.err.contains("certificate"), "{}", distrusting.err);

    let no_certificate = service.call(&["health", "--ca-cert", key]);
    assert_eq!(no_certificate.code, 2);
    assert!(no_certificate.err.contains("BEGIN CERTIFICATE"), "{}", no_certificate.err);
}
