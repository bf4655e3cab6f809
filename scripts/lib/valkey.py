"""Valkey servers for the checks: one, or a primary with two replicas and three Sentinels."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lib.service import ROOT, wait_until

# The configuration that belongs to the unit files, for three machines named one, two and three.
PACKAGED = ROOT / "packaging/systemd/valkey"
SERVICE_NAME = "aurora"
# The time without a response after which each Sentinel considers a server down. The comment in the packaged
# sentinel.conf explains why the times differ.
DOWN_AFTER_MILLIS = (1000, 1200, 1400)
DURABLE = 'appendonly yes\nappendfsync always\nsave ""\n'
# The time limit of every wait: longer than any of them takes on a busy machine.
TIMEOUT_SECONDS = 120.0


def server_program() -> str:
    """The path of `valkey-server`."""
    chosen = os.environ.get("AURORA_TEST_VALKEY_SERVER")
    return chosen or subprocess.check_output([ROOT / "scripts/valkey", "path"], text=True).strip()


def free_port() -> int:
    """A port that no program listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def command(port: int, *words: str, password: str | None = None) -> Any:
    """Sends one command to a server. Returns its reply: an int, bytes, None or a list of them. An error of the
    server is raised as ConnectionError."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection, connection.makefile("rb") as stream:
        if password is not None:
            send(connection, "AUTH", password)
            reply(stream)
        send(connection, *words)
        return reply(stream)


def send(connection: socket.socket, *words: str) -> None:
    """Sends a command."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())


def reply(stream: Any) -> Any:
    """Reads one reply."""
    line = stream.readline()
    kind, rest = line[:1], line[1:].strip()
    if kind == b"+":
        return rest
    if kind == b":":
        return int(rest)
    if kind == b"$":
        return None if int(rest) < 0 else stream.read(int(rest) + 2)[:-2]
    if kind == b"*":
        return [reply(stream) for _ in range(int(rest))]
    raise ConnectionError(f"the server replied {line!r}")


def holds(condition: Any) -> bool:
    """Whether a condition holds. A network error counts as a condition that does not hold."""
    try:
        return bool(condition())
    except OSError:
        return False


def wait_for(what: str, condition: Any) -> None:
    """Waits until a condition holds."""
    wait_until(what, lambda: holds(condition), TIMEOUT_SECONDS)


