//! The HTTP API of this project.

use std::io;
use std::net::SocketAddr;

use super::{Duty, Protocol, Request, occurrences};
use crate::synthetic;
use crate::wire::{Framing, Http, Response, get, post};

pub(super) struct Aurora {
    pub(super) target: SocketAddr,
    pub(super) limit: u32,
    pub(super) view: String,
    pub(super) ttl_seconds: u32,
}

impl Framing for Aurora {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        Http.response(received)
    }
}

impl Protocol for Aurora {
    fn request(&self, duty: Duty, peer: u64) -> Option<Request> {
        let Self { target, limit, view, ttl_seconds } = self;
        let id = synthetic::peer_id(peer);
        let archetype = synthetic::archetype(fastrand::u64(..));
        let bytes = match duty {
            Duty::Join => post(*target, "/register", &synthetic::registration(peer, Some(*ttl_seconds))),
            Duty::Renew => post(*target, "/heartbeat", &format!(r#"{{"peer_id":"{id}"}}"#)),
            Duty::Get => {
                let view = if view == "legacy" { String::new() } else { format!("&view={view}") };
                get(*target, &format!("/discover?archetype={archetype}&limit={limit}&exclude={id}{view}"))
            }
            Duty::Both => {
                let query = format!(r#"{{"archetype":"{archetype}","limit":{limit},"view":"{view}"}}"#);
                post(*target, "/heartbeat", &format!(r#"{{"peer_id":"{id}","discover":{query}}}"#))
            }
        };
        Some(bytes.into())
    }

    fn peers_in(&self, response: &[u8]) -> io::Result<usize> {
        Ok(occurrences(response, br#""peer_id""#))
    }
}
