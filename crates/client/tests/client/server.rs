//! A real server on a real socket that answers as a script says.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

/// What the script does with a request.
pub(crate) enum Act {
    /// Answers with this status, further header lines and body.
    Answer(u16, &'static str, String),
    /// Closes the connection without an answer.
    HangUp,
    /// Never answers.
    Stall,
}

pub(crate) fn ok(body: impl Into<String>) -> Act {
    Act::Answer(200, "", body.into())
}

pub(crate) fn refuse(status: u16, code: &str) -> Act {
    Act::Answer(status, "", format!(r#"{{"error":"because","code":"{code}"}}"#))
}

/// A server that stops when it is dropped.
pub(crate) struct Scripted {
    pub(crate) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts a server whose `script` gets the number of each request, from 0, and the request.
    pub(crate) async fn start(mut script: impl FnMut(usize, &Seen) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut stalled = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Ok(request) = read_request(&mut stream).await else { continue };
                let number = record.lock().unwrap().len();
                let act = script(number, &request);
                record.lock().unwrap().push(request);
                match act {
                    Act::Answer(status, headers, body) => {
                        let length = body.len();
                        let answer = format!(
                            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
                        );
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                    Act::HangUp => drop(stream),
                    Act::Stall => stalled.push(stream),
                }
            }
        });
        Self { endpoint, seen, task }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read_request(stream: &mut TcpStream) -> io::Result<Seen> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).to_string();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let head = head.to_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                let line = text.lines().next().unwrap().to_owned();
                return Ok(Seen { line, head, body: body.to_owned(), at: Instant::now() });
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
