"""Runs one scenario of `clients/scenarios/` with one client. `clients/scenarios/README.md` describes
the format of the scenarios and what a client's runner reads and writes."""

from __future__ import annotations

import http.client
import json
import os
import queue
import stat
import subprocess
import tempfile
import threading
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from lib import fake_clock
from lib.fault_proxy import Fault, Proxy
from lib.service import Service

# How long a step may take. A step that passes ends as soon as its event arrives.
STEP_SECONDS = 60.0
# The keys of a step that name a file of the client.
FILES = frozenset({"token_file", "key_file", "replaces_key_file"})

Json = dict[str, Any]


class Mismatch(AssertionError):
    """A step had another outcome than the scenario expects."""


class Runner:
    """A client's runner as a process. It reads commands and writes results and events, one JSON object a
    line."""

    def __init__(self, command: list[str], clock: str | None) -> None:
        environment = dict(os.environ)
        if clock:
            library = fake_clock.library()
            if library is None:
                raise SystemExit("libfaketime is missing; install Debian's package faketime")
            settings = {"LD_PRELOAD": str(library), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
            environment.update(settings)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._results: queue.SimpleQueue[Json] = queue.SimpleQueue()
        self._events: defaultdict[str, queue.SimpleQueue[Json]] = defaultdict(queue.SimpleQueue)
        self._errors: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def send(self, command: Json) -> Json:
        """The result of a command: `{"result": …}` or `{"error": …}`."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            return self._results.get(timeout=STEP_SECONDS)
        except (queue.Empty, BrokenPipeError):
            raise Mismatch(f"no result: {command}\n{self.stderr()}") from None

    def event(self, source: str) -> Json:
        try:
            return self._events[source].get(timeout=STEP_SECONDS)
        except queue.Empty:
            raise Mismatch(f"no event of {source}\n{self.stderr()}") from None

    def stderr(self) -> str:
        return "\n".join(self._errors[-20:])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            message = json.loads(line)
            if "of" in message:
                self._events[message["of"]].put(message)
            else:
                self._results.put(message)
        self._results.put({"error": {"kind": "crashed"}})

    def _read_errors(self) -> None:
        assert self._process.stderr
        self._errors.extend(line.rstrip() for line in self._process.stderr)


class Scenario:
    """One scenario with one client."""

    def __init__(self, path: Path, command: list[str]) -> None:
        self._scenario: Json = json.loads(path.read_text())
        self._command = command
        self._saved: dict[str, Any] = {}
        self._directory = tempfile.TemporaryDirectory()
        self._runner: Runner | None = None
        self._service: Service | None = None
        self._proxies: list[Proxy] = []

    def run(self) -> None:
        """Runs all steps. Raises Mismatch at the first step that has another outcome than expected."""
        try:
            self._set_up()
            for number, step in enumerate(self._scenario["steps"], 1):
                try:
                    self._step(dict(step))
                except Mismatch as error:
                    raise Mismatch(f"step {number}, {json.dumps(step)}: {error}") from None
        finally:
            self._tear_down()

    def _set_up(self) -> None:
        self._start_service()
        assert self._service
        options = {"prefix": self._scenario.get("prefix", ""), **self._scenario.get("proxy", {})}
        count = self._scenario.get("endpoints", 1)
        self._proxies = [Proxy(self._service.address, **options) for _ in range(count)]
        self._start_runner()

    def _start_service(self) -> None:
        data = self._path("data") if self._scenario.get("store") == "disk" else None
        self._service = Service(*self._scenario.get("serve", []), data=data)
        for proxy in self._proxies:
            proxy.upstream = self._service.address

    def _stop_service(self) -> None:
        if self._service and self._service.is_running():
            self._service.kill()

    def _start_runner(self, clock: str | None = None) -> None:
        self._runner = Runner(self._command, clock or self._scenario.get("clock"))
        self._step_client(self._scenario.get("client", {}))

    def _tear_down(self) -> None:
        if self._runner:
            self._runner.kill()
        for proxy in self._proxies:
            proxy.close()
        self._stop_service()
        self._directory.cleanup()

    def _step(self, step: Json) -> None:
        verb = next(iter(step))
        argument = step.pop(verb)
        method = getattr(self, f"_step_{verb}", None)
        if method is None:
            raise Mismatch("no such step")
        method(argument, **self._substitute(step))

    # The steps, by name. README.md describes them.

    def _step_client(self, options: Json) -> None:
        """Creates the client again, with these options."""
        suffix = self._scenario.get("endpoint_suffix", "")
        endpoints = [proxy.url + suffix for proxy in self._proxies]
        self._step_call("client", endpoints=endpoints, **options)

    def _step_call(
        self, do: str, expect: Any = None, error: Json | None = None, save: Json | None = None, **arguments: Any
    ) -> None:
        paths = {name: str(self._path(value)) for name, value in arguments.items() if name in FILES}
        response = self._send({"do": do, **arguments, **paths})
        if error is not None:
            match(error, response.get("error"), response)
            return
        if "result" not in response:
            raise Mismatch(f"got {response}\n{self._runner.stderr() if self._runner else ''}")
        result: Json = response["result"]
        match(expect, result, response)
        for key, name in (save or {}).items():
            self._saved[name] = result[key]

    def _step_keep(self, name: str, **arguments: Any) -> None:
        self._step_call("keep", name=name, **arguments)

    def _step_watch(self, name: str, **arguments: Any) -> None:
        self._step_call("watch", name=name, **arguments)

    def _step_stop(self, name: str, error: Json | None = None) -> None:
        self._step_call("stop", name=name, error=error)

    def _step_events(self, expected: list[Any], of: str, skip: list[str] | None = None) -> None:
        """Checks the next events of a keeper or a watch. Events in `skip` are ignored."""
        assert self._runner
        for wanted in expected:
            event = self._runner.event(of)
            while event["event"] in (skip or ()):
                event = self._runner.event(of)
            match({"event": wanted} if isinstance(wanted, str) else wanted, event, event)

    def _step_crash(self, _: str, clock: str | None = None) -> None:
        """Kills the client, and starts a new one, whose wall clock may have another offset."""
        assert self._runner
        self._runner.kill()
        self._start_runner(clock)

    def _step_service(self, action: str) -> None:
        if action in ("stop", "restart"):
            self._stop_service()
        if action in ("start", "restart"):
            self._start_service()

    def _step_fault(self, path: str, **arguments: Any) -> None:
        for proxy in self._proxies:
            proxy.add(Fault(path, **arguments))

    def _step_proxy(self, action: str) -> None:
        for proxy in self._proxies:
            {"hold": proxy.hold, "release": proxy.release, "cut": proxy.cut}[action]()

    def _step_endpoint(self, action: str) -> None:
        """Kills the endpoint that got the last request, revives all endpoints, or checks which one got
        the last request."""
        if action == "revive":
            for proxy in self._proxies:
                proxy.is_dead = False
            return
        current = self._current_endpoint()
        if action == "kill":
            current.is_dead = True
            current.cut()
            self._saved["killed"] = current
        elif action == "is_other_one" and current is self._saved["killed"]:
            raise Mismatch("the last request went to the killed endpoint")

    def _step_other(
        self, path: str, body: Json, source: str = "127.0.0.1", status: int = 200, expect: Any = None
    ) -> None:
        """Sends a request of another client directly to the service, not through a proxy."""
        assert self._service
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._service.port, timeout=STEP_SECONDS, source_address=(source, 0)
        )
        text = json.dumps({key: value for key, value in body.items() if key != "metadata"})
        if "metadata" in body:
            # The metadata is given as JSON text, which is sent unchanged.
            text = f'{text[:-1]}, "metadata": {body["metadata"]}}}'
        connection.request("POST", f"/{path}", text.encode())
        response = connection.getresponse()
        content = json.loads(response.read())
        connection.close()
        match(status, response.status, content)
        match(expect, content, content)

    def _step_seen(self, path: str, count: int | list[int] | None = None, gap_at_least: float | None = None) -> None:
        """Checks what the proxies saw: the number of requests for a path (one of those in a list), and
        the seconds between a response and the next request."""
        seen = [seen for proxy in self._proxies for seen in list(proxy.seen) if seen.path == path]
        if count is not None and len(seen) not in (count if isinstance(count, list) else [count]):
            raise Mismatch(f"{len(seen)} requests were seen")
        if gap_at_least is not None:
            gaps = [after.received - before.responded for before, after in pairwise(seen) if before.responded]
            if not gaps or min(gaps) < gap_at_least:
                raise Mismatch(f"the gaps were {gaps}")

    def _step_file(self, name: str, text: str) -> None:
        """Writes a file that only its owner may read."""
        descriptor = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)

    def _step_file_mode(self, name: str, mode: str) -> None:
        path = self._path(name)
        match(mode, f"{stat.S_IMODE(path.stat().st_mode):04o}", str(path))

    def _path(self, name: str) -> Path:
        return Path(self._directory.name) / name

    def _current_endpoint(self) -> Proxy:
        return max(self._proxies, key=lambda proxy: proxy.seen[-1].received if proxy.seen else 0.0)

    def _send(self, command: Json) -> Json:
        assert self._runner
        response = self._runner.send(command)
        peers = (response.get("result") or {}).get("peers")
        if isinstance(peers, list):
            # The order of a sample is random, so the peers are sorted.
            peers.sort(key=lambda peer: peer["peer_id"])
        return response

    def _substitute(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._substitute(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self._substitute(entry) for entry in value]
        if isinstance(value, str) and value.startswith("$"):
            return self._saved[value[1:]]
        return value


def match(expected: Any, actual: Any, context: object) -> None:
    """Raises Mismatch unless `actual` has what `expected` has. Objects may have more keys. None in
    `expected` matches anything."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key, value in expected.items():
            match(value, actual.get(key), context)
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for one, other in zip(expected, actual, strict=True):
            match(one, other, context)
    elif expected is not None and expected != actual:
        raise Mismatch(f"expected {json.dumps(expected)}, got {json.dumps(actual)} in {context}")
