//! The results of a run as one line of JSON, for the driver that makes tables from it.

use serde_json::{Value, json};

use super::graph::Figures;
use super::scenario::Scenario;
use super::simulation::{Counts, Series, Simulation};

pub(crate) fn of(scenario: &Scenario, simulation: &Simulation) -> Value {
    let Counts { discovers, unanswered, joined, left } = simulation.counts;
    let samplers: serde_json::Map<String, Value> = simulation
        .series
        .iter()
        .map(|series| (format!("{:?}", series.sampler), of_series(scenario, series)))
        .collect();
    json!({
        "peers": scenario.peers, "k": scenario.k, "responses": scenario.responses,
        "discovers": discovers, "unanswered": unanswered, "joined": joined, "left": left,
        "samplers": samplers,
    })
}

/// The worst value of each figure, and how long after the end of the disturbance the graph became
/// connected and then stayed so. Without a disturbance, that time counts from the first
/// measurement.
fn of_series(scenario: &Scenario, series: &Series) -> Value {
    let worst = |of: fn(&Figures) -> u32| series.figures.iter().map(|(_, seen)| of(seen)).max().unwrap_or(0);
    let steps_with = |of: fn(&Figures) -> bool| series.figures.iter().filter(|(_, seen)| of(seen)).count();
    let ended = scenario.disturbance().map_or(0, |(_, period)| period.end);
    let last_with = |of: fn(&Figures) -> bool| {
        let last = series.figures.iter().rev().find(|(_, seen)| of(seen));
        last.map_or(0, |(at, _)| (at + scenario.step_seconds).saturating_sub(ended))
    };
    let after_removal = series.removals.iter().map(|(_, share)| *share).fold(f64::INFINITY, f64::min);
    json!({
        "steps": series.figures.len(),
        "disconnected_steps": steps_with(is_disconnected),
        "steps_with_unknown": steps_with(has_unknown),
        "max_components": worst(|seen| seen.components),
        "max_outside_largest": worst(|seen| seen.live - seen.largest),
        "max_isolated": worst(|seen| seen.isolated),
        "max_unknown": worst(|seen| seen.unknown),
        "longest_unlisted_seconds": worst(|seen| seen.unlisted_seconds),
        "min_connected_share": after_removal,
        "last_seconds": (scenario.leases * scenario.lease_seconds).saturating_sub(ended),
        "reconnected_seconds": last_with(is_disconnected),
        "all_known_seconds": last_with(has_unknown),
    })
}

fn is_disconnected(seen: &Figures) -> bool {
    seen.components > 1
}

fn has_unknown(seen: &Figures) -> bool {
    seen.unknown > 0
}
