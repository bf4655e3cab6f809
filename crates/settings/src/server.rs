//! The settings of the server of `serve`: where it listens, its certificate, the API keys, the audit
//! log, the STUN and TURN servers, the path prefix, the page, and its limits for clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use aurora_discovery_http::{IceOptions, Rate, RateLimits, ServerOptions, ServiceOptions, TlsFiles};
use clap::{Args, value_parser};

use crate::listen::socket_address;
use crate::{ServiceArgs, SettingError, Sources};

/// The upper bound of every timeout: a day.
const MAX_SECONDS: u64 = 86_400;

/// How `serve` listens, and its limits for clients. The limits of concurrency are here and not in
/// `ServiceArgs`, because a function on AWS Lambda handles one request at a time and needs none.
#[derive(Clone, Debug, Args)]
pub struct ServerArgs {
    /// The address and port to listen on; a host name is resolved once, at the start; port 0
    /// selects a free port.
    #[arg(long, env = "AURORA_LISTEN", default_value_t = ServerOptions::default().listen, value_name = "ADDRESS:PORT", value_parser = socket_address)]
    pub listen: SocketAddr,
    /// The address and port that serve Prometheus metrics; by default they are not served.
    #[arg(long, env = "AURORA_METRICS_LISTEN", value_name = "ADDRESS:PORT", value_parser = socket_address)]
    pub metrics_listen: Option<SocketAddr>,
    /// The certificate chain for HTTPS, in PEM; requires --tls-key.
    #[arg(long, env = "AURORA_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM; requires --tls-cert.
    #[arg(long, env = "AURORA_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The API keys, a line each: a name, its scopes (read, write, admin; with commas between), and
    /// the SHA-256 of the key in hexadecimal digits, as `keygen --scopes` prints it; read again on
    /// SIGHUP.
    #[arg(long, env = "AURORA_KEYS", value_name = "FILE")]
    pub keys: Option<PathBuf>,
    /// A file to which a line of JSON is appended for each registration, refusal, removal and
    /// action of an operator, or - for standard output; opened again on SIGHUP.
    #[arg(long, env = "AURORA_AUDIT_LOG", value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// The URLs of STUN servers that are sent to peers with a mailbox, with commas between, such as
    /// stun:stun.example.org:3478.
    #[arg(long, env = "AURORA_STUN_URLS", value_name = "URLS", value_parser = stun_urls)]
    pub stun_urls: Option<UrlList>,
    /// The URLs of TURN servers that are sent to peers with a mailbox, with a password each, such
    /// as turn:turn.example.org:3478; requires --turn-secret.
    #[arg(long, env = "AURORA_TURN_URLS", value_name = "URLS", value_parser = turn_urls)]
    pub turn_urls: Option<UrlList>,
    /// The file with the secret that the TURN servers derive passwords from: coturn's
    /// static-auth-secret; requires --turn-urls.
    #[arg(long, env = "AURORA_TURN_SECRET", value_name = "FILE")]
    pub turn_secret: Option<PathBuf>,
    /// A path prefix that the service ignores, such as /dev, for use behind a proxy that does not
    /// remove it.
    #[arg(long, env = "AURORA_BASE_PATH", value_name = "PATH", value_parser = base_path)]
    pub base_path: Option<String>,
    /// Do not serve the web page that shows the network at /; browsers then get 404 there.
    #[arg(long, env = "AURORA_NO_PAGE")]
    pub no_page: bool,
    /// The number of your own proxies in front of the service that append the client address to
    /// `X-Forwarded-For`.
    #[arg(long, env = "AURORA_TRUSTED_HOPS", default_value_t = 0, value_name = "COUNT", value_parser = value_parser!(u8).range(0..=16))]
    pub trusted_hops: u8,

