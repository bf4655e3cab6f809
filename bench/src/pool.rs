//! Many keep-alive connections on one thread.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::wire::Connection;

/// The maximum number of responses that one wait takes; more need another wait.
const EVENTS: usize = 1_024;

/// Connections, each of which is idle or carries one request with a tag from the caller.
pub(crate) struct Pool<Tag> {
    target: SocketAddr,
    epoll: rustix::fd::OwnedFd,
    connections: Vec<Connection>,
    in_flight: Vec<Option<Tag>>,
    idle: Vec<usize>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
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
    /// Opens `size` connections to `target`.
    pub(crate) fn open(target: SocketAddr, size: usize) -> io::Result<Self> {
        let mut pool = Self {
            target,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            connections: Vec::with_capacity(size),
            in_flight: Vec::with_capacity(size),
            idle: Vec::with_capacity(size),
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 1 << 18],
        };
        for index in 0..size {
            pool.connections.push(Connection::open(target)?);
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

    /// Sends on an idle connection. If there is none, the caller has to wait first.
    pub(crate) fn send(&mut self, request: &[u8], tag: Tag) -> io::Result<()> {
        let Some(index) = self.idle.pop() else {
            return Err(io::Error::other("no connection is idle"));
        };
        self.in_flight[index] = Some(tag);
        // A server may have closed an idle connection. The request is then sent on a new one.
        if self.connections[index].send(request).is_err() {
            self.reopen(index)?;
            self.connections[index].send(request)?;
        }
        Ok(())
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
        let status = match self.connections[index].receive(&mut self.buffer) {
            Ok(None) => return Ok(None),
            Ok(status) => status,
            Err(_) => {
                self.reopen(index)?;
                None
            }
        };
        // No request was in flight: the server has closed an idle connection.
        let Some(tag) = self.in_flight[index].take() else {
            return Ok(None);
        };
        self.idle.push(index);
        Ok(Some(Completion { tag, status }))
    }

    fn reopen(&mut self, index: usize) -> io::Result<()> {
        self.connections[index] = Connection::open(self.target)?;
        self.watch(index)
    }

    fn watch(&self, index: usize) -> io::Result<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::add(&self.epoll, &self.connections[index].stream, data, epoll::EventFlags::IN)?)
    }
}
