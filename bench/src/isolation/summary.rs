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
        "peers": scenario.peers, "k": scenario.k, "answers": scenario.answers,
        "discovers": discovers, "unanswered": unanswered, "joined": joined, "left": left,
        "samplers": samplers,
    })
}

/// The worst value of each figure, and how long after the end of the disturbance the graph became
/// connected for good.
fn of_series(scenario: &Scenario, series: &Series) -> Value {
    let worst = |of: fn(&Figures) -> u32| series.figures.iter().map(|(_, seen)| of(seen)).max().unwrap_or(0);
    let steps_with = |of: fn(&Figures) -> bool| series.figures.iter().filter(|(_, seen)| of(seen)).count();
    let ended = scenario.trouble().map_or(0, |(_, period)| period.end);
    let last_with = |of: fn(&Figures) -> bool| {
        let last = series.figures.iter().rev().find(|(_, seen)| of(seen));
        last.map_or(0, |(at, _)| (at + scenario.step_seconds).saturating_sub(ended))
    };
    let blown = series.blows.iter().map(|(_, share)| *share).fold(f64::INFINITY, f64::min);
    json!({
        "steps": series.figures.len(),
        "steps_in_parts": steps_with(in_parts),
        "steps_with_unknown": steps_with(with_unknown),
        "most_components": worst(|seen| seen.components),
        "most_outside_the_largest": worst(|seen| seen.live - seen.largest),
        "most_isolated": worst(|seen| seen.isolated),
        "most_unknown": worst(|seen| seen.unknown),
        "longest_forgotten_seconds": worst(|seen| seen.forgotten_seconds),
        "least_left_after_a_blow": blown,
        "last_seconds": (scenario.leases * scenario.lease_seconds).saturating_sub(ended),
        "whole_again_seconds": last_with(in_parts),
        "known_again_seconds": last_with(with_unknown),
    })
}

fn in_parts(seen: &Figures) -> bool {
    seen.components > 1
}

fn with_unknown(seen: &Figures) -> bool {
    seen.unknown > 0
}
