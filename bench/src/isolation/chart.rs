//! The chart of a run in SVG: panels over one time axis, with a line for each sampler.

use std::fmt::Write as _;

use super::graph::Figures;
use super::scenario::{Sampler, Scenario};
use super::simulation::Series;

/// The width of the chart, and the margins left and right of the panels, in pixels.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 18.0;
/// The height of a panel, and of the space for its title.
const HEIGHT: f64 = 120.0;
const ABOVE: f64 = 40.0;
/// The heights of the header with the legend, and of the footer with the axis.
const HEAD: f64 = 52.0;
const FOOT: f64 = 44.0;

/// Seconds between the ticks of the time axis.
const MARK_SECONDS: u32 = 600;

/// The contents of a panel: its title, its scale and a line for each sampler.
struct Panel {
    title: &'static str,
    scale: Scale,
    lines: Vec<(Sampler, Vec<(u32, f64)>)>,
}

/// How a value is mapped to a height.
#[derive(Clone, Copy)]
enum Scale {
    /// A share between 0 and 1.
    Share,
    /// Counts up to a power of ten, on a logarithmic scale; zero is on the axis.
    Count { decades: i32 },
    /// Seconds up to a bound.
    Seconds { max: f64 },
}

/// The chart of a run, with its name.
pub(crate) fn draw(name: &str, scenario: &Scenario, series: &[Series]) -> String {
    let panels = panels(scenario, series);
    let height = HEAD + FOOT + (ABOVE + HEIGHT) * panels.len() as f64;
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">
<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>
<text x="{LEFT}" y="22" font-size="15" font-weight="600">{} peers, k = {}: {name}</text>
"##,
        grouped(scenario.peers),
        scenario.k,
    );
    legend(&mut svg, series);
    let seconds = scenario.leases * scenario.lease_seconds;
    for (number, panel) in panels.iter().enumerate() {
        let top = HEAD + ABOVE + (ABOVE + HEIGHT) * number as f64;
        panel.draw(&mut svg, scenario, top, seconds);
    }
    axis(&mut svg, height - FOOT, seconds);
    svg.push_str("</svg>\n");
    svg
}

fn panels(scenario: &Scenario, series: &[Series]) -> Vec<Panel> {
    let of = |value: fn(&Figures) -> f64| -> Vec<(Sampler, Vec<(u32, f64)>)> {
        let points = |series: &Series| series.figures.iter().map(|(at, seen)| (*at, value(seen))).collect();
        series.iter().map(|series| (series.sampler, points(series))).collect()
    };
    let removals = series.iter().map(|series| (series.sampler, series.removals.clone())).collect();
    let unlisted = of(|seen| f64::from(seen.unlisted_seconds));
    let longest = unlisted.iter().flat_map(|(_, points)| points).map(|(_, value)| *value).fold(0.0, f64::max);
    let decades = f64::from(scenario.peers).log10().ceil();
    let decades = (0..20).find(|decade| f64::from(*decade) >= decades).unwrap_or(20);
    vec![
        Panel {
            title: "peers in the largest component",
            scale: Scale::Share,
            lines: of(|seen| f64::from(seen.largest) / f64::from(seen.live.max(1))),
        },
        Panel {
            title: "the same among the others if the best-known 2 % were removed",
            scale: Scale::Share,
            lines: removals,
        },
        Panel {
            title: "isolated: peers that know no other peer and are known to none",
            scale: Scale::Count { decades },
            lines: of(|seen| f64::from(seen.isolated)),
        },
        Panel {
            title: "unknown: peers older than a lease that no other peer knows",
            scale: Scale::Count { decades },
            lines: of(|seen| f64::from(seen.unknown)),
        },
        Panel {
            title: "longest time for which a live peer has not been listed",
            scale: Scale::Seconds { max: (longest / 600.0).ceil().max(1.0) * 600.0 },
            lines: unlisted,
        },
    ]
}

