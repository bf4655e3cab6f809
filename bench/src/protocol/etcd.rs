//! etcd's JSON over HTTP. A peer has a lease, a key with its record, and a key under each of its
//! archetypes with what others need in order to connect to it. All of them end with the lease.

use std::io;
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Duty, Protocol, Request, occurrences};
use crate::synthetic;
use crate::wire::{Framing, Http, Response, post};

pub(super) struct Etcd {
    pub(super) target: SocketAddr,
    pub(super) limit: u32,
    pub(super) ttl_seconds: u32,
}

impl Framing for Etcd {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        let Some(response) = Http.response(received)? else {
            return Ok(None);
        };
        // etcd responds to the renewal of an unknown lease with the status 200. Only responses to
        // renewals have the key `result`, and they lack `TTL` if the lease is unknown.
        let bytes = &received[..response.length];
        let is_unknown = occurrences(bytes, br#"{"result""#) > 0 && occurrences(bytes, br#""TTL""#) == 0;
        Ok(Some(Response { status: if is_unknown { 404 } else { response.status }, ..response }))
    }
}

impl Protocol for Etcd {
    fn request(&self, duty: Duty, peer: u64) -> Option<Request> {
        // The ids of leases start at 1, because etcd would choose another id instead of 0.
        let lease = peer + 1;
        let bytes = match duty {
            Duty::Join => return Some(self.join(peer, lease)),
            Duty::Renew => post(self.target, "/v3/lease/keepalive", &format!(r#"{{"ID":{lease}}}"#)),
            Duty::Get => {
                // Starts at a random id, because etcd lists keys in order and has no random
                // samples.
                let archetype = synthetic::archetype(fastrand::u64(..));
                let start = STANDARD.encode(key(archetype, &synthetic::peer_id(fastrand::u64(..))));
                // The end of the range of keys `archetypes/{archetype}/…`: in ASCII, `0` follows
                // the slash.
                let end = STANDARD.encode(format!("archetypes/{archetype}0"));
                let body = format!(r#"{{"key":"{start}","range_end":"{end}","limit":{}}}"#, self.limit);
                post(self.target, "/v3/kv/range", &body)
            }
            Duty::Both => return None,
        };
        Some(bytes.into())
    }

    fn peers_in(&self, response: &[u8]) -> io::Result<usize> {
        Ok(occurrences(response, br#""key""#))
    }
}

impl Etcd {
    /// Grants a lease with an id of the client's choice, and puts the keys in one transaction,
    /// without waiting for the first response.
    fn join(&self, peer: u64, lease: u64) -> Request {
        let id = synthetic::peer_id(peer);
        let put = |key: &str, value: &str| {
            let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
            format!(r#"{{"requestPut":{{"key":"{key}","value":"{value}","lease":{lease}}}}}"#)
        };
        let (first, second) = synthetic::archetypes(peer);
        let contact = synthetic::contact(peer);
        let puts = [
            put(&format!("peers/{id}"), &synthetic::registration(peer, None)),
            put(&key(first, &id), &contact),
            put(&key(second, &id), &contact),
        ];
        let grant = format!(r#"{{"TTL":{},"ID":{lease}}}"#, self.ttl_seconds);
        let mut bytes = post(self.target, "/v3/lease/grant", &grant);
        bytes.extend(post(self.target, "/v3/kv/txn", &format!(r#"{{"success":[{}]}}"#, puts.join(","))));
        Request { bytes, responses: 2 }
    }
}

fn key(archetype: &str, id: &str) -> String {
    format!("archetypes/{archetype}/{id}")
}

#[cfg(test)]
mod tests {
    use super::Etcd;
    use crate::protocol::{Duty, Protocol as _};
    use crate::wire::Framing as _;

    fn etcd() -> Etcd {
        Etcd { target: "127.0.0.1:1".parse().unwrap(), limit: 50, ttl_seconds: 60 }
    }

    fn status_of(body: &str) -> u16 {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        etcd().response(response.as_bytes()).unwrap().unwrap().status
    }

    #[test]
    fn a_renewal_without_a_ttl_is_of_an_unknown_lease() {
        assert_eq!(status_of(r#"{"result":{"header":{},"ID":"77","TTL":"60"}}"#), 200);
        assert_eq!(status_of(r#"{"result":{"header":{},"ID":"78"}}"#), 404);
        assert_eq!(status_of(r#"{"header":{},"kvs":[{"key":"YQ==","value":"YQ=="}],"count":"1"}"#), 200);
    }

    #[test]
    fn a_peer_joins_with_a_lease_and_three_keys() {
        let join = etcd().request(Duty::Join, 7).unwrap();
        let text = String::from_utf8(join.bytes).unwrap();
        assert_eq!(join.responses, 2);
        assert_eq!(text.matches("requestPut").count(), 3);
        assert_eq!(text.matches(r#""lease":8"#).count(), 3);
        assert!(text.contains(r#"{"TTL":60,"ID":8}"#));
    }
}
