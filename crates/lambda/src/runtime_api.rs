//! Lambda's Runtime API: a process asks for an event, answers it, and asks for the next.
//!
//! It is spoken over one connection that is kept. AWS's own crate serves functions of every shape; its layers and its client took a fifth
//! of a heartbeat's processor time (decision 10).

use std::io;

use aurora_exchange::{Answer, Connection, ExchangeError, Request, RequestError};
use serde_json::json;
use tokio::net::TcpStream;

const NEXT: &str = "/2018-06-01/runtime/invocation/next";
const INVOCATION: &str = "/2018-06-01/runtime/invocation/";
const INIT_ERROR: &str = "/2018-06-01/runtime/init/error";
const REQUEST_ID: &str = "lambda-runtime-aws-request-id";
const DEADLINE: &str = "lambda-runtime-deadline-ms";
/// Names an attempt at an event; an answer that repeats it can't be taken for another attempt's.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const AGENT: &str = concat!("aurora-discovery/", env!("CARGO_PKG_VERSION"));
/// The longest event that is read, in bytes: Lambda's own bound is 6 MB.
const LONGEST_EVENT: usize = 8 << 20;

/// Why Lambda can't be spoken with any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeApiError {
    #[error("the Runtime API can't be reached: {0}")]
    Unreachable(#[from] io::Error),
    #[error("the Runtime API broke off: {0}")]
    BrokenOff(#[from] ExchangeError),
    #[error("the Runtime API answered {status} to {path}: {answer}")]
    Refused { status: u16, path: String, answer: String },
    #[error("the Runtime API's event has no usable header {0}")]
    Nameless(&'static str),
    #[error("a request to the Runtime API can't be made: {0}")]
    Unmade(#[from] RequestError),
}

impl RuntimeApiError {
    /// Whether it is about one event only: Lambda refuses its answer, as too long or too late, and has told whoever called itself.
    pub(crate) fn is_of_one_event(&self) -> bool {
        matches!(self, Self::Refused { status: 400..=499, .. })
    }
}

/// An event, and what Lambda says of it.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// Lambda's name for it.
    pub(crate) request_id: String,
    /// When its time is over, in milliseconds since 1970.
    pub(crate) deadline: u64,
    /// JSON, as it came.
    pub(crate) event: Vec<u8>,
    attempt: Option<String>,
}

/// What Lambda files an error under, and what it tells whoever called.
#[derive(Debug)]
pub(crate) struct FunctionError {
    /// Its kind, such as `Runtime.InitError`.
    pub(crate) kind: &'static str,
    /// What happened, in a sentence.
    pub(crate) message: String,
}

/// The Runtime API of this process.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    /// Host and port.
    authority: String,
    /// What stands in front of each path: nothing on AWS.
    base: String,
    kept: Option<Connection<TcpStream>>,
}

impl RuntimeApi {
    /// The one that `AWS_LAMBDA_RUNTIME_API` names: a host and a port, under `cargo lambda` a URL with a path. Nothing is sent yet.
    pub(crate) fn at(address: &str) -> Self {
        let address = address.strip_prefix("http://").unwrap_or(address);
        let (authority, base) = address.split_at(address.find('/').unwrap_or(address.len()));
        Self { authority: authority.to_owned(), base: base.trim_end_matches('/').to_owned(), kept: None }
    }

    /// Waits for the next event.
    pub(crate) async fn next(&mut self) -> Result<Invocation, RuntimeApiError> {
        let headers = [("host", self.authority.as_str()), ("user-agent", AGENT)];
        let request = Request::get(&format!("{}{NEXT}", self.base), &headers)?;
        let answer = self.exchange(NEXT, &request).await?;
        let header = |name| answer.header(name).ok_or(RuntimeApiError::Nameless(name));
        Ok(Invocation {
            request_id: header(REQUEST_ID)?.to_owned(),
            deadline: header(DEADLINE)?.parse().map_err(|_| RuntimeApiError::Nameless(DEADLINE))?,
            attempt: answer.header(INVOCATION_ID).map(ToOwned::to_owned),
            event: answer.body,
        })
    }

    /// Answers an event with JSON.
    pub(crate) async fn answer(
        &mut self,
        invocation: &Invocation,
        answer: &[u8],
    ) -> Result<(), RuntimeApiError> {
        let path = format!("{INVOCATION}{}/response", invocation.request_id);
        self.post(&path, &invocation.headers(), answer).await
    }

    /// Says that an event could not be answered.
    pub(crate) async fn fail(
        &mut self,
        invocation: &Invocation,
        error: &FunctionError,
    ) -> Result<(), RuntimeApiError> {
        let path = format!("{INVOCATION}{}/error", invocation.request_id);
        let headers = [&invocation.headers()[..], &[(ERROR_TYPE, error.kind)]].concat();
        self.post(&path, &headers, error.to_json().as_bytes()).await
    }

    /// Says why the process can't start.
    pub(crate) async fn fail_to_start(&mut self, error: &FunctionError) -> Result<(), RuntimeApiError> {
        self.post(INIT_ERROR, &[(ERROR_TYPE, error.kind)], error.to_json().as_bytes()).await
    }

    async fn post(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(), RuntimeApiError> {
        let common =
            [("host", self.authority.as_str()), ("user-agent", AGENT), ("content-type", "application/json")];
        let request = Request::post(&format!("{}{path}", self.base), &[&common[..], headers].concat(), body)?;
        self.exchange(path, &request).await.map(drop)
    }

    async fn exchange(&mut self, path: &str, request: &Request) -> Result<Answer, RuntimeApiError> {
        let answer = self.exchanged(request).await?;
        if (200..300).contains(&answer.status) {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Err(RuntimeApiError::Refused { status: answer.status, path: path.to_owned(), answer: text })
    }

    /// Over the connection that is kept, or a new one where that was closed while nobody used it, perhaps not known here yet.
    async fn exchanged(&mut self, request: &Request) -> Result<Answer, RuntimeApiError> {
        if let Some(mut kept) = self.kept.take()
            && kept.is_open()
        {
            match kept.exchange(request, LONGEST_EVENT).await {
                Err(ExchangeError::Unanswered(_)) => {}
                exchanged => {
                    self.kept = Some(kept);
                    return Ok(exchanged?);
                }
            }
        }
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let mut fresh = Connection::over(stream);
        let answer = fresh.exchange(request, LONGEST_EVENT).await?;
        self.kept = Some(fresh);
        Ok(answer)
    }
}

impl Invocation {
    fn headers(&self) -> Vec<(&str, &str)> {
        self.attempt.iter().map(|attempt| (INVOCATION_ID, attempt.as_str())).collect()
    }
}

impl FunctionError {
    fn to_json(&self) -> String {
        json!({"errorType": self.kind, "errorMessage": self.message, "stackTrace": []}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const EVENT: &str = "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: id\r\nLambda-Runtime-Deadline-Ms: 7\r\n\
                         Lambda-Runtime-Invocation-Id: attempt\r\nContent-Length: 2\r\n\r\n{}";
    const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

    /// A request as it came, in lower case.
    async fn asked(connection: &mut TcpStream) -> String {
        let mut bytes = [0; 2_048];
        let length = connection.read(&mut bytes).await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).to_lowercase()
    }

    #[tokio::test]
    async fn an_event_is_answered_below_the_path_and_over_another_connection_where_the_kept_one_was_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut api = RuntimeApi::at(&format!("{address}/function/"));
        let serve = async {
            let (mut first, _) = listener.accept().await.unwrap();
            let next = asked(&mut first).await;
            let line = "get /function/2018-06-01/runtime/invocation/next http/1.1\r\n";
            assert!(next.starts_with(&format!("{line}host: {address}\r\n")), "{next}");
            first.write_all(EVENT.as_bytes()).await.unwrap();
            let answer = asked(&mut first).await;
            assert!(
                answer.starts_with("post /function/2018-06-01/runtime/invocation/id/response "),
                "{answer}"
            );
            drop(first);
            let (mut second, _) = listener.accept().await.unwrap();
            let again = asked(&mut second).await;
            assert_eq!(again, answer);
            second.write_all(ACCEPTED.as_bytes()).await.unwrap();
            let error = asked(&mut second).await;
            second.write_all(ACCEPTED.as_bytes()).await.unwrap();
            (answer, error)
        };
        let handle = async {
            let invocation = api.next().await.unwrap();
            assert_eq!((invocation.deadline, &invocation.event[..]), (7, &b"{}"[..]));
            api.answer(&invocation, b"{\"a\":1}").await.unwrap();
            let error = FunctionError { kind: "Runtime.EventError", message: "why".to_owned() };
            api.fail(&invocation, &error).await.unwrap();
        };
        let ((answer, error), ()) = tokio::join!(serve, handle);
        assert!(answer.ends_with("\r\n\r\n{\"a\":1}"), "{answer}");
        assert!(
            error.contains("/invocation/id/error ") && error.contains("\"errormessage\":\"why\""),
            "{error}"
        );
        assert!(error.contains("\r\nlambda-runtime-function-error-type: runtime.eventerror\r\n"), "{error}");
        for told in [answer, error] {
            assert!(told.contains("\r\nlambda-runtime-invocation-id: attempt\r\n"), "{told}");
        }
    }

    #[test]
    fn the_api_is_a_host_and_a_port_or_a_url() {
        for (address, authority, base) in [
            ("127.0.0.1:9001", "127.0.0.1:9001", ""),
            ("[::1]:9001/", "[::1]:9001", ""),
            ("localhost:9001/a/b/", "localhost:9001", "/a/b"),
            ("http://127.0.0.1:9000/.rt", "127.0.0.1:9000", "/.rt"),
        ] {
            let api = RuntimeApi::at(address);
            assert_eq!((api.authority.as_str(), api.base.as_str()), (authority, base));
        }
    }
}
