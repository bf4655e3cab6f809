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
    /// Print the service's answer as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// Prints the state of the whole network.
pub(crate) async fn run(args: NetworkArgs) -> Result<(), Failure> {
    let answer = args.connect.client()?.network().await?;
    if args.json {
        return print_json(&answer);
    }
    let width = terminal::size().map(|size| size.columns);
    figures(&answer).into_iter().chain(archetypes(&answer, width)).chain(risks(&answer)).try_for_each(print)
}

/// The figures, one per line.
fn figures(answer: &NetworkResponse) -> Vec<String> {
    let mut rows = vec![vec!["live peers".to_owned(), answer.peers.to_string()]];
    if let Some(rates) = &answer.rates {
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
    if let Some(ratio) = answer.undiscovered_ratio {
        rows.push(vec!["undiscovered".to_owned(), format!("{:.1} %", ratio * 100.0)]);
    }
    table::lines(&[], &rows, None)
}

fn archetypes(answer: &NetworkResponse, width: Option<usize>) -> Vec<String> {
    if answer.archetypes.is_empty() {
        return Vec::new();
    }
    let rows: Vec<_> = answer
        .archetypes
        .iter()
        .map(|one| vec![escape(one.archetype.as_str()).into_owned(), one.peers.to_string()])
        .collect();
    let mut lines = vec![String::new()];
    lines.extend(table::lines(&["ARCHETYPE", "PEERS"], &rows, width));
    lines
}

fn risks(answer: &NetworkResponse) -> Vec<String> {
    let mut lines = vec![String::new()];
    if answer.at_risk.is_empty() {
        lines.push("nothing is known to be at risk".to_owned());
    }
    lines.extend(answer.at_risk.iter().map(|risk| format!("at risk: {}", escape(risk))));
    lines
}
