//! How each compared system does the same operations: a peer joins with a lease, renews it, and
//! gets up to 50 others.

mod announce;
mod aurora;
mod etcd;
mod peerjs;
mod valkey;

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use crate::pool::Pool;
use crate::wire::{Connection, Framing, Response};

/// A server that sends nothing for this long is considered hung.
pub(crate) const STALL: Duration = Duration::from_secs(30);
/// In some systems, a peer stays joined only while its connection is open. Each connection that
/// sends renewals therefore first joins a peer of its own. These peers are numbered from this
/// number on, and all other peers have lower numbers.
const FIRST_OF_CONNECTIONS: u64 = 900_000_000;

/// A system to drive, and what to request from it.
#[derive(clap::Args, Clone)]
pub(crate) struct System {
    #[arg(long)]
    pub(crate) target: SocketAddr,
    #[arg(long, value_enum, default_value_t = Name::Aurora)]
    protocol: Name,
    /// The largest number of peers to get at once.
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// The view of the peers, for a service that has several.
    #[arg(long, default_value = "legacy")]
    view: String,
    /// The lease that new peers request.
    #[arg(long, default_value_t = 30)]
    ttl_seconds: u32,
    /// The server closes each connection after its first response.
    #[arg(long)]
    closing: bool,
}

/// The names of the protocols.
#[derive(clap::ValueEnum, Clone, Copy)]
enum Name {
    /// The HTTP API of this project, also served by the small services that it is compared with.
    Aurora,
    /// Announces of BitTorrent over HTTP.
    Announce,
    /// The functions of `bench/systems/registry.lua` in a Valkey or Redis server.
    Valkey,
    /// etcd's JSON over HTTP.
    Etcd,
    /// PeerJS: a WebSocket for each peer, and HTTP for the list.
    Peerjs,
}

/// What a peer requests.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Joins with a lease.
    Join,
    /// Renews the lease.
    Renew,
    /// Gets other peers.
    Get,
    /// Renews the lease and gets other peers, in one request.
    Both,
}

/// The bytes of a request, and the number of its responses.
pub(crate) struct Request {
    pub(crate) bytes: Vec<u8>,
    pub(crate) responses: usize,
}

impl From<Vec<u8>> for Request {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, responses: 1 }
    }
}

/// A system's requests and responses. Peers are numbered; [`synthetic`](crate::synthetic) has their
/// properties.
pub(crate) trait Protocol: Framing {
    /// The request by which `peer` does `duty`, or `None` if that takes more than one request.
    fn request(&self, duty: Duty, peer: u64) -> Option<Request>;

    /// The number of peers in the response to [`Duty::Get`].
    fn peers_in(&self, response: &[u8]) -> io::Result<usize>;

    /// Whether a peer stays joined only while its connection is open.
    fn is_joined_by_connection(&self) -> bool {
        false
    }

    /// Whether the server accepts further requests on a connection.
    fn keeps_connections(&self) -> bool {
        true
    }

    /// How many of `peers` the system still knows.
    fn count_known(&self, target: SocketAddr, peers: &[u64]) -> io::Result<usize> {
        let mut stream = connect(target)?;
        let mut known = 0;
        for peer in peers {
            let request = self.request(Duty::Renew, *peer).ok_or_else(|| unsupported(Duty::Renew))?;
            let (status, _) = exchange(self, &mut stream, &request)?;
            known += usize::from(status == 200);
        }
        Ok(known)
    }
}

impl Framing for Rc<dyn Protocol> {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        self.as_ref().response(received)
    }
}

impl System {
    pub(crate) fn protocol(&self) -> Rc<dyn Protocol> {
        match self.protocol {
            Name::Aurora => Rc::new(aurora::Aurora {
                target: self.target,
                limit: self.limit,
                view: self.view.clone(),
                ttl_seconds: self.ttl_seconds,
            }),
            Name::Announce => Rc::new(announce::Announce {
                target: self.target,
                limit: self.limit,
                keeps_connections: !self.closing,
            }),
            Name::Valkey => Rc::new(valkey::Valkey { limit: self.limit, ttl_seconds: self.ttl_seconds }),
            Name::Etcd => {
                Rc::new(etcd::Etcd { target: self.target, limit: self.limit, ttl_seconds: self.ttl_seconds })
            }
            Name::Peerjs => Rc::new(peerjs::Peerjs { target: self.target }),
        }
    }

    /// Opens connections for a duty.
    pub(crate) fn pool<Tag>(&self, duty: Duty, size: usize) -> io::Result<Pool<Tag, Rc<dyn Protocol>>> {
        let (protocol, target) = (self.protocol(), self.target);
        let next = Cell::new(FIRST_OF_CONNECTIONS);
        let opener = Rc::clone(&protocol);
        let open = move || open(&*opener, target, duty, next.replace(next.get() + 1));
        let mut pool = Pool::with(Rc::clone(&protocol), size, Box::new(open))?;
        pool.keeps_connections = protocol.keeps_connections();
        Ok(pool)
    }
}

/// Opens a connection for a duty. If a peer stays joined only while its connection is open, `peer`
/// joins on the new connection first, so that it can renew its lease.
fn open(protocol: &dyn Protocol, target: SocketAddr, duty: Duty, peer: u64) -> io::Result<Connection> {
    let mut stream = connect(target)?;
    if duty == Duty::Renew && protocol.is_joined_by_connection() {
        let join = protocol.request(Duty::Join, peer).ok_or_else(|| unsupported(Duty::Join))?;
        exchange(protocol, &mut stream, &join)?;
    }
    Connection::over(stream)
}

/// Opens a blocking connection, for [`exchange`].
pub(crate) fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    Ok(stream)
}

/// Sends a request on a blocking connection. Returns the status and the bytes of the last response.
pub(crate) fn exchange<P: Framing + ?Sized>(
    protocol: &P,
    stream: &mut TcpStream,
    request: &Request,
) -> io::Result<(u16, Vec<u8>)> {
    stream.write_all(&request.bytes)?;
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    let mut missing = request.responses;
    loop {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        received.extend_from_slice(&buffer[..bytes]);
        while let Some(response) = protocol.response(&received)? {
            missing = missing.saturating_sub(1);
            if missing == 0 {
                received.truncate(response.length);
                return Ok((response.status, received));
            }
            received.drain(..response.length);
        }
    }
}

pub(crate) fn unsupported(duty: Duty) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("{duty:?} takes more than one request"))
}

/// How often `pattern` occurs in `bytes`.
fn occurrences(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).filter(|window| *window == pattern).count()
}
