//! Peers that behave like legacy clients during an outage. Each sends heartbeats at a fixed
//! interval, starting at its own moment. It does not repeat a heartbeat that failed, but waits for
//! the next one.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::synthetic;
use crate::wire::{self, Framing as _, Http};

/// How long one attempt waits for its response, as in legacy clients.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends heartbeats for registered peers, and prints the counts of each second as JSON.
#[derive(clap::Args)]
pub(crate) struct Storm {
    #[arg(long)]
    target: SocketAddr,
    /// The number of peers that `fill` registered, from 0.
    #[arg(long, default_value_t = 100_000)]
    peers: u64,
    /// The interval of each peer's heartbeats.
    #[arg(long, default_value_t = 30)]
    interval_seconds: u64,
    #[arg(long, default_value_t = 210)]
    seconds: u64,
    /// Keep-alive connections, each of which carries the heartbeats of some peers.
    #[arg(long, default_value_t = 250)]
    connections: u64,
}

/// The requests and responses of one second.
#[derive(Default)]
struct Second {
    sent: AtomicU64,
    renewed: AtomicU64,
    /// Responses with 404: the service does not know the peer, which would have to register again.
    unknown: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// When a peer's heartbeat succeeded for the first time after a failure, as the time since the
/// start; `None` if no heartbeat failed, or none succeeded afterwards.
type RecoveredAt = Option<Duration>;

impl Storm {
    pub(crate) fn run(self) -> io::Result<()> {
        let count =
            usize::try_from(self.seconds + RESPONSE_TIMEOUT.as_secs() + 1).map_err(io::Error::other)?;
        let seconds: Arc<Vec<Second>> =
            Arc::new(std::iter::repeat_with(Second::default).take(count).collect());
        let began = Instant::now();
        let threads: Vec<_> = (0..self.connections)
            .map(|number| {
                let sender = HeartbeatSender::new(&self, number, began, Arc::clone(&seconds));
                thread::Builder::new().stack_size(128 * 1024).spawn(move || sender.run())
            })
            .collect::<io::Result<_>>()?;
        let mut recoveries = Vec::new();
        let mut max_delay = Duration::ZERO;
        for thread in threads {
            let (own, delay) = thread.join().map_err(|_| io::Error::other("a thread panicked"))?;
            recoveries.extend(own);
            max_delay = max_delay.max(delay);
        }
        println!("{}", self.summary(&seconds, &recoveries, max_delay));
        Ok(())
    }

    fn summary(&self, seconds: &[Second], recoveries: &[RecoveredAt], max_delay: Duration) -> Value {
        let rows: Vec<_> = seconds
            .iter()
            .map(|second| {
                [&second.sent, &second.renewed, &second.unknown, &second.refused, &second.failed]
                    .map(|count| count.load(Relaxed))
            })
            .collect();
        let recovered: Vec<f64> = recoveries.iter().flatten().map(Duration::as_secs_f64).collect();
        json!({
            "peers": self.peers,
            "seconds": rows,
            "recovered": recovered.len(),
            "first_recovery": recovered.iter().copied().reduce(f64::min),
            "last_recovery": recovered.iter().copied().reduce(f64::max),
            "max_send_delay": max_delay.as_secs_f64(),
        })
    }
}

/// Sends the heartbeats of the peers that share one connection.
struct HeartbeatSender {
    target: SocketAddr,
    connection: Option<TcpStream>,
    /// For each peer, the time of its first heartbeat since the start, and the bytes of the
    /// request; earliest first. Later rounds keep this order, because all peers have the same
    /// interval.
    due: Vec<(Duration, Vec<u8>)>,
    interval: Duration,
    end: Duration,
    began: Instant,
    seconds: Arc<Vec<Second>>,
}

impl HeartbeatSender {
    fn new(storm: &Storm, number: u64, began: Instant, seconds: Arc<Vec<Second>>) -> Self {
        let interval = Duration::from_secs(storm.interval_seconds);
        // Peers are distributed round robin over the connections.
        let own = (number..storm.peers).step_by(usize::try_from(storm.connections).unwrap_or(1));
        let mut due: Vec<_> = own
            .map(|peer| {
                let body = format!(r#"{{"peer_id":"{}"}}"#, synthetic::peer_id(peer));
                (interval.mul_f64(fastrand::f64()), wire::post(storm.target, "/heartbeat", &body))
            })
            .collect();
        due.sort_by_key(|(at, _)| *at);
        let end = Duration::from_secs(storm.seconds);
        Self { target: storm.target, connection: None, due, interval, end, began, seconds }
    }

    /// Sends heartbeats until the end of the run. Returns when each peer recovered, and the maximum
    /// delay with which a heartbeat was sent.
    fn run(mut self) -> (Vec<RecoveredAt>, Duration) {
        let mut recoveries: Vec<RecoveredAt> = vec![None; self.due.len()];
        let mut failed_before = vec![false; self.due.len()];
        let mut max_delay = Duration::ZERO;
        for round in 0_u32.. {
            for peer in 0..self.due.len() {
                let at = self.due[peer].0 + self.interval * round;
                if at >= self.end {
                    return (recoveries, max_delay);
                }
                thread::sleep(at.saturating_sub(self.began.elapsed()));
                max_delay = max_delay.max(self.began.elapsed().saturating_sub(at));
                let renewed = self.send_heartbeat(peer);
                if renewed && failed_before[peer] && recoveries[peer].is_none() {
                    recoveries[peer] = Some(self.began.elapsed());
                }
                failed_before[peer] |= !renewed;
            }
            if self.due.is_empty() {
                break;
            }
        }
        (recoveries, max_delay)
    }

    fn send_heartbeat(&mut self, peer: usize) -> bool {
        self.count(|second| &second.sent);
        let status = self.exchange(peer);
        // The next heartbeat opens a new connection, as a legacy client does.
        if status.is_err() {
            self.connection = None;
        }
        self.count(match status {
            Ok(200) => |second| &second.renewed,
            Ok(404) => |second| &second.unknown,
            Ok(_) => |second| &second.refused,
            Err(_) => |second| &second.failed,
        });
        matches!(status, Ok(200))
    }

    fn exchange(&mut self, peer: usize) -> io::Result<u16> {
        let stream = match &mut self.connection {
            Some(stream) => stream,
            none => none.insert(connect(self.target)?),
        };
        stream.write_all(&self.due[peer].1)?;
        let mut response = Vec::new();
        let mut buffer = [0; 4_096];
        loop {
            let read = stream.read(&mut buffer)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            response.extend_from_slice(&buffer[..read]);
            if let Some(complete) = Http.response(&response)? {
                return Ok(complete.status);
            }
        }
    }

    fn count(&self, counter: fn(&Second) -> &AtomicU64) {
        let now = usize::try_from(self.began.elapsed().as_secs()).unwrap_or(usize::MAX);
        if let Some(second) = self.seconds.get(now) {
            counter(second).fetch_add(1, Relaxed);
        }
    }
}

fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    Ok(stream)
}
