"""Makes the tables and the picture of docs/isolation.md about networks in which one party, the
attacker, owns many peers. The tables compare the measured values with values that a formula
predicts."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from pathlib import Path
from typing import Any

Row = list[str]
Measured = dict[str, Any]

K = 20
HONEST = 1_000
HONEST_NETWORKS = 100
SHARES = [0.1, 0.5, 0.9, 0.99]
NETWORKS = [1, 4, 16, 64, 256]
# The target scenario of docs/isolation.md: 100,000 peers, of which nine in ten are the attacker's.
TARGET = {"honest": 10_000, "honest-networks": 500, "share": 0.9, "networks": 16}
KINDS = ["Uniform", "Diverse", "DiverseByArchetype"]

CELLS_HEAD = [
    "attacker's peers",
    "networks",
    "share, uniform",
    "share, diverse (expected)",
    "share, diverse by archetype",
    "captured, uniform (expected)",
    "captured, diverse (expected)",
    "captured, diverse by archetype",
    "eclipses, uniform",
    "eclipses, diverse",
    "eclipses, by archetype",
    "honest components, uniform",
    "honest components, diverse",
]
TARGET_HEAD = ["order", "responses", "attacker's share", "captured", "eclipses", "most honest components"]
NAMES = {
    "Uniform": "`sample`",
    "Diverse": "`diverse`",
    "DiverseByArchetype": "`diverse`, by archetype",
}


def expected_share(share: float, networks: int, honest_networks: int, k: int = K) -> float:
    """The attacker's expected share of a diverse response. Half of a diverse response is a uniform
    sample of all peers. The other half are peers from different networks, which are chosen
    uniformly at random."""
    uniform, different = k - k // 2, k // 2
    return (uniform * share + different * networks / (networks + honest_networks)) / k


def expected_captured(share: float, networks: int, honest_networks: int, k: int = K) -> float:
    """An upper bound of the probability that a diverse response lists only peers of the attacker. It
    is the probability that the attacker owns all peers of the uniform half, multiplied by the
    probability that all networks of the other half are the attacker's."""
    uniform, different = k - k // 2, k // 2
    return share**uniform * comb(networks, different) / comb(networks + honest_networks, different)


def run(simulate: Callable[[list[str]], Measured], picture: Path | None) -> tuple[list[Row], list[Row], object]:
    """Returns the rows of both tables, and the raw results."""
    cells = []
    for share in SHARES:
        for networks in NETWORKS:
            options = {"honest": HONEST, "honest-networks": HONEST_NETWORKS, "share": share, "networks": networks}
            cells.append(simulate(flags(options)))
    if picture:
        picture.write_text(draw(cells))
    target = simulate(flags(TARGET))
    return [row_of(cell) for cell in cells], [target_row(target, kind) for kind in KINDS], cells + [target]


def flags(options: dict[str, float]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]


def row_of(cell: Measured) -> Row:
    share, networks = cell["share"], cell["networks"]
    # An attacker with few peers cannot occupy more networks than it has peers.
    occupied = min(networks, cell["attackers"])
    seen = [cell["kinds"][kind] for kind in KINDS]
    uniform, diverse, by_archetype = seen
    bound = expected_captured(share, occupied, HONEST_NETWORKS)
    return [
        f"{share:.0%} ({cell['attackers']:,})",
        str(occupied),
        f"{uniform['share']:.1%}",
        f"{diverse['share']:.1%} ({expected_share(share, occupied, HONEST_NETWORKS):.1%})",
        f"{by_archetype['share']:.1%}",
        f"{rate(uniform)} ({small(share**K)})",
        f"{rate(diverse)} ({small(bound)})",
        rate(by_archetype),
        *(f"{one['eclipses']:,}" for one in seen),
        f"{uniform['max_components']:,}",
        f"{diverse['max_components']:,}",
    ]


def target_row(target: Measured, kind: str) -> Row:
    seen = target["kinds"][kind]
    return [
        NAMES[kind],
        f"{seen['responses']:,}",
        f"{seen['share']:.1%}",
        f"{seen['captured']:,}",
        f"{seen['eclipses']:,}",
        f"{seen['max_components']:,}",
    ]


def rate(seen: Measured) -> str:
    return small(seen["captured"] / seen["responses"])


def small(value: float) -> str:
    return "0" if value == 0 else f"{value:.1%}" if value >= 0.001 else f"{value:.0e}"


def draw(cells: list[Measured]) -> str:
    """Draws the attacker's share of responses by the number of its networks, in SVG."""
    left, top, width, height = 70, 60, 560, 300
    colours = {0.1: "#8250df", 0.5: "#1a7f37", 0.9: "#0969da", 0.99: "#cf222e"}

    def at(networks: int, share: float) -> tuple[float, float]:
        column = NETWORKS.index(networks) / (len(NETWORKS) - 1)
        return left + column * width, top + (1 - share) * height

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 {top + height + 60}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">',
        f'<rect width="860" height="{top + height + 60}" fill="#ffffff"/>',
        f'<text x="{left}" y="22" font-size="15" font-weight="600">The attacker\'s share of a response, k = {K}</text>',
        f'<text x="{left}" y="42">{HONEST:,} honest peers in {HONEST_NETWORKS} networks. '
        "Dashed: order=sample. Lines: expected with order=diverse. Dots: measured.</text>",
    ]
    for tenth in range(0, 11, 2):
        y = at(1, tenth / 10)[1]
        parts.append(f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{tenth * 10} %</text>')
    for networks in NETWORKS:
        x = at(networks, 0)[0]
        parts.append(f'<text x="{x}" y="{top + height + 20}" text-anchor="middle">{networks}</text>')
    parts.append(
        f'<text x="{left + width / 2}" y="{top + height + 42}" text-anchor="middle">attacker\'s networks</text>'
    )
    for number, share in enumerate(SHARES):
        colour = colours[share]
        y = at(1, share)[1]
        parts.append(
            f'<line x1="{left}" y1="{y}" x2="{left + width}" y2="{y}" stroke="{colour}" stroke-dasharray="6 4"/>'
        )
        line = [at(networks, expected_share(share, networks, HONEST_NETWORKS)) for networks in NETWORKS]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in line)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for cell in (cell for cell in cells if cell["share"] == share):
            # With a tenth of all peers, the attacker has fewer than 256 peers, so it cannot occupy
            # 256 networks. That point is left out.
            if cell["attackers"] < cell["networks"]:
                continue
            x, y = at(cell["networks"], cell["kinds"]["Diverse"]["share"])
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        text_y = top + 20 + 22 * number
        parts.append(f'<text x="{left + width + 24}" y="{text_y}" fill="{colour}">{share:.0%} of the peers</text>')
    return "\n".join([*parts, "</svg>", ""])
