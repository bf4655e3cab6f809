//! Pairs of peers that exchange WebRTC signalling messages through their mailboxes. One peer of a
//! pair sends an offer. The other one waits for the offer and answers it.

mod connection;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use aurora_discovery_protocol::{
    Freshness, MailboxResponse, MessageTerms, PeerId, RecordTerms, RegisterRequest, SecretKey, SignedMessage,
    SignedRecord, SignedTokenHash,
};
use clap::Args;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::latency::Latencies;
use crate::signed::TOKEN_HASH;
use crate::watch::resident_bytes;
use connection::Connection;

/// The lease token of every peer.
const TOKEN: &str = "token";
/// How long a request for mail waits, in seconds.
const WAIT_SECONDS: u32 = 25;
/// The time from the opening of all connections to the first round. During this time, all peers
/// begin to wait for mail.
const WAITING: Duration = Duration::from_secs(2);
/// How long before the first round the tool prints "ready".
const READY_BEFORE: Duration = Duration::from_millis(200);
/// How long the last answers may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// The length of a session description of a browser with one candidate.
const DESCRIPTION_BYTES: usize = 480;

/// Lets pairs of peers exchange an offer and an answer in each round.
#[derive(Args)]
pub(crate) struct MailboxLoad {
    /// The address of the service.
    #[arg(long)]
    target: SocketAddr,
    /// The process of the service, whose memory is measured.
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 1_000)]
    pairs: usize,
    /// At most 30, because a peer may send 30 messages a minute.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=30))]
    rounds: u32,
    /// The time from the beginning of a round to the next.
    #[arg(long, default_value_t = 1_000)]
    interval_millis: u64,
    /// The period at the beginning of a round over which the offers are spread.
    #[arg(long, default_value_t = 0)]
    spread_millis: u64,
}

/// The delays in the exchange of one offer and its answer.
struct Exchange {
    /// The time from when the offer was due until it arrived.
    offer: Duration,
    /// The time from the arrival of the offer until the arrival of the answer.
    answer: Duration,
    whole: Duration,
}

impl MailboxLoad {
    /// Prints "ready" before the first round, and delays and memory as JSON after the last.
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, self.signal())
    }

    async fn signal(self) -> Result<(), Box<dyn Error>> {
        let options = Rc::new(self);
        let memory = || resident_bytes(options.pid);
        let before = memory()?;
        let mut registering = Connection::open(options.target).await?;
        let mut messages = Vec::new();
        for number in 0..options.pairs {
            messages.push(Messages::of(&options, number, &mut registering).await?);
        }
        let registered = memory()?;
        let mut pairs = Vec::new();
        for (number, messages) in messages.into_iter().enumerate() {
            pairs.push(Pair::open(&options, number, messages).await?);
        }
        let joined = memory()?;
        let (ended, mut exchanges) = unbounded_channel();
        let begin = Instant::now() + WAITING;
        let mut running = JoinSet::new();
        for pair in pairs {
            running.spawn_local(pair.run(Rc::clone(&options), begin, ended.clone()));
        }
        drop(ended);
        sleep_until(begin - READY_BEFORE).await;
        let waiting = memory()?;
        println!("ready");
        let figures = options.collect(&mut exchanges).await?;
        let signalled = memory()?;
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        let [offers, answers, whole] = figures.map(Latencies::summary);
        let report = json!({
            "offers": offers, "answers": answers, "exchanges": whole,
            "registered_bytes": registered.saturating_sub(before),
            "connections_bytes": joined.saturating_sub(registered), "waiting_bytes": waiting.saturating_sub(joined),
            "signalling_bytes": signalled.saturating_sub(waiting),
        });
        println!("{report}");
        Ok(())
    }

    /// The latencies of offers, of answers and of whole exchanges, once all have arrived.
    async fn collect(
        &self,
        arrivals: &mut UnboundedReceiver<Exchange>,
    ) -> Result<[Latencies; 3], Box<dyn Error>> {
        let mut figures: [Latencies; 3] = Default::default();
        let limit = Duration::from_millis(self.interval_millis) + ARRIVAL_TIMEOUT;
        for _ in 0..self.pairs * usize::try_from(self.rounds)? {
            // If the channel has closed early, all pairs have ended, and at least one has failed.
            let Some(exchange) = timeout(limit, arrivals.recv()).await? else { break };
            let Exchange { offer, answer, whole } = exchange;
            for (latencies, latency) in figures.iter_mut().zip([offer, answer, whole]) {
                latencies.record(latency, Some(200));
            }
        }
        Ok(figures)
    }
}

/// The connection on which a peer sends messages.
struct Outbox(Connection);

/// The connection on which a peer waits for messages.
struct Inbox {
    peer: String,
    connection: Connection,
    acknowledge: Vec<String>,
}

/// The messages of a pair for all rounds.
struct Messages {
    offers: Vec<String>,
    answers: Vec<String>,
}

/// Two peers, their connections and their messages.
struct Pair {
    number: usize,
    caller: (Outbox, Inbox),
    called: (Outbox, Inbox),
    messages: Messages,
}

/// The ids of a pair: the peer that calls, and the one that is called.
fn names(number: usize) -> (String, String) {
    (format!("caller-{number}"), format!("called-{number}"))
}

