//! A connection, and the exchanges on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use crate::answer::{self, Answer, Framing, Head};
use crate::request::Request;

/// What is read at once; most answers come whole.
const READ: usize = 8 * 1_024;
/// The longest head, or line between chunks, in bytes.
const LONGEST_HEAD: usize = 64 * 1_024;

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
    /// A connection whose exchange failed, or was given up, serves no other one.
    ///
    /// # Errors
    /// [`ExchangeError`]; the other side may have acted on the request.
    pub async fn exchange(&mut self, request: &Request, longest: usize) -> Result<Answer, ExchangeError> {
        self.is_usable = false;
        self.write(request).await.map_err(ExchangeError::Unanswered)?;
        let head = self.head().await?;
        let bytes = self.take(head.length);
        let body = match head.framing {
            Framing::Length(length) => self.counted(length, longest).await?,
            Framing::Chunks => self.chunks(longest).await?,
            Framing::Rest => self.rest(longest).await?,
        };
        self.is_usable = !head.is_last;
        Ok(Answer::new(&head, bytes, body))
    }

    async fn write(&mut self, request: &Request) -> io::Result<()> {
        self.stream.write_all(request.as_bytes()).await?;
        self.stream.flush().await
    }

    /// The head of the answer, those before it that only announce it passed over.
    async fn head(&mut self) -> Result<Head, ExchangeError> {
        let mut was_announced = false;
        loop {
            match answer::head(&self.read).map_err(ExchangeError::Malformed)? {
                Some(Head { status: 101, .. }) => {
                    return Err(ExchangeError::Malformed("it changes the protocol".to_owned()));
                }
                Some(announced) if announced.status < 200 => {
                    was_announced = true;
                    self.read.drain(..announced.length);
                }
                Some(head) => return Ok(head),
                None => {
                    let is_first = self.read.is_empty() && !was_announced;
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
        self.read.reserve(length.saturating_sub(self.read.len()));
        while self.read.len() < length {
            self.more(usize::MAX).await?;
        }
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
            body.extend(self.counted(length, longest).await?);
            if self.counted(2, longest).await? != b"\r\n" {
                return Err(ExchangeError::Malformed("a chunk is longer than it says".to_owned()));
            }
        }
    }

    async fn chunk_length(&mut self) -> Result<usize, ExchangeError> {
        loop {
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
        loop {
            let Some(end) = self.read.iter().position(|byte| *byte == b'\n') else {
                self.more(LONGEST_HEAD).await?;
                continue;
            };
            if self.take(end + 1).trim_ascii_end().is_empty() {
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
