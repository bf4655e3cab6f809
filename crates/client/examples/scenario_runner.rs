//! Runs the commands of a scenario of `clients/scenarios/` with this client. `README.md` there
//! describes the commands, which `scripts/check-clients` writes.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io::{self, Write as _};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aurora_discovery_client::{
    Client, ClientOptions, DeregisterRequest, DiscoverRequest, DiscoveredPage, Error, Event, Fill,
    HeartbeatRequest, KeeperOptions, KeyFile, LeaseKeeper, LeaseToken, MailId, MailRequest, MailboxRequest,
    MessageTerms, PeerId, RegisterRequest, SecretKey, SignedMessage, SignedRecord, Signer, TryStreamExt as _,
    Ttl, View, Watch, WatchEvent, tokio,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// A command. Its keys have the names that the API uses in requests.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Client {
        endpoints: Vec<String>,
        timeout_seconds: Option<f64>,
        retries: Option<u32>,
        patience_seconds: Option<f64>,
    },
    Key {
        key_file: String,
    },
    Register {
        request: Registration,
        key_file: Option<String>,
    },
    Heartbeat {
        request: Heartbeat,
    },
    Deregister {
        request: Heartbeat,
    },
    Mail {
        request: Posting,
        message: Message,
        key_file: String,
    },
    Mailbox {
        request: Fetching,
    },
    Discover {
        #[serde(default)]
        request: Query,
    },
    Enumerate {
        #[serde(default)]
        request: Query,
    },
    Network,
    Health,
    Keep {
        name: String,
        request: Registration,
        token_file: Option<String>,
        replace: Option<bool>,
        key_file: Option<String>,
        replaces_key_file: Option<String>,
        audience: Option<String>,
    },
    Watch {
        name: String,
        #[serde(default)]
        request: Query,
    },
    Stop {
        name: String,
    },
}

#[derive(Deserialize)]
struct Registration {
    peer_id: String,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    archetypes: Vec<String>,
    metadata: Option<String>,
    ttl_seconds: Option<u32>,
    lease_token: Option<String>,
    #[serde(default)]
    mail: bool,
    discover: Option<Query>,
}

#[derive(Deserialize)]
struct Posting {
    lease_token: LeaseToken,
}

#[derive(Deserialize)]
struct Message {
    from: PeerId,
    to: PeerId,
    sid: String,
    #[serde(rename = "type")]
    kind: String,
    sdp: String,
}

#[derive(Deserialize)]
struct Fetching {
    peer_id: PeerId,
    lease_token: LeaseToken,
    #[serde(default)]
    acknowledge: Vec<MailId>,
    #[serde(default)]
    wait_seconds: u32,
}

#[derive(Deserialize)]
struct Heartbeat {
    peer_id: String,
    lease_token: Option<String>,
    discover: Option<Query>,
}

#[derive(Default, Deserialize)]
struct Query {
    #[serde(default)]
    archetypes: Vec<String>,
    limit: Option<u32>,
    exclude: Option<String>,
    view: Option<String>,
    fill: Option<String>,
}

type Outcome = Result<Value, Box<dyn StdError>>;

