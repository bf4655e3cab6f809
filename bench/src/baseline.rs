//! The baseline of the speed benchmarks: a server on the same HTTP library as the service. It reads
//! the body of a request and sends a constant response.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::{get, post};
use axum::serve::ListenerExt;

/// The headers of the service's successful responses to the same requests. Two others are missing
/// here, because the library adds them in both servers: `content-length` and `date`. For `vary`,
/// see [`VARYING_BYTES`].
const HEADERS: [(&str, &str); 4] = [
    ("content-type", "application/json"),
    ("cache-control", "no-store"),
    ("x-request-id", "0123456789abcdef"),
    ("access-control-allow-origin", "*"),
];

/// The service may compress responses of at least this many bytes, and sends them with
/// `vary: accept-encoding`.
const VARYING_BYTES: usize = 4 * 1024;

/// Serves constant responses with the headers of the service.
#[derive(clap::Args)]
pub(crate) struct Baseline {
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The size of the body of a response to a heartbeat.
    #[arg(long, default_value_t = 200)]
    heartbeat_bytes: usize,
    /// The size of the body of a response to a registration.
    #[arg(long, default_value_t = 400)]
    register_bytes: usize,
    /// The size of the body of a response to a discover.
    #[arg(long, default_value_t = 12_000)]
    discover_bytes: usize,
    /// The length of the constant `x-request-id`, that of the service.
    #[arg(long, default_value_t = 16)]
    request_id_bytes: usize,
}

#[derive(Clone)]
struct Constant {
    headers: HeaderMap,
    body: Bytes,
}

impl Baseline {
    /// Prints the bound address, then serves until the process is killed.
    #[tokio::main]
    pub(crate) async fn run(self) -> io::Result<()> {
        let listener = tokio::net::TcpListener::bind(self.listen).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Without this option, latency is higher, but nothing breaks.
            let _ = stream.set_nodelay(true);
        });
        axum::serve(listener, self.router()).await
    }

    fn router(&self) -> Router {
        let headers = headers(self.request_id_bytes);
        let constant = |bytes| Arc::new(constant(headers.clone(), bytes));
        Router::new()
            .route("/heartbeat", post(respond_after_body))
            .with_state(constant(self.heartbeat_bytes))
            .route("/register", post(respond_after_body))
            .with_state(constant(self.register_bytes))
            .route("/discover", get(respond))
            .with_state(constant(self.discover_bytes))
    }
}

fn headers(request_id_bytes: usize) -> HeaderMap {
    let constants =
        HEADERS.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let mut headers: HeaderMap = constants.collect();
    if let Ok(id) = HeaderValue::from_str(&"0".repeat(request_id_bytes)) {
        headers.insert("x-request-id", id);
    }
    headers
}

fn constant(mut headers: HeaderMap, bytes: usize) -> Constant {
    if bytes >= VARYING_BYTES {
        headers.insert("vary", HeaderValue::from_static("accept-encoding"));
    }
    Constant { headers, body: Bytes::from(vec![b'x'; bytes]) }
}

/// Receives the whole body first, as the service must.
async fn respond_after_body(State(constant): State<Arc<Constant>>, _body: Bytes) -> (HeaderMap, Bytes) {
    respond(State(constant)).await
}

async fn respond(State(constant): State<Arc<Constant>>) -> (HeaderMap, Bytes) {
    (constant.headers.clone(), constant.body.clone())
}
