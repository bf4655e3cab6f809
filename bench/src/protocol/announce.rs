//! BitTorrent's tracker protocol over HTTP. A peer joins, renews and gets others by announces. Each
//! archetype is a torrent, and each peer belongs to one torrent.

use std::io;
use std::net::SocketAddr;

use serde::Deserialize;

use super::{Duty, Protocol, Request, connect, exchange};
use crate::synthetic::ARCHETYPES;
use crate::wire::{Framing, Http, Response, get};

/// Trackers distinguish the peers at one address by their ports. The load generator uses this many
/// ports, from `FIRST_PORT` on.
const PORTS: u64 = 64_000;
const FIRST_PORT: u64 = 1_024;
const TORRENTS: u64 = ARCHETYPES.len() as u64;

/// A tracker reports a failure with the status 200 and a body whose only key is the reason.
const FAILURE: &[u8] = b"d14:failure reason";

pub(super) struct Announce {
    pub(super) target: SocketAddr,
    pub(super) limit: u32,
    pub(super) keeps_connections: bool,
}

/// The keys of a response that are read here.
#[derive(Deserialize)]
struct Announced {
    complete: usize,
    incomplete: usize,
    /// Six bytes for each peer.
    #[serde(with = "serde_bytes")]
    peers: Vec<u8>,
}

impl Framing for Announce {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        let Some(response) = Http.response(received)? else {
            return Ok(None);
        };
        let has_failed = body(&received[..response.length]).starts_with(FAILURE);
        Ok(Some(Response { status: if has_failed { 400 } else { response.status }, ..response }))
    }
}

impl Protocol for Announce {
    fn request(&self, duty: Duty, peer: u64) -> Option<Request> {
        // An announce that needs no peers requests one, because some trackers use their default
        // number if 0 peers are requested.
        let (event, wanted) = match duty {
            Duty::Join => ("&event=started", 1),
            Duty::Renew => ("", 1),
            Duty::Get | Duty::Both => ("", self.limit),
        };
        Some(self.announce(peer % TORRENTS, peer, event, wanted).into())
    }

    fn peers_in(&self, response: &[u8]) -> io::Result<usize> {
        Ok(parse(response)?.peers.len() / 6)
    }

    fn keeps_connections(&self) -> bool {
        self.keeps_connections
    }

    /// The protocol cannot tell whether a single peer is known, because an announce creates an
    /// unknown peer. So this announces peer 0 in each torrent, and adds up the numbers of peers in
    /// the responses.
    fn count_known(&self, target: SocketAddr, peers: &[u64]) -> io::Result<usize> {
        let mut known = 0;
        for torrent in 0..TORRENTS {
            let announce = self.announce(torrent, 0, "", 1).into();
            let (_, response) = exchange(self, &mut connect(target)?, &announce)?;
            let Announced { complete, incomplete, .. } = parse(&response)?;
            // Some trackers count the peer that announces.
            known += (complete + incomplete).saturating_sub(1);
        }
        Ok(known.min(peers.len()))
    }
}

impl Announce {
    fn announce(&self, torrent: u64, peer: u64, event: &str, wanted: u32) -> Vec<u8> {
        let port = FIRST_PORT + peer / TORRENTS % PORTS;
        let path = format!(
            "/announce?info_hash={hash}&peer_id=-AD0001-{id:012}&port={port}&uploaded=0&downloaded=0&left=1&compact=1&numwant={wanted}{event}",
            hash = info_hash(torrent),
            id = peer % 1_000_000_000_000,
        );
        get(self.target, &path)
    }
}

/// The 20 bytes that name a torrent. None of them needs an escape in a URL.
fn info_hash(torrent: u64) -> String {
    format!("archetype-{torrent:010}")
}

fn parse(response: &[u8]) -> io::Result<Announced> {
    serde_bencode::from_bytes(body(response)).map_err(io::Error::other)
}

fn body(response: &[u8]) -> &[u8] {
    let head = response.windows(4).position(|window| window == b"\r\n\r\n");
    head.map_or(&[], |head| &response[head + 4..])
}

#[cfg(test)]
mod tests {
    use super::Announce;
    use crate::protocol::{Duty, Protocol as _};
    use crate::wire::Framing as _;

    fn tracker() -> Announce {
        Announce { target: "127.0.0.1:1".parse().unwrap(), limit: 50, keeps_connections: true }
    }

    fn status_of(body: &str) -> u16 {
        let response = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        tracker().response(response.as_bytes()).unwrap().unwrap().status
    }

    #[test]
    fn a_failure_of_an_announce_is_an_error() {
        assert_eq!(status_of("d8:completei1e10:incompletei2e8:intervali120e5:peers0:e"), 200);
        assert_eq!(status_of("d14:failure reason4:nopee"), 400);
    }

    #[test]
    fn a_page_has_as_many_peers_as_its_bytes_have_addresses() {
        let response =
            b"HTTP/1.1 200 OK\r\n\r\nd8:completei1e10:incompletei2e8:intervali120e5:peers12:abcdefghijkle";
        assert_eq!(tracker().peers_in(response).unwrap(), 2);
    }

    #[test]
    fn a_million_peers_have_their_own_torrents_and_ports() {
        let request = |peer| {
            let bytes = tracker().request(Duty::Renew, peer).unwrap().bytes;
            let text = String::from_utf8(bytes).unwrap();
            let part = |name: &str| text.split(name).nth(1).unwrap().split('&').next().unwrap().to_owned();
            (part("info_hash="), part("&port="))
        };
        let distinct: std::collections::HashSet<_> =
            (0..1_000_000).step_by(499).chain(0..32).map(request).collect();
        assert_eq!(distinct.len(), (0..1_000_000).step_by(499).count() + 31);
    }
}
