//! A proxy as operators put it in front of the service, including their mistakes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use tokio::net::TcpSocket;

/// The destination of a request, by its first line.
type Route = dyn Fn(&str) -> Destination + Send + Sync;
/// Changes the head of a response. The arguments are the first line of the request, and the head.
type Edit = dyn Fn(&str, String) -> String + Send + Sync;

/// The destination of a request.
pub(crate) enum Destination {
    /// The service at this address.
    Service(SocketAddr),
    /// The service at this address. The proxy adds `X-Forwarded-For` with the address of the
    /// client, unless the request already has this header.
    ServiceWithClient(SocketAddr),
    /// No service: the proxy sends this response itself.
    Response(&'static str),
}

/// A proxy that runs until the tests end.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
}

impl Proxy {
    /// A proxy in front of one service that edits the heads of its responses.
    pub(crate) fn editing(
        endpoint: &str,
        edit: impl Fn(&str, String) -> String + Send + Sync + 'static,
    ) -> Self {
        let address = authority(endpoint);
        Self::start(Arc::new(move |_: &str| Destination::Service(address)), Arc::new(edit))
    }

    /// A proxy in front of several services, or of none.
    pub(crate) fn routing(route: impl Fn(&str) -> Destination + Send + Sync + 'static) -> Self {
        Self::start(Arc::new(route), Arc::new(|_: &str, head| head))
    }

    fn start(route: Arc<Route>, edit: Arc<Edit>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (route, edit) = (Arc::clone(&route), Arc::clone(&edit));
                thread::spawn(move || forward(client, &*route, &*edit));
            }
        });
        Self { endpoint }
    }
}

/// The address of an endpoint on loopback.
pub(crate) fn authority(endpoint: &str) -> SocketAddr {
    endpoint.trim_start_matches("http://").parse().unwrap()
}

fn forward(mut client: TcpStream, route: &Route, edit: &Edit) -> Option<()> {
    let (head, body) = message(&mut client)?;
    let line = head.lines().next()?.to_owned();
    let destination = route(&line);
    let names_client = matches!(destination, Destination::ServiceWithClient(_));
    let response = match destination {
        Destination::Response(response) => response.to_owned(),
        Destination::Service(address) | Destination::ServiceWithClient(address) => {
            let mut service = from_another_address(address);
            // There is one request per connection, so the response ends with the connection.
            let mut head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            if names_client && !head.to_ascii_lowercase().contains("\r\nx-forwarded-for:") {
                head = head.replacen("\r\n", "\r\nx-forwarded-for: 127.0.0.1\r\n", 1);
            }
            service.write_all(&[head.as_bytes(), &body].concat()).ok()?;
            let mut response = String::new();
            service.read_to_string(&mut response).ok()?;
            let (head, body) = response.split_once("\r\n\r\n")?;
            format!("{}\r\n\r\n{body}", edit(&line, head.to_owned()))
        }
    };
    client.write_all(response.as_bytes()).ok()
}

/// Connects from an address other than the client's, because a real proxy runs on another machine.
fn from_another_address(to: SocketAddr) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream
}

fn message(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4_096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&chunk[..read]);
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            continue;
        };
        let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        if bytes.len() - end >= length.unwrap_or(0) {
            return Some((head, bytes.split_off(end)));
        }
    }
}
