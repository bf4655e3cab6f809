//! A real server on a real socket that responds according to a script.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderMap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// A received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// The request line.
    pub(crate) line: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
    pub(crate) at: Instant,
}

impl Received {
    pub(crate) fn path(&self) -> &str {
        self.line.split(' ').nth(1).unwrap()
    }
}

/// How the script reacts to a request.
pub(crate) enum Action {
    /// Responds with this status, these additional headers and this body.
    Respond(u16, &'static [(&'static str, &'static str)], String),
    /// Closes the connection without a response.
    HangUp,
    /// Never responds.
    Stall,
}

pub(crate) fn ok(body: impl Into<String>) -> Action {
    Action::Respond(200, &[], body.into())
}

pub(crate) fn refuse(status: u16, code: &str) -> Action {
    Action::Respond(status, &[], format!(r#"{{"error":"because","code":"{code}"}}"#))
}

/// A server that stops when it is dropped.
pub(crate) struct ScriptedServer {
    pub(crate) endpoint: String,
    received: Arc<Mutex<Vec<Received>>>,
    task: JoinHandle<()>,
}

impl ScriptedServer {
    /// Starts a server. `script` is called with the number of each request, from 0, and the
    /// request.
    pub(crate) async fn start(script: impl FnMut(usize, &Received) -> Action + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = Arc::new(Mutex::new(Vec::new()));
        let (record, script) = (Arc::clone(&received), Arc::new(Mutex::new(script)));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (record, script) = (Arc::clone(&record), Arc::clone(&script));
                let service = service_fn(move |request| {
                    let (record, script) = (Arc::clone(&record), Arc::clone(&script));
                    async move {
                        let request = read(request).await?;
                        let action = {
                            let mut record = record.lock().unwrap();
                            let action = (script.lock().unwrap())(record.len(), &request);
                            record.push(request);
                            action
                        };
                        perform(action).await
                    }
                });
                let mut server = http1::Builder::new();
                server.keep_alive(false).auto_date_header(false);
                connections.spawn(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { endpoint, received, task }
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(request: Request<Incoming>) -> io::Result<Received> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    Ok(Received {
        line: format!("{} {} {:?}", head.method, head.uri, head.version),
        headers: head.headers,
        body: String::from_utf8(body.into()).map_err(io::Error::other)?,
        at: Instant::now(),
    })
}

/// An error makes the server close the connection without a response.
async fn perform(action: Action) -> io::Result<Response<Full<Bytes>>> {
    match action {
        Action::Respond(status, headers, body) => {
            let response = Response::builder().status(status);
            let response =
                headers.iter().fold(response, |response, (name, value)| response.header(*name, *value));
            response.body(Full::new(Bytes::from(body))).map_err(io::Error::other)
        }
        Action::HangUp => Err(io::ErrorKind::ConnectionAborted.into()),
        Action::Stall => std::future::pending().await,
    }
}
