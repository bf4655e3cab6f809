//! Connections to the primary, which is the server that accepts writes and sends them to its
//! replicas.

use std::time::Duration;

use aurora_discovery_registry::StoreError;
use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, TlsMode,
};
use tokio::sync::Mutex;

use crate::failure::{OpenError, unavailable, unexpected};
use crate::options::ValkeyOptions;
use crate::shared::Shared;

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// Establishes connections to the server that is the primary at that moment.
pub(crate) enum Connector {
    /// The URL has the address of the server.
    Direct(Box<Client>),
    /// The URL has the addresses of Sentinels, which know the address of the primary.
    Sentinel(Box<Mutex<SentinelClient>>),
}

/// The parts of a URL with Sentinels.
#[derive(Debug, PartialEq, Eq)]
struct SentinelUrl<'a> {
    tls: bool,
    /// The text before the `@` of the URL: empty, `user`, or `[user]:password`, still
    /// percent-encoded.
    credentials: &'a str,
    hosts: Vec<(&'a str, u16)>,
    service: &'a str,
    database: i64,
}

/// A connection that requests share. It is established when the first of them needs it.
#[derive(Default)]
pub(crate) struct SharedConnection(parking_lot::Mutex<Option<MultiplexedConnection>>);

impl SharedConnection {
    /// Returns the connection. Establishes it if there is none.
    pub(crate) async fn connect(&self, shared: &Shared) -> RedisResult<MultiplexedConnection> {
        if let Some(connection) = &*self.0.lock() {
            return Ok(connection.clone());
        }
        let connection = shared.connector.connect(shared.options.response_timeout).await?;
        Ok(self.0.lock().insert(connection).clone())
    }

    /// Drops the connection after an error, so that the next request connects again. Returns the
    /// error of the request.
    pub(crate) fn failed(&self, error: &RedisError) -> StoreError {
        *self.0.lock() = None;
        unavailable(error.to_string())
    }
}

impl Connector {
    /// Parses the URL. Does not connect.
    pub(crate) fn new(options: &ValkeyOptions) -> Result<Self, OpenError> {
        if options.url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("+sentinel")) {
            let client = sentinel_client(options)?;
            return Ok(Self::Sentinel(Box::new(Mutex::new(client))));
        }
        let info = connection_info(options, &options.url)?;
        let client = match certificates(options)? {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        };
        Ok(Self::Direct(Box::new(client.map_err(|error| invalid_url(&error))?)))
    }

    /// Connects to the primary. `response_timeout` is how long each command may take.
    pub(crate) async fn connect(&self, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        let mut connection = match self {
            Self::Direct(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Self::Sentinel(client) => client.lock().await.get_async_connection_with_config(&config).await?,
        };
        // The server that the URL or a Sentinel names may have become a replica.
        let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        match role.first() {
            Some(redis::Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(unexpected("the server is not the primary")),
        }
    }
}

fn invalid_url(error: &RedisError) -> OpenError {
    OpenError(format!("the URL of Valkey is not valid: {error}"))
}

/// Parses the URL of one server. The password of the options, if there is one, replaces that of the
/// URL.
fn connection_info(options: &ValkeyOptions, url: &str) -> Result<ConnectionInfo, OpenError> {
    let info: ConnectionInfo = url.into_connection_info().map_err(|error| invalid_url(&error))?;
    let Some(password) = &options.password else { return Ok(info) };
    let settings = info.redis_settings().clone().set_password(password);
    Ok(info.set_redis_settings(settings))
}

/// The certificate authorities of the options. `None` if the system's authorities are to be used.
fn certificates(options: &ValkeyOptions) -> Result<Option<TlsCertificates>, OpenError> {
    const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";
    let Some(pem) = &options.ca_certificates else { return Ok(None) };
    if !pem.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Err(OpenError("the file of trusted authorities has no certificate in PEM format".to_owned()));
    }
    Ok(Some(TlsCertificates { client_tls: None, root_cert: Some(pem.clone()) }))
}

