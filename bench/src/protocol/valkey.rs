//! Calls of the functions of `bench/systems/registry.lua`.

use std::io;

use redis::{Value, cmd, parse_redis_value};

use super::{Duty, Protocol, Request};
use crate::synthetic;
use crate::wire::{Framing, Response};

pub(super) struct Valkey {
    pub(super) limit: u32,
    pub(super) ttl_seconds: u32,
}

impl Framing for Valkey {
    /// Each connection has at most one request in flight, so all received bytes belong to its
    /// reply.
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        if received.is_empty() {
            return Ok(None);
        }
        let status = match parse_redis_value(received) {
            Ok(Value::Int(0)) => 404,
            Ok(Value::ServerError(_)) => 500,
            Ok(_) => 200,
            // The parser reports an I/O error if the reply is incomplete.
            Err(error) if error.is_io_error() => return Ok(None),
            Err(error) => return Err(io::Error::other(error)),
        };
        Ok(Some(Response { status, length: received.len() }))
    }
}

impl Protocol for Valkey {
    fn request(&self, duty: Duty, peer: u64) -> Option<Request> {
        let id = synthetic::peer_id(peer);
        let mut call = cmd("FCALL");
        match duty {
            Duty::Join => {
                let (first, second) = synthetic::archetypes(peer);
                let contact = synthetic::contact(peer);
                let record = synthetic::registration(peer, None);
                call.arg("join").arg(0).arg(id).arg(self.ttl_seconds).arg(contact).arg(record);
                call.arg(first).arg(second);
            }
            Duty::Renew => {
                call.arg("renew").arg(0).arg(id).arg(self.ttl_seconds);
            }
            Duty::Get => {
                let archetype = synthetic::archetype(fastrand::u64(..));
                call.arg("get").arg(0).arg(archetype).arg(self.limit).arg(id);
            }
            Duty::Both => return None,
        }
        Some(call.get_packed_command().into())
    }

    fn peers_in(&self, response: &[u8]) -> io::Result<usize> {
        match parse_redis_value(response).map_err(io::Error::other)? {
            Value::Array(peers) => Ok(peers.len()),
            other => Err(io::Error::other(format!("no list of peers: {other:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Valkey;
    use crate::protocol::Protocol as _;
    use crate::wire::Framing as _;

    const VALKEY: Valkey = Valkey { limit: 50, ttl_seconds: 60 };

    fn status_of(reply: &str) -> Option<u16> {
        VALKEY.response(reply.as_bytes()).unwrap().map(|response| response.status)
    }

    #[test]
    fn a_reply_is_complete_after_its_last_byte() {
        let page = "*2\r\n$1\r\na\r\n$2\r\nbc\r\n";
        for cut in 0..page.len() {
            assert_eq!(status_of(&page[..cut]), None, "after {cut} bytes");
        }
        assert_eq!(status_of(page), Some(200));
        assert_eq!(VALKEY.peers_in(page.as_bytes()).unwrap(), 2);
    }

    #[test]
    fn zero_is_an_unknown_peer_and_an_error_a_failure() {
        assert_eq!(status_of(":1\r\n"), Some(200));
        assert_eq!(status_of(":0\r\n"), Some(404));
        assert_eq!(status_of("-ERR no such function\r\n"), Some(500));
    }
}
