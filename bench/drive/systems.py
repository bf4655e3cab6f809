"""The systems that `bench/compare` compares."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

from lib.api import Api
from lib.service import binary
from lib.valkey import DURABLE, command, free_port, server_program, wait_for

from drive import ROOT
from drive.process import PAGE, NotAvailable, System, printed
from drive.servers import TOOL, length_and_headers

SOURCES = ROOT / "bench" / "systems"
# Where `bench/compare --setup` installs what is not a Debian package.
TOOLS = Path(os.environ.get("COMPARE_TOOLS", ROOT / ".tools" / "compare"))
# The names of the torrents. BitTorrent names a torrent by 20 bytes. The load generator uses one
# torrent for each archetype.
TORRENTS = [f"archetype-{number:010}" for number in range(16)]
SETUP = "`bench/compare --setup` installs it"


def installed(name: str) -> str:
    """The path of a program. Raises NotAvailable."""
    for path in (TOOLS / "bin" / name, TOOLS / "venv/bin" / name, TOOLS / "node_modules/.bin" / name):
        if path.exists():
            return str(path)
    if found := shutil.which(name):
        return found
    raise NotAvailable(f"not installed; {SETUP}")


class Embedded(System):
    name = "Aurora Discovery, embedded store"
    keeps = "on disk, synced before the response"
    options = ("--view=contact",)
    duties = ("join", "renew", "get", "both")

    def store(self) -> list[str]:
        return ["--data", str(self.folder / "data")]

    def commands(self) -> list[list[str]]:
        return [[self.program(), "serve", "--listen", self.address, "--max-peers", "10000000", *self.store()]]

    def program(self) -> str:
        return str(binary())

    def version(self) -> str:
        return printed(self.program(), "--version")


class InMemory(Embedded):
    name = "Aurora Discovery, in memory"
    keeps = "in memory"

    def store(self) -> list[str]:
        return ["--memory"]


class ValkeyServer(System):
    """A Valkey server with a configuration."""

    def __init__(self, folder: Path, configuration: str) -> None:
        super().__init__(folder)
        self.valkey_port = free_port()
        self.program_of_valkey = server_program()
        local = f"bind 127.0.0.1\nport {self.valkey_port}\ndir {folder}\nloglevel warning\n"
        (folder / "valkey.conf").write_text(local + configuration)

    def commands(self) -> list[list[str]]:
        return [[self.program_of_valkey, str(self.folder / "valkey.conf")]]

    def version(self) -> str:
        return printed(self.program_of_valkey, "--version")

    def wait_for_valkey(self) -> None:
        wait_for("Valkey has read its data", lambda: command(self.valkey_port, "PING") == b"PONG")


class OnValkey(ValkeyServer):
    name = "Aurora Discovery on Valkey"
    keeps = "in Valkey, which syncs before the response"
    options = ("--view=contact",)
    duties = ("join", "renew", "get", "both")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, DURABLE)
        # A build with the default features lacks the store on Valkey.
        built = TOOLS / "valkey" / "release" / "aurora-discovery"
        self.program = str(built if built.exists() else binary())
        stores = printed(self.program, "serve", "--help", pattern="--valkey-url")
        if stores != "--valkey-url":
            raise NotAvailable(f"the command was built without `--features valkey`; {SETUP}")

    def commands(self) -> list[list[str]]:
        store = ["--store", "valkey", "--valkey-url", f"redis://127.0.0.1:{self.valkey_port}"]
        service = [self.program, "serve", "--listen", self.address, "--max-peers", "10000000", *store]
        return [*super().commands(), service]

    def version(self) -> str:
        return f"{printed(self.program, '--version')}, Valkey {super().version()}"

    def launch(self) -> None:
        valkey, service = self.commands()
        self.spawn(valkey)
        self.wait_for_valkey()
        self.spawn(service)


class Scripts(ValkeyServer):
    name = "Valkey with functions, synced"
    keeps = "on disk, synced before the response"
    protocol = "valkey"

    def __init__(self, folder: Path, configuration: str = DURABLE) -> None:
        super().__init__(folder, configuration)
        self.port = self.valkey_port

    def launch(self) -> None:
        super().launch()
        self.wait_for_valkey()
        command(self.port, "FUNCTION", "LOAD", "REPLACE", (SOURCES / "registry.lua").read_text())


class ScriptsInMemory(Scripts):
    name = "Valkey with functions, in memory"
    keeps = "in memory"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 'appendonly no\nsave ""\n')


class Constant(System):
    name = "constant responses (axum)"
    keeps = "nothing"
    has_state = False

    def __init__(self, folder: Path) -> None:
        """Runs a service for a moment, to measure the sizes of its responses."""
        super().__init__(folder)
        sample = folder / "sample"
        sample.mkdir()
        service = InMemory(sample)
        service.start()
        try:
            service.fill(2_000)
            self.sizes = self.measure(Api(service.address))
        finally:
            service.kill()

    def measure(self, api: Api) -> list[str]:
        peer = {"peer_id": "6f9619ff-8b86-4011-b42d-000000000000"}
        registered, headers = length_and_headers(api, "POST", "/register", {**peer, "archetypes": ["pepino", "ethics"]})
        renewed, _ = length_and_headers(api, "POST", "/heartbeat", peer)
        query = f"/discover?archetype=pepino&limit={PAGE}&view=contact"
        found, _ = length_and_headers(api, "GET", query, None)
        return [
            f"--register-bytes={registered}",
            f"--heartbeat-bytes={renewed}",
            f"--discover-bytes={found}",
            f"--request-id-bytes={len(headers['x-request-id'])}",
        ]

    def commands(self) -> list[list[str]]:
        return [[str(TOOL), "bare", "--listen", self.address, *self.sizes]]

    def version(self) -> str:
        lock = (ROOT / "Cargo.lock").read_text()
        return lock.partition('name = "axum"\nversion = "')[2].partition('"')[0]


class Tracker(System):
    """A BitTorrent tracker over HTTP."""

    keeps = "in memory"
    protocol = "announce"
    duties = ("join", "renew", "get", "both")
    # A tracker distinguishes the peers of one torrent at one address by their ports. The load generator
    # has 16 torrents, so it has ports for about a million peers.
    most_peers = 1_000_000


class Aquatic(Tracker):
    name = "aquatic_http"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("aquatic_http")
        network = f'[network]\naddress = "{self.address}"\nenable_tls = false\nkeep_alive = true\n'
        protocol = f"[protocol]\nmax_peers = {PAGE}\n"
        cleaning = "[cleaning]\nmax_peer_age = 3600\nmax_connection_idle = 3600\n"
        workers = 'socket_workers = 1\nswarm_workers = 1\nlog_level = "error"\n'
        (folder / "aquatic.toml").write_text("\n".join([workers, network, protocol, cleaning]))

    def commands(self) -> list[list[str]]:
        return [[self.program, "-c", str(self.folder / "aquatic.toml")]]

    def version(self) -> str:
        return printed(self.program, "--version")


class Torrust(Tracker):
    name = "torrust-tracker"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("torrust-tracker")
        (folder / "torrust.toml").write_text(
            f"""[metadata]
