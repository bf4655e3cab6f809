//! A connection that carries one request at a time. It also reads chunked responses, which the
//! service sends while a request waits for mail.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::wire::post;

/// The end of a chunked body.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// A keep-alive connection.
pub(crate) struct Connection {
    target: SocketAddr,
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(target: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        Ok(Self { target, stream, received: Vec::new() })
    }

    /// Sends a request. Returns the status and the body of its response.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> io::Result<(u16, String)> {
        self.stream.write_all(&post(self.target, path, body)).await?;
        self.received.clear();
        loop {
            if let Some(response) = parse(&self.received)? {
                return Ok(response);
            }
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// The status and the body of a response, or `None` while it is incomplete.
fn parse(received: &[u8]) -> io::Result<Option<(u16, String)>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a malformed response");
    let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (String::from_utf8_lossy(&received[..end]).to_lowercase(), &received[end + 4..]);
    let status = head.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = match length {
        Some(length) => body.get(..length.parse().map_err(|_| malformed())?).map(<[u8]>::to_vec),
        None => body.ends_with(LAST_CHUNK).then(|| unchunked(body)).transpose()?,
    };
    Ok(body.map(|body| (status, String::from_utf8_lossy(&body).into_owned())))
}

/// The data of a complete chunked body.
fn unchunked(mut body: &[u8]) -> io::Result<Vec<u8>> {
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a malformed chunk");
    let mut data = Vec::new();
    loop {
        let line = body.windows(2).position(|window| window == b"\r\n").ok_or_else(malformed)?;
        let text = str::from_utf8(&body[..line]).map_err(|_| malformed())?;
        let size = usize::from_str_radix(text, 16).map_err(|_| malformed())?;
        if size == 0 {
            return Ok(data);
        }
        let start = line + 2;
        data.extend_from_slice(body.get(start..start + size).ok_or_else(malformed)?);
        body = body.get(start + size + 2..).ok_or_else(malformed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_response_is_complete_after_its_last_byte() {
        let plain = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            "HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
        for response in [plain, chunked] {
            for cut in 0..response.len() {
                assert_eq!(parse(&response.as_bytes()[..cut]).unwrap(), None, "after {cut} bytes");
            }
            assert_eq!(parse(response.as_bytes()).unwrap(), Some((202, "hello".to_owned())));
        }
    }
}
