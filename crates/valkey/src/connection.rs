//! Connections to the primary.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisResult,
    TlsMode,
};
use tokio::sync::Mutex;

use crate::failure::{OpenError, unexpected};
use crate::options::ValkeyOptions;

/// How long establishing a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const DEFAULT_SENTINEL_PORT: u16 = 26_379;

/// Establishes connections to the primary, wherever it is at the time.
pub(crate) enum Connector {
    /// To one address.
    Direct(Box<Client>),
    /// To the address that a Sentinel names.
    Sentinel(Box<Mutex<SentinelClient>>),
}

/// The parts of a URL of Sentinels.
#[derive(Debug, PartialEq, Eq)]
struct SentinelUrl<'a> {
    tls: bool,
    user: Option<&'a str>,
    password: Option<&'a str>,
    hosts: Vec<(&'a str, u16)>,
    service: &'a str,
    database: i64,
}

impl Connector {
    /// Parses the URL. Makes no connection.
    pub(crate) fn new(options: &ValkeyOptions) -> Result<Self, OpenError> {
        if options.url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("+sentinel")) {
            let client = sentinel_client(options)?;
            return Ok(Self::Sentinel(Box::new(Mutex::new(client))));
        }
        let invalid =
            |error: redis::RedisError| OpenError(format!("the URL of Valkey is not valid: {error}"));
        let mut info: ConnectionInfo = options.url.as_str().into_connection_info().map_err(invalid)?;
        if let Some(password) = &options.password {
            let settings = info.redis_settings().clone().set_password(password);
            info = info.set_redis_settings(settings);
        }
        Ok(Self::Direct(Box::new(Client::open(info).map_err(invalid)?)))
    }

    /// Connects to the primary. `response_timeout` is for each command.
    pub(crate) async fn connect(&self, response_timeout: Duration) -> RedisResult<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        let mut connection = match self {
            Self::Direct(client) => client.get_multiplexed_async_connection_with_config(&config).await?,
            Self::Sentinel(client) => client.lock().await.get_async_connection_with_config(&config).await?,
        };
        // A primary that was replaced while it was away does not know it at once.
        let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
        match role.first() {
            Some(redis::Value::BulkString(role)) if role == b"master" => Ok(connection),
            _ => Err(unexpected("the server is not the primary")),
        }
    }
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
    if let Some(user) = url.user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = options.password.as_deref().or(url.password) {
        builder = builder.set_client_to_redis_password(password);
    }
    if url.tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
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
        let (credentials, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(c, h)| (Some(c), h));
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (None, None),
        };
        let hosts = hosts.split(',').map(host_and_port).collect::<Option<Vec<_>>>()?;
        let (service, database) = path.split_once('/').unwrap_or((path, "0"));
        let present = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
        (!service.is_empty()).then_some(Self {
            tls,
            user: present(user),
            password: present(password),
            hosts,
            service,
            database: database.parse().ok()?,
        })
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
        assert_eq!((url.service, url.database, url.tls, url.user), ("main", 0, false, None));
        let url = SentinelUrl::parse("valkeys+sentinel://app:p@ss@a/main/2").unwrap();
        assert_eq!((url.user, url.password, url.hosts), (Some("app"), Some("p@ss"), vec![("a", 26_379)]));
        assert_eq!((url.database, url.tls), (2, true));
        for other in ["redis+sentinel://a", "redis+sentinel://a/", "redis+sentinel:///main", "redis://a/main"]
        {
            assert_eq!(SentinelUrl::parse(other), None, "{other}");
        }
    }
}
