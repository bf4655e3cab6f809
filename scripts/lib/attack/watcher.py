"""An honest reader of /watch, which resumes where it was when its stream ends."""

from __future__ import annotations

import http.client
import json
import threading
from urllib.parse import urlencode

READ_SECONDS = 60.0
RETRY_SECONDS = 0.2


class Watcher:
    """Collects the peers that joined or changed, in its own thread."""

    def __init__(self, port: int, source: str, archetype: str) -> None:
        self.seen: set[str] = set()
        self.resets = 0
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=READ_SECONDS, source_address=(source, 0)
        )
        self._query = {"archetype": archetype}
        self._started = threading.Event()
        self._stopping = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()
        if not self._started.wait(READ_SECONDS):
            raise TimeoutError("/watch has not started")

    def stop(self) -> None:
        self._stopping.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._connection.request("GET", "/watch?" + urlencode(self._query))
                self._read(self._connection.getresponse())
            except (OSError, http.client.HTTPException):
                pass
            self._connection.close()
            self._stopping.wait(RETRY_SECONDS)

    def _read(self, response: http.client.HTTPResponse) -> None:
        event = ""
        for line in response:
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "id":
                self._query["since"] = value
            elif name == "event":
                event = value
                self.resets += event == "reset"
            elif name == "data" and event in ("joined", "changed"):
                self.seen.add(json.loads(value)["peer_id"])
            self._started.set()
