"""`aurora-discovery demo --serve`, and the examples that run beside it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.service import ADDRESS, binary, wait_until

# The time limit of each step of an example.
SECONDS = 60.0


@contextmanager
def demo() -> Iterator[str]:
    """A running demo. Yields its address."""
    process = subprocess.Popen(
        [binary(), "demo", "--serve=127.0.0.1:0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout
        found = next((found for line in process.stdout if (found := ADDRESS.search(line))), None)
        if not found:
            raise SystemExit("the demo printed no address")
        # The demo continues to print. Its output is read, because the demo would otherwise block on a
        # full pipe.
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield found[0]
    finally:
        process.kill()
        process.wait()


class Peer:
    """An example program as a process. It is killed at the end of its `with` block."""

    def __init__(self, command: list[str | Path]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def await_line(self, line: str) -> None:
        """Waits until the program has printed the line. Raises TimeoutError if it does not."""
        wait_until(f"a peer prints {line!r}", lambda: line in self.lines, SECONDS)

    def await_start(self, start: str) -> None:
        """Waits until the program has printed a line that starts so. Raises TimeoutError if it does not."""
        wait_until(f"a peer prints {start!r}", lambda: any(line.startswith(start) for line in self.lines), SECONDS)

    def interrupt(self) -> None:
        """Sends the signal of Ctrl-C, and waits for the program to end. Raises an error if it does not
        end in time or fails."""
        self._process.send_signal(signal.SIGINT)
        wait_until("a peer ends without an error", lambda: self._process.poll() == 0, SECONDS)

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.rstrip())

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
