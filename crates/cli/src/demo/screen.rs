//! Draws the network on a terminal.

use std::time::Duration;

use aurora_discovery_protocol::PeerId;
use console::Style;
use tokio::time::Instant;

use super::network::{Member, Network, State};
use crate::terminal::{Size, cut, fit};

/// The width of a lease's bar.
const BAR_STEPS: u32 = 18;
/// Its width including the seconds after it.
const LEASE: usize = 25;
/// The width of names and archetypes.
const NAME: usize = 12;
const ARCHETYPES: usize = 16;
/// How long a heartbeat is highlighted.
const PULSE: Duration = Duration::from_millis(350);
/// The minimum number of lines of the log that are shown, for any number of peers.
const MIN_LOG_LINES: usize = 6;

/// The lines of a frame: a header, the peers with their leases, and the end of the log.
pub(super) fn lines(network: &Network, endpoint: &str, now: Instant, size: Size) -> Vec<String> {
    let mut lines = header(network, endpoint, now, size.columns);
    let room = size.lines.saturating_sub(lines.len() + 1);
    // The log gets at most half of a small terminal, and the peers get the rest.
    let min_log = MIN_LOG_LINES.min(room / 2);
    let shown = room.saturating_sub(min_log + 1);
    lines.extend(
        network.members().take(shown).map(|(id, member)| peer(network, id, member, now, size.columns)),
    );
    lines.push(String::new());
    let room = size.lines.saturating_sub(lines.len() + 1);
    let mut log: Vec<_> = network.log().rev().take(room).map(|line| cut(line, size.columns)).collect();
    // The newest lines were selected first, but the oldest is shown first.
    log.reverse();
    lines.extend(log);
    lines
}

fn header(network: &Network, endpoint: &str, now: Instant, columns: usize) -> Vec<String> {
    let counts = network.counts();
    let title =
        format!("Aurora Discovery at {endpoint} · {:.0} s · Ctrl-C to stop", network.age(now).as_secs_f64());
    let counts = format!(
        "{} live · {} registered · {} heartbeats · {} left · {} expired",
        network.live(),
        counts.registered,
        counts.renewed,
        counts.left,
        counts.expired
    );
    let (style, discovery) = match (network.components(), network.undiscovered().len()) {
        (0..=1, 0) => {
            (Style::new().green(), "one connected network, every peer is known to another".to_owned())
        }
        (components, undiscovered) => (
            Style::new().yellow(),
            format!("{components} components, {undiscovered} peers not known to another yet"),
        ),
    };
    vec![
        paint(&Style::new().bold(), &cut(&title, columns)),
        cut(&counts, columns),
        paint(&style, &cut(&discovery, columns)),
        String::new(),
        paint(&Style::new().dim(), &cut(&row("PEER", "ARCHETYPES", &fit("LEASE", LEASE), "KNOWS"), columns)),
    ]
}

fn peer(network: &Network, id: &PeerId, member: &Member, now: Instant, columns: usize) -> String {
    let just_renewed = member.renewed_at.is_some_and(|at| now.saturating_duration_since(at) < PULSE);
    let (style, label) = match member.state {
        State::Joining => (Style::new().dim(), "joining"),
        State::Leaving => (Style::new().dim(), "leaving"),
        State::Crashed => (Style::new().red(), "crashed"),
        State::Live if just_renewed => (Style::new().green(), "♥"),
        State::Live => (Style::new(), ""),
    };
    let knows = format!("{:>5}  {label}", network.knows(member));
    let line = row(id.as_str(), &member.archetypes, &lease(member, now), &knows);
    paint(&style, &cut(&line, columns))
}

fn row(name: &str, archetypes: &str, lease: &str, knows: &str) -> String {
    format!("{}  {}  {lease}  {knows}", fit(name, NAME), fit(archetypes, ARCHETYPES))
}

/// The rest of a lease, as a bar and in seconds.
fn lease(member: &Member, now: Instant) -> String {
    let Some((ends, ttl)) = member.lease else { return " ".repeat(LEASE) };
    let left = ends.saturating_duration_since(now);
    let share = left.as_secs_f64() / ttl.as_secs_f64().max(f64::MIN_POSITIVE);
    let filled = |step: u32| f64::from(step) < share * f64::from(BAR_STEPS);
    let bar: String = (0..BAR_STEPS).map(|step| if filled(step) { '█' } else { '░' }).collect();
    format!("{bar} {:4.1} s", left.as_secs_f64())
}

fn paint(style: &Style, text: &str) -> String {
    style.apply_to(text).to_string()
}
