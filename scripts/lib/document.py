"""Writes measured tables into Markdown documents."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from lib.service import ROOT

# The load of the machine before the run. It is near zero on a quiet machine. A higher value means that
# other processes affected the results.
LOAD_BEFORE = os.getloadavg()[0]


def set_into_document(name: str, table: str, document: Path) -> None:
    """Replaces the text between the markers of this name in the document."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    before, _, rest = document.read_text().partition(begin)
    _, _, after = rest.partition(end)
    document.write_text(f"{before}{begin}\n{table}\n{end}{after}")


def machine() -> str:
    """The conditions of a run: processors, their load, system, compiler, and the revision."""
    rustc = output("rustc", "--version").split()[1]
    revision = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    kernel = platform.release().split("-")[0]
    hardware = f"{os.cpu_count()} cores, load {LOAD_BEFORE:.1f} before"
    return f"{hardware}, Linux {kernel}, rustc {rustc}, revision {revision}"


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
