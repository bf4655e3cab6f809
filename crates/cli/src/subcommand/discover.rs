//! `discover`.

mod follow;

use aurora_discovery_client::Client;
use aurora_discovery_protocol::{Archetypes, DiscoverRequest, DiscoverResponse, Fill, Order, PeerId, View};
use clap::Args;

use super::page::{self, Detail};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::signal::stop_requested;
use crate::terminal;
use follow::follow;

/// Arguments of `discover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DiscoverArgs {
    /// List only peers with this archetype; may be repeated to list peers with any of several.
    #[arg(long = "archetype", value_name = "ARCHETYPE")]
    pub(crate) archetypes: Vec<String>,
    /// The maximum number of peers to list (with --all: per page).
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// The id of a peer to omit, usually your own.
    #[arg(long, value_name = "PEER_ID", value_parser = PeerId::parse)]
    pub(crate) exclude: Option<PeerId>,
    /// If fewer peers than the limit match, add other peers of the network.
    #[arg(long, conflicts_with = "all")]
    pub(crate) fill: bool,
    /// List a sample of which half comes from different networks.
    #[arg(long, conflicts_with = "all")]
    pub(crate) diverse: bool,
    /// List every peer, page by page, instead of a random sample.
    #[arg(long)]
    pub(crate) all: bool,
    /// Also print when each lease ends and when each peer registered.
    #[arg(long)]
    pub(crate) full: bool,
    /// Print the response of the service as JSON; with --all one line per page.
    #[arg(long)]
    pub(crate) json: bool,
    /// Follow the live peers until Ctrl-C, in the order of their ids. The command uses the stream
    /// of changes if the service has one. Otherwise, or with --full, --fill or --diverse, it
    /// requests the list repeatedly.
    #[arg(long, conflicts_with = "all")]
    pub(crate) watch: bool,
    /// The time between two requests of --watch, or without a terminal, between two printed lists.
    #[arg(long, default_value_t = 2, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) interval: u64,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Lists a sample of the live peers, or all of them, or follows them.
pub(crate) async fn run(args: DiscoverArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let request = request(&args)?;
    if args.all {
        return list_all(&client, request, &args).await;
    }
    if args.watch {
        return tokio::select! {
            result = follow(&client, request, &args) => result,
            () = stop_requested() => Ok(()),
        };
    }
    print_response(&client.discover(&request).await?, &args)
}

fn request(args: &DiscoverArgs) -> Result<DiscoverRequest, Failure> {
    if args.archetypes.len() > DiscoverRequest::MAX_ARCHETYPES {
        return Err(Failure::flag("--archetype", "may be given at most 8 times"));
    }
    let archetypes =
        Archetypes::parse(&args.archetypes).map_err(|rule| Failure::flag("--archetype", rule))?;
    Ok(DiscoverRequest {
        archetypes: archetypes.into(),
        exclude: args.exclude.clone(),
        view: if args.full { View::Full } else { View::Legacy },
        fill: args.fill.then_some(Fill::Any),
        order: if args.diverse { Order::Diverse } else { Order::Sample },
        ..DiscoverRequest::new(args.limit)
    })
}

impl DiscoverArgs {
    /// Whether `--watch` shows a random sample instead of all peers. Each request then draws another
    /// sample.
    fn is_sample(&self) -> bool {
        self.fill || self.diverse
    }

    fn detail(&self) -> Detail {
        if self.full { Detail::Full } else { Detail::Legacy }
    }
}

fn print_response(response: &DiscoverResponse, args: &DiscoverArgs) -> Result<(), Failure> {
    if args.json {
        return print_json(response);
    }
    let width = terminal::size().map(|size| size.columns);
    for line in page::lines(&response.page.peers, response.timestamp, args.detail(), width) {
        print(line)?;
    }
    print(page::summary(&response.page.info))
}

async fn list_all(client: &Client, request: DiscoverRequest, args: &DiscoverArgs) -> Result<(), Failure> {
    let mut pages = client.enumerate(request);
    let mut listed = 0;
    while let Some(response) = pages.next_page().await? {
        if args.json {
            print_json(&response)?;
            continue;
        }
        let width = terminal::size().map(|size| size.columns);
        // Only the first page has a heading.
        let skipped = usize::from(listed > 0);
        for line in
            page::lines(&response.page.peers, response.timestamp, args.detail(), width).iter().skip(skipped)
        {
            print(line)?;
        }
        listed += response.page.peers.len();
    }
    if args.json {
        Ok(())
    } else {
        print(format_args!("{listed} live peer{}", if listed == 1 { "" } else { "s" }))
    }
}
