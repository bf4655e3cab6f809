//! Registers many peers, like those of legacy clients, as fast as the service accepts them.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::pool::Pool;
use crate::{synthetic, wire};

/// If no response arrives for this long, the tool gives up, because the server hangs. One sync of a
/// slow disk takes less time.
const STALL: Duration = Duration::from_secs(30);

/// Registers many peers like those of legacy clients.
#[derive(clap::Args)]
pub(crate) struct Fill {
    #[arg(long)]
    target: SocketAddr,
    /// The number of the first peer, from which its id is computed.
    #[arg(long, default_value_t = 0)]
    first: u64,
    #[arg(long)]
    count: u64,
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The lease to request; by default that of the service.
    #[arg(long)]
    ttl_seconds: Option<u32>,
}

impl Fill {
    /// Prints the counts and the rate as one line of JSON. Fails if any registration was refused.
    pub(crate) fn run(&self) -> io::Result<()> {
        let started = Instant::now();
        let failed = self.register_all()?;
        let seconds = started.elapsed().as_secs_f64();
        let summary = serde_json::json!({
            "registered": self.count - failed, "failed": failed, "seconds": seconds, "per_second": self.count as f64 / seconds,
        });
        println!("{summary}");
        if failed > 0 {
            return Err(io::Error::other(format!("{failed} registrations were rejected")));
        }
        Ok(())
    }

    fn register_all(&self) -> io::Result<u64> {
        let mut pool = Pool::open(self.target, self.connections)?;
        let mut numbers = self.first..self.first + self.count;
        let (mut ended, mut failed) = (0, 0);
        let mut progress_at = Instant::now();
        while ended < self.count {
            while pool.has_idle()
                && let Some(number) = numbers.next()
            {
                let body = synthetic::registration(number, self.ttl_seconds);
                pool.send(&wire::post(self.target, "/register", &body), ())?;
            }
            let before = ended;
            pool.wait(STALL, |completion| {
                ended += 1;
                failed += u64::from(!completion.is_success());
            })?;
            // A part of a response may also have ended the wait.
            if ended > before {
                progress_at = Instant::now();
            } else if progress_at.elapsed() >= STALL {
                return Err(io::Error::other("no response for 30 s"));
            }
        }
        Ok(failed)
    }
}
