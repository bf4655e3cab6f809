//! The bill as a person reads it.

use std::fmt::Write as _;

use super::bill::{ALARM_METRICS, Door};
use super::workload::{Cadence, Workload};
use super::{Report, Scenario};
use crate::escape::escape;

const NAME_WIDTH: usize = 18;
const DOLLAR_WIDTH: usize = 13;

/// The whole report, each line ended.
pub(super) fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String never fails, here and below.
    let _ = writeln!(
        text,
        "USD a month of {} days, {} list prices of {}, no free tier.\n{}",
        report.month_days,
        escape(&report.prices.region),
        escape(&report.prices.as_of),
        assumptions(report.scenarios.first().map(|scenario| &scenario.workload)),
    );
    for scenario in &report.scenarios {
        let _ = writeln!(text, "\n{}", scenario_text(scenario));
    }
    let _ = writeln!(text, "\nWhat lowers the bill as given, behind a REST API, each made alone:");
    for saving in &report.savings {
        let _ = writeln!(text, "{:>8.2}  {}", saving.saves, saving.change);
    }
    text.push_str("\nThe first ten metrics that an account's alarms watch are free. The stack makes no function URL: nothing throttles or logs there.\n");
    text
}

fn assumptions(workload: Option<&Workload>) -> String {
    let Some(workload) = workload else { return String::new() };
    format!(
        "Peers: {}, with {} archetypes, on a lease of {} s, starts a day: {}. Lambda bills {} ms of {} MB ({}) a request.",
        workload.peers,
        workload.archetypes,
        workload.lease_seconds,
        workload.starts_per_day,
        workload.function.billed_millis,
        workload.function.memory_mb,
        match workload.function.architecture {
            super::workload::Architecture::Arm64 => "arm64",
            super::workload::Architecture::X86 => "x86_64",
        },
    )
}

fn scenario_text(scenario: &Scenario) -> String {
    let mut text = format!("{}: {}\n", scenario.name, cadence(&scenario.workload.cadence));
    let _ = writeln!(
        text,
        "{:.2} million requests ({:.1} a second), {:.2} million write units, {:.2} million read units",
        scenario.month.requests / 1e6,
        scenario.month.requests_per_second(),
        scenario.month.write_units / 1e6,
        scenario.month.read_units / 1e6,
    );
    text.push_str(&" ".repeat(NAME_WIDTH));
    for door in Door::ALL {
        let _ = write!(text, "{:>DOLLAR_WIDTH$}", door.name());
    }
    let bills = scenario.bills();
    let parts = bills.map(super::bill::Bill::parts);
    for (row, (name, _)) in parts[0].iter().enumerate() {
        text.push_str(&line(name, parts.each_ref().map(|parts| parts[row].1)));
    }
    text.push_str(&line("total", bills.map(|bill| bill.total)));
    text.push_str(&line(&format!("alarms ({ALARM_METRICS})"), bills.map(|bill| bill.alarms)));
    text
}

fn line(name: &str, dollars: [f64; 3]) -> String {
    let mut line = format!("\n{name:<NAME_WIDTH$}");
    for dollars in dollars {
        // The space stays between amounts that fill their column.
        let _ = write!(line, " {dollars:>width$.2}", width = DOLLAR_WIDTH - 1);
    }
    line
}

fn cadence(cadence: &Cadence) -> String {
    let mut heartbeat = format!("a heartbeat each {:.0} s", cadence.heartbeat_seconds);
    if cadence.beats_per_call > 1.0 {
        let _ = write!(heartbeat, ", {} peers' in one call", cadence.beats_per_call);
    }
    if cadence.discover_seconds <= 0.0 {
        return format!("{heartbeat}, no discover");
    }
    let how = if cadence.riding { "riding along, " } else { "" };
    format!(
        "{heartbeat}, {how}a discover of {} each {:.0} s",
        cadence.discover_limit, cadence.discover_seconds
    )
}