struct Runner {
    client: Client,
    keepers: HashMap<String, LeaseKeeper>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let mut runner = Runner { client: Client::new("http://127.0.0.1")?, keepers: HashMap::new() };
    let (sender, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    while let Some(line) = lines.recv().await {
        let message = match runner.run(serde_json::from_str(&line)?).await {
            Ok(result) => json!({ "result": result }),
            Err(error) => json!({ "error": describe(&*error) }),
        };
        write(&message);
    }
    Ok(())
}

impl Runner {
    async fn run(&mut self, command: Command) -> Outcome {
        let client = &self.client;
        match command {
            Command::Client { endpoints, timeout_seconds, retries, patience_seconds } => {
                let mut options = ClientOptions::with_endpoints(endpoints);
                if let Some(seconds) = timeout_seconds {
                    options = options.timeout(Duration::from_secs_f64(seconds));
                }
                if let Some(retries) = retries {
                    options = options.retries(retries);
                }
                if let Some(seconds) = patience_seconds {
                    options = options.patience(Duration::from_secs_f64(seconds));
                }
                self.client = Client::new(options)?;
                Ok(json!({}))
            }
            Command::Key { key_file } => Ok(json!({ "public_key": key_in(key_file)?.public() })),
            Command::Register { request, key_file } => {
                let request = request.build()?;
                let mut signer = key_file.map(key_in).transpose()?.map(Signer::new).transpose()?;
                let response = match &mut signer {
                    Some(signer) => signer.register(client, &request).await?,
                    None => client.register(&request).await?,
                };
                let token = response.lease_token.as_ref().or(signer.as_ref().map(Signer::token));
                let mut result = json!({
                    "peer_id": response.peer_id,
                    "ttl_seconds": response.ttl_seconds,
                    "heartbeat_interval_seconds": response.heartbeat_interval_seconds,
                    "observed_address": response.observed_address,
                    "lease_token": token,
                    "signed_by": response.signed_by,
                });
                add_page(&mut result, response.page.as_ref());
                Ok(result)
            }
            Command::Heartbeat { request } => {
                let request = HeartbeatRequest {
                    lease_token: token(request.lease_token.as_deref())?,
                    discover: request.discover.map(Query::build).transpose()?,
                    ..HeartbeatRequest::new(PeerId::parse(&request.peer_id)?)
                };
                let response = client.heartbeat(&request).await?;
                let mut result = json!({
                    "peer_id": response.peer_id,
                    "ttl_seconds": response.ttl_seconds,
                    "observed_address": response.observed_address,
                });
                add_page(&mut result, response.page.as_ref());
                Ok(result)
            }
            Command::Deregister { request } => {
                let request = DeregisterRequest {
                    peer_id: PeerId::parse(&request.peer_id)?,
                    lease_token: token(request.lease_token.as_deref())?,
                };
                Ok(json!(client.deregister(&request).await?))
            }
            Command::Mail { request, message, key_file } => {
                let message = message.sign(&key_in(key_file)?)?;
                let (to, lease_token) = (message.to().clone(), request.lease_token);
                Ok(json!(client.mail(&MailRequest { to, lease_token, message }).await?))
            }
            Command::Mailbox { request } => {
                let Fetching { peer_id, lease_token, acknowledge, wait_seconds } = request;
                let request = MailboxRequest { peer_id, lease_token, acknowledge, wait_seconds };
                let response = client.mailbox(&request).await?;
                let messages: Result<Vec<_>, _> =
                    response.mail.iter().map(|mail| content(&mail.message)).collect();
                Ok(json!({
                    "from": response.mail.iter().map(|mail| &mail.from).collect::<Vec<_>>(),
                    "ids": response.mail.iter().map(|mail| mail.id).collect::<Vec<_>>(),
                    "messages": messages?,
                    "next_poll_seconds": response.next_poll_seconds,
                }))
            }
            Command::Discover { request } => {
                let response = client.discover(&request.build()?).await?;
                let mut result = json!({});
                add_page(&mut result, Some(&response.page));
                Ok(result)
            }
            Command::Enumerate { request } => {
                let peers: Vec<_> = client.enumerate(request.build()?).peers().try_collect().await?;
                let mut ids: Vec<_> = peers.into_iter().map(|peer| peer.peer_id.to_string()).collect();
                ids.sort();
                Ok(json!({ "peer_ids": ids }))
            }
            Command::Network => Ok(json!({ "peers": client.network().await?.peers })),
            Command::Health => Ok(json!(client.health().await?)),
            Command::Keep { name, request, token_file, replace, key_file, replaces_key_file, audience } => {
                let mut options = KeeperOptions::new().replace(replace.unwrap_or(true));
                if let Some(path) = key_file {
                    options = options.key(key_in(path)?);
                }
                if let Some(path) = replaces_key_file {
                    options = options.replaces_key(key_in(path)?);
                }
                if let Some(audience) = audience {
                    options = options.audience(audience);
                }
                if let Some(path) = token_file {
                    options = options.token_file(path);
                }
                let source = name.clone();
                let on_event = move |event| report_lease(&source, &event);
                let keeper = LeaseKeeper::start_with(client.clone(), request.build()?, options, on_event)?;
                self.keepers.insert(name, keeper);
                Ok(json!({}))
            }
            Command::Watch { name, request } => {
                tokio::spawn(follow(name, client.watch(request.build()?)));
                Ok(json!({}))
            }
            Command::Stop { name } => {
                self.keepers.remove(&name).ok_or("no such keeper")?.stop().await?;
                Ok(json!({}))
            }
        }
    }
}

impl Registration {
    fn build(self) -> Result<RegisterRequest, Box<dyn StdError>> {
        let mut builder = RegisterRequest::builder(self.peer_id)
            .port(self.port)
            .archetypes(self.archetypes)
            .mail(self.mail);
        if let Some(metadata) = self.metadata {
            builder = builder.metadata(metadata);
        }
        if let Some(seconds) = self.ttl_seconds {
            builder = builder.ttl_seconds(seconds);
        }
        if let Some(query) = self.discover {
            builder = builder.discover(query.build()?);
        }
        let lease_token = token(self.lease_token.as_deref())?;
        Ok(RegisterRequest { lease_token, ..builder.build()? })
    }
}

impl Message {
    fn sign(&self, key: &SecretKey) -> Result<SignedMessage, Box<dyn StdError>> {
        let issued_at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let terms = MessageTerms { sid: &self.sid, issued_at, kind: &self.kind, sdp: &self.sdp };
        Ok(SignedMessage::sign(&self.from, &self.to, &terms, key)?)
    }
}

impl Query {
    fn build(self) -> Result<DiscoverRequest, Box<dyn StdError>> {
        let mut builder = DiscoverRequest::builder();
        for archetype in self.archetypes {
            builder = builder.archetype(archetype);
        }
        if let Some(limit) = self.limit {
            builder = builder.limit(limit);
        }
        if let Some(peer_id) = self.exclude {
            builder = builder.exclude(peer_id);
        }
        match self.view.as_deref() {
            Some("contact") => builder = builder.view(View::Contact),
            Some("full") => builder = builder.view(View::Full),
            _ => {}
        }
        if self.fill.is_some() {
            builder = builder.fill(Fill::Any);
        }
        Ok(builder.build()?)
    }
}

fn key_in(path: String) -> Result<SecretKey, Error> {
    KeyFile::new(path).read_or_create()
}

fn token(text: Option<&str>) -> Result<Option<LeaseToken>, Box<dyn StdError>> {
    Ok(text.map(LeaseToken::parse).transpose()?)
}

/// Adds the peers of a page to a result. The metadata of a peer is added as the text that the peer
/// published, because parsing it as JSON would change numbers.
fn add_page(result: &mut Value, page: Option<&DiscoveredPage>) {
    let Some(page) = page else { return };
    let peers = page.peers.iter().map(|peer| {
        json!({
            "peer_id": peer.peer_id,
            "address": peer.address,
            "port": peer.port,
            "archetypes": peer.archetypes,
            "metadata_text": peer.metadata.as_str(),
            "signed": peer.signed.as_deref().map(record),
        })
    });
    result["peers"] = peers.collect();
    result["total"] = json!(page.info.total);
}

/// The content of a signed record, after its verification.
fn record(text: &str) -> Value {
    let any_lease = Ttl::from_secs(0)..=Ttl::from_secs(u32::MAX);
    let verified = SignedRecord::parse(text).and_then(|record| Ok((record.verify()?, record)));
    let (key, record) = match verified {
        Ok(verified) => verified,
        Err(refusal) => return json!(refusal.to_string()),
    };
    match record.content(any_lease) {
        Ok(content) => json!({
            "peer_id": record.peer_id(),
            "signed_by": key,
            "port": content.registration.port,
            "archetypes": content.registration.archetypes,
            "metadata_text": content.registration.metadata.as_str(),
            "is_dated": format!("{:?}", record.freshness()).starts_with("IssuedAt"),
            "audience": record.audience(),
            "replaces": content.replaces,
        }),
        Err(refusal) => json!(refusal.to_string()),
    }
}

/// The content of a message, after its verification.
fn content(text: &str) -> Outcome {
    let message = SignedMessage::parse(text)?;
    Ok(json!({
        "signed_by": message.verify()?,
        "from": message.from(),
        "to": message.to(),
        "sid": message.sid(),
        "type": message.kind(),
        "sdp": message.sdp(),
    }))
}

async fn follow(name: String, mut watch: Watch) {
    while let Some(Ok(event)) = watch.next().await {
        report_change(&name, &event);
    }
}

fn report_change(source: &str, event: &WatchEvent) {
    let message = match event {
        WatchEvent::Started => json!({ "event": "started" }),
        WatchEvent::Joined(peer) => {
            json!({ "event": "joined", "peer_id": peer.peer_id, "metadata_text": peer.metadata.as_str() })
        }
        WatchEvent::Changed(peer) => {
            json!({ "event": "changed", "peer_id": peer.peer_id, "metadata_text": peer.metadata.as_str() })
        }
        WatchEvent::Left(peer_id) => json!({ "event": "left", "peer_id": peer_id }),
        WatchEvent::Reset => json!({ "event": "reset" }),
        WatchEvent::Interrupted { .. } => json!({ "event": "interrupted" }),
        WatchEvent::Resumed => json!({ "event": "resumed" }),
        other => json!({ "event": format!("{other:?}") }),
    };
    report(source, message);
}

fn report_lease(source: &str, event: &Event) {
    let name = match event {
        Event::Registered(_) => "registered",
        Event::Renewed(_) => "renewed",
        Event::Secured { .. } => "secured",
        Event::Unsecured { .. } => "unsecured",
        Event::Moved { .. } => "moved",
        Event::Forgotten => "forgotten",
        Event::TakenOver { .. } => "taken_over",
        Event::Failed { .. } => "failed",
        Event::Expired => "expired",
        Event::Recovered { .. } => "recovered",
        Event::Refused { .. } => "refused",
        Event::Deregistered => "deregistered",
    };
    let is_permanent = matches!(event, Event::Refused { retry_in: None, .. });
    report(source, json!({ "event": name, "is_permanent": is_permanent }));
}

fn report(source: &str, mut message: Value) {
    message["of"] = json!(source);
    write(&message);
}

fn describe(error: &(dyn StdError + 'static)) -> Value {
    let message = error.to_string();
    let Some(error) = error.downcast_ref::<Error>() else {
        return json!({ "kind": "other", "message": message });
    };
    match error {
        Error::Refused { body, .. } => {
            json!({ "kind": "refused", "code": body.code, "field": body.field, "message": message })
        }
        Error::Unreachable { .. } => json!({ "kind": "unreachable", "message": message }),
        Error::TimedOut { .. } => json!({ "kind": "timed_out", "message": message }),
        Error::Protocol { .. } => json!({ "kind": "protocol", "message": message }),
        _ => json!({ "kind": "other", "message": message }),
    }
}

/// Writes a message as one line. A failure is ignored: if the reader has gone, the process is about
/// to be stopped.
fn write(message: &Value) {
    let _ = writeln!(io::stdout().lock(), "{message}");
}
