"""What the benchmarks share: servers to measure, load to put on them, and tables of what came out."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

# The service as a process is the same for benchmarks and checks, but only a release build is worth measuring.
sys.path.insert(0, str(ROOT / "scripts"))
os.environ.setdefault("AURORA_DISCOVERY", str(TARGET / "release" / "aurora-discovery"))
