//! The certificate of `--tls-self-signed`: for trying HTTPS on a laptop or in a test network.
//!
//! Clients have to trust this certificate, so the operator distributes it to them. It is kept in
//! the data directory, because otherwise it would have to be distributed again after each start.

use std::fs;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_http::{TlsFiles, pem_expiry};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use crate::failure::Failure;

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Some systems reject certificates that are valid for longer than 825 days.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3_600);
/// A certificate that expires within this time is replaced at the start.
const RENEWAL: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The certificate and its key in `directory`, made now if there are none or if they expire soon.
pub(super) fn certificate(directory: &Path, listen: IpAddr) -> Result<TlsFiles, Failure> {
    let files = TlsFiles { cert: directory.join("tls-cert.pem"), key: directory.join("tls-key.pem") };
    if !(files.key.exists() && is_current(&files.cert)) {
        create(&files, directory, listen).map_err(|error| {
            Failure::Other(format!("can't make a certificate in {}: {error}", directory.display()))
        })?;
    }
    Ok(files)
}

fn is_current(path: &Path) -> bool {
    let expiry = fs::read(path).ok().and_then(|pem| pem_expiry(&pem));
    let soon = SystemTime::now() + RENEWAL;
    expiry.is_some_and(|expiry| UNIX_EPOCH + Duration::from_secs(expiry) > soon)
}

fn create(files: &TlsFiles, directory: &Path, listen: IpAddr) -> io::Result<()> {
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let certificate = parameters(listen).and_then(|parameters| parameters.self_signed(&key));
    let certificate = certificate.map_err(io::Error::other)?;
    fs::create_dir_all(directory)?;
    write_secret(&files.key, &key.serialize_pem())?;
    fs::write(&files.cert, certificate.pem())
}

/// A certificate of a server, not of an authority, for this machine and the address that it listens
/// on.
fn parameters(listen: IpAddr) -> Result<CertificateParams, rcgen::Error> {
    let own = (!listen.is_unspecified() && !listen.is_loopback()).then(|| listen.to_string());
    let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let names: Vec<String> = local.into_iter().chain(own).collect();
    let mut parameters = CertificateParams::new(names)?;
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "Aurora Discovery, self-signed");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    // A client whose clock is behind must not reject the certificate as not yet valid.
    parameters.not_before = epoch + now.saturating_sub(DAY);
    parameters.not_after = epoch + now + VALIDITY;
    Ok(parameters)
}

/// Replaces a file by one that only its owner can read. If this fails, there may be no file, and the
/// next start makes a new certificate.
fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    // An existing file would keep its mode, and processes that have opened it could read the text.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options.open(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_kept_while_it_is_current() {
        let directory = tempfile::tempdir().unwrap();
        let own = directory.path().join("new");
        let files = certificate(&own, IpAddr::from([10, 0, 0, 1])).unwrap();
        let read = || fs::read(&files.cert).unwrap();
        let first = read();
        assert!(is_current(&files.cert));
        certificate(&own, IpAddr::from([10, 0, 0, 1])).unwrap();
        assert_eq!(read(), first);
        fs::write(&files.cert, "damaged").unwrap();
        certificate(&own, IpAddr::from([10, 0, 0, 1])).unwrap();
        assert!(is_current(&files.cert));
    }

    #[test]
    fn only_the_owner_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt as _;

        let directory = tempfile::tempdir().unwrap();
        let make = || {
            let files = certificate(directory.path(), IpAddr::from([127, 0, 0, 1])).unwrap();
            assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
            files
        };
        let files = make();
        // An operator has let others read the key, and the certificate is replaced.
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
        fs::remove_file(&files.cert).unwrap();
        make();
    }
}