impl Messages {
    /// Registers both peers of a pair, and signs their messages.
    async fn of(
        options: &MailboxLoad,
        number: usize,
        registering: &mut Connection,
    ) -> Result<Self, Box<dyn Error>> {
        let (caller, called) = names(number);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        for peer in [&caller, &called] {
            register(peer, now, registering).await?;
        }
        let signed = |from: &str, to: &str, kind: &str| -> Result<Vec<String>, Box<dyn Error>> {
            let sids = (0..options.rounds).map(|round| format!("{:08}-{round:08}", now.as_millis()));
            sids.map(|sid| message(from, to, kind, &sid, now.as_secs())).collect()
        };
        Ok(Self { offers: signed(&caller, &called, "offer")?, answers: signed(&called, &caller, "answer")? })
    }
}

impl Pair {
    async fn open(options: &MailboxLoad, number: usize, messages: Messages) -> io::Result<Self> {
        let (caller, called) = names(number);
        let caller = open(options.target, caller).await?;
        Ok(Self { number, caller, called: open(options.target, called).await?, messages })
    }

    /// Exchanges one offer and one answer in each round.
    async fn run(
        self,
        options: Rc<MailboxLoad>,
        begin: Instant,
        arrived: UnboundedSender<Exchange>,
    ) -> io::Result<()> {
        let Self { number, caller, called, messages } = self;
        let ((mut calls, mut replies), (mut answering, mut offered)) = (caller, called);
        let offset = options.spread_millis * number as u64 / options.pairs as u64;
        for (round, (offer, answer)) in (0..).zip(messages.offers.iter().zip(&messages.answers)) {
            let due = begin + Duration::from_millis(options.interval_millis * round + offset);
            let call = async {
                sleep_until(due).await;
                calls.send(offer).await
            };
            let answer = async {
                offered.receive().await?;
                let at = Instant::now();
                answering.send(answer).await?;
                io::Result::Ok(at)
            };
            let reply = async {
                replies.receive().await?;
                io::Result::Ok(Instant::now())
            };
            let ((), offered_at, replied_at) = tokio::try_join!(call, answer, reply)?;
            // The channel has no receiver only after a failure.
            let _ = arrived.send(Exchange {
                offer: offered_at - due,
                answer: replied_at - offered_at,
                whole: replied_at - due,
            });
        }
        // Without this, the last messages would stay in the mailboxes, and the next run would
        // receive them.
        offered.acknowledge().await?;
        replies.acknowledge().await
    }
}

/// Registers a peer with a mailbox.
async fn register(peer: &str, now: Duration, registering: &mut Connection) -> Result<(), Box<dyn Error>> {
    let terms = RecordTerms {
        seq: u64::try_from(now.as_millis())?,
        freshness: Freshness::IssuedAt(now.as_secs()),
        token_hash: SignedTokenHash(TOKEN_HASH),
        audience: None,
        replaces: None,
    };
    let request = RegisterRequest { mail: true, ..RegisterRequest::new(PeerId::parse(peer)?) };
    let record = SignedRecord::sign(&request, &terms, &key())?;
    let body = json!({ "signed": record.as_str() }).to_string();
    expect(200, registering.post("/register", &body).await?)?;
    Ok(())
}

/// Opens the connections of a peer.
async fn open(target: SocketAddr, peer: String) -> io::Result<(Outbox, Inbox)> {
    let outbox = Outbox(Connection::open(target).await?);
    Ok((outbox, Inbox { peer, connection: Connection::open(target).await?, acknowledge: Vec::new() }))
}

impl Outbox {
    async fn send(&mut self, body: &str) -> io::Result<()> {
        expect(202, self.0.post("/mail", body).await?).map(drop)
    }
}

impl Inbox {
    /// Waits until a message arrives. The next request acknowledges it.
    async fn receive(&mut self) -> io::Result<()> {
        while self.fetch(WAIT_SECONDS).await? == 0 {}
        Ok(())
    }

    async fn acknowledge(&mut self) -> io::Result<()> {
        self.fetch(0).await.map(drop)
    }

    /// Requests mail, and acknowledges the messages of the previous request. Returns the number of
    /// messages.
    async fn fetch(&mut self, wait_seconds: u32) -> io::Result<usize> {
        let Self { peer, acknowledge, .. } = self;
        let request = json!({
            "peer_id": peer, "lease_token": TOKEN, "acknowledge": acknowledge, "wait_seconds": wait_seconds,
        });
        let body = expect(200, self.connection.post("/mailbox", &request.to_string()).await?)?;
        let response: MailboxResponse = serde_json::from_str(&body)?;
        self.acknowledge = response.mail.iter().map(|mail| mail.id.to_string()).collect();
        Ok(self.acknowledge.len())
    }
}

/// The body of a response. Fails if the response does not have the expected status.
fn expect(expected: u16, (status, body): (u16, String)) -> io::Result<String> {
    if status == expected { Ok(body) } else { Err(io::Error::other(format!("{status}: {body}"))) }
}

/// The body of a request that sends a message.
fn message(from: &str, to: &str, kind: &str, sid: &str, issued_at: u64) -> Result<String, Box<dyn Error>> {
    let sdp = "x".repeat(DESCRIPTION_BYTES);
    let terms = MessageTerms { sid, issued_at, kind, sdp: &sdp };
    let message = SignedMessage::sign(&PeerId::parse(from)?, &PeerId::parse(to)?, &terms, &key())?;
    Ok(json!({ "to": to, "lease_token": TOKEN, "message": message.as_str() }).to_string())
}

/// The key of every peer.
fn key() -> SecretKey {
    SecretKey::from_random(&[1; 32])
}
