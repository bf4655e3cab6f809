//! Many keep-alive connections on one thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::wire::{Connection, Framing, Http};

/// The maximum number of connections that one call of `wait` processes. Other connections that are
/// ready are processed by the next call.
const EVENTS: usize = 1_024;

/// Connections, each of which is idle or carries one request with a tag from the caller.
pub(crate) struct Pool<Tag, F = Http> {
    framing: F,
    open: Box<dyn Fn() -> io::Result<Connection>>,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    in_flight: Vec<Option<Tag>>,
    idle: Vec<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Whether the server accepts further requests on a connection.
    pub(crate) keeps_connections: bool,
    /// The bytes sent and received on connections that are no longer open.
    closed_traffic: u64,
}

/// The result of one request.
pub(crate) struct Completion<Tag> {
    pub(crate) tag: Tag,
    /// `None` if the connection broke; it is opened again.
    pub(crate) status: Option<u16>,
}

impl<Tag> Completion<Tag> {
    pub(crate) fn is_success(&self) -> bool {
        self.status == Some(200)
    }
}

impl<Tag> Pool<Tag> {
    /// Opens `size` connections to an HTTP server.
    pub(crate) fn open(target: SocketAddr, size: usize) -> io::Result<Self> {
        Self::with(Http, size, Box::new(move || Connection::open(target)))
    }
}

impl<Tag, F: Framing> Pool<Tag, F> {
    /// Opens `size` connections with `open`.
    pub(crate) fn with(
        framing: F,
        size: usize,
        open: Box<dyn Fn() -> io::Result<Connection>>,
    ) -> io::Result<Self> {
        let mut pool = Self {
            framing,
            open,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(size),
            in_flight: Vec::with_capacity(size),
            idle: Vec::with_capacity(size),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 1 << 18],
            keeps_connections: true,
            closed_traffic: 0,
        };
        for index in 0..size {
            pool.connections.push((pool.open)()?);
            pool.in_flight.push(None);
            pool.watch(index)?;
            pool.idle.push(index);
        }
        Ok(pool)
    }

    pub(crate) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// The number of requests without a response.
    pub(crate) fn busy(&self) -> usize {
        self.connections.len() - self.idle.len()
    }

    /// The bytes sent and received so far.
    pub(crate) fn traffic(&self) -> u64 {
        let open = self.connections.iter().map(|connection| connection.traffic);
        self.closed_traffic + open.sum::<u64>()
    }

    /// Sends a request on an idle connection. Fails if no connection is idle: the caller must then
    /// call `wait` first.
    pub(crate) fn send(&mut self, request: &[u8], tag: Tag) -> io::Result<()> {
        self.send_for(request, 1, tag)
    }

    /// Like `send`, for a request that gets `responses` responses.
    pub(crate) fn send_for(&mut self, request: &[u8], responses: usize, tag: Tag) -> io::Result<()> {
        let Some(index) = self.idle.pop() else {
            return Err(io::Error::other("no connection is idle"));
        };
        self.in_flight[index] = Some(tag);
        // A server may have closed an idle connection. The request is then sent on a new one.
        if self.connections[index].send(request, responses).is_err() {
            self.reopen(index)?;
            self.connections[index].send(request, responses)?;
        }
        Ok(())
    }

    /// Opens a new connection in place of the one that the next request would use, and returns the
    /// old one. `None` if no connection is idle.
    pub(crate) fn renew_idle(&mut self) -> io::Result<Option<Connection>> {
        self.idle.last().copied().map(|index| self.replace(index)).transpose()
    }

    /// Waits for at most `timeout`, and passes every finished request to `on_completion`.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
        mut on_completion: impl FnMut(Completion<Tag>),
    ) -> io::Result<()> {
        let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
        epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout))?;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let index = usize::try_from(event.data.u64()).map_err(io::Error::other)?;
            if let Some(completion) = self.complete(index)? {
                on_completion(completion);
            }
        }
        self.events = events;
        Ok(())
    }

    fn complete(&mut self, index: usize) -> io::Result<Option<Completion<Tag>>> {
        let status = match self.connections[index].receive(&self.framing, &mut self.buffer) {
            Ok(None) => return Ok(None),
            Ok(status) => {
                if !self.keeps_connections {
                    self.reopen(index)?;
                }
                status
            }
            Err(_) => {
                self.reopen(index)?;
                None
            }
        };
        // Without a request in flight, the event means that the server has closed an idle
        // connection.
        let Some(tag) = self.in_flight[index].take() else {
            return Ok(None);
        };
        self.idle.push(index);
        Ok(Some(Completion { tag, status }))
    }

    fn reopen(&mut self, index: usize) -> io::Result<()> {
        self.replace(index).map(drop)
    }

    /// Opens a connection in place of another one, which it returns.
    fn replace(&mut self, index: usize) -> io::Result<Connection> {
        let old = std::mem::replace(&mut self.connections[index], (self.open)()?);
        self.closed_traffic += old.traffic;
        self.watch(index)?;
        Ok(old)
    }

    fn watch(&self, index: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, &self.connections[index].stream, data, epoll::EventFlags::IN)?)
    }
}
