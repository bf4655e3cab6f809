//! Sockets that listen, and how they close without losing a connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The length of the queue of connections that wait to be accepted; the system may cap it. All
/// clients of a network may reconnect at once. A client that finds the queue full tries again only
/// after a second.
const BACKLOG: u32 = 4_096;

/// The size of the system's buffer for what a client has not read yet. Linux doubles it, for its
/// own overhead. Without this limit the buffer would grow to megabytes, and the write timeout
/// counts data in the buffer as read. This size suffices for a megabyte a second at a round trip of
/// 60 ms.
const SEND_BUFFER_BYTES: u32 = 64 * 1024;

/// Listens on `address`. Port 0 selects a free port. On Linux, the system ends a connection if the
/// client has not acknowledged sent data for `write_timeout`.
pub(crate) fn bind(address: SocketAddr, write_timeout: Duration) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for connections of the previous process to time out.
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit the following two options.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&socket).set_tcp_user_timeout(Some(write_timeout))?;
    socket.bind(address)?;
    let listener = socket.listen(BACKLOG)?;
    let local_addr = listener.local_addr()?;
    Ok((listener, local_addr))
}

/// Makes the system ignore new attempts to connect, so that no connection is in the queue when the
/// listener closes. Closing the listener would reset the connections in its queue, whose clients
/// may have sent a request already. An ignored attempt loses nothing: the client's system
/// retransmits the SYN after a second. By then, the next process accepts the connection, or the
/// system refuses it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn ignore_new_connections(listener: &TcpListener) {
    use socket2::{SockFilter, SockRef};

    // Classic BPF on the TCP header: byte 13 has the flags, and bit 1 is SYN. A packet with SYN is
    // dropped (none of it is kept), and any other is kept whole.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_BITS_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    let filter = [
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(JUMP_IF_BITS_SET, 0, 1, 0x02),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    // The server works without the filter: closing the listener may then reset new connections.
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        tracing::debug!(cause = %error, "connections that arrive while the listener closes may be reset");
    }
}

/// Other systems have no such filter. A connection that arrives in the moment in which the listener
/// closes is reset.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn ignore_new_connections(_: &TcpListener) {}

/// Closes the listener. Returns the connections that were waiting in its queue.
pub(crate) fn close(listener: TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    // Uses the listener of the standard library. tokio's listener would accept a connection only
    // after the reactor has learned of it.
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let waiting = std::iter::from_fn(|| listener.accept().ok());
    waiting.filter_map(|(stream, peer)| Some((nonblocking(stream).ok()?, peer))).collect()
}

fn nonblocking(stream: std::net::TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn accepted_connections_have_a_small_buffer_and_end_if_nothing_is_read() {
        let timeout = Duration::from_secs(7);
        let (listener, address) = bind(SocketAddr::from(([127, 0, 0, 1], 0)), timeout).unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let socket = socket2::SockRef::from(&accepted);
        // Linux reports twice the size that was set.
        assert_eq!(socket.send_buffer_size().unwrap(), 2 * SEND_BUFFER_BYTES as usize);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(timeout));
    }
}
