"""Charts in SVG: panels over one time axis."""

from __future__ import annotations

from dataclasses import dataclass, field

# The width of the chart, and the margins left and right of the panels, in pixels.
WIDTH, LEFT, RIGHT = 860, 78, 18
# The height of a panel, and of the space for its title and its legend.
HEIGHT, ABOVE = 120, 58
# The header, and the footer with the axis.
HEAD, FOOT = 36, 44
# The style of each line of a panel: its colour, its width and its dashes.
LOOKS = [("#0b6bcb", 2.6, "none"), ("#c2410c", 2, "7 4"), ("#6d28d9", 2, "2 3")]
GRID = "#d5d9de"


@dataclass
class Panel:
    """A title, and named lines of points (seconds, value)."""

    title: str
    lines: dict[str, list[tuple[float, float]]]
    max: float
    """The value at the top."""
    marks: list[float] = field(default_factory=list)
    """The values at which a grid line is drawn."""


def draw(title: str, panels: list[Panel], start: float, end: float, step: float, events: dict[float, str]) -> str:
    """The chart from `start` to `end`, with a tick every `step` seconds and a mark at each event."""
    height = HEAD + FOOT + (ABOVE + HEIGHT) * len(panels)

    def across(second: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (second - start) / (end - start)

    svg = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="13" fill="#1f2328">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(LEFT, 22, title, 'font-size="15" font-weight="600"'),
    ]
    for number, panel in enumerate(panels):
        top = HEAD + ABOVE + (ABOVE + HEIGHT) * number
        bottom = top + HEIGHT
        svg.append(text(LEFT, top - 32, panel.title, 'font-weight="600"'))
        for value in panel.marks:
            y = bottom - HEIGHT * value / panel.max
            svg.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
            svg.append(text(LEFT - 8, y + 4.5, f"{value:,g}", 'text-anchor="end"'))
        for at, label in events.items():
            svg.append(f'<path d="M{across(at):.1f} {top}v{HEIGHT}" stroke="#6b5a1e" stroke-dasharray="3 3"/>')
            svg.append(text(across(at) + 4, top + HEIGHT * 0.35, label, 'font-size="11" fill="#6b5a1e"'))
        legend = LEFT
        for (name, points), (colour, width, dashes) in zip(panel.lines.items(), LOOKS, strict=False):
            look = f'fill="none" stroke="{colour}" stroke-width="{width}" stroke-dasharray="{dashes}"'
            svg.append(f'<path d="M{legend} {top - 14}h34" {look}/>{text(legend + 42, top - 10, name)}')
            legend += 62 + 7 * len(name)
            shown = [
                (across(x), bottom - HEIGHT * min(y, panel.max) / panel.max) for x, y in points if start <= x <= end
            ]
            svg.append(f'<path d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in shown)}" {look}/>')
    ticks = [start + step * number for number in range(round((end - start) / step) + 1)]
    for second in ticks:
        svg.append(text(across(second), height - FOOT + 18, f"{second:g} s", 'text-anchor="middle"'))
    return "\n".join([*svg, "</svg>", ""])


def text(x: float, y: float, content: str, more: str = "") -> str:
    escaped = content.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}"{" " + more if more else ""}>{escaped}</text>'
