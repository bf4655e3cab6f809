//! Telling Lambda why the process can't start, so that it stands in the function's log and in its caller's error.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

/// How long Lambda's own endpoint, on the same machine, may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// What Lambda files such an error under.
const ERROR_TYPE: &str = "Runtime.InitError";

/// Reports `message` to the Runtime API at `authority`. Where that fails, the exit code still tells.
pub(crate) fn send(authority: &str, message: &str) {
    let body = json!({"errorMessage": message, "errorType": ERROR_TYPE, "stackTrace": []}).to_string();
    let request = format!(
        "POST /2018-06-01/runtime/init/error HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nLambda-Runtime-Function-Error-Type: {ERROR_TYPE}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    if let Ok(mut stream) = TcpStream::connect(authority) {
        let _ = stream.set_read_timeout(Some(PATIENCE));
        // The answer is waited for, since the process ends right after.
        let _ = stream.write_all(request.as_bytes()).and_then(|()| stream.read(&mut [0; 64]));
    }
}
