//! Checks on a small network that the samples of the service keep it connected, and that the lists
//! of the other kinds of services do not.

use super::graph::Figures;
use super::scenario::{Sampler, Scenario};
use super::simulation::{Series, Simulation};

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    scenario: Scenario,
}

/// A small network; `options` are command-line options of the tool.
fn scenario(options: &[&str]) -> Scenario {
    let small = ["isolation", "--peers=2000", "--step-seconds=20"];
    <Arguments as clap::Parser>::parse_from(small.iter().chain(options)).scenario
}

async fn run(options: &[&str]) -> Simulation {
    let mut simulation = Simulation::new(&scenario(options)).unwrap();
    while !simulation.is_over() {
        simulation.advance().await.unwrap();
    }
    simulation
}

fn seen(simulation: &Simulation, sampler: Sampler) -> &Series {
    simulation.series.iter().find(|series| series.sampler == sampler).unwrap()
}

fn worst(series: &Series, of: impl Fn(&Figures) -> u32) -> u32 {
    series.figures.iter().map(|(_, figures)| of(figures)).max().unwrap()
}

fn min_connected_share(series: &Series) -> f64 {
    series.removals.iter().map(|(_, share)| *share).fold(1.0, f64::min)
}

#[tokio::test]
async fn uniform_samples_isolate_no_peer_and_other_lists_leave_most_peers_unknown() {
    let simulation = run(&["--k=24", "--leases=3"]).await;
    let ours = seen(&simulation, Sampler::Ours);
    assert_eq!(worst(ours, |figures| figures.components), 1);
    assert_eq!(worst(ours, |figures| figures.unknown), 0);
    assert!((min_connected_share(ours) - 1.0).abs() < 1e-9);
    for sampler in [Sampler::NewestFirst, Sampler::FirstPage] {
        let theirs = seen(&simulation, sampler);
        assert!(worst(theirs, |figures| figures.unknown) > 1_500, "{sampler:?}");
        assert!(worst(theirs, |figures| figures.unlisted_seconds) > 2 * 300, "{sampler:?}");
    }
    assert!(min_connected_share(seen(&simulation, Sampler::FirstPage)) < 0.01, "the first page is a star");
}

#[tokio::test]
async fn uniform_samples_keep_a_network_connected_that_loses_requests_and_half_its_peers() {
    let simulation =
        run(&["--k=24", "--leases=3", "--replaced=0.5", "--loss=0.1", "--deregistering=0"]).await;
    let ours = seen(&simulation, Sampler::Ours);
    assert_eq!(worst(ours, |figures| figures.components), 1);
    assert!(simulation.counts.left > 3_000 && simulation.counts.unanswered > 1_000);
}

#[tokio::test]
async fn too_small_samples_leave_peers_unknown() {
    let simulation = run(&["--k=3", "--leases=1", "--ours-only"]).await;
    assert!(worst(seen(&simulation, Sampler::Ours), |figures| figures.unknown) > 20);
}

#[tokio::test]
async fn after_an_outage_longer_than_a_lease_the_network_recovers_within_two_intervals() {
    for options in [&["--outage-restores"][..], &["--responses=2"]] {
        let outage = ["--k=24", "--ours-only", "--leases=4", "--outage-at=200", "--outage-seconds=600"];
        let simulation = run(&[&outage, options].concat()).await;
        let ours = seen(&simulation, Sampler::Ours);
        let later: Vec<_> = ours.figures.iter().filter(|(at, _)| *at >= 800 + 200).collect();
        assert!(later.len() > 5);
        assert!(
            later.iter().all(|(_, figures)| figures.components == 1 && figures.unknown == 0),
            "{options:?}"
        );
    }
}

#[tokio::test]
async fn a_partition_longer_than_a_lease_splits_the_network_until_it_heals() {
    let simulation =
        run(&["--k=24", "--ours-only", "--leases=4", "--partition-at=100", "--partition-seconds=700"]).await;
    let ours = seen(&simulation, Sampler::Ours);
    assert_eq!(worst(ours, |figures| figures.components), 2);
    let whole = |from: u32, to: u32| {
        let within = ours.figures.iter().filter(|(at, _)| (from..to).contains(at));
        within.clone().count() > 5 && within.clone().all(|(_, figures)| figures.components == 1)
    };
    assert!(whole(0, 350), "before the first leases end on the other side");
    assert!(!whole(500, 800), "partitioned");
    assert!(whole(810, 1_200), "merged");
}
