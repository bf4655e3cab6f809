//! A closed-loop load: each connection sends its next request when it has the response to the last
//! one.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::pool::Pool;
use crate::protocol::{Duty, Protocol, STALL, System, unsupported};
use crate::wire::Connection;

/// Does one duty as fast as the system responds, and prints counts, bytes and latencies as JSON.
#[derive(clap::Args)]
pub(crate) struct Drive {
    #[command(flatten)]
    system: System,
    #[arg(long, value_enum)]
    duty: Duty,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Ends after this time at the latest.
    #[arg(long, default_value_t = 3600.0)]
    seconds: f64,
    /// Ends after this number of requests at the latest.
    #[arg(long, default_value_t = u64::MAX)]
    count: u64,
    /// The number of joined peers, which are numbered from 0. Each renewal or get is by a random
    /// one of them.
    #[arg(long, default_value_t = 100_000)]
    peers: u64,
    /// The number of the first peer that joins.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Writes the numbers of the peers that have joined to this file, one per line. With this
    /// option, it is not an error if the server ends during the run.
    #[arg(long)]
    joined: Option<PathBuf>,
    /// Prints the result, then keeps the connections open until standard input ends.
    #[arg(long)]
    hold: bool,
}

/// A request in flight.
struct Sent {
    peer: u64,
    at: Instant,
}

/// The results of the requests that have ended.
#[derive(Default)]
struct Done {
    /// The peers whose requests succeeded.
    peers: Vec<u64>,
    latencies: Latencies,
    ended: u64,
}

impl Drive {
    pub(crate) fn run(&self) -> io::Result<()> {
        let protocol = self.system.protocol();
        let mut pool = self.system.pool(self.duty, self.connections)?;
        let (mut held, mut done) = (Vec::new(), Done::default());
        let started = Instant::now();
        match self.exchange_all(&*protocol, &mut pool, &mut held, &mut done) {
            Err(_) if self.joined.is_some() => {}
            result => result?,
        }
        self.write_joined(&done.peers)?;
        println!("{}", done.summary(started.elapsed(), pool.traffic()));
        if self.hold {
            io::stdin().read_to_end(&mut Vec::new())?;
        }
        Ok(())
    }

    fn exchange_all(
        &self,
        protocol: &dyn Protocol,
        pool: &mut Pool<Sent, Rc<dyn Protocol>>,
        held: &mut Vec<Connection>,
        done: &mut Done,
    ) -> io::Result<()> {
        let is_held = self.duty == Duty::Join && protocol.is_joined_by_connection();
        let end = Instant::now() + Duration::from_secs_f64(self.seconds);
        let mut sent = 0;
        loop {
            while pool.has_idle() && sent < self.count && Instant::now() < end {
                let peer = self.peer(sent);
                let request = protocol.request(self.duty, peer).ok_or_else(|| unsupported(self.duty))?;
                // If a peer stays joined only while its connection is open, each join needs a
                // connection of its own. The first joins use the connections that the pool has
                // opened.
                if is_held && sent >= self.connections as u64 {
                    held.extend(pool.renew_idle()?);
                }
                pool.send_for(&request.bytes, request.responses, Sent { peer, at: Instant::now() })?;
                sent += 1;
            }
            if pool.busy() == 0 {
                return Ok(());
            }
            let (before, waiting_since) = (done.ended, Instant::now());
            pool.wait(STALL, |completion| done.record(&completion.tag, completion.status))?;
            // `wait` also returns when only a part of a response has arrived, so the elapsed time
            // is checked too.
            if done.ended == before && waiting_since.elapsed() >= STALL {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no response"));
            }
        }
    }

    fn peer(&self, sent: u64) -> u64 {
        match self.duty {
            Duty::Join => self.first + sent,
            Duty::Renew | Duty::Get | Duty::Both => fastrand::u64(..self.peers.max(1)),
        }
    }

    fn write_joined(&self, peers: &[u64]) -> io::Result<()> {
        let Some(path) = &self.joined else {
            return Ok(());
        };
        let mut file = BufWriter::new(File::create(path)?);
        for peer in peers {
            writeln!(file, "{peer}")?;
        }
        file.flush()
    }
}

impl Done {
    fn record(&mut self, sent: &Sent, status: Option<u16>) {
        self.ended += 1;
        self.latencies.record(sent.at.elapsed(), status);
        if status == Some(200) {
            self.peers.push(sent.peer);
        }
    }

    fn summary(self, elapsed: Duration, traffic: u64) -> serde_json::Value {
        let (ended, succeeded) = (self.ended, self.peers.len() as u64);
        let mut summary = self.latencies.summary();
        summary["failed"] = (ended - succeeded).into();
        summary["seconds"] = elapsed.as_secs_f64().into();
        summary["per_second"] = (ended as f64 / elapsed.as_secs_f64()).into();
        summary["bytes"] = (traffic as f64 / ended.max(1) as f64).into();
        summary
    }
}
