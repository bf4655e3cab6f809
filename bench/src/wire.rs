//! A minimal HTTP/1.1 client that generates load with little processor time.
//!
//! The generator and the service share two cores, so the service lacks the processor time that the
//! generator uses. A library's client parses every header of a response and passes the body through
//! a channel, but a load generator needs only the status and the end of the response. This client
//! parses nothing else. It requires `content-length`, which the service always sends.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

/// A keep-alive connection that carries one request at a time.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects. From then on, the connection is non-blocking.
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// Sends one request. Requests are small, so each fits into an empty socket buffer.
    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request)
    }

    /// Reads the data that has arrived. Returns the status once the response is complete.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<u16>> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => self.received.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if let Some(status) = complete_response(&self.received)? {
                self.received.clear();
                return Ok(Some(status));
            }
        }
    }
}

/// The bytes of a `POST` with a JSON body.
pub(crate) fn post(target: SocketAddr, path: &str, body: &str) -> Vec<u8> {
    let mut request = String::with_capacity(160 + body.len());
    // Writing to a String can't fail.
    let _ = write!(
        request,
        "POST {path} HTTP/1.1\r\nhost: {target}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    request.into_bytes()
}

/// The bytes of a `GET`.
pub(crate) fn get(target: SocketAddr, path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: {target}\r\n\r\n").into_bytes()
}

/// The status of the response in `received`, or `None` while it is incomplete.
pub(crate) fn complete_response(received: &[u8]) -> io::Result<Option<u16>> {
    let Some(head_end) = received.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = str::from_utf8(&received[..head_end]).map_err(|_| malformed("a head that is not text"))?;
    let length = content_length(head).ok_or_else(|| malformed("no content-length"))?;
    if received.len() < head_end + 4 + length {
        return Ok(None);
    }
    let status = head.get(9..12).and_then(|status| status.parse().ok());
    Ok(Some(status.ok_or_else(|| malformed("no status"))?))
}

fn content_length(head: &str) -> Option<usize> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    value.trim().parse().ok()
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::complete_response;

    #[test]
    fn a_response_is_complete_after_its_last_byte() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello";
        for cut in 0..response.len() {
            assert_eq!(complete_response(&response[..cut]).unwrap(), None, "after {cut} bytes");
        }
        assert_eq!(complete_response(response).unwrap(), Some(503));
    }

    #[test]
    fn a_response_without_a_length_is_an_error() {
        assert!(complete_response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
