//! Measures the processor time of signed and unsigned registrations, and of heartbeats, in one
//! process without HTTP.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};

use aurora_discovery_embedded::EmbeddedStore;
use aurora_discovery_protocol::{
    DiscoverBounds, Freshness, LeaseToken, PeerId, RecordTerms, RegisterBody, RegisterRequest, SecretKey,
    SignedRecord, SignedTokenHash, Timestamp, Ttl,
};
use aurora_discovery_registry::{Caller, Limits, Registry, WebOrigin};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The number of heartbeats of each peer. There are many, because a heartbeat takes at most a
/// twentieth of the time of a registration.
const HEARTBEATS: u64 = 20;

/// The SHA-256 of "token".
pub(crate) const TOKEN_HASH: [u8; 32] = [
    0x3c, 0x46, 0x9e, 0x9d, 0x6c, 0x58, 0x75, 0xd3, 0x7a, 0x43, 0xf3, 0x53, 0xd4, 0xf8, 0x8e, 0x61, 0xfc,
    0xf8, 0x12, 0xc6, 0x6e, 0xee, 0x34, 0x57, 0x46, 0x5a, 0x40, 0xb0, 0xda, 0x41, 0x53, 0xe0,
];

/// Measures the processor time of signed and unsigned registrations, of verifying a signature, and
/// of heartbeats.
#[derive(clap::Args)]
pub(crate) struct Signed {
    /// The number of peers of a round.
    #[arg(long, default_value_t = 20_000)]
    count: u64,
    /// The number of rounds.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// The number of operations of a round, and the microseconds per operation in each round.
#[derive(Default, Serialize)]
struct Figures {
    count: u64,
    sign: Vec<f64>,
    verify: Vec<f64>,
    register: Vec<f64>,
    register_signed: Vec<f64>,
    heartbeat: Vec<f64>,
    heartbeat_signed: Vec<f64>,
}

impl Signed {
    /// Prints microseconds per operation as one line of JSON.
    pub(crate) fn run(&self) -> Result<(), Box<dyn Error>> {
        // The registry runs on this thread, whose processor time is measured.
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let requests = (0..self.count).map(request).collect::<Result<Vec<_>, _>>()?;
        let unsigned: Vec<_> = requests.iter().map(serde_json::to_vec).collect::<Result<_, _>>()?;
        let mut figures = Figures { count: self.count, ..Figures::default() };
        for round in 0..self.rounds {
            let started = ThreadTime::now();
            let records = requests.iter().map(sign).collect::<Result<Vec<_>, _>>()?;
            figures.sign.push(started.micros_per(self.count));
            let started = ThreadTime::now();
            for record in &records {
                record.verify()?;
            }
            figures.verify.push(started.micros_per(self.count));
            let signed: Vec<_> = records
                .iter()
                .map(|record| serde_json::to_vec(&serde_json::json!({ "signed": record.as_str() })))
                .collect::<Result<_, _>>()?;
            // The signed registrations go first in every other round, the unsigned ones in the
            // rest.
            for is_signed in [round % 2 == 0, round % 2 != 0] {
                let (bodies, token) = if is_signed { (&signed, Some(token()?)) } else { (&unsigned, None) };
                let (register, heartbeat) = runtime.block_on(self.register(bodies, token.as_ref()))?;
                let (registers, heartbeats) = if is_signed {
                    (&mut figures.register_signed, &mut figures.heartbeat_signed)
                } else {
                    (&mut figures.register, &mut figures.heartbeat)
                };
                registers.push(register);
                heartbeats.push(heartbeat);
            }
        }
        println!("{}", serde_json::to_string(&figures)?);
        Ok(())
    }

    /// Registers all bodies with a new registry, and renews each lease [`HEARTBEATS`] times.
    /// Returns the microseconds of a registration and of a heartbeat.
    async fn register(
        &self,
        bodies: &[Vec<u8>],
        token: Option<&LeaseToken>,
    ) -> Result<(f64, f64), Box<dyn Error>> {
        let limits = Limits { max_peers_per_source: 0, ..Limits::default() };
        let registry = Registry::new(EmbeddedStore::in_memory(limits.clone()), limits)?;
        // Loopback is exempt from the limits per source.
        let caller = Caller { address: IpAddr::V4(Ipv4Addr::LOCALHOST), page: WebOrigin::None };
        let started = ThreadTime::now();
        for body in bodies {
            let leases = Ttl::from_secs(30)..=Ttl::from_secs(3_600);
            match RegisterBody::from_body(body, leases, DiscoverBounds::new(20, 100))? {
                RegisterBody::Signed(request) => registry.register_signed(request, &caller, NOW).await?,
                RegisterBody::Unsigned(request) => registry.register(request, &caller, NOW).await?,
            };
        }
        let register = started.micros_per(self.count);
        let peers = (0..self.count).map(peer).collect::<Result<Vec<_>, _>>()?;
        let started = ThreadTime::now();
        for number in 1..=HEARTBEATS {
            for peer in &peers {
                registry.heartbeat(peer, token, &caller, NOW.plus_millis(number * 10_000)).await?;
            }
        }
        Ok((register, started.micros_per(self.count * HEARTBEATS)))
    }
}

/// The processor time of this thread.
struct ThreadTime(f64);

impl ThreadTime {
    fn now() -> Self {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Self(time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3)
    }

    fn micros_per(&self, operations: u64) -> f64 {
        (Self::now().0 - self.0) / operations as f64
    }
}

fn peer(number: u64) -> Result<PeerId, Box<dyn Error>> {
    Ok(PeerId::parse(&format!("peer-{number}"))?)
}

fn request(number: u64) -> Result<RegisterRequest, Box<dyn Error>> {
    Ok(RegisterRequest { port: 9_000, ..RegisterRequest::new(peer(number)?) })
}

fn token() -> Result<LeaseToken, Box<dyn Error>> {
    Ok(LeaseToken::parse("token")?)
}

fn sign(request: &RegisterRequest) -> Result<SignedRecord, Box<dyn Error>> {
    let terms = RecordTerms {
        seq: NOW.as_millis(),
        freshness: Freshness::IssuedAt(NOW.as_secs()),
        token_hash: SignedTokenHash(TOKEN_HASH),
        audience: None,
        replaces: None,
    };
    Ok(SignedRecord::sign(request, &terms, &SecretKey::from_random(&[1; 32]))?)
}
