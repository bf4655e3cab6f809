"""Shared parts of the benchmarks: servers to measure, load generators, and tables of results."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# Benchmarks start the service with the same code as the checks, but only a release build is worth
# measuring.
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.setdefault("AURORA_DISCOVERY", str(TARGET / "release" / "aurora-discovery"))