fn sentinel_client(options: &ValkeyOptions) -> Result<SentinelClient, OpenError> {
    let url = SentinelUrl::parse(&options.url).ok_or_else(|| {
        OpenError(
            "the URL of Sentinels must be redis+sentinel://[user[:password]@]host[:port],…/service[/database]"
                .to_owned(),
        )
    })?;
    let hosts = url.hosts.iter().map(|(host, port)| {
        if url.tls {
            ConnectionAddr::TcpTls {
                host: (*host).to_owned(),
                port: *port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp((*host).to_owned(), *port)
        }
    });
    let mut builder = SentinelClientBuilder::new(hosts, url.service, SentinelServerType::Master)?
        .set_client_to_redis_db(url.database);
    let login = url.login(options)?;
    if let Some(user) = login.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = login.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if url.tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
    }
    if let Some(certificates) = certificates(options)? {
        builder = builder
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_certificates(certificates);
    }
    Ok(builder.build()?)
}

impl<'a> SentinelUrl<'a> {
    fn parse(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme {
            "redis+sentinel" | "valkey+sentinel" => false,
            "rediss+sentinel" | "valkeys+sentinel" => true,
            _ => return None,
        };
        let (authority, path) = rest.split_once('/')?;
        let (credentials, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let hosts = hosts.split(',').map(host_and_port).collect::<Option<Vec<_>>>()?;
        let (service, database) = path.split_once('/').unwrap_or((path, "0"));
        (!service.is_empty()).then_some(Self {
            tls,
            credentials,
            hosts,
            service,
            database: database.parse().ok()?,
        })
    }

    /// The user and the password for the server. They are parsed as part of the URL of one server,
    /// so that both kinds of URL escape them in the same way.
    fn login(&self, options: &ValkeyOptions) -> Result<RedisConnectionInfo, OpenError> {
        let separator = if self.credentials.is_empty() { "" } else { "@" };
        let url = format!("redis://{}{separator}localhost", self.credentials);
        Ok(connection_info(options, &url)?.redis_settings().clone())
    }
}

fn host_and_port(text: &str) -> Option<(&str, u16)> {
    // The colons of an IPv6 address are in brackets.
    let (host, port) = match text.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, DEFAULT_SENTINEL_PORT),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_of_sentinels_names_hosts_and_a_service() {
        let url = SentinelUrl::parse("redis+sentinel://a:1,b,[2001:db8::1]:3/main").unwrap();
        assert_eq!(url.hosts, [("a", 1), ("b", 26_379), ("2001:db8::1", 3)]);
        assert_eq!((url.service, url.database, url.tls, url.credentials), ("main", 0, false, ""));
        let url = SentinelUrl::parse("valkeys+sentinel://app:p@ss@a/main/2").unwrap();
        assert_eq!((url.credentials, url.hosts), ("app:p@ss", vec![("a", 26_379)]));
        assert_eq!((url.database, url.tls), (2, true));
        for other in ["redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel:///main", "redis://a/main"]
        {
            assert_eq!(SentinelUrl::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_login_is_in_the_url_and_its_password_may_be_elsewhere() {
        let login = |url: &str, password: Option<&str>| {
            let options = ValkeyOptions { password: password.map(str::to_owned), ..ValkeyOptions::new(url) };
            let login = match SentinelUrl::parse(url) {
                Some(sentinel) => sentinel.login(&options).unwrap(),
                None => connection_info(&options, url).unwrap().redis_settings().clone(),
            };
            (login.username().map(str::to_owned), login.password().map(str::to_owned))
        };
        let both = |user: Option<&str>, password: Option<&str>| {
            (user.map(str::to_owned), password.map(str::to_owned))
        };
        for (scheme, path) in [("redis", ""), ("redis+sentinel", "/main")] {
            let login =
                |credentials: &str, password| login(&format!("{scheme}://{credentials}a{path}"), password);
            assert_eq!(login("", None), both(None, None), "{scheme}");
            assert_eq!(login("app:p%40s%2Fs@", None), both(Some("app"), Some("p@s/s")), "{scheme}");
            assert_eq!(login("app@", Some("secret")), both(Some("app"), Some("secret")), "{scheme}");
            assert_eq!(login(":url@", Some("file")), both(None, Some("file")), "{scheme}");
        }
    }

    #[test]
    fn authorities_need_tls_and_a_certificate() {
        let refusal = |url: &str, pem: &str| {
            let options = ValkeyOptions { ca_certificates: Some(pem.into()), ..ValkeyOptions::new(url) };
            Connector::new(&options).err().unwrap().to_string()
        };
        assert!(refusal("rediss://a", "no certificate").contains("no certificate in PEM format"));
        let plain = refusal("redis://a", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n");
        assert!(plain.contains("not valid"), "{plain}");
    }
}
