"""The results of a check: counts to print, and failures, which determine its exit code."""

from __future__ import annotations

import sys

# The number of failures that are printed. The first few show the problem, and thousands more would hide
# it.
FAILURES_SHOWN = 10


class Report:
    def __init__(self, title: str) -> None:
        self._title = title
        self._failures: list[str] = []

    def fail(self, failure: str) -> None:
        self._failures.append(failure)

    def expect(self, holds: bool, failure: str) -> None:
        if not holds:
            self.fail(failure)

    def end(self, **counts: object) -> int:
        """Prints counts and failures, and returns the exit code."""
        verdict = "failed" if self._failures else "passed"
        figures = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        print(f"{self._title} {verdict}: {figures}")
        for failure in self._failures[:FAILURES_SHOWN]:
            print(f"  {failure}", file=sys.stderr)
        if len(self._failures) > FAILURES_SHOWN:
            print(f"  and {len(self._failures) - FAILURES_SHOWN} more", file=sys.stderr)
        return 1 if self._failures else 0
