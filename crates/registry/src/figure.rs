//! What a store counts about itself.

/// One figure that a store keeps of its own work, for whoever watches it.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name: lower case, with the unit at its end, without the product's prefix.
    pub name: &'static str,
    /// What it says, in a sentence.
    pub help: &'static str,
    /// Its kind and value.
    pub kind: FigureKind,
}

/// A figure's kind and value.
#[derive(Clone, Debug, PartialEq)]
pub enum FigureKind {
    /// Counts up from the start of the process.
    Counter(u64),
    /// Goes up and down.
    Gauge(f64),
    /// How often a value fell at or below each bound.
    Histogram {
        /// Upper bounds and how many values lie at or below each (cumulative), rising.
        buckets: Vec<(f64, u64)>,
        /// All values added up.
        sum: f64,
        /// How many values there were, those above the last bound included.
        count: u64,
    },
}
