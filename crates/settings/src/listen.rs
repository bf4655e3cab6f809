//! Addresses to listen on.

use std::net::{SocketAddr, ToSocketAddrs as _};

/// Parses an address and port. A host name is resolved; if it has addresses of both families, the
/// IPv4 address is used, because `localhost` would otherwise depend on the machine.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let (host, port) = host_and_port(text)
        .ok_or("must be an address or a host name, and a port, such as 127.0.0.1:8080 or [::1]:8080")?;
    let addresses =
        (host, port).to_socket_addrs().map_err(|error| format!("{host} can't be resolved: {error}"))?;
    addresses.min_by_key(SocketAddr::is_ipv6).ok_or_else(|| format!("{host} has no address"))
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    // Without brackets, the end of an IPv6 address looks like a port.
    let is_name = !host.is_empty() && !host.contains([':', '/', '[', ']']);
    is_name.then_some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_host_names_are_accepted() {
        for (text, address) in [
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:8080", "[::1]:8080"),
            ("localhost:8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
        ] {
            assert_eq!(socket_address(text), Ok(address.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_the_reason() {
        for text in ["", "8080", ":8080", "localhost", "localhost:http", "::1:8080", "http://localhost:8080"]
        {
            let error = socket_address(text).unwrap_err();
            assert!(error.contains("such as 127.0.0.1:8080"), "{text}: {error}");
        }
        // The name is too long for DNS, so the test sends no query to a DNS server.
        let error = socket_address(&format!("{}:80", "x".repeat(300))).unwrap_err();
        assert!(error.contains("x can't be resolved: "), "{error}");
    }
}
