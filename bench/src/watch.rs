//! Watchers of a network that changes. Checks that each watcher receives each event once, and
//! measures the delay.

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

use churn::{Made, Topic};
use stream::{Came, Outcome, Stream};

/// Keeps watchers on a network that changes, some of which don't read, and prints as JSON what they missed and how late they heard.
#[derive(Args)]
pub(crate) struct Watch {
    /// Where the service is.
    #[arg(long)]
    target: SocketAddr,
    /// Its process, whose memory is looked at.
    #[arg(long)]
    pid: u32,
    /// Who watches and reads.
    #[arg(long, default_value_t = 900)]
    watchers: usize,
    /// Who watches everything and doesn't read until it is cut off.
    #[arg(long, default_value_t = 100)]
    stalled: usize,
    /// Archetypes, one of which each peer carries and each reading watcher asks for.
    #[arg(long, default_value_t = 8)]
    topics: usize,
    /// Peers that are there from the start.
    #[arg(long, default_value_t = 10_000)]
    peers: usize,
    /// Changes a second, of all topics.
    #[arg(long, default_value_t = 200)]
    changes: u32,
    #[arg(long, default_value_t = 40)]
    seconds: u64,
}

/// How long the last events may take to arrive.
const LAST: Duration = Duration::from_secs(20);

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
            readers.spawn(async move { stream.read_until("end").await.map(|came| (topic, came)) });
        }
        let mut stalled = Vec::new();
        for _ in 0..self.stalled {
            stalled.push(Stream::open(self.target, None, None, true).await?);
        }
        let before = resident_bytes(self.pid)?;
        let (made, most) = self.churn(topics).await?;

        let mut told = Told::default();
        while let Some(read) = timeout(LAST, readers.join_next()).await? {
            let (topic, came) = read??;
            told.compare(&made[topic], &came);
        }
        let resumed = self.resume(stalled, &made).await?;
        println!("{}", told.report(most.saturating_sub(before), &resumed));
        Ok(())
    }

    /// Changes the network during the run. Returns the changes by topic, and the maximum memory use
    /// that was observed.
    async fn churn(&self, topics: Vec<Topic>) -> Result<(Vec<Vec<Made>>, u64), Box<dyn Error>> {
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let interval = Duration::from_secs(1) * u32::try_from(self.topics)? / self.changes;
        let mut changing = JoinSet::new();
        for (number, topic) in topics.into_iter().enumerate() {
            changing.spawn(async move { (number, topic.change_until(end, interval).await) });
        }
        let mut made: Vec<_> = (0..self.topics).map(|_| Vec::new()).collect();
        let mut most = 0;
        loop {
            most = most.max(resident_bytes(self.pid)?);
            tokio::select! {
                changed = changing.join_next() => match changed {
                    Some(changed) => { let (number, changed) = changed?; made[number] = changed?; }
                    None => return Ok((made, most)),
                },
                () = sleep(Duration::from_millis(200)) => {}
            }
        }
    }

    /// Lets the watchers that did not read notice that they were cut off, reconnect, and read on.
    /// Returns the outcome of each.
    async fn resume(
        &self,
        stalled: Vec<Stream>,
        made: &[Vec<Made>],
    ) -> Result<HashMap<Outcome, usize>, Box<dyn Error>> {
        let mut outcomes = HashMap::new();
        let deadline = tokio::time::Instant::now() + LAST;
        for mut stream in stalled {
            let Ok(first) = tokio::time::timeout_at(deadline, stream.read_to_end()).await else {
                *outcomes.entry(Outcome::StillOpen).or_default() += 1;
                continue;
            };
            let last = stream.last_id().map(str::to_owned);
            let mut again = Stream::open(self.target, None, last.as_deref(), false).await?;
            if again.was_reset() {
                *outcomes.entry(Outcome::Reset).or_default() += 1;
                continue;
            }
            let rest = timeout(LAST, again.read_ends(self.topics)).await??;
            let came: Vec<Came> = first.into_iter().chain(rest).collect();
            *outcomes.entry(stream::outcome(&came, made)).or_default() += 1;
        }
        Ok(outcomes)
    }
}

/// The events that the reading watchers received.
#[derive(Default)]
struct Told {
    events: u64,
    lost: u64,
    wrong: u64,
    delays: Vec<Duration>,
}

impl Told {
    /// Compares the events that one watcher received with the changes, in order.
    fn compare(&mut self, made: &[Made], came: &[Came]) {
        self.events += came.len() as u64;
        self.lost += made.len().saturating_sub(came.len()) as u64;
        self.wrong += came.len().saturating_sub(made.len()) as u64;
        for (made, came) in made.iter().zip(came) {
            self.wrong += u64::from(made.key != came.key);
            self.delays.push(came.at.saturating_duration_since(made.answered));
        }
    }

    fn report(&mut self, grown: u64, resumed: &HashMap<Outcome, usize>) -> serde_json::Value {
        self.delays.sort_unstable();
        let at = |share: usize| {
            let place = (self.delays.len() * share / 1_000).min(self.delays.len().saturating_sub(1));
            self.delays.get(place).map_or(0.0, |delay| delay.as_secs_f64() * 1e3)
        };
        let count = |outcome| resumed.get(&outcome).copied().unwrap_or(0);
        json!({
            "events": self.events, "lost": self.lost, "wrong": self.wrong,
            "p50_ms": at(500), "p99_ms": at(990), "max_ms": at(1_000),
            "grown_bytes": grown,
            "resumed_without_a_gap": count(Outcome::Whole), "told_to_start_anew": count(Outcome::Reset),
            "with_a_gap": count(Outcome::Gap), "never_cut_off": count(Outcome::StillOpen),
        })
    }
}

fn resident_bytes(pid: u32) -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1_024)
}
