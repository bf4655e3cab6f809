//! The subcommands of operators: `evict`, `block`, `unblock` and `blocks`.

use aurora_discovery_client::{
    BlockReason, BlockRequest, BlocksResponse, PeerId, PublicKey, SourcePrefix, Subject, SubjectRequest, Ttl,
};
use clap::Args;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::{table, terminal};

/// The peer, key or network that a subcommand acts on.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SubjectArgs {
    /// The peer with this id.
    #[arg(long, value_name = "ID", value_parser = PeerId::parse)]
    peer: Option<PeerId>,
    /// The peers whose registrations this key signed (did:key:z6Mk…).
    #[arg(long, value_name = "KEY", value_parser = PublicKey::parse)]
    signed_by: Option<PublicKey>,
    /// The peers that registered from this address or prefix, such as 203.0.113.0/24.
    #[arg(long, value_name = "PREFIX", value_parser = SourcePrefix::parse)]
    source: Option<SourcePrefix>,
}

impl SubjectArgs {
    fn subject(self) -> Result<Subject, Failure> {
        let Self { peer, signed_by, source } = self;
        let subjects = [peer.map(Subject::Peer), signed_by.map(Subject::Key), source.map(Subject::Source)];
        let first = subjects.into_iter().flatten().next();
        first.ok_or_else(|| Failure::Usage("set one of --peer, --signed-by and --source".to_owned()))
    }
}

/// Arguments of `evict` and `unblock`.
#[derive(Debug, Args)]
pub(crate) struct EvictArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `block`.
#[derive(Debug, Args)]
pub(crate) struct BlockArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// Why, for other operators.
    #[arg(long, value_name = "TEXT", value_parser = BlockReason::parse)]
    reason: BlockReason,
    /// For how long, with a unit: 90s, 30m, 12h or 7d.
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    duration: Ttl,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Arguments of `blocks`.
#[derive(Debug, Args)]
pub(crate) struct BlocksArgs {
    /// Print the response of the service as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Deletes the peers of a subject.
pub(crate) async fn evict(args: EvictArgs) -> Result<(), Failure> {
    let subject = args.subject.subject()?;
    let response = args.connect.client()?.evict(&SubjectRequest { subject }).await?;
    print(format_args!("{} evicted", peers(response.evicted)))
}

/// Blocks a subject and deletes its peers.
pub(crate) async fn block(args: BlockArgs) -> Result<(), Failure> {
    let BlockArgs { subject, reason, duration, connect } = args;
    let request = BlockRequest { subject: subject.subject()?, reason, duration };
    let response = connect.client()?.block(&request).await?;
    let subject = &request.subject;
    print(format_args!(
        "{subject} is blocked for {} s, {} evicted",
        duration.as_secs(),
        peers(response.evicted)
    ))
}

/// Ends the block of a subject.
pub(crate) async fn unblock(args: EvictArgs) -> Result<(), Failure> {
    let subject = args.subject.subject()?;
    let request = SubjectRequest { subject };
    args.connect.client()?.unblock(&request).await?;
    print(format_args!("{} is no longer blocked", request.subject))
}

/// Lists the blocks in force.
pub(crate) async fn blocks(args: BlocksArgs) -> Result<(), Failure> {
    let response = args.connect.client()?.blocks().await?;
    if args.json {
        return print_json(&response);
    }
    let width = terminal::size().map(|size| size.columns);
    lines(&response, width).iter().try_for_each(print)
}

fn lines(response: &BlocksResponse, width: Option<usize>) -> Vec<String> {
    if response.blocks.is_empty() {
        return vec!["nothing is blocked".to_owned()];
    }
    let row = |block: &aurora_discovery_client::ListedBlock| {
        vec![
            block.subject.to_string(),
            format!("{} s", block.expires_in_seconds),
            escape(&block.blocked_by).into_owned(),
            escape(block.reason.as_str()).into_owned(),
        ]
    };
    let rows: Vec<_> = response.blocks.iter().map(row).collect();
    table::lines(&["BLOCKED", "ENDS IN", "BY", "REASON"], &rows, width)
}

fn peers(count: u64) -> String {
    if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") }
}

fn duration(text: &str) -> Result<Ttl, String> {
    let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let seconds = units.iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(*seconds)
    });
    let max_days = BlockRequest::MAX_SECONDS / 86_400;
    seconds
        .filter(|seconds| (1..=BlockRequest::MAX_SECONDS).contains(seconds))
        .map(Ttl::from_secs)
        .ok_or_else(|| format!("must be a number with a unit (90s, 30m, 12h, 7d), and at most {max_days}d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_and_an_end() {
        for (text, seconds) in [("90s", 90), ("30m", 1_800), ("12h", 43_200), ("7d", 604_800)] {
            assert_eq!(duration(text), Ok(Ttl::from_secs(seconds)));
        }
        for text in ["", "90", "0s", "-1s", "1.5h", "3651d", "99999999999s", "4294967295d", "1w"] {
            assert!(duration(text).unwrap_err().contains("7d"), "{text}");
        }
    }
}
