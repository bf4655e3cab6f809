//! A minimal client that generates load with little processor time: its connections, and the
//! framing that finds the end of a response.
//!
//! The generator and the service share two cores, so the generator takes processor time away from
//! the service. A library's client keeps every header of a response and passes the body through a
//! channel, but a load generator needs only the status and the end of the response.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use httparse::Status::Complete;

/// The number of headers that a response may have.
const HEADERS: usize = 32;

/// A protocol in which each request gets a number of responses that is known in advance.
pub(crate) trait Framing {
    /// Returns the first response in `received`, or `None` while it is incomplete.
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>>;
}

/// A complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// A status code of HTTP, also for other protocols.
    pub(crate) status: u16,
    /// The length in bytes.
    pub(crate) length: usize,
}

/// HTTP/1.1.
pub(crate) struct Http;

impl Framing for Http {
    fn response(&self, received: &[u8]) -> io::Result<Option<Response>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let Complete(start) = head.parse(received).map_err(io::Error::other)? else {
            return Ok(None);
        };
        let status = head.code.ok_or_else(|| malformed("no status"))?;
        let value = |name: &str| head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let body = match value("content-length") {
            Some(length) => Some(number(length.value)?),
            None if value("transfer-encoding").is_some() => chunked_length(&received[start..])?,
            // The response to an upgrade.
            None if status == 101 => Some(0),
            None => return Err(malformed("no content-length")),
        };
        let length = body.map(|body| start + body).filter(|length| *length <= received.len());
        Ok(length.map(|length| Response { status, length }))
    }
}

/// The length of a chunked body, or `None` while it is incomplete.
fn chunked_length(body: &[u8]) -> io::Result<Option<usize>> {
    let mut at = 0;
    while let Some(rest) = body.get(at..) {
        let size = httparse::parse_chunk_size(rest).map_err(|_| malformed("an invalid chunk"))?;
        let Complete((head, size)) = size else { break };
        let size = usize::try_from(size).map_err(io::Error::other)?;
        // Each chunk ends with a line break. The last one is empty: no server here sends trailers.
        at += head + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn number(digits: &[u8]) -> io::Result<usize> {
    let digits = str::from_utf8(digits).map_err(io::Error::other)?;
    digits.trim().parse().map_err(io::Error::other)
}

/// A connection that carries one request at a time.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    /// The bytes sent and received so far.
    pub(crate) traffic: u64,
    received: Vec<u8>,
    /// The number of responses that the request in flight still lacks.
    missing: usize,
    /// Of the responses to the request in flight, the first status that is not 200. If there is
    /// none, 200.
    status: u16,
}

impl Connection {
    /// Connects. From then on, the connection is non-blocking.
    pub(crate) fn open(target: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(target)?)
    }

    /// Takes over a stream, which becomes non-blocking.
    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, traffic: 0, received: Vec::new(), missing: 0, status: 200 })
    }

    /// Sends a request that gets `responses` responses. Requests are small, so each fits into an
    /// empty socket buffer.
    pub(crate) fn send(&mut self, request: &[u8], responses: usize) -> io::Result<()> {
        (self.missing, self.status) = (responses, 200);
        self.traffic += request.len() as u64;
        self.stream.write_all(request)
    }

    /// Reads the data that has arrived. Once all responses to the request are complete, returns the
    /// first of their statuses that is not 200, or 200 if there is none.
    pub(crate) fn receive(&mut self, framing: &impl Framing, buffer: &mut [u8]) -> io::Result<Option<u16>> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(bytes) => {
                    self.traffic += bytes as u64;
                    self.received.extend_from_slice(&buffer[..bytes]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(response) = framing.response(&self.received)? {
                self.received.drain(..response.length);
                if self.status == 200 {
                    self.status = response.status;
                }
                self.missing = self.missing.saturating_sub(1);
                if self.missing == 0 {
                    return Ok(Some(self.status));
                }
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

fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the server sent {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Framing, Http, Response};

    fn status_and_length_of(response: &[u8]) -> Response {
        for cut in 0..response.len() {
            assert_eq!(Http.response(&response[..cut]).unwrap(), None, "after {cut} bytes");
        }
        let with_next = [response, b"HTTP/1.1 200"].concat();
        Http.response(&with_next).unwrap().unwrap()
    }

    #[test]
    fn a_response_is_complete_after_its_last_byte() {
        let response = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\nhello";
        assert_eq!(status_and_length_of(response), Response { status: 503, length: response.len() });
    }

    #[test]
    fn a_chunked_response_is_complete_after_its_empty_chunk() {
        let response =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        assert_eq!(status_and_length_of(response), Response { status: 200, length: response.len() });
    }

    #[test]
    fn a_response_without_a_length_is_an_error() {
        assert!(Http.response(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
