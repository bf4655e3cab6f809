//! Prints the bill of a thousand peers for several heartbeat intervals.
//!
//! `cargo run -p aurora-discovery-cost --example heartbeat_interval`

use std::error::Error;
use std::io::{self, Write as _};

use aurora_discovery_cost::{Architecture, Cadence, Function, Mail, Prices, Report, Workload};

fn main() -> Result<(), Box<dyn Error>> {
    let prices = Prices::built_in()?;
    let mut out = io::stdout();
    for heartbeat_seconds in [30.0, 60.0, 120.0] {
        let workload = Workload {
            peers: 1_000.0,
            lease_seconds: 300.0,
            archetypes: 2.0,
            starts_per_day: 1.0,
            cadence: Cadence {
                heartbeat_seconds,
                heartbeats_per_request: 1.0,
                discover_seconds: 300.0,
                discover_limit: 20.0,
                discover_in_heartbeat: true,
            },
            function: Function { memory_mb: 128.0, architecture: Architecture::Arm64, billed_millis: 5.0 },
            mail: Mail::default(),
            custom_metrics: false,
        };
        let report = Report::new(workload, prices.clone()).to_string();
        let totals = report.lines().find(|line| line.starts_with("total")).unwrap_or_default();
        writeln!(out, "a heartbeat every {heartbeat_seconds} s: {totals}")?;
    }
    Ok(())
}
