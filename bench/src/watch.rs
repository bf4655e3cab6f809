//! Watchers of a network that changes. Checks that each watcher receives each event of its topic
//! once, and measures the delay.

mod churn;
mod stream;

use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use churn::{Change, Topic};
use stream::{Outcome, Received, Stream};

/// Watches a network that changes, with some watchers that do not read, and prints lost events and
/// delays as JSON.
#[derive(Args)]
pub(crate) struct Watch {
    /// The address of the service.
    #[arg(long)]
    target: SocketAddr,
    /// The process of the service, whose memory is measured.
    #[arg(long)]
    pid: u32,
    /// Watchers that read.
    #[arg(long, default_value_t = 900)]
    watchers: usize,
    /// Watchers of all topics that do not read until the changes have ended.
    #[arg(long, default_value_t = 100)]
    stalled: usize,
    /// Archetypes; each peer has one of them, and each watcher that reads watches one.
    #[arg(long, default_value_t = 8)]
    topics: usize,
    /// Peers that are registered at the start.
    #[arg(long, default_value_t = 10_000)]
    peers: usize,
    /// Changes per second, of all topics together.
    #[arg(long, default_value_t = 200)]
    changes: u32,
    #[arg(long, default_value_t = 40)]
    seconds: u64,
}

/// How long the last events may take to arrive.
const ARRIVAL_TIMEOUT: Duration = Duration::from_secs(20);

impl Watch {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(self.watch())
    }

    async fn watch(self) -> Result<(), Box<dyn Error>> {
        let mut topics = Vec::new();
        for topic in 0..self.topics {
            topics.push(Topic::fill(self.target, topic, self.peers / self.topics).await?);
        }
        let mut readers = JoinSet::new();
        for number in 0..self.watchers {
            let topic = number % self.topics;
            let mut stream = Stream::open(self.target, Some(topic), None, false).await?;
            readers.spawn(async move { stream.read_until("end").await.map(|received| (topic, received)) });
        }
        let mut stalled = Vec::new();
        for _ in 0..self.stalled {
            stalled.push(Stream::open(self.target, None, None, true).await?);
        }
        let before = resident_bytes(self.pid)?;
        let (changes, max_resident) = self.churn(topics).await?;

        let mut comparison = Comparison::default();
        while let Some(read) = timeout(ARRIVAL_TIMEOUT, readers.join_next()).await? {
            let (topic, received) = read??;
            comparison.compare(&changes[topic], &received);
        }
        let resumed = self.resume(stalled, &changes).await?;
        println!("{}", comparison.report(max_resident.saturating_sub(before), &resumed));
        Ok(())
    }

    /// Changes the network during the run. Returns the changes by topic, and the maximum memory use
    /// that was observed.
    async fn churn(&self, topics: Vec<Topic>) -> Result<(Vec<Vec<Change>>, u64), Box<dyn Error>> {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let interval = Duration::from_secs(1) * u32::try_from(self.topics)? / self.changes;
        let mut changing = JoinSet::new();
        for (number, topic) in topics.into_iter().enumerate() {
            changing.spawn(async move { (number, topic.change_until(end, interval).await) });
        }
        let mut changes: Vec<_> = (0..self.topics).map(|_| Vec::new()).collect();
        let mut max_resident = 0;
        loop {
            max_resident = max_resident.max(resident_bytes(self.pid)?);
            tokio::select! {
                changed = changing.join_next() => match changed {
                    Some(changed) => { let (number, changed) = changed?; changes[number] = changed?; }
                    None => return Ok((changes, max_resident)),
                },
                () = sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// Lets the stalled watchers continue. Each reads its stream until the end, reconnects with the
    /// id of its last event, and reads on. Returns how many watchers had each outcome.
    async fn resume(
        &self,
        stalled: Vec<Stream>,
        changes: &[Vec<Change>],
    ) -> Result<HashMap<Outcome, usize>, Box<dyn Error>> {
        let mut outcomes = HashMap::new();
        let deadline = tokio::time::Instant::now() + ARRIVAL_TIMEOUT;
        for mut stream in stalled {
            let Ok(first) = tokio::time::timeout_at(deadline, stream.read_to_end()).await else {
                *outcomes.entry(Outcome::StillOpen).or_default() += 1;
                continue;
            };
            // A client resumes with the id of the last event that it received.
            let last = stream.last_id().map(str::to_owned);
            let mut resumed = Stream::open(self.target, None, last.as_deref(), false).await?;
            if resumed.was_reset() {
                *outcomes.entry(Outcome::Reset).or_default() += 1;
                continue;
            }
            let rest = timeout(ARRIVAL_TIMEOUT, resumed.read_ends(self.topics)).await??;
            let received: Vec<Received> = first.into_iter().chain(rest).collect();
            *outcomes.entry(stream::outcome(&received, changes)).or_default() += 1;
        }
        Ok(outcomes)
    }
}

/// The events that the reading watchers received.
#[derive(Default)]
struct Comparison {
    events: u64,
    lost: u64,
    wrong: u64,
    delays: Vec<Duration>,
}

impl Comparison {
    /// Compares the events that one watcher received with the changes, in order.
    fn compare(&mut self, changes: &[Change], received: &[Received]) {
        self.events += received.len() as u64;
        self.lost += changes.len().saturating_sub(received.len()) as u64;
        self.wrong += received.len().saturating_sub(changes.len()) as u64;
        for (change, received) in changes.iter().zip(received) {
            self.wrong += u64::from(change.key != received.key);
            self.delays.push(received.at.saturating_duration_since(change.responded_at));
        }
    }

    fn report(&mut self, grown: u64, resumed: &HashMap<Outcome, usize>) -> serde_json::Value {
        self.delays.sort_unstable();
        let at = |share: usize| {
            let index = (self.delays.len() * share / 1_000).min(self.delays.len().saturating_sub(1));
            self.delays.get(index).map_or(0.0, |delay| delay.as_secs_f64() * 1e3)
        };
        let count = |outcome| resumed.get(&outcome).copied().unwrap_or(0);
        json!({
            "events": self.events, "lost": self.lost, "wrong": self.wrong,
            "p50_ms": at(500), "p99_ms": at(990), "max_ms": at(1_000),
            "grown_bytes": grown,
            "resumed": count(Outcome::Complete), "reset": count(Outcome::Reset),
            "with_a_gap": count(Outcome::Gap), "never_disconnected": count(Outcome::StillOpen),
        })
    }
}

/// The memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}
