//! Explains why a server's certificate was rejected, and how to fix it.

use std::net::IpAddr;

/// How the TLS library begins its message about a certificate.
const REJECTED: &str = "invalid peer certificate: ";

/// The reason and the remedy, if `cause` is that the certificate of `host` was rejected.
pub(crate) fn rejection(cause: &str, host: &str) -> Option<(String, String)> {
    let reason = cause.strip_prefix(REJECTED)?;
    let (reason, remedy) = if reason.contains("CaUsedAsEndEntity") {
        (
            "it is a CA certificate (CA:TRUE), which `openssl req -x509` makes by default, and \
             servers must not use one"
                .to_owned(),
            format!("make one for the server with: {}", command(host)),
        )
    } else if reason.contains("not valid for any names") || reason.contains("valid for only []") {
        (
            "it has no subject alternative name, and clients no longer read the common name".to_owned(),
            format!("make one for the server with: {}", command(host)),
        )
    } else {
        let remedy = "check the certificate that the server sends, and which authorities this client trusts";
        (reason.to_owned(), remedy.to_owned())
    };
    Some((reason, remedy))
}

/// The command that makes a self-signed certificate for `host`.
fn command(host: &str) -> String {
    let kind = if host.parse::<IpAddr>().is_ok() { "IP" } else { "DNS" };
    format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
         -keyout key.pem -out cert.pem -subj /CN={host} -addext basicConstraints=critical,CA:FALSE \
         -addext subjectAltName={kind}:{host}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remedy_for_a_certificate_of_an_authority_is_a_command_for_the_host() {
        let cause = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        for (host, name) in
            [("a.example", "=DNS:a.example"), ("10.0.0.1", "=IP:10.0.0.1"), ("::1", "=IP:::1")]
        {
            let (reason, remedy) = rejection(cause, host).unwrap();
            assert!(reason.contains("CA:TRUE") && remedy.ends_with(name), "{reason}; {remedy}");
        }
    }

    #[test]
    fn other_causes_are_passed_on() {
        let (reason, _) = rejection("invalid peer certificate: UnknownIssuer", "h").unwrap();
        assert_eq!(reason, "UnknownIssuer");
        assert_eq!(rejection("Connection refused", "h"), None);
    }
}