    /// The maximum number of open connections; lowered if the system allows fewer open files.
    #[arg(long, env = "AURORA_MAX_CONNECTIONS", default_value_t = count(ServerOptions::default().max_connections), value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_connections: u32,
    /// The maximum number of concurrent requests; others get 503 with `Retry-After`.
    #[arg(long, env = "AURORA_MAX_IN_FLIGHT", default_value_t = count(ServiceOptions::default().max_in_flight), value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub max_in_flight: u32,
    /// The maximum number of concurrent /watch streams and of requests that wait for mail, at most a
    /// ninth of them from one address; others get 503 with `Retry-After`.
    #[arg(long, env = "AURORA_MAX_WATCHERS", default_value_t = count(ServiceOptions::default().max_watchers), value_name = "COUNT", value_parser = value_parser!(u32))]
    pub max_watchers: u32,
    /// The bytes per second of all /watch streams together; streams that fall behind are closed,
    /// and their clients reconnect later; 0 means no limit.
    #[arg(long, env = "AURORA_WATCH_BYTES_PER_SECOND", default_value_t = ServiceOptions::default().watch_bytes_per_second, value_name = "BYTES", value_parser = value_parser!(u32))]
    pub watch_bytes_per_second: u32,
    /// The requests per second of one source (an IPv4 address or an IPv6 /64), other than
    /// heartbeats and health checks; further requests get 429 with `Retry-After`; 0 means no limit.
    #[arg(long, env = "AURORA_REQUEST_RATE", default_value_t = RateLimits::default().requests.per_second, value_name = "PER_SECOND", value_parser = value_parser!(u32))]
    pub request_rate: u32,
    /// The requests that a source may send at once, after a pause.
    #[arg(long, env = "AURORA_REQUEST_BURST", default_value_t = RateLimits::default().requests.burst, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub request_burst: u32,
    /// The heartbeats per second of one source; a heartbeat for several peers counts once for each
    /// of them; 0 means no limit.
    #[arg(long, env = "AURORA_HEARTBEAT_RATE", default_value_t = RateLimits::default().heartbeats.per_second, value_name = "PER_SECOND", value_parser = value_parser!(u32))]
    pub heartbeat_rate: u32,
    /// The heartbeats that a source may send at once, after a pause.
    #[arg(long, env = "AURORA_HEARTBEAT_BURST", default_value_t = RateLimits::default().heartbeats.burst, value_name = "COUNT", value_parser = value_parser!(u32).range(1..))]
    pub heartbeat_burst: u32,
    /// The factor by which the rates and bursts of a network (an IPv4 /24 or an IPv6 /56) exceed
    /// those of a source; 0 means no limit.
    #[arg(long, env = "AURORA_NETWORK_RATE_FACTOR", default_value_t = RateLimits::default().network_factor, value_name = "FACTOR", value_parser = value_parser!(u32))]
    pub network_rate_factor: u32,
    /// The factor by which the rates and bursts of an IPv6 /48 exceed those of a source; 0 means no
    /// limit.
    #[arg(long, env = "AURORA_SITE_RATE_FACTOR", default_value_t = RateLimits::default().site_factor, value_name = "FACTOR", value_parser = value_parser!(u32))]
    pub site_rate_factor: u32,
    /// How long a client may take to connect and to send the head of a request.
    #[arg(long, env = "AURORA_HEADER_TIMEOUT", default_value_t = ServerOptions::default().header_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    pub header_timeout: u64,
    /// How long a client may take to send the body of a request.
    #[arg(long, env = "AURORA_BODY_TIMEOUT", default_value_t = ServerOptions::default().body_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    pub body_timeout: u64,
    /// How long a connection may stay idle between requests.
    #[arg(long, env = "AURORA_IDLE_TIMEOUT", default_value_t = ServerOptions::default().idle_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    pub idle_timeout: u64,
    /// How long a client may take to read 4 kB of a response for each second of this time; if it
    /// reads less, the service stops sending the response.
    #[arg(long, env = "AURORA_WRITE_TIMEOUT", default_value_t = ServerOptions::default().write_timeout.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(1..=MAX_SECONDS))]
    pub write_timeout: u64,
    /// How long the service still accepts and responds after it is asked to stop; meanwhile /readyz
    /// returns 503, and responses close their connections.
    #[arg(long, env = "AURORA_SHUTDOWN_DRAIN", default_value_t = ServerOptions::default().shutdown_drain.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=MAX_SECONDS))]
    pub shutdown_drain: u64,
    /// How long requests in progress may still take after the drain.
    #[arg(long, env = "AURORA_SHUTDOWN_GRACE", default_value_t = ServerOptions::default().shutdown_grace.as_secs(), value_name = "SECONDS", value_parser = value_parser!(u64).range(0..=MAX_SECONDS))]
    pub shutdown_grace: u64,
}

