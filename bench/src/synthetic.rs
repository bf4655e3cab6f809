//! Peers like those of legacy clients. They are computed from a number, so that all tools of
//! a run use the same network.

use std::io::{self, BufWriter, Write};
use std::net::Ipv4Addr;

/// The archetypes, of which each peer has two. A real network also has few archetypes, which many
/// peers share.
pub(crate) const ARCHETYPES: [&str; 16] = [
    "pepino", "ethics", "memory", "vision", "speech", "planner", "critic", "teacher", "archive", "bridge",
    "sensor", "weaver", "scout", "healer", "oracle", "anchor",
];

/// Prints the ids that `fill` registers, one per line.
#[derive(clap::Args)]
pub(crate) struct Ids {
    #[arg(long, default_value_t = 0)]
    first: u64,
    #[arg(long)]
    count: u64,
}

impl Ids {
    pub(crate) fn run(&self) -> io::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        for number in self.first..self.first + self.count {
            writeln!(out, "{}", peer_id(number))?;
        }
        out.flush()
    }
}

/// The id of peer `number`, shaped like a version 4 UUID.
pub(crate) fn peer_id(number: u64) -> String {
    let (high, low) = (scramble(number), scramble(number ^ 0xa5a5_a5a5_0000_0000));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// The body that registers peer `number`: about 250 bytes of JSON with two archetypes. Addresses
/// are spread over 10.0.0.0/8, so that no limit per published address applies.
pub(crate) fn registration(number: u64, ttl_seconds: Option<u32>) -> String {
    let draw = scramble(!number);
    let (first, second) = archetypes(number);
    let ttl = ttl_seconds.map_or_else(String::new, |ttl| format!(r#","ttl_seconds":{ttl}"#));
    format!(
        r#"{{"peer_id":"{id}","address":"{address}","port":9000,"archetypes":["{first}","{second}"],"metadata":{{"version":"1.0.0","capabilities":["tensor-exchange","gossip"],"region":"eu-south-{region}","build":"{build:016x}"}}{ttl}}}"#,
        id = peer_id(number),
        address = address(number),
        region = draw % 8,
        build = draw,
    )
}

/// What other peers need in order to connect to peer `number`, as JSON.
pub(crate) fn contact(number: u64) -> String {
    let (id, address) = (peer_id(number), address(number));
    format!(r#"{{"peer_id":"{id}","address":"{address}","port":9000}}"#)
}

/// The two archetypes of peer `number`.
pub(crate) fn archetypes(number: u64) -> (&'static str, &'static str) {
    let draw = scramble(!number);
    let kinds = ARCHETYPES.len() as u64;
    let first = draw % kinds;
    let second = (first + 1 + (draw >> 32) % (kinds - 1)) % kinds;
    (archetype(first), archetype(second))
}

/// The archetype with `index` modulo the number of archetypes.
pub(crate) fn archetype(index: u64) -> &'static str {
    let index = usize::try_from(index % ARCHETYPES.len() as u64).unwrap_or(0);
    ARCHETYPES[index]
}

/// The address of peer `number`.
pub(crate) fn address(number: u64) -> Ipv4Addr {
    let [.., b, c, d] = number.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// The first output of splitmix64 with `number` as the seed. Adjacent numbers have unrelated
/// results.
pub(crate) fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{peer_id, registration};

    #[test]
    fn ids_are_unique_and_have_the_same_length() {
        let ids: HashSet<String> = (0..10_000).map(peer_id).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 36));
    }

    #[test]
    fn a_registration_is_json_of_about_250_bytes_with_two_archetypes() {
        for number in 0..1_000 {
            let body = registration(number, None);
            let value: serde_json::Value = serde_json::from_str(&body).unwrap();
            let archetypes = value["archetypes"].as_array().unwrap();
            assert_eq!(archetypes.len(), 2);
            assert_ne!(archetypes[0], archetypes[1]);
            assert!((230..=270).contains(&body.len()), "{} bytes", body.len());
        }
    }
}
