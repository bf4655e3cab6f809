//! Connections with TLS. Not every build of Valkey has TLS, so a proxy terminates it.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "support/server.rs"]
mod support;

use std::sync::Arc;

use aurora_discovery_registry::Limits;
use aurora_discovery_valkey::{ValkeyOptions, ValkeyStore};
use support::{NOW, OwnServer, listed, open, register_surely};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// Starts a proxy that accepts TLS for `localhost` and forwards the plain bytes to the server.
/// Returns its port and its certificate in PEM format.
async fn with_tls(server: &OwnServer) -> (u16, String) {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, upstream) = (listener.local_addr().unwrap().port(), server.port());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate ends the connection.
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect((support::own_address(), upstream)).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    (port, pair.cert.pem())
}

fn options(server: &OwnServer, url: String, authorities: Option<String>) -> ValkeyOptions {
    let mut options = server.registry();
    options.url = url;
    options.ca_certificates = authorities.map(String::into_bytes);
    options
}

async fn refusal(options: ValkeyOptions) -> String {
    ValkeyStore::open(options, Limits::default()).await.err().expect("refused").to_string()
}

#[tokio::test]
async fn a_server_with_a_certificate_of_its_own_is_trusted_by_its_authority_only() {
    let server = OwnServer::start().await;
    let (port, certificate) = with_tls(&server).await;
    let url = format!("rediss://localhost:{port}");
    let trusting = options(&server, url.clone(), Some(certificate.clone()));
    let store = open(&trusting).await;
    register_surely(&store, "p").await;
    assert_eq!(listed(&open(&server.registry_named(&trusting.name)).await, NOW).await, Ok(1));

    let (_, other) = with_tls(&server).await;
    for authorities in [None, Some(other)] {
        let refused = refusal(options(&server, url.clone(), authorities)).await;
        assert!(refused.contains("certificate"), "{refused}");
    }
    // The certificate is not for the host in this URL.
    let address = format!("valkeys://127.0.0.1:{port}");
    let refused = refusal(options(&server, address, Some(certificate))).await;
    assert!(refused.contains("certificate"), "{refused}");
    // A connection without TLS fails at the proxy.
    refusal(options(&server, format!("redis://localhost:{port}"), None)).await;
}

#[tokio::test]
async fn the_user_and_the_password_of_an_acl_are_used_with_tls() {
    let server = OwnServer::start().await;
    let mut administrator = support::connection(&server.registry()).await;
    support::send(&mut administrator, "ACL SETUSER app on >secret ~* +@all").await;
    support::send(&mut administrator, "ACL SETUSER default off").await;
    let (port, certificate) = with_tls(&server).await;
    let mut in_url =
        options(&server, format!("rediss://app:secret@localhost:{port}"), Some(certificate.clone()));
    register_surely(&open(&in_url).await, "p").await;
    in_url.url = format!("rediss://app@localhost:{port}");
    in_url.password = Some("secret".to_owned());
    assert_eq!(listed(&open(&in_url).await, NOW).await, Ok(1));
    in_url.password = Some("wrong".to_owned());
    let wrong = refusal(in_url).await;
    assert!(wrong.contains("uthentication failed"), "{wrong}");
    let nobody = refusal(options(&server, format!("rediss://localhost:{port}"), Some(certificate))).await;
    assert!(nobody.contains("uthentication required") || nobody.contains("NOAUTH"), "{nobody}");
}

#[tokio::test]
async fn a_user_without_a_permission_is_refused_with_the_name_of_the_command() {
    let server = OwnServer::start().await;
    let mut administrator = support::connection(&server.registry()).await;
    for command in ["xread", "get"] {
        let user = format!("ACL SETUSER app reset on >secret ~* +@all -{command}");
        support::send(&mut administrator, &user).await;
        let url = format!("redis://app:secret@{}:{}", support::own_address(), server.port());
        let refused = refusal(options(&server, url, None)).await;
        assert!(refused.contains(&format!("'{command}'")), "{refused}");
    }
}