impl ServerArgs {
    /// The options of the server.
    ///
    /// # Errors
    ///
    /// A certificate without a key, a key without a certificate, TURN servers without their secret,
    /// a secret without servers, or required API keys without a file of keys. The error has the
    /// names that `sources` gives to the settings.
    pub fn options(&self, service: &ServiceArgs, sources: &Sources) -> Result<ServerOptions, SettingError> {
        let mut options = ServerOptions::default();
        options.listen = self.listen;
        options.metrics_listen = self.metrics_listen;
        options.tls = self.tls(sources)?;
        options.keys = self.keys(service, sources)?;
        options.audit_log.clone_from(&self.audit_log);
        options.ice = self.ice(sources)?;
        options.trusted_hops = self.trusted_hops.into();
        options.max_connections = size(self.max_connections);
        options.header_timeout = Duration::from_secs(self.header_timeout);
        options.body_timeout = Duration::from_secs(self.body_timeout);
        options.idle_timeout = Duration::from_secs(self.idle_timeout);
        options.write_timeout = Duration::from_secs(self.write_timeout);
        options.shutdown_drain = Duration::from_secs(self.shutdown_drain);
        options.shutdown_grace = Duration::from_secs(self.shutdown_grace);
        options.service = service.options();
        options.service.base_path.clone_from(&self.base_path);
        options.service.page = !self.no_page;
        options.service.max_in_flight = size(self.max_in_flight);
        options.service.max_watchers = size(self.max_watchers);
        options.service.watch_bytes_per_second = self.watch_bytes_per_second;
        options.service.rate_limits = Some(self.rate_limits());
        Ok(options)
    }

    fn rate_limits(&self) -> RateLimits {
        RateLimits {
            requests: Rate { per_second: self.request_rate, burst: self.request_burst },
            heartbeats: Rate { per_second: self.heartbeat_rate, burst: self.heartbeat_burst },
            network_factor: self.network_rate_factor,
            site_factor: self.site_rate_factor,
        }
    }

    fn keys(&self, service: &ServiceArgs, sources: &Sources) -> Result<Option<PathBuf>, SettingError> {
        if service.require_key.is_some() && self.keys.is_none() {
            let (require, keys) = (sources.name("require_key"), sources.name("keys"));
            return Err(SettingError::new(format!("{require} requires {keys}, the file with the keys")));
        }
        Ok(self.keys.clone())
    }

    fn ice(&self, sources: &Sources) -> Result<IceOptions, SettingError> {
        let (urls_name, secret_name) = (sources.name("turn_urls"), sources.name("turn_secret"));
        match (&self.turn_urls, &self.turn_secret) {
            (Some(_), None) => {
                let rule = format!("{urls_name} requires {secret_name}, the file with the servers' secret");
                return Err(SettingError::new(rule));
            }
            (None, Some(_)) => {
                let rule = format!("{secret_name} requires {urls_name}, the servers that have this secret");
                return Err(SettingError::new(rule));
            }
            _ => {}
        }
        let urls = |list: &Option<UrlList>| list.clone().unwrap_or_default().0;
        Ok(IceOptions {
            stun: urls(&self.stun_urls),
            turn: urls(&self.turn_urls),
            turn_secret: self.turn_secret.clone(),
        })
    }

    fn tls(&self, sources: &Sources) -> Result<Option<TlsFiles>, SettingError> {
        let (cert_name, key_name) = (sources.name("tls_cert"), sources.name("tls_key"));
        match (self.tls_cert.clone(), self.tls_key.clone()) {
            (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
            (None, None) => Ok(None),
            (Some(_), None) => Err(SettingError::new(format!(
                "{cert_name} requires {key_name}, the certificate's private key"
            ))),
            (None, Some(_)) => Err(SettingError::new(format!(
                "{key_name} requires {cert_name}, the certificate of that key"
            ))),
        }
    }
}

/// A list of URLs of STUN or TURN servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlList(Vec<String>);

impl From<UrlList> for Vec<String> {
    fn from(list: UrlList) -> Self {
        list.0
    }
}

/// Parses the URLs of STUN servers, with commas between.
///
/// # Errors
/// A sentence that states the rule.
pub fn stun_urls(text: &str) -> Result<UrlList, String> {
    url_list(text, &["stun:", "stuns:"])
}

/// Parses the URLs of TURN servers, with commas between.
///
/// # Errors
/// A sentence that states the rule.
pub fn turn_urls(text: &str) -> Result<UrlList, String> {
    url_list(text, &["turn:", "turns:"])
}

fn url_list(text: &str, schemes: &[&str]) -> Result<UrlList, String> {
    let is_url = |url: &str| {
        let host = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
        host.is_some_and(|host| !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic()))
    };
    let urls: Vec<_> = text.split(',').map(|url| url.trim().to_owned()).collect();
    if urls.iter().all(|url| is_url(url)) {
        return Ok(UrlList(urls));
    }
    Err(format!("must be URLs that begin with {}, with commas between", schemes.join(" or ")))
}

