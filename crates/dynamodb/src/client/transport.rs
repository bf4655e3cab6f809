//! HTTP to one endpoint, over connections that are kept.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};

use super::error::{CallError, ConnectError, with_causes};

/// The longest answer that is read, in bytes: a batch of reads holds at most 16 MB of items, and a third more as JSON.
const LONGEST_ANSWER: usize = 32 << 20;

#[derive(Debug)]
pub(super) struct Transport(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Transport {
    /// What reaches an endpoint; a connection must be there within `connect_timeout`.
    pub(super) fn to(endpoint: &Uri, connect_timeout: Duration) -> Result<Self, ConnectError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        // Reading a machine's root certificates takes milliseconds, which an endpoint without TLS saves.
        let roots = if endpoint.scheme_str() == Some("https") { roots()? } else { RootCertStore::empty() };
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(roots)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)))
    }

    /// Sends a request and reads its answer whole.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), CallError> {
        let answer = self.0.request(request.map(Full::new)).await.map_err(|error| unreachable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect().await;
        Ok((status, body.map_err(|error| unreachable(&*error))?.to_bytes()))
    }
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| ConnectError(format!("TLS can't be set up: {error}")))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
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

fn unreachable(error: &dyn Error) -> CallError {
    CallError::Unreachable(with_causes(error))
}
