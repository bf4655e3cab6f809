"""A server of one or several processes that is paused while others are measured, and that can be killed
and started again."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from lib.service import wait_until
from lib.valkey import free_port

from drive.servers import cpu_seconds, tool

# The lease of the peers: longer than a run.
LEASE_SECONDS = 3600
PAGE = 50
RESUME_SECONDS = 30.0


class NotAvailable(Exception):
    """A system that can't be started here, with the reason."""


class System(ABC):
    """A system with the operations of a registry of peers, in the configuration that its
    documentation recommends."""

    name: str
    # Describes where the system keeps its peers, and when it acknowledges a join.
    keeps: str
    protocol = "aurora"
    # The options of the load generator.
    options: tuple[str, ...] = ()
    duties: tuple[str, ...] = ("join", "renew", "get")
    # The number of peers that join before the measurement, unless the run asks for fewer.
    most_peers = 10_000_000
    # The maximum number of joins in one run.
    most_joins = 10_000_000
    has_state = True

    def __init__(self, folder: Path) -> None:
        """Prepares the configuration in a directory. Raises NotAvailable."""
        self.folder = folder
        self.port = free_port()
        # The number of the next peer that joins.
        self.next_peer = 0
        self.processes: list[subprocess.Popen[bytes]] = []

    @abstractmethod
    def commands(self) -> list[list[str]]:
        """The commands of the system's processes, in the order of their start."""

    @abstractmethod
    def version(self) -> str: ...

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> dict[str, int]:
        """Starts the processes, and waits until the system responds to a request for peers. Returns the
        number of peers in the response, and its size."""
        self.launch()
        try:
            return self.ready()
        except subprocess.CalledProcessError as error:
            last = (self.folder / "log").read_text(errors="replace")[-500:]
            raise RuntimeError(f"{self.name} does not respond: {error.stderr} {last}") from error

    def launch(self) -> None:
        """Starts the processes."""
        for command in self.commands():
            self.spawn(command)

    def spawn(self, command: list[str]) -> None:
        """Starts a process, whose output goes to a file."""
        with (self.folder / "log").open("ab") as log:
            # Each process gets its own session. In a shared one, the kernel would resume the paused
            # processes when the leader of the session ends.
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.processes.append(process)

    def ready(self) -> dict[str, int]:
        found: dict[str, int] = self.tool("ready")
        return found

    def tool(self, name: str, *arguments: str) -> Any:
        """Runs a load tool against the system."""
        return tool(name, *self.target(), *arguments)

    def target(self) -> list[str]:
        lease = f"--ttl-seconds={LEASE_SECONDS}"
        return [f"--target={self.address}", f"--protocol={self.protocol}", f"--limit={PAGE}", lease, *self.options]

    def kill(self) -> None:
        """Sends SIGKILL to all processes."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes = []

    def pause(self) -> None:
        """Pauses the processes, so that they take no processor time from the system that is measured."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
        # Waits until timers that became due during the pause have run. The service on Valkey
        # refuses requests until it has noticed that the server, which was paused as well, responds
        # again.
        time.sleep(0.2)
        wait_until(f"{self.name} accepts peers", self.accepts_peers, RESUME_SECONDS)

    def accepts_peers(self) -> bool:
        seen = self.tool("drive", "--duty=join", f"--first={self.next_peer}", "--count=1", "--connections=1")
        self.next_peer += 1
        return not seen["failed"]

    def cpu_seconds(self) -> float:
        return sum(cpu_seconds(process.pid) for process in self.processes)

    def resident_bytes(self) -> int:
        statuses = [Path(f"/proc/{process.pid}/status").read_text() for process in self.processes]
        return sum(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024 for status in statuses)

    def fill(self, peers: int) -> int:
        """Lets peers join. Returns their number."""
        count = min(peers, self.most_peers)
        seen = self.tool("drive", "--duty=join", f"--count={count}", "--connections=64")
        if seen["failed"]:
            raise RuntimeError(f"{seen['failed']} joins of {self.name} failed")
        self.next_peer = count
        return count


def printed(*command: str, pattern: str = r"\d+\.\d+\S*") -> str:
    """The version that a command prints."""
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(pattern, run.stdout + run.stderr)
    return found[0] if found else "unknown"
