//! Reads from a certificate when it expires, because rustls does not offer this.
//!
//! The code reads only this date, which is at a fixed place (RFC 5280, 4.1). A parser of X.509
//! would add a dozen crates.

use aurora_discovery_protocol::Timestamp;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// The tags of ASN.1 that the date depends on.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// When a certificate in DER format expires, in seconds since 1970; `None` if it is malformed.
pub fn certificate_expiry(der: &[u8]) -> Option<u64> {
    let certificate = element(der)?.content;
    let mut fields = element(certificate)?.content;
    if fields.first() == Some(&VERSION) {
        fields = element(fields)?.rest;
    }
    // The serial number, the algorithm of the signature, and the issuer come first.
    for _ in 0..3 {
        fields = element(fields)?.rest;
    }
    // The validity is next: the date from which the certificate is valid, and the date of its
    // expiry.
    let not_before = element(element(fields)?.content)?;
    seconds(&element(not_before.rest)?)
}

/// The earliest expiry of the certificates in PEM format, in seconds since 1970. Malformed
/// certificates are ignored. `None` if no other certificate is left.
pub fn pem_expiry(pem: &[u8]) -> Option<u64> {
    CertificateDer::pem_slice_iter(pem).flatten().filter_map(|cert| certificate_expiry(&cert)).min()
}

/// An element of DER.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// What follows the element.
    rest: &'a [u8],
}

fn element(der: &[u8]) -> Option<Element<'_>> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        // In the long form, the first byte says how many bytes the length has. No certificate needs
        // more than three.
        let (bytes, rest) =
            rest.split_at_checked(usize::from(first & 0x7f)).filter(|(bytes, _)| bytes.len() < 4)?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag, content, rest })
}

/// The seconds since 1970 of a time such as `261127120000Z`, with two or four digits of the year.
fn seconds(time: &Element<'_>) -> Option<u64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z').filter(|text| text.is_ascii())?;
    let full = match time.tag {
        // `UTCTime` has only two digits of the year. From 50 on, they mean a year before 2000.
        UTC_TIME => format!("{}{text}", if text < "50" { "20" } else { "19" }),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    if full.len() != 14 {
        return None;
    }
    let [year, month, day] = [&full[..4], &full[4..6], &full[6..8]];
    let [hour, minute, second] = [&full[8..10], &full[10..12], &full[12..]];
    let written = format!("{year}-{month}-{day}T{hour}:{minute}:{second}");
    Timestamp::parse(&written).ok().map(|time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_expiry_is_read_in_both_formats_of_time() {
        for year in [1999, 2049, 2050, 4096] {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.not_after = date_time_ymd(year, 2, 28);
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            let expected = u64::try_from(params.not_after.unix_timestamp()).ok();
            assert_eq!(certificate_expiry(certificate.der()), expected, "{year}");
            assert_eq!(pem_expiry(certificate.pem().as_bytes()), expected, "{year}");
        }
    }

    #[test]
    fn malformed_certificates_have_no_expiry() {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let der = certificate.der();
        for length in 0..der.len() {
            assert_eq!(certificate_expiry(&der[..length]), None, "{length}");
        }
        for damaged in [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0xff], b"text"] {
            assert_eq!(certificate_expiry(damaged), None);
        }
        assert_eq!(pem_expiry(b"text"), None);
    }
}