impl Panel {
    fn draw(&self, svg: &mut String, scenario: &Scenario, top: f64, seconds: u32) {
        let (width, bottom) = (WIDTH - LEFT - RIGHT, top + HEIGHT);
        let text_at = top - 10.0;
        if let Some((what, period)) = scenario.disturbance() {
            let (from, to) = (across(period.start, seconds), across(period.end.min(seconds), seconds));
            let (span, label_at) = (to - from, top + 14.0);
            let _ = writeln!(
                svg,
                r##"<rect x="{from:.1}" y="{top}" width="{span:.1}" height="{HEIGHT}" fill="#f1e9d2"/><text x="{:.1}" y="{label_at}" font-size="11" fill="#6b5a1e">{what}</text>"##,
                from + 4.0,
            );
        }
        let _ = writeln!(svg, r##"<text x="{LEFT}" y="{text_at}" font-weight="600">{}</text>"##, self.title);
        for (value, label) in self.scale.marks() {
            let y = bottom - HEIGHT * self.scale.height(value);
            let _ = writeln!(
                svg,
                r##"<path d="M{LEFT} {y:.1}h{width}" stroke="#d5d9de"/><text x="{:.1}" y="{:.1}" text-anchor="end">{label}</text>"##,
                LEFT - 8.0,
                y + 4.5,
            );
        }
        for (sampler, points) in &self.lines {
            let at = |(second, value): &(u32, f64)| {
                (across(*second, seconds), bottom - HEIGHT * self.scale.height(*value))
            };
            line(svg, *sampler, &points.iter().map(at).collect::<Vec<_>>());
        }
    }
}

impl Scale {
    /// The position of a value, from 0 at the bottom to 1 at the top.
    fn height(self, value: f64) -> f64 {
        match self {
            Self::Share => value,
            Self::Count { decades } => (1.0 + value).log10() / f64::from(decades),
            Self::Seconds { max } => value / max,
        }
    }

    fn marks(self) -> Vec<(f64, String)> {
        match self {
            Self::Share => {
                [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")].map(|(at, text)| (at, text.to_owned())).into()
            }
            Self::Count { decades } => {
                let powers = (0..=decades).step_by(2).filter(|decade| *decade > 0);
                let mark = |decade| (10_f64.powi(decade), format!("{:.0}", 10_f64.powi(decade)));
                std::iter::once((0.0, "0".to_owned())).chain(powers.map(mark)).collect()
            }
            Self::Seconds { max } => {
                [0.0, 0.5, 1.0].map(|share| (max * share, format!("{:.0} min", max * share / 60.0))).into()
            }
        }
    }
}

fn legend(svg: &mut String, series: &[Series]) {
    for (number, series) in series.iter().enumerate() {
        let x = LEFT + 215.0 * number as f64;
        line(svg, series.sampler, &[(x, 42.0), (x + 34.0, 42.0)]);
        let _ = writeln!(svg, r#"<text x="{:.1}" y="46">{}</text>"#, x + 42.0, series.sampler.name());
    }
}

fn axis(svg: &mut String, y: f64, seconds: u32) {
    for mark in (0..=seconds).step_by(MARK_SECONDS as usize) {
        let x = across(mark, seconds);
        let _ = writeln!(
            svg,
            r##"<path d="M{x:.1} {y}v5" stroke="#1f2328"/><text x="{x:.1}" y="{:.1}" text-anchor="middle">{}</text>"##,
            y + 20.0,
            mark / 60,
        );
    }
    let (middle, below) = (LEFT + (WIDTH - LEFT - RIGHT) / 2.0, y + 37.0);
    let _ = writeln!(svg, r#"<text x="{middle}" y="{below}" text-anchor="middle">minutes</text>"#);
}

/// A line through points. Points in the middle of a level stretch are omitted.
fn line(svg: &mut String, sampler: Sampler, points: &[(f64, f64)]) {
    let is_level = |at: usize| {
        at > 0
            && at + 1 < points.len()
            && points[at - 1].1 == points[at].1
            && points[at].1 == points[at + 1].1
    };
    let mut path = String::new();
    for (at, (x, y)) in points.iter().enumerate().filter(|(at, _)| !is_level(*at)) {
        let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { "M" } else { "L" });
    }
    let (colour, width, dashes) = match sampler {
        Sampler::Ours => ("#0b6bcb", "2.6", "none"),
        Sampler::NewestFirst => ("#c2410c", "2", "7 4"),
        Sampler::FirstPage => ("#6d28d9", "2", "2 3"),
    };
    let _ = writeln!(
        svg,
        r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"/>"#
    );
}

fn across(second: u32, seconds: u32) -> f64 {
    LEFT + (WIDTH - LEFT - RIGHT) * f64::from(second) / f64::from(seconds.max(1))
}

/// A number with separators between its thousands.
fn grouped(number: u32) -> String {
    if number < 1_000 {
        return number.to_string();
    }
    format!("{},{:03}", grouped(number / 1_000), number % 1_000)
}
