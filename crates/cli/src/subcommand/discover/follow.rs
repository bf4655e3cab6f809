//! `discover --watch`: follows the live peers, and shows them in a stable order.

use std::collections::BTreeMap;
use std::time::Duration;

use aurora_discovery_client::{Client, Error, Watch, WatchEvent};
use aurora_discovery_protocol::{
    Code, DiscoverRequest, DiscoverResponse, DiscoveredPage, PageInfo, Peer, PeerId, Timestamp,
};
use tokio::time::{MissedTickBehavior, interval};

use super::DiscoverArgs;
use crate::escape::escape;
use crate::failure::{Failure, warn};
use crate::output::{print, print_json};
use crate::subcommand::page::{self, Detail};
use crate::terminal::{self, LiveScreen, Size, cut};

/// The time between two frames on a terminal, if something has changed.
const FRAME: Duration = Duration::from_millis(250);

/// Shows the peers that match until the command is stopped.
pub(super) async fn follow(
    client: &Client,
    request: DiscoverRequest,
    args: &DiscoverArgs,
) -> Result<(), Failure> {
    let mut follower = Follower::new(client, request, args);
    let mut screen = LiveScreen::new();
    // A tick requests the list if there is no stream, and prints it if there is no terminal. A
    // frame redraws the terminal if something has changed.
    let (mut ticks, mut frames) = (interval(Duration::from_secs(args.interval)), interval(FRAME));
    for timer in [&mut ticks, &mut frames] {
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    }
    loop {
        let is_tick = tokio::select! {
            event = follower.next_event() => {
                follower.apply(event).await?;
                continue;
            }
            _ = ticks.tick() => true,
            _ = frames.tick() => false,
        };
        if is_tick && (follower.stream.is_none() || follower.must_list) {
            follower.list().await?;
        }
        match terminal::size() {
            Some(size) if !args.json && (is_tick || follower.has_changed) => {
                follower.has_changed = false;
                screen.draw(&follower.frame(size), size)?;
            }
            // The output is not a terminal, or --json is given.
            _ if is_tick => follower.print()?,
            _ => {}
        }
    }
}

/// The peers that match, and how they are followed.
struct Follower<'a> {
    client: &'a Client,
    request: DiscoverRequest,
    args: &'a DiscoverArgs,
    peers: BTreeMap<PeerId, Peer>,
    /// The counts of the last list, and the time of its response.
    listed: Option<(PageInfo, Timestamp)>,
    /// The stream of changes. Without it, the list is requested repeatedly.
    stream: Option<Watch>,
    /// Whether the last request for the list failed. The next tick then repeats it, although there
    /// is a stream.
    must_list: bool,
    /// Whether something has changed since the last frame.
    has_changed: bool,
    /// The failure since the last success.
    error: Option<String>,
}

impl<'a> Follower<'a> {
    fn new(client: &'a Client, request: DiscoverRequest, args: &'a DiscoverArgs) -> Self {
        // The stream cannot replace the list in two cases: it does not report renewals, which the
        // full view shows, and it draws no samples.
        let is_streamed = !(args.full || args.is_sample());
        Self {
            client,
            stream: is_streamed.then(|| client.watch(request.clone())),
            request,
            args,
            peers: BTreeMap::new(),
            listed: None,
            must_list: false,
            has_changed: false,
            error: None,
        }
    }

    /// The next event of the stream. Without a stream, it never completes.
    async fn next_event(&mut self) -> Option<Result<WatchEvent, Error>> {
        match &mut self.stream {
            Some(stream) => stream.next().await,
            None => std::future::pending().await,
        }
    }

    async fn apply(&mut self, event: Option<Result<WatchEvent, Error>>) -> Result<(), Failure> {
        self.has_changed = true;
        match event {
            Some(Ok(WatchEvent::Started | WatchEvent::Reset)) => self.list().await?,
            Some(Ok(WatchEvent::Joined(peer) | WatchEvent::Changed(peer))) => {
                self.peers.insert(peer.peer_id.clone(), peer);
            }
            Some(Ok(WatchEvent::Left(peer))) => {
                self.peers.remove(&peer);
            }
            Some(Ok(WatchEvent::Resumed)) => self.error = None,
            // The service may be restarting, and the stream reconnects. Until then, the last list
            // stays visible.
            Some(Ok(WatchEvent::Interrupted { error, .. })) => self.failed(&error),
            // The service has no change log, or is of a version without streams.
            Some(Err(error)) if matches!(error.code(), Some(Code::NotAvailableHere | Code::NotFound)) => {
                self.stream = None;
                self.list().await?;
            }
            Some(Err(error)) => return Err(error.into()),
            None => self.stream = None,
            // An event of a kind that this version does not know. It is ignored.
            Some(Ok(_)) => {}
        }
        Ok(())
    }

