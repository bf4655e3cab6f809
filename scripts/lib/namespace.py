"""Runs a check in a network namespace, in which clients can have many source addresses."""

from __future__ import annotations

import os
import subprocess
import sys

# The service exempts loopback addresses from its limits, because a proxy may use them. Clients therefore
# need addresses of another network.
NETWORK = "10.0.0.0/8"
INSIDE = "AURORA_CHECK_IN_NAMESPACE"


def run_inside() -> int | None:
    """Runs this script again in a new network namespace, and returns its exit code. Within that
    namespace, sets the network up and returns None."""
    if INSIDE in os.environ:
        set_up()
        return None
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", "--net", *as_root, sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


def set_up() -> None:
    ip("link", "set", "lo", "up")
    ip("route", "add", "local", NETWORK, "dev", "lo")


def add_interface(address: str) -> None:
    """Adds an interface with a default route. Browsers gather ICE candidates only on such
    interfaces."""
    ip("link", "add", "aurora0", "type", "veth", "peer", "name", "aurora1")
    ip("address", "add", f"{address}/24", "dev", "aurora0")
    for interface in ("aurora0", "aurora1"):
        ip("link", "set", interface, "up")
    ip("route", "add", "default", "dev", "aurora0")


def set_packet_bytes(size: int) -> None:
    """Sets the maximum size of a packet (MTU). The kernel's buffers for new connections grow with
    it."""
    ip("link", "set", "lo", "mtu", str(size))


def disconnect(network: str) -> None:
    """From now on, no packet reaches the clients in `network`, as if their machines had lost power."""
    ip("route", "add", "blackhole", network, "table", "local")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
