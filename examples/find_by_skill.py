"""An agent that needs a skill finds another agent that has it, and sends it a task.

    python examples/find_by_skill.py http://127.0.0.1:8080

The skill is an archetype. The other agent signs its registration, so that the service can neither forge
nor change it. Needs `pip install './clients/python[signed]'`.
"""

from __future__ import annotations

import socket
import sys
import threading

from aurora_discovery import (
    Client,
    DiscoverRequest,
    InvalidRecordError,
    KeeperEvent,
    Peer,
    Registered,
    RegisterRequest,
    SecretKey,
    SignedRecord,
)

SKILL = "skill:reverse"
MAX_BYTES = 1_024
SECONDS = 5.0


def work(listener: socket.socket) -> None:
    """Reverses the text of each connection."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.settimeout(SECONDS)
            connection.sendall(connection.recv(MAX_BYTES)[::-1])


def find(client: Client, skill: str) -> tuple[Peer, SignedRecord]:
    """A peer that has signed that it has the skill."""
    for peer in client.discover(DiscoverRequest(archetypes=[skill], limit=20, view="full")).peers:
        try:
            record = SignedRecord.verify(peer.signed or "")
        except InvalidRecordError:
            # The peer has not signed its registration, or its record is not valid.
            continue
        if record.peer_id == peer.peer_id and skill in record.archetypes:
            return peer, record
    raise SystemExit(f"no peer has signed that it has {skill}")


def ask(address: str, port: int, text: str) -> str:
    """The text that the peer returns for `text`."""
    with socket.create_connection((address, port), SECONDS) as connection:
        connection.sendall(text.encode())
        return connection.recv(MAX_BYTES).decode(errors="replace")


def main(url: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=work, args=(listener,), daemon=True).start()
    worker = RegisterRequest("reverser", port=listener.getsockname()[1], archetypes=[SKILL])
    registered = threading.Event()

    def on_event(event: KeeperEvent) -> None:
        if isinstance(event, Registered):
            registered.set()
        else:
            print(event)

    # A program that restarts keeps its key in a file: KeyFile("reverser.key").read_or_create().
    key = SecretKey.generate()
    with Client(url) as client, client.keep(worker, key=key, on_event=on_event):
        registered.wait()
        peer, record = find(client, SKILL)
        print(f"{record.peer_id} has {SKILL}, signed by {record.signed_by}")
        # If the record has no address, `peer.address` is the one that the service saw.
        print("it answered:", ask(record.address or peer.address, record.port, "stressed"))
    listener.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080")
