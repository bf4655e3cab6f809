//! HTTPS end to end.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::command::{Service, run};

/// Writes a certificate authority, a certificate for loopback that it signed, and the key of that
/// certificate to files in `directory`. Returns their paths in this order.
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
    // Encrypted keys, as `openssl genpkey -aes256` and `openssl ec -aes256` write them.
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

#[test]
fn sighup_reads_the_certificate_again_and_a_broken_one_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let [ca, cert, key] = certificates(directory.path());
    let [cert_name, key_name] = [&cert, &key].map(|path| path.to_str().unwrap());
    let mut service = Service::logging(&["--tls-cert", cert_name, "--tls-key", key_name]);
    let is_trusted = |service: &Service, ca: &Path| {
        service.call(&["health", "--retries", "0", "--ca-cert", ca.to_str().unwrap()]).code == 0
    };
    assert!(is_trusted(&service, &ca));

    fs::write(&cert, "damaged").unwrap();
    service.running.signal("HUP");
    let line = service.running.log_line("can't be read again");
    assert_eq!(line["level"], "ERROR");
    assert!(line["cause"].as_str().unwrap().contains("cert.pem"), "{line}");
    assert!(is_trusted(&service, &ca), "the previous certificate stays in use");

    let other = tempfile::tempdir().unwrap();
    let [other_ca, other_cert, other_key] = certificates(other.path());
    fs::copy(other_cert, &cert).unwrap();
    fs::copy(other_key, &key).unwrap();
    service.running.signal("HUP");
    service.running.log_line("read the certificate and its key again");
    assert!(is_trusted(&service, &other_ca) && !is_trusted(&service, &ca));
}

#[test]
fn sighup_reads_the_filter_of_the_log_again() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("aurora.toml");
    fs::write(&config, "log = \"info\"\n").unwrap();
    let mut service = Service::logging(&["--config", config.to_str().unwrap()]);
    // The service logs that it has read a filter before it applies it. It reads the settings again only
    // after that. The third filter therefore shows that the second one is in effect.
    for (filter, logged) in
        [("info,aurora_discovery_http=debug", "debug"), ("warn", "\"warn\""), ("loud", "can't be read again")]
    {
        fs::write(&config, format!("log = \"{filter}\"\n")).unwrap();
        service.running.signal("HUP");
        service.running.log_line(logged);
    }
    service.running.signal("TERM");
    assert_eq!(service.running.wait(), Some(0));
    assert_eq!(service.running.rest_of_log(), "", "nothing below a warning is logged any more");
}

#[test]
fn a_self_signed_certificate_is_trusted_by_clients_that_have_it() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut service = Service::start(&["--data", data, "--tls-self-signed"]);
    assert!(service.endpoint.starts_with("https://"), "{}", service.endpoint);
    let line = service.running.line_with("--ca-cert ");
    let (_, ca) = line.split_once("--ca-cert ").unwrap();
    let trusting = service.call(&["health", "--ca-cert", ca]);
    assert_eq!(trusting.code, 0, "{}", trusting.err);
    let memory = run(&["serve", "--memory", "--tls-self-signed"]);
    assert_eq!(memory.code, 2);
    assert!(memory.err.contains("--tls-self-signed keeps its certificate"), "{}", memory.err);
}

/// By default, `openssl req -x509` makes the certificate of an authority. Many users give it to a
/// server.
#[test]
fn an_error_about_the_certificate_of_an_authority_has_the_command_that_makes_a_good_one() {
    let directory = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
    fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    let [cert, key] = [&cert_file, &key_file].map(|path| path.to_str().unwrap());
    let service = Service::start(&["--memory", "--tls-cert", cert, "--tls-key", key]);
    let refused = service.call(&["health", "--retries", "0", "--ca-cert", cert]);
    assert_eq!(refused.code, 1);
    for part in
        ["CA:TRUE", "openssl req -x509", "basicConstraints=critical,CA:FALSE", "subjectAltName=IP:127.0.0.1"]
    {
        assert!(refused.err.contains(part), "{part}: {}", refused.err);
    }
    let doctor = service.call(&["doctor", "--retries", "0", "--ca-cert", cert]);
    assert!(
        doctor.out.contains("CA:TRUE") && doctor.out.contains("fix: make a certificate"),
        "{}",
        doctor.out
    );
}

#[test]
fn plain_http_on_a_tls_port_gets_a_400_that_names_https() {
    let directory = tempfile::tempdir().unwrap();
    let paths = certificates(directory.path());
    let [_, cert, key] = paths.each_ref().map(|path| path.to_str().unwrap());
    let service = Service::start(&["--memory", "--tls-cert", cert, "--tls-key", key]);
    let mut stream = TcpStream::connect(service.endpoint.trim_start_matches("https://")).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let plain = service.endpoint.replace("https://", "http://");
    let client = run(&["discover", "--retries", "0", "--endpoint", &plain]);
    assert!(client.code == 1 && client.err.contains("begin the URL with https://"), "{}", client.err);
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("https://"), "{response}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{response}");
}

#[test]
fn tls_on_a_plain_port_gets_no_bytes_and_a_hint_in_the_log() {
    let mut service = Service::logging(&[]);
    let mut stream = TcpStream::connect(service.endpoint.trim_start_matches("http://")).unwrap();
    stream.write_all(&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]).unwrap();
    let mut response = Vec::new();
    stream.read_to_end(&mut response).expect("the connection is reset");
    assert_eq!(response, b"");
    let line = service.running.log_line("speaks TLS");
    assert_eq!((&line["level"], &line["client"]), (&"WARN".into(), &"127.0.0.1".into()));
}
