"""What the benchmarks share: servers to measure, load to put on them, and tables of what came out."""

import sys
from pathlib import Path

# The service as a process is the same for benchmarks and checks.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
