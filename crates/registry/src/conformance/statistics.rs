//! Statistical tests of random samples.

use std::collections::HashMap;

/// The bound of the statistic, in standard deviations. A fair sampler exceeds it at most once in
/// 2.5 billion assertions. This is the exact probability for pairs that are expected only six times
/// each; for a normally distributed statistic it would be once in 25 billion. CI makes a
/// hundred assertions.
const DEVIATIONS: f64 = 6.5;

/// Counts with a smaller expectation are left out of a statistic, because its bound assumes a
/// normal distribution.
pub(super) const LEAST_EXPECTED: f64 = 5.0;

/// Asserts that all `outcomes` were drawn about equally often, with Pearson's chi-square test.
/// `draws` samples of `size` different outcomes were drawn.
pub(super) fn assert_uniform(counts: &HashMap<String, u32>, outcomes: u32, draws: u32, size: u32) {
    let (n, share) = (f64::from(outcomes), f64::from(size) / f64::from(outcomes));
    let expected = f64::from(draws) * share;
    let distance = |count: u32| (f64::from(count) - expected).powi(2);
    let seen: f64 = counts.values().map(|count| distance(*count)).sum();
    let never_drawn = outcomes.saturating_sub(u32::try_from(counts.len()).unwrap_or(u32::MAX));
    let unseen = f64::from(never_drawn) * distance(0);
    // In one sample, each outcome appears with probability `share`, at most once. Its count
    // therefore has the variance `expected * (1 - share)` instead of `expected`. The counts have a
    // fixed sum, so that they are negatively correlated. The factor `(n - 1) / n` corrects for that
    // and leaves a chi-square statistic with `n - 1` degrees of freedom.
    let statistic = (seen + unseen) / (expected * (1.0 - share)) * (n - 1.0) / n;
    let bound = chi_square_bound(n - 1.0, DEVIATIONS);
    assert!(statistic < bound, "the sample is uneven: {statistic:.0} (bound {bound:.0}): {counts:?}");
}

/// The value that a chi-square statistic exceeds as rarely as a normal variable exceeds
/// `deviations` standard deviations, by the approximation of Wilson and Hilferty.
pub(super) fn chi_square_bound(freedom: f64, deviations: f64) -> f64 {
    let spread = 2.0 / (9.0 * freedom);
    freedom * (1.0 - spread + deviations * spread.sqrt()).powi(3)
}
