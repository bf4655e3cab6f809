//! Waits until a system that was killed is running again, and counts the peers that it still knows.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::protocol::{Duty, Request, System, connect, exchange, unsupported};

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(2);

/// Waits until a system responds to a peer that gets others.
#[derive(clap::Args)]
pub(crate) struct Ready {
    #[command(flatten)]
    system: System,
    /// Fails after this time.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Counts the peers of a file that a system still knows.
#[derive(clap::Args)]
pub(crate) struct Known {
    #[command(flatten)]
    system: System,
    /// A file that `drive --joined` wrote.
    peers: PathBuf,
}

impl Ready {
    /// Prints the number of peers in the response, and its length in bytes.
    pub(crate) fn run(&self) -> io::Result<()> {
        let protocol = self.system.protocol();
        let request = protocol.request(Duty::Get, 0).ok_or_else(|| unsupported(Duty::Get))?;
        let end = Instant::now() + Duration::from_secs(self.seconds);
        let response = loop {
            match self.attempt(&request) {
                Ok(response) => break response,
                Err(error) if Instant::now() > end => return Err(error),
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        let peers = protocol.peers_in(&response)?;
        println!("{}", serde_json::json!({ "peers": peers, "bytes": response.len() }));
        Ok(())
    }

    fn attempt(&self, request: &Request) -> io::Result<Vec<u8>> {
        let protocol = self.system.protocol();
        let (status, response) = exchange(&*protocol, &mut connect(self.system.target)?, request)?;
        if status != 200 {
            let text = String::from_utf8_lossy(&response);
            return Err(io::Error::other(format!("status {status}: {text}")));
        }
        Ok(response)
    }
}

impl Known {
    /// Prints the counts as JSON.
    pub(crate) fn run(&self) -> io::Result<()> {
        let text = fs::read_to_string(&self.peers)?;
        let peers: Result<Vec<u64>, _> = text.lines().map(str::parse).collect();
        let peers = peers.map_err(io::Error::other)?;
        let known = self.system.protocol().count_known(self.system.target, &peers)?;
        println!("{}", serde_json::json!({ "joined": peers.len(), "known": known }));
        Ok(())
    }
}
