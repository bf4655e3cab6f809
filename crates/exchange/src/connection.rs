//! A connection, and the exchanges on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::answer::{self, Answer, Framing, Head};
use crate::request::Request;

/// What is read at once; most answers come whole.
const READ: usize = 8 * 1_024;
/// The longest head, line between chunks, or all that stands behind the last chunk, in bytes.
const LONGEST_HEAD: usize = 64 * 1_024;
/// Most heads that only announce an answer: somebody who sends nothing else is not waited for.
const MOST_ANNOUNCED: usize = 10;

/// What ends a line, and a chunk.
const CRLF: &[u8; 2] = b"\r\n";

/// Why an exchange has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// The connection ended before a byte of the answer came. One that was kept was perhaps closed while nobody used it.
    #[error("the connection ended before the answer: {0}")]
    Unanswered(io::Error),
    /// The connection ended amid the answer.
    #[error("the connection ended amid the answer: {0}")]
    BrokenOff(io::Error),
    /// The answer breaks HTTP's rules.
    #[error("the answer is not HTTP: {0}")]
    Malformed(String),
    /// The answer is longer than was allowed.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// A connection to an endpoint, for one exchange after the other.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    /// What was read and is no answer yet.
    read: Vec<u8>,
    is_usable: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection over a stream on which nothing was sent.
    pub fn over(stream: S) -> Self {
        Self { stream, read: Vec::new(), is_usable: true }
    }

    /// Whether another exchange may be tried: the last one ended well, and the other side has neither closed the connection since, as
    /// far as is known here, nor said anything.
    pub fn is_open(&mut self) -> bool {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        let mut nobody = Context::from_waker(Waker::noop());
        self.is_usable
            && self.read.is_empty()
            && Pin::new(&mut self.stream).poll_read(&mut nobody, &mut buffer).is_pending()
    }

    /// Sends a request and reads its answer, the body of at most `longest` bytes.
    ///
    /// A connection whose exchange failed, or was given up, serves no other one: what comes over it could be another one's answer.
    ///
    /// # Errors
    /// [`ExchangeError`]; the other side may have acted on the request.
    pub async fn exchange(&mut self, request: &Request, longest: usize) -> Result<Answer, ExchangeError> {
        if !std::mem::take(&mut self.is_usable) || !self.read.is_empty() {
            return Err(ExchangeError::Unanswered(io::ErrorKind::NotConnected.into()));
        }
        self.write(request).await.map_err(ExchangeError::Unanswered)?;
        let head = self.head().await?;
        let bytes = self.take(head.length);
        let body = match head.framing {
            Framing::Length(length) => self.counted(length, longest).await?,
            Framing::Chunks => self.chunks(longest).await?,
            Framing::Rest => self.rest(longest).await?,
        };
        // A connection that is kept keeps no room for the longest answer that it ever had.
        self.read.shrink_to(LONGEST_HEAD);
        self.is_usable = !head.is_last;
        Ok(Answer::new(&head, bytes, body))
    }

    async fn write(&mut self, request: &Request) -> io::Result<()> {
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await
    }

    /// The head of the answer, those before it that only announce it passed over.
    async fn head(&mut self) -> Result<Head, ExchangeError> {
        let mut announced = 0;
        loop {
            match answer::head(&self.read).map_err(ExchangeError::Malformed)? {
                Some(Head { status: 101, .. }) => {
                    return Err(ExchangeError::Malformed("it changes the protocol".to_owned()));
                }
                Some(head) if head.status < 200 => {
                    announced += 1;
                    if announced > MOST_ANNOUNCED {
                        return Err(ExchangeError::Malformed("it is announced and does not come".to_owned()));
                    }
                    self.read.drain(..head.length);
                }
                Some(head) => return Ok(head),
                None => {
                    let is_first = self.read.is_empty() && announced == 0;
                    self.more(LONGEST_HEAD).await.map_err(|error| match error {
                        ExchangeError::BrokenOff(error) if is_first => ExchangeError::Unanswered(error),
                        other => other,
                    })?;
                }
            }
        }
    }

    async fn counted(&mut self, length: usize, longest: usize) -> Result<Vec<u8>, ExchangeError> {
        if length > longest {
            return Err(ExchangeError::TooLong(longest));
        }
        self.fill(length).await?;
        Ok(self.take(length))
    }

    async fn chunks(&mut self, longest: usize) -> Result<Vec<u8>, ExchangeError> {
        let mut body = Vec::new();
        loop {
            let length = self.chunk_length().await?;
            if length > longest - body.len() {
                return Err(ExchangeError::TooLong(longest));
            }
            if length == 0 {
                self.trailers().await?;
                return Ok(body);
            }
            let end = length.saturating_add(CRLF.len());
            self.fill(end).await?;
            if self.read[length..end] != *CRLF {
                return Err(ExchangeError::Malformed("a chunk is longer than it says".to_owned()));
            }
            body.extend_from_slice(&self.read[..length]);
            self.read.drain(..end);
        }
    }

    async fn chunk_length(&mut self) -> Result<usize, ExchangeError> {
        loop {
            // httparse takes a line without a number for a zero.
            if self.read.first().is_some_and(|byte| !byte.is_ascii_hexdigit()) {
                return Err(ExchangeError::Malformed("a chunk has no length".to_owned()));
            }
            match httparse::parse_chunk_size(&self.read) {
                Ok(httparse::Status::Complete((line, length))) => {
                    self.read.drain(..line);
                    return usize::try_from(length).map_err(|_| ExchangeError::TooLong(usize::MAX));
                }
                Ok(httparse::Status::Partial) => self.more(LONGEST_HEAD).await?,
                Err(_) => return Err(ExchangeError::Malformed("a chunk has no length".to_owned())),
            }
        }
    }

    /// Passes over what may stand behind the last chunk, up to an empty line.
    async fn trailers(&mut self) -> Result<(), ExchangeError> {
        let mut passed = 0;
        loop {
            let Some(end) = self.read.iter().position(|byte| *byte == b'\n') else {
                self.more(LONGEST_HEAD).await?;
                continue;
            };
            passed += end + 1;
            if passed > LONGEST_HEAD {
                return Err(ExchangeError::TooLong(LONGEST_HEAD));
            }
            let is_last = self.read[..end].trim_ascii_end().is_empty();
            self.read.drain(..=end);
            if is_last {
                return Ok(());
            }
        }
    }

    async fn rest(&mut self, longest: usize) -> Result<Vec<u8>, ExchangeError> {
        while self.read.len() <= longest {
            match self.read_some().await {
                Ok(0) => return Ok(std::mem::take(&mut self.read)),
                Ok(_) => {}
                Err(error) => return Err(ExchangeError::BrokenOff(error)),
            }
        }
        Err(ExchangeError::TooLong(longest))
    }

    /// Reads until so many bytes are there.
    async fn fill(&mut self, length: usize) -> Result<(), ExchangeError> {
        if self.read.len() < length {
            // With room for the last read, so that it moves nothing.
            self.read.reserve((length - self.read.len()).saturating_add(READ));
        }
        while self.read.len() < length {
            self.more(usize::MAX).await?;
        }
        Ok(())
    }

    /// Reads what must come; `longest` is what may have come without being understood.
    async fn more(&mut self, longest: usize) -> Result<(), ExchangeError> {
        if self.read.len() > longest {
            return Err(ExchangeError::TooLong(longest));
        }
        match self.read_some().await {
            Ok(0) => Err(ExchangeError::BrokenOff(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(ExchangeError::BrokenOff(error)),
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        self.read.reserve(READ);
        self.stream.read_buf(&mut self.read).await
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.read[..length].to_vec();
        self.read.drain(..length);
        taken
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    #[tokio::test]
    async fn a_long_answer_leaves_no_room_behind() {
        const LENGTH: usize = 1 << 20;
        let body = "y".repeat(LENGTH);
        for framed in [
            format!("content-length: {LENGTH}\r\n\r\n{body}"),
            format!("transfer-encoding: chunked\r\n\r\n{LENGTH:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            let (ours, mut theirs) = duplex(2 * LENGTH);
            theirs.write_all(format!("HTTP/1.1 200 OK\r\n{framed}").as_bytes()).await.unwrap();
            let mut connection = Connection::over(ours);
            let request = Request::get("/", &[("host", "h")]).unwrap();
            assert_eq!(connection.exchange(&request, LENGTH).await.unwrap().body, body.as_bytes());
            assert!(connection.is_open());
            assert!(connection.read.capacity() <= LONGEST_HEAD, "{}", connection.read.capacity());
        }
    }
}
