//! `network`.

use aurora_discovery_protocol::NetworkResponse;
use clap::Args;

use crate::connect::ConnectArgs;
use crate::escape::escape;
use crate::failure::Failure;
use crate::output::{print, print_json};
use crate::{table, terminal};

/// Arguments of `network`.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    /// Print the response of the service as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Prints the state of the whole network.
pub(crate) async fn run(args: NetworkArgs) -> Result<(), Failure> {
    let response = args.connect.client()?.network().await?;
    if args.json {
        return print_json(&response);
    }
    let width = terminal::size().map(|size| size.columns);
    figures(&response)
        .into_iter()
        .chain(archetypes(&response, width))
        .chain(risks(&response))
        .try_for_each(print)
}

/// The figures, one per line.
fn figures(response: &NetworkResponse) -> Vec<String> {
    let mut rows = vec![vec!["live peers".to_owned(), response.peers.to_string()]];
    if let Some(rates) = &response.rates {
        let over = format!("a minute, over the last {}", rates.minutes);
        for (name, rate) in [
            ("joins", rates.joins_per_minute),
            ("leaves", rates.leaves_per_minute),
            ("expiries", rates.expiries_per_minute),
            ("revivals", rates.revivals_per_minute),
        ] {
            rows.push(vec![name.to_owned(), format!("{rate:.1} {over}")]);
        }
    }
    if let Some(ratio) = response.undiscovered_ratio {
        rows.push(vec!["undiscovered".to_owned(), format!("{:.1} %", ratio * 100.0)]);
    }
    table::lines(&[], &rows, None)
}

fn archetypes(response: &NetworkResponse, width: Option<usize>) -> Vec<String> {
    if response.archetypes.is_empty() {
        return Vec::new();
    }
    let rows: Vec<_> = response
        .archetypes
        .iter()
        .map(|entry| vec![escape(entry.archetype.as_str()).into_owned(), entry.peers.to_string()])
        .collect();
    let mut lines = vec![String::new()];
    lines.extend(table::lines(&["ARCHETYPE", "PEERS"], &rows, width));
    lines
}

fn risks(response: &NetworkResponse) -> Vec<String> {
    let mut lines = vec![String::new()];
    if response.at_risk.is_empty() {
        lines.push("no known risks".to_owned());
    }
    lines.extend(response.at_risk.iter().map(|risk| format!("at risk: {}", escape(risk))));
    lines
}
