//! Draws the network on a terminal.

use std::time::Duration;

use aurora_discovery_protocol::PeerId;
use console::Style;
use tokio::time::Instant;

use super::network::{Member, Network, State};
use crate::terminal::{Size, cut, fit};

/// The width of a lease's bar.
const BAR_STEPS: u32 = 18;
/// The width of the bar and the seconds after it.
const LEASE: usize = 25;
/// The width of names and archetypes.
const NAME: usize = 12;
const ARCHETYPES: usize = 16;
/// How long a heartbeat is highlighted.
const PULSE: Duration = Duration::from_millis(350);
/// The minimum number of lines of the log that are shown, for any number of peers, unless the
/// terminal is too small.
const MIN_LOG_LINES: usize = 5;

/// The lines of a frame: a header, the peers with their leases, and the end of the log.
pub(super) fn lines(network: &Network, endpoint: &str, now: Instant, size: Size) -> Vec<String> {
    let mut lines = header(network, endpoint, now, size.columns);
    let room = size.lines.saturating_sub(lines.len() + 1);
    // The log gets at most half of a small terminal, and the peers get the rest.
    let min_log = MIN_LOG_LINES.min(room / 2);
    let most = room.saturating_sub(min_log + 1);
    let count = network.members().count();
    // The line that counts the omitted peers takes the place of one peer.
    let shown = if count > most { most.saturating_sub(1) } else { count };
    lines.extend(
        network.members().take(shown).map(|(id, member)| peer(network, id, member, now, size.columns)),
    );
    if shown < count && most > 0 {
        let rest = format!("… and {} more peers, which a taller terminal shows", count - shown);
        lines.push(paint(&Style::new().dim(), &cut(&rest, size.columns)));
    }
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

#[cfg(test)]
mod tests {
    use aurora_discovery_protocol::RegisterRequest;
    use console::measure_text_width;

    use super::*;

    fn shown(peers: usize, size: Size) -> Vec<String> {
        let now = Instant::now();
        let mut network = Network::new(now);
        for number in 0..peers {
            let id = format!("peer-{number:03}");
            network.add(&RegisterRequest::builder(id).archetype("a-rather-long-archetype").build().unwrap());
        }
        lines(&network, "http://127.0.0.1:65535", now, size)
    }

    #[test]
    fn the_default_network_fits_a_terminal_of_80_by_24_completely() {
        let lines = shown(12, Size { columns: 80, lines: 24 });
        assert_eq!(lines.iter().filter(|line| line.contains("peer-")).count(), 12);
        assert!(!lines.iter().any(|line| line.contains("more peers")));
        assert!(lines.len() < 24 && lines.iter().all(|line| measure_text_width(line) <= 80), "{lines:?}");
    }

    #[test]
    fn a_network_that_does_not_fit_is_cut_and_the_screen_says_by_how_much() {
        for (peers, height) in [(13, 24), (200, 24), (200, 80), (12, 12)] {
            let lines = shown(peers, Size { columns: 80, lines: height });
            let listed = lines.iter().filter(|line| line.contains("peer-")).count();
            assert!(listed > 0 && lines.len() < height, "{lines:?}");
            let rest = format!("… and {} more peers", peers - listed);
            assert!(lines.iter().any(|line| line.contains(&rest)), "{rest}: {lines:?}");
        }
    }
}