@dataclass
class Server:
    """A Valkey server, which can be killed and started again with its data and its configuration."""

    program: str
    directory: Path
    password: str | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Writes the server's configuration: `text`, with the port and the directory in addition."""
        self.directory.mkdir(exist_ok=True)
        local = f"bind 127.0.0.1\nport {self.port}\ndir {self.directory}\nloglevel warning\n"
        (self.directory / "valkey.conf").write_text(local + text)

    def start(self) -> None:
        """Starts the server, in the role that its configuration file has, which Sentinels may have
        changed."""
        with (self.directory / "log").open("ab") as log:
            arguments = [self.program, str(self.directory / "valkey.conf")]
            self.process = subprocess.Popen(arguments, stdout=log, stderr=log)
        wait_for("a server starts", lambda: self.command("PING") == b"PONG")

    def command(self, *words: str) -> Any:
        """Sends a command to the server."""
        return command(self.port, *words, password=self.password)

    def kill(self) -> None:
        """Kills the server with SIGKILL, so that it cannot shut down in an orderly way."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @property
    def url(self) -> str:
        """The URL for `--valkey-url`."""
        return f"redis://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """The processor time of the server since its start, in seconds."""
        assert self.process is not None
        after_name = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def info(self, section: str) -> dict[str, str]:
        """A section of `INFO`."""
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def is_primary(self) -> bool:
        """Whether the server reports that it is the primary."""
        return self.process is not None and self.command("ROLE")[0] == b"master"

    def is_synced(self) -> bool:
        """Whether the server is a replica that is connected to its primary."""
        return self.process is not None and self.info("replication").get("master_link_status") == "up"


def packaged(name: str) -> str:
    """The content of a packaged file."""
    return (PACKAGED / name).read_text()


def one(pattern: str, text: str) -> str:
    """The text that the only match of a pattern captures."""
    [found] = re.findall(pattern, text, flags=re.MULTILINE)
    return str(found)


def without(text: str, *names: str) -> str:
    """A configuration without the settings of these names."""
    return "".join(line for line in text.splitlines(keepends=True) if line.split(" ")[0] not in names)


@contextmanager
def standalone(directory: Path) -> Iterator[Server]:
    """Starts one server, and kills it at the end of the block."""
    server = Server(server_program(), directory)
    try:
        server.configure(DURABLE)
        server.start()
        yield server
    finally:
        server.kill()


class Cluster:
    """A primary, two replicas and three Sentinels, with the packaged configuration."""

    def __init__(self, program: str, directory: Path) -> None:
        self.settings = packaged("aurora-discovery.env")
        text = packaged("valkey.conf")
        password = one(r"^requirepass (\S+)$", text)
        self.servers = [Server(program, directory / f"server-{number}", password) for number in range(3)]
        self.sentinels: list[tuple[int, subprocess.Popen[bytes]]] = []
        try:
            self.start_servers(text)
            for number, millis in enumerate(DOWN_AFTER_MILLIS):
                self.start_sentinel(program, directory / f"sentinel-{number}", millis)
            wait_for("the Sentinels know each other and the replicas", self.is_complete)
        except BaseException:
            self.stop()
            raise

    def start_servers(self, text: str) -> None:
        """Starts the servers, and waits until the replicas have the data of the primary."""
        port = self.servers[0].port
        of_replicas = re.sub(r"^#replicaof one 6379$", f"replicaof 127.0.0.1 {port}", text, flags=re.MULTILINE)
        for server in self.servers:
            is_primary = server is self.servers[0]
            server.configure(without(text if is_primary else of_replicas, "port", "dir"))
            server.start()
            wait_for("a replica is synced", lambda server=server: server.is_primary() or server.is_synced())

    def start_sentinel(self, program: str, home: Path, down_after_millis: int) -> None:
        """Starts a Sentinel."""
        port = free_port()
        home.mkdir()
        text = without(packaged("sentinel.conf"), "port", "dir")
        text = text.replace(" one 6379 ", f" 127.0.0.1 {self.servers[0].port} ")
        text = text.replace(f"{SERVICE_NAME} 1000\n", f"{SERVICE_NAME} {down_after_millis}\n")
        configuration = home / "sentinel.conf"
        configuration.write_text(f"bind 127.0.0.1\nport {port}\ndir {home}\n{text}")
        with (home / "log").open("wb") as log:
            process = subprocess.Popen([program, str(configuration), "--sentinel"], stdout=log, stderr=log)
        self.sentinels.append((port, process))

    def serve_options(self) -> list[str]:
        """The options of `serve` that the packaged environment file sets, for these Sentinels."""
        values = dict(re.findall(r"^AURORA_(\w+)=(.*)$", self.settings, flags=re.MULTILINE))
        hosts = ",".join(f"127.0.0.1:{port}" for port, _ in self.sentinels)
        url = values["VALKEY_URL"].replace("one:26379,two:26379,three:26379", hosts)
        replicas = values["VALKEY_REPLICAS"]
        return ["--store", values["STORE"], "--valkey-url", url, "--valkey-replicas", replicas]

    def is_complete(self) -> bool:
        """Whether each Sentinel knows the others and both replicas, and all of them are up."""
        for port, _ in self.sentinels:
            state = command(port, "SENTINEL", "MASTER", SERVICE_NAME)
            fields = dict(zip(state[::2], state[1::2], strict=True))
            if (fields[b"num-slaves"], fields[b"num-other-sentinels"], fields[b"flags"]) != (b"2", b"2", b"master"):
                return False
        return sum(server.is_synced() for server in self.servers) == 2

    def primary(self) -> Server:
        """The primary."""
        primaries = [server for server in self.servers if server.is_primary()]
        if len(primaries) != 1:
            raise ConnectionError(f"{len(primaries)} primaries")
        return primaries[0]

    def heal(self, killed: Server) -> None:
        """Starts a server that was killed. The Sentinels make it a replica."""
        wait_for("there is a primary", lambda: bool(self.primary()))
        killed.start()
        wait_for("all servers are up", self.is_complete)

    def stop(self) -> None:
        """Ends all processes."""
        for _, sentinel in self.sentinels:
            sentinel.kill()
            sentinel.wait()
        for server in self.servers:
            server.kill()
