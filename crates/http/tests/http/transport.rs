//! HTTP/2, TLS and gzip.

use std::net::TcpStream;
use std::path::Path;

use aurora_discovery_http::{ServeError, Server, ServerOptions, TlsFiles};
use http::Version;
use tokio::io::AsyncWriteExt as _;

use crate::support::raw::RawConnection;
use crate::support::{Service, TIMEOUT, client};

#[tokio::test]
async fn http_2_is_served_without_tls_to_clients_with_prior_knowledge() {
    let service = Service::start().await;
    let client = client(reqwest::ClientBuilder::http2_prior_knowledge);
    let post = client.post(service.url("/register")).body(r#"{"peer_id":"p"}"#).send().await.unwrap();
    assert_eq!((post.version(), post.status().as_u16()), (Version::HTTP_2, 200));
    let head = client.head(service.url("/discover")).send().await.unwrap();
    assert!(head.headers()["content-length"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    let large = client.post(service.url("/register")).body("x".repeat(20_000)).send().await.unwrap();
    assert_eq!(large.status(), 413);
}

/// Writes a self-signed certificate for `localhost` and its key. Returns their paths, and the
/// certificate in PEM.
fn write_pair(directory: &Path) -> (TlsFiles, String) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: directory.join("cert.pem"), key: directory.join("key.pem") };
    std::fs::write(&files.cert, pair.cert.pem()).unwrap();
    std::fs::write(&files.key, pair.signing_key.serialize_pem()).unwrap();
    (files, pair.cert.pem())
}

#[tokio::test]
async fn http_1_and_http_2_are_served_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (files, cert) = write_pair(directory.path());
    let service = Service::with(|options| options.server.tls = Some(files)).await;
    let url = format!("https://localhost:{}/health", service.address.port());
    for (http1_only, version) in [(true, Version::HTTP_11), (false, Version::HTTP_2)] {
        let root = reqwest::Certificate::from_pem(cert.as_bytes()).unwrap();
        let client = client(|builder| {
            let builder = builder.resolve("localhost", service.address).tls_certs_only([root]);
            if http1_only { builder.http1_only() } else { builder }
        });
        let response = client.get(&url).send().await.unwrap();
        assert_eq!((response.version(), response.status().as_u16()), (version, 200));
    }
}

#[tokio::test]
async fn an_invalid_tls_file_is_named_in_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let (files, _) = write_pair(directory.path());
    let missing = directory.path().join("missing.pem");
    for (files, name) in [
        (TlsFiles { cert: missing.clone(), ..files.clone() }, "missing.pem"),
        (TlsFiles { key: missing, ..files.clone() }, "missing.pem"),
        (TlsFiles { cert: files.key.clone(), ..files.clone() }, "key.pem"),
        (TlsFiles { key: files.cert.clone(), ..files.clone() }, "cert.pem"),
    ] {
        let mut options = ServerOptions::default();
        options.listen = ([127, 0, 0, 1], 0).into();
        options.tls = Some(files);
        let registry = Service::start().await.registry.clone();
        let error = Server::bind(options, registry).await.err().unwrap();
        assert!(matches!(error, ServeError::Tls(_)), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_in_the_error() {
    let service = Service::start().await;
    let mut options = ServerOptions::default();
    options.listen = service.address;
    let error = Server::bind(options, service.registry.clone()).await.err().unwrap();
    assert!(error.to_string().contains(&service.address.to_string()), "{error}");
}

#[tokio::test]
async fn a_burst_of_connections_waits_to_be_accepted() {
    let mut options = ServerOptions::default();
    options.listen = ([127, 0, 0, 1], 0).into();
    // The listener is bound, but nothing accepts yet, so each connection waits in the kernel's
    // queue. If that queue were too short, further attempts would be retried until they time out.
    let server = Server::bind(options, Service::start().await.registry.clone()).await.unwrap();
    let open = |_| TcpStream::connect_timeout(&server.local_addr(), TIMEOUT);
    let burst: Result<Vec<_>, _> = (0..400).map(open).collect();
    assert_eq!(burst.unwrap().len(), 400);
}

#[tokio::test]
async fn a_small_response_is_not_compressed() {
    let service = Service::start().await;
    let response = service.request(http::Method::GET, "/discover", &[("accept-encoding", "gzip")], "").await;
    assert_eq!((response.header("content-encoding"), response.header("vary")), (None, None));
}

#[tokio::test]
async fn a_client_that_half_closes_its_connection_gets_its_response() {
    let service = Service::start().await;
    let body = r#"{"peer_id":"p"}"#;
    let mut connection = RawConnection::open(service.address).await;
    let length = body.len();
    connection
        .send(&format!("POST /register HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"))
        .await;
    connection.0.shutdown().await.unwrap();
    let response = connection.until_closed().await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test]
async fn an_ambiguous_or_oversized_head_is_refused_with_json() {
    let service = Service::start().await;
    let large = format!("host: x\r\nx: {}\r\n", "y".repeat(17_000));
    for (headers, status) in [
        ("", 400),
        ("host: x\r\nhost: x\r\n", 400),
        ("host: x\r\ntransfer-encoding: gzip, chunked\r\n", 400),
        (large.as_str(), 431),
    ] {
        let mut connection = RawConnection::open(service.address).await;
        connection.send(&format!("GET /health HTTP/1.1\r\n{headers}\r\n")).await;
        let response = connection.until_closed().await;
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{headers:.60}: {response}");
        for part in ["x-request-id: ", "access-control-allow-origin: *", r#""code":"invalid_parameter""#] {
            assert!(response.contains(part), "{part} is missing in {response}");
        }
    }
}

#[tokio::test]
async fn a_base_path_reaches_the_same_routes() {
    let service = Service::with(|options| options.server.service.base_path = Some("/dev".to_owned())).await;
    for (path, status) in [
        ("/dev/health", 200),
        ("/dev/discover?limit=1", 200),
        ("/dev/discover/?limit=1", 200),
        ("/health", 200),
        ("/dev/discover?limit=0", 400),
        ("/dev", 404),
        ("/dev/dev/health", 404),
        ("/developer/health", 404),
    ] {
        let response = service.client.get(service.url(path)).send().await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
    let registered =
        service.client.post(service.url("/dev/register")).body(r#"{"peer_id":"p"}"#).send().await;
    assert_eq!(registered.unwrap().status(), 200);
}
