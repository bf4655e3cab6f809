//! HTTP to one endpoint, over connections that are kept.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use aurora_exchange::{Answer, Connection, ExchangeError, Request};
use http::Uri;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::error::{CallError, ConnectError, with_causes};

/// The longest answer that is read, in bytes: a batch of reads holds at most 16 MB of items, and a third more as JSON.
const LONGEST_ANSWER: usize = 32 << 20;
/// How long a connection may have been idle to be used again; DynamoDB closes those that nobody uses for about so long.
const LONGEST_IDLE: Duration = Duration::from_secs(50);
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Connections to one endpoint.
pub(super) struct Transport {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// In the order of their last use; the last one is used first, so that those that are too many grow old.
    idle: Mutex<VecDeque<(Kept, Instant)>>,
}

type Kept = Connection<Box<dyn Stream>>;

/// What bytes go over, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Transport {
    /// What reaches an endpoint.
    pub(super) fn to(endpoint: &Uri) -> Result<Self, ConnectError> {
        let host = endpoint.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let with_tls = endpoint.scheme_str() == Some("https");
        let port = endpoint.port_u16().unwrap_or(if with_tls { HTTPS_PORT } else { HTTP_PORT });
        // Reading a machine's root certificates takes milliseconds, which an endpoint without TLS saves.
        let tls = if with_tls { Some(tls(&host, roots()?)?) } else { None };
        Ok(Self { host, port, tls, idle: Mutex::default() })
    }

    /// Sends a request and reads its answer whole. Over a connection that turns out to be closed it may be sent twice, and not
    /// once for each that is kept: what ends connections may be the request.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, CallError> {
        if let Some(mut kept) = self.kept() {
            match kept.exchange(request, LONGEST_ANSWER).await {
                // It was closed while nobody used it.
                Err(ExchangeError::Unanswered(_)) => {}
                exchanged => return self.done(exchanged, kept),
            }
        }
        let mut fresh = Box::pin(self.connect()).await?;
        let exchanged = fresh.exchange(request, LONGEST_ANSWER).await;
        self.done(exchanged, fresh)
    }

    fn done(&self, exchanged: Result<Answer, ExchangeError>, connection: Kept) -> Result<Answer, CallError> {
        let answer = exchanged.map_err(|error| match error {
            ExchangeError::Malformed(_) | ExchangeError::TooLong(_) => CallError::Garbled(error.to_string()),
            ExchangeError::Unanswered(_) | ExchangeError::BrokenOff(_) => {
                CallError::Unreachable(error.to_string())
            }
        })?;
        self.idle.lock().push_back((connection, Instant::now()));
        Ok(answer)
    }

    /// The connection that was used last, of those that are open as far as is known.
    fn kept(&self) -> Option<Kept> {
        let mut idle = self.idle.lock();
        while idle.front().is_some_and(|(_, since)| since.elapsed() > LONGEST_IDLE) {
            idle.pop_front();
        }
        while let Some((mut connection, _)) = idle.pop_back() {
            if connection.is_open() {
                return Some(connection);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Kept, CallError> {
        let unreachable = |error: io::Error| CallError::Unreachable(with_causes(&error));
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let stream: Box<dyn Stream> = match &self.tls {
            Some((tls, name)) => Box::new(tls.connect(name.clone(), tcp).await.map_err(unreachable)?),
            None => Box::new(tcp),
        };
        Ok(Connection::over(stream))
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Transport")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

fn tls(host: &str, roots: RootCertStore) -> Result<(TlsConnector, ServerName<'static>), ConnectError> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| ConnectError(format!("the endpoint of DynamoDB has no host's name: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ConnectError(format!("TLS can't be set up: {error}")))?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    Ok((TlsConnector::from(Arc::new(config)), name))
}

fn roots() -> Result<RootCertStore, ConnectError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map_or_else(|| "none is installed".to_owned(), ToString::to_string);
        return Err(ConnectError(format!(
            "no root certificate of this machine can be read ({why}); SSL_CERT_FILE may name a file of them"
        )));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use rustls::ServerConfig;
    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;

    const REQUEST: &str = "POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}";
    const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n{\"\"}";

    async fn endpoint() -> (TcpListener, Transport) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        (listener, Transport::to(&uri).unwrap())
    }

    fn request() -> Request {
        Request::post("/", &[("host", "h")], b"{}").unwrap()
    }

    async fn answer(connection: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
        let mut asked = vec![0; REQUEST.len()];
        connection.read_exact(&mut asked).await.unwrap();
        assert_eq!(asked, REQUEST.as_bytes());
        connection.write_all(ANSWER.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn one_connection_serves_calls_that_follow_each_other() {
        let ((listener, transport), request) = (endpoint().await, request());
        let serve = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            for _ in 0..3 {
                answer(&mut connection).await;
            }
        };
        let call = async {
            for _ in 0..3 {
                let answer = transport.send(&request).await.unwrap();
                assert_eq!((answer.status, &answer.body[..]), (200, &b"{\"\"}"[..]));
            }
        };
        tokio::join!(serve, call);
        assert_eq!(transport.idle.lock().len(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_while_idle_is_replaced_and_the_call_succeeds() {
        let ((listener, transport), request) = (endpoint().await, request());
        for _ in 0..3 {
            let serve = async { answer(&mut listener.accept().await.unwrap().0).await };
            let (_, answered) = tokio::join!(serve, transport.send(&request));
            answered.unwrap();
        }
        while transport.idle.lock()[0].0.is_open() {
            tokio::task::yield_now().await;
        }
        assert!(transport.kept().is_none());
    }

    #[tokio::test]
    async fn a_request_that_ends_connections_is_sent_twice_and_not_over_all_that_are_kept() {
        let ((listener, transport), request) = (endpoint().await, request());
        let serve = async {
            let mut connections = Vec::new();
            for _ in 0..3 {
                connections.push(listener.accept().await.unwrap().0);
            }
            for connection in &mut connections {
                answer(connection).await;
            }
            connections
        };
        let send = || transport.send(&request);
        let (connections, ..) = tokio::join!(serve, send(), send(), send());
        assert_eq!(transport.idle.lock().len(), 3);
        let asked = Arc::new(AtomicUsize::new(0));
        let hang_up = |mut connection: TcpStream| {
            let asked = Arc::clone(&asked);
            tokio::spawn(async move {
                connection.read_exact(&mut [0]).await.unwrap();
                asked.fetch_add(1, Ordering::Relaxed);
            });
        };
        connections.into_iter().for_each(hang_up);
        let new = async {
            loop {
                hang_up(listener.accept().await.unwrap().0);
            }
        };
        tokio::select! {
            ended = transport.send(&request) => assert!(matches!(ended, Err(CallError::Unreachable(_))), "{ended:?}"),
            () = new => {}
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn the_answer_to_a_call_that_was_given_up_is_nobodys() {
        let ((listener, transport), request) = (endpoint().await, request());
        let serve = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            answer(&mut connection).await;
            connection
        };
        let (mut first, answered) = tokio::join!(serve, transport.send(&request));
        answered.unwrap();
        tokio::select! {
            biased;
            _ = transport.send(&request) => unreachable!("nobody answers"),
            () = tokio::task::yield_now() => {}
        }
        first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate").await.unwrap();
        let serve = async { answer(&mut listener.accept().await.unwrap().0).await };
        let ((), answered) = tokio::join!(serve, transport.send(&request));
        assert_eq!(answered.unwrap().body, b"{\"\"}");
    }

    /// A certificate for `name` that the first one trusts, and what presents it.
    fn certified(name: &str) -> (RootCertStore, TlsAcceptor) {
        let issued = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(issued.cert.der().clone()).unwrap();
        let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config =
            builder.unwrap().with_no_client_auth().with_single_cert(vec![issued.cert.der().clone()], key);
        (roots, TlsAcceptor::from(Arc::new(config.unwrap())))
    }

    #[tokio::test]
    async fn one_connection_with_tls_serves_calls_that_follow_each_other() {
        let ((listener, mut transport), request) = (endpoint().await, request());
        let (roots, acceptor) = certified("127.0.0.1");
        transport.tls = Some(tls("127.0.0.1", roots).unwrap());
        let serve = async {
            let mut connection = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            for _ in 0..3 {
                answer(&mut connection).await;
            }
            connection
        };
        let call = async {
            for _ in 0..3 {
                transport.send(&request).await.unwrap();
            }
        };
        let (mut connection, ()) = tokio::join!(serve, call);
        // What TLS itself says meanwhile, such as tickets, ends no connection; its end does.
        assert!(transport.idle.lock()[0].0.is_open());
        connection.shutdown().await.unwrap();
        while transport.idle.lock()[0].0.is_open() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_endpoint_with_anothers_certificate_is_told_nothing() {
        let ((listener, mut transport), request) = (endpoint().await, request());
        let (roots, acceptor) = certified("dynamodb.example");
        transport.tls = Some(tls("127.0.0.1", roots).unwrap());
        let serve = async { acceptor.accept(listener.accept().await.unwrap().0).await.err() };
        let (_, called) = tokio::join!(serve, transport.send(&request));
        assert!(matches!(called, Err(CallError::Unreachable(_))), "{called:?}");
    }

    #[test]
    fn an_endpoint_is_a_name_or_an_address_with_or_without_a_port() {
        for (endpoint, host, port) in [
            ("http://localhost", "localhost", 80),
            ("https://dynamodb.eu-central-1.amazonaws.com", "dynamodb.eu-central-1.amazonaws.com", 443),
            ("http://[::1]:8000", "::1", 8000),
            ("https://[2001:db8::1]", "2001:db8::1", 443),
        ] {
            let transport = Transport::to(&endpoint.parse().unwrap()).unwrap();
            assert_eq!((transport.host.as_str(), transport.port), (host, port));
        }
    }

    #[tokio::test]
    async fn a_connection_that_nobody_used_for_long_is_not_used_again() {
        let moment = Duration::from_secs(1);
        for (idle, is_kept) in [(LONGEST_IDLE - moment, true), (LONGEST_IDLE + moment, false)] {
            let ((listener, transport), request) = (endpoint().await, request());
            let serve = async {
                let (mut connection, _) = listener.accept().await.unwrap();
                answer(&mut connection).await;
                connection
            };
            let (_held_open, answered) = tokio::join!(serve, transport.send(&request));
            answered.unwrap();
            tokio::time::pause();
            tokio::time::advance(idle).await;
            assert_eq!(transport.kept().is_some(), is_kept, "{idle:?}");
            tokio::time::resume();
        }
    }
}
