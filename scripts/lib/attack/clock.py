"""A stopped process, and steps of the wall clock. No lease may end because of them, and the leases that are
renewed after them must end in time."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lib import fake_clock
from lib.api import Api
from lib.service import Service

LEASE_SECONDS = 4
PEERS = [f"sleeper-{number}" for number in range(20)]
# The options of a service that deletes a peer as soon as its lease has ended.
FORGETFUL = ("--ttl-min", "1", "--revival-hours", "0")
# How much later than expected a lease may end. On a busy machine, requests are late, and the service may
# treat a delay of more than a second as a pause of its process.
SLACK_SECONDS = 4.0
DAY = 86_400
# The service reads the clock at intervals. After this time, it has read the stepped time.
STEP_SECONDS = 1.5
# The maximum difference between the time that the service shows and the stepped time.
SHOWN_SECONDS = 8.0


def stop_for_two_leases() -> list[str]:
    """Stops the process for two lease durations, twice. No lease may end in that time. Returns the failures."""
    with Service(*FORGETFUL) as service:
        api = register(service)
        for _ in range(2):
            os.kill(service.pid, signal.SIGSTOP)
            time.sleep(2 * LEASE_SECONDS)
            os.kill(service.pid, signal.SIGCONT)
            failures = renew(api, "after a stop of two leases")
            if failures:
                return failures
        return await_end(api)


def step_by_a_day() -> list[str] | None:
    """Steps the wall clock by a day, forward and back. No lease may end. Returns the failures, or None if the
    library that fakes the clock is not installed (Debian's `faketime`)."""
    library = fake_clock.library()
    if library is None:
        return None
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="aurora-clock-") as folder:
        file = Path(folder) / "time"
        step(file, 0)
        with faked(library, file), Service(*FORGETFUL) as service:
            api = register(service)
            for shift in (DAY, -DAY, DAY, 0):
                step(file, shift)
                failures += renew(api, f"after a step to {shift:+d} s") + shown_time(api, shift)
            step(file, -DAY)
            return failures or await_end(api)


@contextmanager
def faked(library: Path, file: Path) -> Iterator[None]:
    """Processes that are started within the block have a wall clock that is shifted by the offset in
    `file`."""
    settings = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            del os.environ[name]


def step(file: Path, shift: int) -> None:
    # The file is replaced atomically, so that the service never reads a part of it.
    new = file.with_suffix(".new")
    new.write_text(f"{shift:+d}")
    new.rename(file)
    time.sleep(STEP_SECONDS)


def register(service: Service) -> Api:
    api = Api(service.address)
    for peer in PEERS:
        response = api.register(peer_id=peer, port=9000, ttl_seconds=LEASE_SECONDS)
        if response.status != 200:
            raise RuntimeError(f"register: {response.status} {response.body}")
    return api


def renew(api: Api, when: str) -> list[str]:
    responses = {peer: api.heartbeat(peer) for peer in PEERS}
    return [f"{peer} got {got.status} {when}" for peer, got in responses.items() if got.status != 200]


def shown_time(api: Api, shift: int) -> list[str]:
    """Checks that the service shows the stepped time, because otherwise the steps would prove
    nothing. Returns the failures."""
    shown = datetime.fromisoformat(api.discover().body["timestamp"]).replace(tzinfo=UTC).timestamp()
    difference = shown - time.time() - shift
    return [] if abs(difference) <= SHOWN_SECONDS else [f"the clock is {difference:+.0f} s off after a step"]


def await_end(api: Api) -> list[str]:
    """Waits for the end of the leases, which is at least a lease after the last renewal and at most a third later."""
    renewed = time.monotonic()
    failures = renew(api, "at the end")
    while sum(1 for _ in api.all_peers()):
        if time.monotonic() - renewed > LEASE_SECONDS * 4 / 3 + SLACK_SECONDS:
            return [*failures, f"a lease of {LEASE_SECONDS} s lasts for {time.monotonic() - renewed:.1f} s"]
        time.sleep(0.1)
    lasted = time.monotonic() - renewed
    if lasted < LEASE_SECONDS:
        failures.append(f"a lease of {LEASE_SECONDS} s ended after {lasted:.1f} s")
    return failures
