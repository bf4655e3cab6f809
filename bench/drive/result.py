"""Results compared with their targets, as a Markdown table and as raw JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from statistics import median

from lib.document import machine, set_into_document

from drive import ROOT

RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"
MET = {True: "yes", False: "no", None: "–"}


@dataclass(frozen=True)
class Row:
    work: str
    measured: str
    target: str
    # `None` if there is no target.
    met: bool | None


def at_least(work: str, value: float, target: float, detail: str) -> Row:
    return Row(work, f"**{value:.2f}** ({detail})", f"≥ {target:g}", value >= target)


def at_most(work: str, value: float, target: float, detail: str, unit: str = "×") -> Row:
    return Row(work, f"**{value:.2f}{unit}** ({detail})", f"≤ {target:g}{unit}", value <= target)


def median_ratio(over: list[float], under: list[float]) -> float:
    """The median of the ratios of paired runs: each value of `over` is divided by the value of `under`
    from the same round."""
    return median(above / below for above, below in zip(over, under, strict=True))


def publish(name: str, rows: list[Row], raw: dict[str, object], whole: bool) -> None:
    """Prints the table. The table of a whole run is also written to docs/performance.md, and its
    raw figures to bench/results/."""
    lines = ["| work | measured | target | met |", "|---|---|---|---|"]
    lines += [f"| {row.work} | {row.measured} | {row.target} | {MET[row.met]} |" for row in rows]
    heading = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
    table = "\n".join([heading, "", *lines])
    print(table)
    if not whole:
        return
    RESULTS.mkdir(exist_ok=True)
    set_into_document(name, table, DOCUMENT)
    content = {"machine": machine(), "rows": [asdict(row) for row in rows], "raw": raw}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1, default=vars) + "\n")