    /// Requests the list. A transient failure and an expired cursor are shown to the user, and the
    /// next tick requests the list again. Any other failure ends the command.
    async fn list(&mut self) -> Result<(), Failure> {
        self.must_list = true;
        match self.request_list().await {
            Ok((peers, info, timestamp)) => {
                self.peers = peers.into_iter().map(|peer| (peer.peer_id.clone(), peer)).collect();
                self.listed = Some((info, timestamp));
                self.error = None;
                self.must_list = false;
            }
            Err(error) if error.is_transient() || error.code() == Some(Code::CursorExpired) => {
                self.failed(&error);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Requests a sample if the arguments ask for one, and otherwise all peers that match.
    async fn request_list(&self) -> Result<(Vec<Peer>, PageInfo, Timestamp), Error> {
        let first =
            if self.args.is_sample() { Some(self.client.discover(&self.request).await?) } else { None };
        if let Some(DiscoverResponse { page, timestamp }) = first {
            return Ok((page.peers, page.info, timestamp));
        }
        let (mut peers, mut last) = (Vec::new(), Timestamp::default());
        let mut pages = self.client.enumerate(self.request.clone());
        while let Some(DiscoverResponse { page, timestamp }) = pages.next_page().await? {
            peers.extend(page.peers);
            last = timestamp;
        }
        let info = complete(peers.len());
        Ok((peers, info, last))
    }

    fn failed(&mut self, error: &Error) {
        // On a terminal, the frame shows the failure.
        if self.args.json || terminal::size().is_none() {
            warn(error);
        }
        self.error = Some(error.to_string());
    }

    /// The counts of the list, and its time.
    fn figures(&self) -> Option<(PageInfo, Timestamp)> {
        let (info, timestamp) = self.listed.clone()?;
        if self.args.is_sample() {
            return Some((info, timestamp));
        }
        Some((complete(self.peers.len()), timestamp))
    }

    fn detail(&self) -> Detail {
        if self.stream.is_some() { Detail::Followed } else { self.args.detail() }
    }

    /// Prints the list. Used if the output is not a terminal, or with --json.
    fn print(&self) -> Result<(), Failure> {
        let Some((info, timestamp)) = self.figures() else { return Ok(()) };
        if self.args.json {
            let page = DiscoveredPage { peers: self.peers.values().cloned().collect(), info };
            return print_json(&DiscoverResponse { page, timestamp });
        }
        for line in page::lines(self.peers.values(), timestamp, self.detail(), None) {
            print(line)?;
        }
        print(page::summary(&info))
    }

    /// One frame on a terminal.
    fn frame(&self, size: Size) -> Vec<String> {
        // The error is above the table, so that it is visible however long the table is.
        let mut lines: Vec<_> = self.error.iter().map(|error| format!("! {}", escape(error))).collect();
        if let Some((info, timestamp)) = self.figures() {
            let endpoint = self.client.endpoint();
            lines.push(format!("{endpoint} · {} · Ctrl-C to stop", page::summary(&info)));
            lines.push(String::new());
            // The heading, the line about the rest, and the line of the cursor take three lines.
            let room = size.lines.saturating_sub(lines.len() + 3);
            let shown = self.peers.values().take(room);
            lines.extend(page::lines(shown, timestamp, self.detail(), Some(size.columns)));
            let rest = self.peers.len().saturating_sub(room);
            lines.extend((rest > 0).then(|| format!("… and {rest} more")));
        }
        lines.iter().map(|line| cut(line, size.columns)).collect()
    }
}

/// The counts of a list that contains all matching peers.
fn complete(count: usize) -> PageInfo {
    let total = u64::try_from(count).unwrap_or(u64::MAX);
    PageInfo { count, total, total_is_estimate: false, next_cursor: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::ConnectArgs;

    fn args() -> DiscoverArgs {
        use clap::{Args as _, FromArgMatches as _};
        let command = DiscoverArgs::augment_args(clap::Command::new("discover"));
        DiscoverArgs::from_arg_matches(&command.get_matches_from(["discover", "--watch"])).unwrap()
    }

    #[tokio::test]
    async fn a_frame_has_the_peers_by_name_and_says_how_many_it_leaves_out() {
        let args = args();
        let client = ConnectArgs::client(&args.connect).unwrap();
        let mut follower = Follower::new(&client, DiscoverRequest::new(1_000), &args);
        follower.listed = Some((complete(0), Timestamp::default()));
        for number in (0..1_500).rev() {
            let text = format!(
                r#"{{"peer_id":"p{number:04}","address":"10.0.0.1","port":1,"archetypes":[],"metadata":{{}}}}"#
            );
            follower.apply(Some(Ok(WatchEvent::Joined(serde_json::from_str(&text).unwrap())))).await.unwrap();
        }
        let size = Size { columns: 80, lines: 24 };
        let frame = follower.frame(size);
        assert_eq!(frame.len(), 23);
        assert!(frame[0].contains("1500 of 1500 live peers"), "{frame:?}");
        assert!(frame[3].starts_with("p0000  10.0.0.1:1") && frame[21].starts_with("p0018"), "{frame:?}");
        assert_eq!(frame[22], "… and 1481 more");
        follower.apply(Some(Ok(WatchEvent::Left("p0000".parse().unwrap())))).await.unwrap();
        assert!(follower.frame(size)[3].starts_with("p0001"));
    }
}