schema_version = "2.0.0"
[logging]
threshold = "error"
[core]
inactive_peer_cleanup_interval = 3600
listed = false
private = false
tracker_usage_statistics = false
[core.tracker_policy]
max_peer_timeout = 3600
persistent_torrent_completed_stat = false
remove_peerless_torrents = false
[core.database]
driver = "sqlite3"
path = "{folder}/torrust.db"
[[http_trackers]]
bind_address = "{self.address}"
[health_check_api]
bind_address = "127.0.0.1:{free_port()}"
"""
        )

    def commands(self) -> list[list[str]]:
        return [["env", f"TORRUST_TRACKER_CONFIG_TOML_PATH={self.folder}/torrust.toml", self.program]]

    def version(self) -> str:
        return version_of_crate("torrust-tracker")


class Opentracker(Tracker):
    name = "opentracker"
    options = ("--closing",)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("opentracker")
        # Debian's build serves only the torrents that a file lists.
        hashes = [torrent.encode().hex() for torrent in TORRENTS]
        (folder / "torrents").write_text("\n".join([*hashes, ""]))

    def commands(self) -> list[list[str]]:
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        port = str(self.port)
        return [[self.program, "-i", "127.0.0.1", "-p", port, "-P", port, "-d", ".", "-w", "torrents", *user]]

    def version(self) -> str:
        return version_of_package("opentracker")


class Etcd(System):
    name = "etcd with leases"
    keeps = "on disk, synced before the response"
    protocol = "etcd"
    # The joins of a hundred thousand peers would take minutes.
    most_peers = 20_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("etcd")
        self.peer_port = free_port()

    def commands(self) -> list[list[str]]:
        client, peer = f"http://{self.address}", f"http://127.0.0.1:{self.peer_port}"
        urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        cluster = ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        limits = ["--quota-backend-bytes", str(8 << 30), "--logger", "zap", "--log-level", "error"]
        return [[self.program, "--data-dir", str(self.folder / "data"), *urls, *cluster, *limits]]

    def version(self) -> str:
        return printed(self.program, "--version")


class Peerjs(System):
    name = "PeerJS server"
    keeps = "in memory"
    protocol = "peerjs"
    # Each peer needs an open connection.
    most_peers = 10_000
    most_joins = 6_000

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("peerjs")
        self.holder: subprocess.Popen[str] | None = None

    def commands(self) -> list[list[str]]:
        limits = ["--concurrent_limit", "100000", "--alive_timeout", "3600000"]
        return [["node", self.program, "--host", "127.0.0.1", "--port", str(self.port), "--allow_discovery", *limits]]

    def fill(self, peers: int) -> int:
        """Opens connections, which another process keeps open until the server is killed."""
        count = min(peers, self.most_peers)
        load = [str(TOOL), "drive", *self.target(), "--duty=join", f"--count={count}", "--hold"]
        self.holder = subprocess.Popen(load, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout
        line = self.holder.stdout.readline()
        if not line or json.loads(line)["failed"]:
            raise RuntimeError("connections to the PeerJS server failed")
        self.next_peer = count
        return count

    def kill(self) -> None:
        super().kill()
        if self.holder is not None:
            self.holder.communicate()
            self.holder = None

    def version(self) -> str:
        return str(json.loads((TOOLS / "node_modules/peer/package.json").read_text())["version"])


class FastApi(System):
    name = "FastAPI on uvicorn"
    keeps = "in memory"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.program = installed("uvicorn")

    def commands(self) -> list[list[str]]:
        options = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "600", "--backlog", "4096"]
        where = ["--app-dir", str(SOURCES), "--host", "127.0.0.1", "--port", str(self.port)]
        return [[self.program, "fastapi_registry:app", *where, *options]]

    def version(self) -> str:
        python = str(TOOLS / "venv/bin/python")
        script = "from importlib.metadata import version; print(version('fastapi'))"
        return printed(python, "-c", script)


class Node(System):
    name = "Node's HTTP server"
    keeps = "in memory"

    def commands(self) -> list[list[str]]:
        return [[installed("node"), str(SOURCES / "node_registry.mjs"), str(self.port)]]

    def version(self) -> str:
        return printed("node", "--version")


def version_of_package(name: str) -> str:
    """The version of a Debian package."""
    return printed("dpkg-query", "--show", "--showformat=${Version}", name, pattern=r"\S+")


def version_of_crate(name: str) -> str:
    """The version that `cargo install` installed."""
    crates = (TOOLS / ".crates.toml").read_text()
    return crates.partition(f'"{name} ')[2].partition(" ")[0]


def bases() -> dict[str, str]:
    """The name of the system that each system is compared with: the service with the embedded store, or
    in memory if the system keeps nothing on disk."""
    on_disk, in_memory = Embedded.name, InMemory.name
    others = (kind for kind in SYSTEMS.values() if kind not in (Embedded, InMemory))
    compared = {kind.name: in_memory if kind.keeps in (InMemory.keeps, Constant.keeps) else on_disk for kind in others}
    return {in_memory: on_disk, **compared}


NOT_DRIVEN = {"rust-libp2p's rendezvous server": "its clients speak Noise and yamux, which the load generator does not"}
SYSTEMS: dict[str, type[System]] = {
    "embedded": Embedded,
    "memory": InMemory,
    "on-valkey": OnValkey,
    "constant": Constant,
    "aquatic": Aquatic,
    "torrust": Torrust,
    "opentracker": Opentracker,
    "valkey": Scripts,
    "valkey-memory": ScriptsInMemory,
    "etcd": Etcd,
    "peerjs": Peerjs,
    "fastapi": FastApi,
    "node": Node,
}
