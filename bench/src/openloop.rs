//! An open-loop load. Requests are due at random moments with a fixed mean rate, whether or not
//! earlier requests have got their responses. Latency is measured from the time when a request was
//! due. It therefore includes the time for which a request waited because the server stalled.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::pool::Pool;
use crate::protocol::{Duty, Protocol, System, unsupported};

/// A request counts as unanswered if it still has no response this long after the end of the run.
const DRAIN: Duration = Duration::from_secs(5);

/// Sends at fixed mean rates and prints percentiles of latency as JSON.
#[derive(clap::Args)]
pub(crate) struct OpenLoop {
    #[command(flatten)]
    system: System,
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The number of registered peers, from 0; heartbeats are for random ones among them.
    #[arg(long, default_value_t = 100_000)]
    peers: u64,
    /// Heartbeats per second.
    #[arg(long, default_value_t = 0.0)]
    heartbeats: f64,
    /// Registrations of new peers per second.
    #[arg(long, default_value_t = 0.0)]
    registers: f64,
    /// Discovers per second, each of one archetype.
    #[arg(long, default_value_t = 0.0)]
    discovers: f64,
    /// The number of the first new peer.
    #[arg(long, default_value_t = 10_000_000)]
    first_new: u64,
}

/// The kinds of requests, with their names in the output.
const KINDS: [(Duty, &str); 3] =
    [(Duty::Renew, "heartbeat"), (Duty::Join, "register"), (Duty::Get, "discover")];

struct Due {
    /// An index into `KINDS`.
    kind: usize,
    at: Instant,
}

/// The due times of requests of one kind: a Poisson process.
struct Arrivals {
    kind: usize,
    per_second: f64,
    next: Instant,
}

impl OpenLoop {
    pub(crate) fn run(self) -> io::Result<()> {
        // By default the kernel lets a thread oversleep by 50 µs, which would count towards the
        // latency of the server.
        rustix::thread::set_current_timer_slack(Some(NonZeroU64::MIN))?;
        let mut load = Load::start(&self)?;
        let started = Instant::now();
        load.drive(&self)?;
        println!("{}", load.summary(started.elapsed()));
        Ok(())
    }

    fn rate(&self, duty: Duty) -> f64 {
        match duty {
            Duty::Renew => self.heartbeats,
            Duty::Join => self.registers,
            Duty::Get => self.discovers,
            Duty::Both => 0.0,
        }
    }
}

struct Load {
    protocol: Rc<dyn Protocol>,
    pool: Pool<Due, Rc<dyn Protocol>>,
    arrivals: Vec<Arrivals>,
    waiting: VecDeque<Due>,
    latencies: [Latencies; KINDS.len()],
    new_peer: u64,
    end: Instant,
}

impl Load {
    fn start(options: &OpenLoop) -> io::Result<Self> {
        let protocol = options.system.protocol();
        let pool = options.system.pool(Duty::Renew, options.connections)?;
        let now = Instant::now();
        let rates = KINDS.map(|(duty, _)| options.rate(duty)).into_iter().enumerate();
        let arrivals = rates.filter(|(_, per_second)| *per_second > 0.0);
        Ok(Self {
            protocol,
            pool,
            arrivals: arrivals.map(|(kind, per_second)| Arrivals { kind, per_second, next: now }).collect(),
            waiting: VecDeque::new(),
            latencies: Default::default(),
            new_peer: options.first_new,
            end: now + Duration::from_secs(options.seconds),
        })
    }

    fn drive(&mut self, options: &OpenLoop) -> io::Result<()> {
        let deadline = self.end + DRAIN;
        loop {
            let now = Instant::now();
            self.enqueue_due(now);
            self.send_waiting(options)?;
            let next = self.next_due();
            if next.is_none() && self.waiting.is_empty() && self.pool.busy() == 0 || now >= deadline {
                return Ok(());
            }
            // After the last request is due, only responses are awaited.
            let until = next.unwrap_or(deadline);
            self.receive(until.saturating_duration_since(Instant::now()))?;
        }
    }

    fn enqueue_due(&mut self, now: Instant) {
        for arrivals in &mut self.arrivals {
            while arrivals.next <= now && arrivals.next < self.end {
                self.waiting.push_back(Due { kind: arrivals.kind, at: arrivals.next });
                // In a Poisson process, the gaps are distributed exponentially. `1 - f64()` is
                // never zero, whose logarithm would be infinite.
                let gap = -(1.0 - fastrand::f64()).ln() / arrivals.per_second;
                arrivals.next += Duration::from_secs_f64(gap);
            }
        }
    }

    fn send_waiting(&mut self, options: &OpenLoop) -> io::Result<()> {
        while self.pool.has_idle()
            && let Some(due) = self.waiting.pop_front()
        {
            let (duty, _) = KINDS[due.kind];
            let peer = match duty {
                Duty::Join => {
                    self.new_peer += 1;
                    self.new_peer - 1
                }
                _ => fastrand::u64(..options.peers.max(1)),
            };
            let request = self.protocol.request(duty, peer).ok_or_else(|| unsupported(duty))?;
            self.pool.send_for(&request.bytes, request.responses, due)?;
        }
        Ok(())
    }

    fn next_due(&self) -> Option<Instant> {
        self.arrivals.iter().map(|arrivals| arrivals.next).filter(|next| *next < self.end).min()
    }

    fn receive(&mut self, timeout: Duration) -> io::Result<()> {
        let latencies = &mut self.latencies;
        self.pool.wait(timeout, |completion| {
            let latency = completion.tag.at.elapsed();
            latencies[completion.tag.kind].record(latency, completion.status);
        })
    }

    fn summary(self, elapsed: Duration) -> serde_json::Value {
        let unanswered = self.waiting.len() + self.pool.busy();
        let kinds = KINDS.into_iter().zip(self.latencies);
        let mut summary: serde_json::Map<_, _> =
            kinds.map(|((_, name), latencies)| (name.to_owned(), latencies.summary())).collect();
        summary.insert("unanswered".to_owned(), unanswered.into());
        summary.insert("seconds".to_owned(), elapsed.as_secs_f64().into());
        summary.into()
    }
}
