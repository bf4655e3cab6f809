//! HTTPS end to end.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::command::{Service, run};

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

#[test]
fn an_encrypted_key_is_refused_with_the_command_that_decrypts_it() {
    // As `openssl genpkey -aes256` and `openssl ec -aes256` write them.
    const PKCS8: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----
MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAh6q4s9Vk4lNQICCAAw
DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEoQFCZvAAX1+YstAUX9jZcEgZAU
HgPvuSZT4R7FpsrqM8giXvvE1EN1e9+ftIy/lrF8VuzP+KuKCJbd9xEcBphLUi5A
ZFo+s3yneWuyRQggrlm6xFqUjpdm0BSfzVB9RJgYHos6bx4cyLRNN1bnrneRhLCn
2OZBOcr1bbqE1n9iMSLS69QbM/B22+bmhXLIToAZJZmwtw/CBfv8AYvUjvN0BXk=
-----END ENCRYPTED PRIVATE KEY-----";
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
Proc-Type: 4,ENCRYPTED
DEK-Info: AES-256-CBC,521B70846F94DAF651BD357DA4D6373A

YReASjoUjVaDMeJzRjeTcWpx9xcHd7cqOzzQmpRio8IuPOGCMUSqaLkwx5flB0xn
y/6vlcplzY0HyTOt9SARnkeOvUYgyNRZQmXQmbP21b01JYsqHzUtcl1+/wYI4FCf
4baCDNqkPaCdKZGwfdwyimYXsqmnfw77uKSIA0MyYXA=
-----END EC PRIVATE KEY-----";
    let directory = tempfile::tempdir().unwrap();
    let [_, cert, key] = certificates(directory.path());
    for encrypted in [PKCS8, SEC1] {
        fs::write(&key, encrypted).unwrap();
        let [cert, key] = [&cert, &key].map(|path| path.to_str().unwrap());
        let output =
            run(&["serve", "--memory", "--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key]);
        let remedy =
            format!("{key}: the private key is encrypted; decrypt it with `openssl pkey -in {key} -out");
        assert!(output.code == 1 && output.err.contains(&remedy), "{}", output.err);
    }
}
