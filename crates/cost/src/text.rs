//! The report as text.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use crate::bill::{ALARM_METRICS, Bill, EndpointKind};
use crate::cluster::ClusterBill;
use crate::machine::MachineBill;
use crate::mail::MailBill;
use crate::workload::{Architecture, Cadence, Workload};
use crate::worst::WorstBill;
use crate::{Report, Scenario};

/// The minimum width of an amount's column, which aligns the tables of several scenarios.
const AMOUNT_WIDTH: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { month_days, prices, scenarios, savings, mail, worst, requests_alone } = self;
        writeln!(
            f,
            "US dollars per month of {month_days} days, {} list prices of {}, without the free tier.",
            prices.region, prices.as_of
        )?;
        if let Some(given) = scenarios.first() {
            writeln!(f, "{}", assumptions(&given.workload))?;
            writeln!(
                f,
                "A machine of your own is a {} with one disk and a public address.",
                prices.machine_name
            )?;
        }
        for scenario in scenarios {
            writeln!(f, "\n{scenario}")?;
        }
        writeln!(f, "\nChanges that lower the first bill, behind a REST API, each made alone:")?;
        for saving in savings {
            writeln!(f, "{:>8.2}  {}", saving.saves, saving.change)?;
        }
        let connections = mail[0].mail.connections_per_day;
        writeln!(
            f,
            "\nA mailbox, for each peer that has one and connects {connections} times a day, in addition:"
        )?;
        writeln!(f, "{}", mail_table(mail).trim_fmt())?;
        writeln!(
            f,
            "\nThe most that one caller can cause behind a REST API, at the default throttle of 200 requests per second.\n\
             {requests_alone:>8.0}  the requests alone"
        )?;
        for WorstBill { requests, dollars, times_requests, .. } in worst {
            writeln!(f, "{dollars:>8.0}  {requests}: {times_requests:.0} times as much")?;
        }
        write!(
            f,
            "\nThe first ten alarm metrics of an account are free. The stack creates no function URL, which would have no \
             throttling and no access log."
        )
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.name, cadence(&self.workload.cadence))?;
        writeln!(
            f,
            "{:.2} million requests ({:.1} per second), {:.2} million write units, {:.2} million read units",
            self.month.requests / 1e6,
            self.month.requests_per_second(),
            self.month.write_units / 1e6,
            self.month.read_units / 1e6,
        )?;
        writeln!(f, "{}", table(self.bills()).trim_fmt())?;
        let MachineBill { machine, disk, address, egress, total, is_sufficient } = self.own_machine;
        write!(
            f,
            "`serve` on a machine of your own: {total:.2} (machine {machine:.2}, disk {disk:.2}, address {address:.2}, \
             egress {egress:.2})"
        )?;
        writeln!(f, "{}", if is_sufficient { "" } else { "; this network needs a larger one" })?;
        let ClusterBill {
            machine_name,
            machines,
            disks,
            addresses,
            between_zones,
            egress,
            total,
            is_sufficient,
        } = &self.own_cluster;
        write!(
            f,
            "`serve` on Valkey, on three {machine_name} of your own: {total:.2} (machines {machines:.2}, disks \
             {disks:.2}, addresses {addresses:.2}, between zones {between_zones:.2}, egress {egress:.2})"
        )?;
        if *is_sufficient { Ok(()) } else { f.write_str("; this network needs larger ones") }
    }
}

fn table(bills: [&Bill; 3]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header([""].into_iter().chain(EndpointKind::ALL.map(EndpointKind::name)));
    let parts = bills.map(Bill::parts);
    for (row, (name, _)) in parts[0].iter().enumerate() {
        table.add_row(amounts(name, parts.each_ref().map(|parts| parts[row].1)));
    }
    table.add_row(amounts("total", bills.map(|bill| bill.total)));
    table.add_row(amounts(&format!("alarms ({ALARM_METRICS})"), bills.map(|bill| bill.alarms)));
    align(&mut table);
    table
}

fn mail_table(bills: &[MailBill]) -> Table {
    let mut table = Table::new();
    let endpoints = EndpointKind::ALL.map(EndpointKind::name);
    table.load_style(NOTHING).set_header([""].into_iter().chain(endpoints).chain(["Valkey"]));
    for MailBill { mail, on_dynamodb, on_valkey, .. } in bills {
        let name = if mail.poll_seconds > 0.0 {
            format!("idle peers poll every {} s, as browsers do", mail.poll_seconds)
        } else {
            "only heartbeats fetch the mail of idle peers".to_owned()
        };
        let amounts =
            on_dynamodb.iter().chain([on_valkey]).map(|dollars| format!("{dollars:>AMOUNT_WIDTH$.3}"));
        table.add_row([name].into_iter().chain(amounts));
    }
    align(&mut table);
    table
}

fn align(table: &mut Table) {
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 1));
        if number > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn amounts(name: &str, dollars: [f64; 3]) -> Vec<String> {
    let amounts = dollars.map(|dollars| format!("{dollars:>AMOUNT_WIDTH$.2}"));
    [name.to_owned()].into_iter().chain(amounts).collect()
}

fn assumptions(workload: &Workload) -> String {
    format!(
        "{} peers with {} archetypes and a lease of {} s, {} starts per day. Lambda bills {} ms of {} MB ({}) per request.",
        workload.peers,
        workload.archetypes,
        workload.lease_seconds,
        workload.starts_per_day,
        workload.function.billed_millis,
        workload.function.memory_mb,
        match workload.function.architecture {
            Architecture::Arm64 => "arm64",
            Architecture::X86 => "x86_64",
        },
    )
}

fn cadence(cadence: &Cadence) -> String {
    let mut heartbeat = format!("a heartbeat every {:.0} s", cadence.heartbeat_seconds);
    if cadence.heartbeats_per_request > 1.0 {
        heartbeat += &format!(", {} peers per request", cadence.heartbeats_per_request);
    }
    if cadence.discover_seconds <= 0.0 {
        return format!("{heartbeat}, no discover");
    }
    let request = if cadence.discover_in_heartbeat { " in a heartbeat" } else { "" };
    format!(
        "{heartbeat}, a discover of {} every {:.0} s{request}",
        cadence.discover_limit, cadence.discover_seconds
    )
}
