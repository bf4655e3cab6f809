//! The connections of a client, and the HTTP client that opens them.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::{Proxy, Url, redirect};
use rustls::ClientConfig;

use crate::addresses::Addresses;
use crate::endpoint::root_cause;
use crate::{ClientOptions, Error, tls};

/// The maximum time for opening a connection, in total for all addresses of a host name. If
/// [`ClientOptions::timeout`], the time limit of one attempt of a request, is shorter, it applies.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections of a client.
#[derive(Debug)]
pub(crate) struct Connections {
    /// `None` if the caller has supplied the HTTP client.
    builder: Option<Builder>,
    pool: RwLock<Pool>,
}

/// An HTTP client, which keeps connections open for further requests.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) http: reqwest::Client,
    /// The number of pools before this one.
    generation: u64,
}

impl Connections {
    pub(crate) fn new(options: &ClientOptions, bases: &[Url], addresses: Addresses) -> Result<Self, Error> {
        let (builder, http) = match &options.http_client {
            Some(client) => (None, client.clone()),
            None => {
                let builder = Builder::new(options, bases, addresses)?;
                let http = builder.build()?;
                (Some(builder), http)
            }
        };
        Ok(Self { builder, pool: RwLock::new(Pool { http, generation: 0 }) })
    }

    pub(crate) fn pool(&self) -> Pool {
        self.pool.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handles the failure of a request to `host` over the connections of `failed`. Replaces the
    /// pool if new connections may work and the caller has not supplied the HTTP client. New
    /// connections may work in two cases:
    ///
    /// - The host has several addresses. The new connections then go to the next address.
    /// - The request timed out. The machine at the other end of the old connections may be gone.
    ///
    /// Requests in progress continue on the old connections.
    pub(crate) fn failed(&self, failed: &Pool, host: &str, error: &Error) {
        let Some(builder) = &self.builder else { return };
        if !builder.addresses.are_several(host) && !matches!(error, Error::TimedOut { .. }) {
            return;
        }
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        // Several concurrent requests may fail together. Only the first failure replaces the pool,
        // because each replacement moves on by one address, and several could skip an address that
        // works.
        if pool.generation == failed.generation {
            builder.addresses.move_on();
            // Building succeeded with the same options before. If it fails now, the old pool stays
            // in use.
            if let Ok(http) = builder.build() {
                *pool = Pool { http, generation: failed.generation + 1 };
            }
        }
    }
}

/// Builds HTTP clients as the options describe.
#[derive(Debug)]
struct Builder {
    tls: ClientConfig,
    proxy: Option<Proxy>,
    user_agent: String,
    connect_timeout: Duration,
    addresses: Addresses,
}

impl Builder {
    fn new(options: &ClientOptions, bases: &[Url], addresses: Addresses) -> Result<Self, Error> {
        Ok(Self {
            tls: tls::config(options, bases)?,
            proxy: options.proxy.as_deref().map(proxy).transpose()?,
            user_agent: options.user_agent.clone(),
            connect_timeout: CONNECT_TIMEOUT.min(options.timeout),
            addresses,
        })
    }

    fn build(&self) -> Result<reqwest::Client, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .connect_timeout(self.connect_timeout)
            .dns_resolver(Arc::new(self.addresses.clone()))
            // Following a redirect would turn a POST into a GET.
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true)
            // Exposes the server's certificate, which probes return.
            .tls_info(true)
            .tls_backend_preconfigured(self.tls.clone());
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build().map_err(|error| tls::unusable(&root_cause(&error)))
    }
}

fn proxy(url: &str) -> Result<Proxy, Error> {
    // The URL may contain a password, so no error repeats it.
    let rule = || Error::Options("the proxy must be a URL such as http://host:3128".to_owned());
    let parsed = Url::parse(url).map_err(|_| rule())?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(rule());
    }
    Proxy::all(parsed).map_err(|_| rule())
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transport::{OutgoingRequest, Transport};

    /// A server that keeps its connections open and responds to all requests with this status.
    /// Counts them.
    fn serve(listener: TcpListener, status: &'static str) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let mut head = [0; 4_096];
                    // The client sends a GET request in one segment, so each read is one request.
                    while stream.read(&mut head).await? > 0 {
                        counted.fetch_add(1, Ordering::Relaxed);
                        let response = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\n{{}}");
                        stream.write_all(response.as_bytes()).await?;
                    }
                    io::Result::Ok(())
                });
            }
        });
        count
    }

    /// Listeners at the same port of two addresses.
    async fn two_addresses() -> io::Result<[TcpListener; 2]> {
        loop {
            let one = TcpListener::bind("127.0.0.1:0").await?;
            match TcpListener::bind(("127.0.0.2", one.local_addr()?.port())).await {
                Ok(two) => return Ok([one, two]),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Only Linux has further addresses of loopback without configuration.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn of_a_name_with_several_addresses_one_that_fails_is_left_for_another_that_works() {
        let [one, two] = two_addresses().await.unwrap();
        let url = format!("http://discovery.test:{}", one.local_addr().unwrap().port());
        let failing = serve(one, "503 Service Unavailable");
        let working = serve(two, "200 OK");
        let found = ["127.0.0.1:0", "127.0.0.2:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        // Each starts at a random address; the probability that none starts at the failing one is
        // below 1 in 10^9.
        let transports: Vec<_> = (0..32)
            .map(|_| {
                let addresses = Addresses::new(move |_| async move { Ok(found.to_vec()) });
                Transport::with_addresses(&ClientOptions::new(&url).retries(1), addresses).unwrap()
            })
            .collect();
        let request = OutgoingRequest::get("health", &[]);
        for response in join_all(transports.iter().map(|transport| transport.send(&request))).await {
            assert_eq!(response.unwrap().status, 200);
        }
        assert_eq!(working.load(Ordering::Relaxed), 32);
        let failed = failing.load(Ordering::Relaxed);
        assert!((1..32).contains(&failed), "{failed}");
        for transport in &transports {
            assert_eq!(transport.send(&request).await.unwrap().status, 200);
        }
        assert_eq!(failing.load(Ordering::Relaxed), failed, "clients stay with the address that works");
    }

    fn builder(options: &ClientOptions) -> Result<reqwest::Client, Error> {
        Builder::new(options, &options.bases().unwrap(), Addresses::default())?.build()
    }

    #[test]
    fn a_client_installs_no_crypto_provider_for_the_process() {
        for endpoint in ["http://127.0.0.1:1", "https://127.0.0.1:1"] {
            builder(&ClientOptions::new(endpoint)).unwrap();
        }
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }

    #[test]
    fn ca_certificates_and_proxies_that_cannot_be_parsed_are_refused() {
        let options = ClientOptions::new("https://h");
        for pem in ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let error = builder(&options.clone().ca_certificates(pem)).unwrap_err();
            assert!(error.to_string().contains("PEM"), "{error}");
        }
        for url in ["secret", "socks5://user:secret@h", ""] {
            let error = builder(&options.clone().proxy(url)).unwrap_err();
            assert!(error.to_string().contains("http://host:3128"), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