/// Parses a base path. The result has one slash at its start and none at its end.
fn base_path(text: &str) -> Result<String, String> {
    let is_segment = |segment: &str| {
        let is_unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !segment.is_empty() && segment.bytes().all(is_unreserved)
    };
    let path = text.trim_matches('/');
    if path.split('/').all(is_segment) {
        Ok(format!("/{path}"))
    } else {
        Err("must be a path such as /dev, with non-empty segments of letters, digits, - . _ ~".to_owned())
    }
}

/// A size as the value of a setting, which is a `u32`, because clap can't check the range of a
/// `usize`.
fn count(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn size(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::parse;

    #[derive(Debug, Args)]
    struct Serve {
        #[command(flatten)]
        server: ServerArgs,
        #[command(flatten)]
        service: ServiceArgs,
    }

    fn options(arguments: &[&str]) -> Result<String, String> {
        let (serve, sources) = parse::<Serve>(arguments).map_err(|error| error.to_string())?;
        let options = serve.server.options(&serve.service, &sources).map_err(|error| error.to_string())?;
        Ok(format!("{options:?}"))
    }

    #[test]
    fn the_default_settings_are_the_default_options() {
        assert_eq!(options(&[]), Ok(format!("{:?}", ServerOptions::default())));
    }

    #[test]
    fn every_setting_changes_the_options() {
        let defaults = options(&[]);
        let command = Serve::augment_args(clap::Command::new("serve"));
        let is_alone =
            |long: &&str| !long.starts_with("tls") && !long.starts_with("turn") && *long != "require-key";
        for arg in command.get_arguments().filter_map(|arg| arg.get_long()).filter(is_alone) {
            let value = match arg {
                "listen" | "metrics-listen" => "=127.0.0.1:9",
                "stun-urls" => "=stun:a",
                "no-cors" | "no-page" | "log-requests" => "",
                _ => "=3",
            };
            let given = options(&[&format!("--{arg}{value}")]);
            assert!(given.is_ok() && given != defaults, "--{arg}{value}: {given:?}");
        }
        let tls = options(&["--tls-cert=c", "--tls-key=k"]).unwrap();
        assert!(tls.contains(r#"TlsFiles { cert: "c", key: "k" }"#), "{tls}");
    }

    #[test]
    fn required_keys_need_a_file_of_keys() {
        let given = options(&["--keys=k", "--require-key=write"]).unwrap();
        assert!(given.contains(r#"keys: Some("k")"#), "{given}");
        assert_ne!(Ok(given), options(&["--keys=k", "--require-key=read,write"]));
        let missing = options(&["--require-key=read"]).unwrap_err();
        assert_eq!(missing, "--require-key requires AURORA_KEYS, the file with the keys");
        for scopes in ["admin", "read,admin", "", "all"] {
            let error = options(&["--keys=k", &format!("--require-key={scopes}")]).unwrap_err();
            assert!(error.contains("read, write or read,write"), "{error}");
        }
    }

    #[test]
    fn a_base_path_has_one_slash_at_its_start_and_none_at_its_end() {
        for (text, path) in [("/dev", "/dev"), ("dev/", "/dev"), ("/a/b-1/", "/a/b-1")] {
            assert_eq!(base_path(text).as_deref(), Ok(path));
        }
        for text in ["", "/", "/a//b", "/a?b", "/a b", "/é", "https://h/dev"] {
            assert!(base_path(text).unwrap_err().contains("such as /dev"), "{text}");
        }
    }

    #[test]
    fn turn_servers_require_their_secret_and_a_secret_its_servers() {
        let turn = options(&["--turn-urls=turn:a, turns:b:1?transport=tcp", "--turn-secret=f"]).unwrap();
        assert!(turn.contains(r#"["turn:a", "turns:b:1?transport=tcp"]"#), "{turn}");
        let error = |arguments: &[&str]| options(arguments).unwrap_err();
        assert!(error(&["--turn-urls=turn:a"]).starts_with("--turn-urls requires AURORA_TURN_SECRET"));
        assert!(error(&["--turn-secret=f"]).starts_with("--turn-secret requires AURORA_TURN_URLS"));
        for wrong in ["", "stun:a", "turn:", "turn:a,", "turn:a b", "https://a"] {
            assert!(
                error(&[&format!("--turn-urls={wrong}"), "--turn-secret=f"]).contains("turn:"),
                "{wrong}"
            );
        }
        assert!(error(&["--stun-urls=turn:a"]).contains("stun:"));
    }

    #[test]
    fn a_certificate_requires_its_key_and_a_key_its_certificate() {
        assert!(options(&["--tls-cert=c"]).unwrap_err().starts_with("--tls-cert requires AURORA_TLS_KEY"));
        assert!(options(&["--tls-key=k"]).unwrap_err().starts_with("--tls-key requires AURORA_TLS_CERT"));
    }
}
