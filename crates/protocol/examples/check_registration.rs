//! Checks the body of a registration as a service does.
//!
//! ```sh
//! cargo run -p aurora-discovery-protocol --example check_registration -- '{"peer_id": "a b"}'
//! ```
#![allow(clippy::print_stdout, reason = "an example prints its result")]

use aurora_discovery_protocol::{DiscoverBounds, ErrorBody, RegisterRequest, Ttl};

fn main() -> Result<(), serde_json::Error> {
    let body = std::env::args()
        .nth(1)
        .unwrap_or_else(|| r#"{"peer_id": "alice", "port": 9000, "archetypes": ["pepino"]}"#.to_owned());
    // These bounds apply to the `discover` key, with which a registration can request a list of
    // peers.
    let bounds = DiscoverBounds::new(20, 100);
    let leases = Ttl::from_secs(10)..=Ttl::from_secs(3_600);
    match RegisterRequest::from_body(body.as_bytes(), leases, bounds) {
        Ok(request) => println!("valid: {}", serde_json::to_string(&request)?),
        Err(refusal) => println!("refused: {}", serde_json::to_string(&ErrorBody::from(refusal))?),
    }
    Ok(())
}
