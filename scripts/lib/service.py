"""The built command as a process on loopback, which the checks start and stop."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]

# How long a start may take. The service replays its journal before it listens, which takes seconds for a
# million peers. The checks register far fewer.
START_SECONDS = 60.0
# How long a stop may take: longer than the service's grace period for requests in progress.
STOP_SECONDS = 60.0

ADDRESS = re.compile(r"127\.0\.0\.1:(\d+)")


class StartFailed(RuntimeError):
    """The service exited before it listened, or did not print its address in time."""


def binary() -> Path:
    """The command under test: $AURORA_DISCOVERY, or else the newest build."""
    if chosen := os.environ.get("AURORA_DISCOVERY"):
        return Path(chosen)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    builds = [target / profile / "aurora-discovery" for profile in ("release", "debug")]
    built = [path for path in builds if path.exists()]
    if not built:
        raise SystemExit("no aurora-discovery is built; run `cargo build` first, or set AURORA_DISCOVERY")
    return max(built, key=lambda path: path.stat().st_mtime)


class Service:
    """One running `serve`, killed at the end of its `with` block."""

    def __init__(self, *options: str, data: Path | None = None, port: int = 0, under: tuple[str, ...] = ()) -> None:
        """Starts the command. With `under`, runs it as the argument of that command, such as a
        profiler."""
        store = ["--data", str(data)] if data else [] if "--store" in options else ["--memory"]
        command = [*under, str(binary()), "serve", "--listen", f"127.0.0.1:{port}", *store, *options]
        self.output: list[str] = []
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._ports: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        threading.Thread(target=self._read_output, daemon=True).start()
        self.port = self._await_port()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def is_running(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Sends SIGKILL: no handler runs, and nothing is flushed."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Sends SIGTERM, and returns the exit code of the orderly shutdown."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024  # type: ignore[index]

    def cpu_seconds(self) -> float:
        """Processor time of all threads so far, in user mode and in the kernel."""
        after_name = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_running():
            self.kill()
        if error is not None and self.output:
            print("the service's last lines:", *self.output[-20:], sep="\n  ")

    def _read_output(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.output.append(line.rstrip())
            if "metrics" not in line and (found := ADDRESS.search(line)):
                self._ports.put(int(found[1]))
        self._ports.put(None)

    def _await_port(self) -> int:
        try:
            port = self._ports.get(timeout=START_SECONDS)
        except queue.Empty:
            port = None
        if port is None:
            self.kill()
            raise StartFailed("\n".join(["the service did not start:", *self.output[-20:]]))
        return port


def wait_until(condition: str, is_true: object, seconds: float) -> float:
    """Polls `is_true` until it holds. Returns the seconds until then, or raises TimeoutError naming
    `condition`."""
    assert callable(is_true)
    started = time.monotonic()
    while not is_true():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"{condition}: not within {seconds:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - started
