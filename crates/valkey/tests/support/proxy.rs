//! A TCP proxy between a store and its server, which injects faults. On each connection, it
//! forwards a command only after the reply to the one before it, so that it knows which reply
//! belongs to which command.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A fault that the proxy injects. A command is identified by its first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The proxy replies to each command with this text, and forwards none.
    EveryReply(&'static str),
    /// The proxy replies to this command with this text, and does not forward it.
    Reply(&'static str, &'static str),
    /// The proxy closes the connection instead of forwarding this command.
    ResetBefore(&'static str),
    /// The proxy forwards this command, and closes the connection instead of forwarding the reply.
    ResetAfter(&'static str),
    /// The proxy forwards this command, but never the reply. The connection stays open.
    Swallow(&'static str),
    /// The proxy closes all connections, and each new one at its first command.
    Down,
}

/// The proxy. It ends when it is dropped.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

struct State {
    fault: Mutex<Option<Fault>>,
    /// The number of commands into which the fault was injected.
    met: watch::Sender<u64>,
    /// The port of the server. When it changes, all connections are closed.
    upstream: watch::Sender<u16>,
}

impl Proxy {
    /// Starts a proxy for the server at a port of this machine.
    pub(crate) async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind((super::own_address(), 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = State {
            fault: Mutex::default(),
            met: watch::Sender::new(0),
            upstream: watch::Sender::new(upstream),
        };
        let state = Arc::new(state);
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let mut moved = state.upstream.subscribe();
                    let upstream = *moved.borrow_and_update();
                    tokio::select! {
                        _ = moved.changed() => {}
                        // An error only means that this connection ends.
                        _ = state.serve(client, upstream) => {}
                    }
                });
            }
        });
        Self { port, state, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// From now on, commands meet this fault.
    pub(crate) fn inject(&self, fault: Fault) {
        *self.state.fault.lock() = Some(fault);
        if fault == Fault::Down {
            self.state.upstream.send_modify(|_| {});
        }
    }

    /// From now on, commands meet no fault.
    pub(crate) fn heal(&self) {
        *self.state.fault.lock() = None;
    }

    /// Connects to another server from now on, and closes all connections.
    pub(crate) fn move_to(&self, upstream: u16) {
        self.state.upstream.send_replace(upstream);
    }

    /// Waits until a command meets the fault.
    pub(crate) async fn met(&self) {
        let mut met = self.state.met.subscribe();
        met.borrow_and_update();
        let waiting = met.changed();
        tokio::time::timeout(super::LONG, waiting)
            .await
            .expect("a command meets the fault")
            .expect("it runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        // Makes all connections end.
        self.inject(Fault::Down);
    }
}

impl State {
    /// Forwards commands and replies until the connection ends, or a fault ends it.
    async fn serve(&self, client: TcpStream, upstream: u16) -> io::Result<()> {
        client.set_nodelay(true)?;
        let server = TcpStream::connect((super::own_address(), upstream)).await?;
        server.set_nodelay(true)?;
        let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
        loop {
            let command = value(&mut client).await?;
            let fault = self.fault_of(&command);
            if fault.is_some() {
                self.met.send_modify(|met| *met += 1);
            }
            match fault {
                Some(Fault::ResetBefore(_) | Fault::Down) => return Ok(()),
                Some(Fault::EveryReply(reply) | Fault::Reply(_, reply)) => {
                    client.get_mut().write_all(format!("{reply}\r\n").as_bytes()).await?;
                    continue;
                }
                Some(Fault::ResetAfter(_) | Fault::Swallow(_)) | None => {}
            }
            server.get_mut().write_all(&command).await?;
            let reply = value(&mut server).await?;
            match fault {
                Some(Fault::ResetAfter(_)) => return Ok(()),
                Some(_) => std::future::pending().await,
                None => client.get_mut().write_all(&reply).await?,
            }
        }
    }

    /// The injected fault, if it concerns this command.
    fn fault_of(&self, command: &[u8]) -> Option<Fault> {
        let name = name(command).unwrap_or_default();
        let fault = (*self.fault.lock())?;
        let is_due = match fault {
            Fault::EveryReply(_) | Fault::Down => true,
            Fault::Reply(of, _) | Fault::ResetBefore(of) | Fault::ResetAfter(of) | Fault::Swallow(of) => {
                name.eq_ignore_ascii_case(of.as_bytes())
            }
        };
        is_due.then_some(fault)
    }
}

/// The first word of a command.
fn name(command: &[u8]) -> Option<&[u8]> {
    command.split(|byte| *byte == b'\n').nth(2)?.strip_suffix(b"\r")
}

/// Reads one value of the Redis protocol, version 2, and returns its bytes as they are on the wire.
/// Commands have the same form as replies.
async fn value(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut raw = Vec::new();
    let mut missing = 1_u64;
    while missing > 0 {
        missing -= 1;
        let start = raw.len();
        if from.read_until(b'\n', &mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&raw[start..]).into_owned();
        // A negative length stands for null, which has no content.
        let length = line[1..].trim_end().parse::<u64>().ok();
        match (line.as_bytes()[0], length) {
            (b'*', Some(count)) => missing += count,
            (b'$', Some(length)) => _ = from.take(length + 2).read_to_end(&mut raw).await?,
            _ => {}
        }
    }
    Ok(raw)
}
