//! Whether chance is fair.

use std::collections::HashMap;

/// False alarms: a fair sampler exceeds so many standard deviations once in 2,500 million assertions at worst, of pairs that are each
/// expected but six times (counted exactly; a normal statistic would once in 25,000 million), and CI makes a hundred.
const DEVIATIONS: f64 = 6.5;

/// A count that is expected less often is left out of a statistic: the bound takes counts for normal.
pub(super) const LEAST_EXPECTED: f64 = 5.0;

/// Asserts that each of `outcomes` was drawn about as often as any other, by Pearson's test. `draws` samples of
/// `size` different outcomes were drawn.
pub(super) fn assert_even(counts: &HashMap<String, u32>, outcomes: u32, draws: u32, size: u32) {
    let (n, share) = (f64::from(outcomes), f64::from(size) / f64::from(outcomes));
    let expected = f64::from(draws) * share;
    let distance = |count: u32| (f64::from(count) - expected).powi(2);
    let seen: f64 = counts.values().map(|count| distance(*count)).sum();
    let never_drawn = outcomes.saturating_sub(u32::try_from(counts.len()).unwrap_or(u32::MAX));
    let unseen = f64::from(never_drawn) * distance(0);
    // Draws without repetition scatter less than independent ones, by the share that each leaves over.
    let statistic = (seen + unseen) / (expected * (1.0 - share)) * (n - 1.0) / n;
    let bound = chi_square_bound(n - 1.0, DEVIATIONS);
    assert!(statistic < bound, "the sample is uneven: {statistic:.0} (bound {bound:.0}): {counts:?}");
}

/// What a chi-square statistic does not exceed but by so many standard deviations, by Wilson and Hilferty's approximation.
pub(super) fn chi_square_bound(freedom: f64, deviations: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + deviations * spread.sqrt()).powi(3)
}
