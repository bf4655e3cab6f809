"""Checks linearizability (Wing and Gong): whether the responses to concurrent requests for one name are
possible if the service handled the requests one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


class State(NamedTuple):
    """The registration of the name. The port is the last one registered."""

    holder: str
    token: str
    port: int


@dataclass(frozen=True)
class Call:
    """A request and its response. All times are of the same clock. `port` and `new_token` matter
    only for a registration."""

    operation: str
    source: str
    token: str | None
    port: int
    sent: float
    received: float
    status: int
    new_token: str = ""
    # The port that a discover response lists, or None if it lists no peer.
    listed: int | None = None


class Impossible(Exception):
    """The service can't have given this response in this state."""


def after(state: State | None, call: Call) -> State | None:
    """The state after a call, by the holder rule of docs/api.md, for leases that don't end. Raises
    Impossible if the service can't have given this response in this state."""
    by_token = state is not None and call.token == state.token
    proven = by_token or (state is not None and call.source == state.holder)
    if call.operation == "discover":
        require(call.listed == (state.port if state else None))
        return state
    if call.operation == "heartbeat":
        require(call.status == (404 if state is None else 200 if call.token is None or by_token else 403))
        return state
    if call.operation == "deregister":
        require(call.status == (404 if state is None else 200 if proven else 403))
        return None if proven else state
    if state is not None and not proven:
        require(call.status == 403)
        return state
    require(call.status == 200)
    # A registration with the current token keeps the token; any other one gets a new token.
    require(not by_token or call.new_token == call.token)
    require(state is None or by_token or call.new_token != state.token)
    return State(call.source, call.new_token, call.port)


def require(possible: bool) -> None:
    if not possible:
        raise Impossible


def is_linearizable(calls: list[Call]) -> bool:
    """Whether every response is explained by some order of the calls. In that order, a call that ended
    before another one was sent comes first. The name is unknown before the first call."""
    # A depth-first search over all permitted orders. A node is the set of calls that are already in the
    # order (a bit for each) and the state after them. What follows depends on these two only, so each
    # node is visited once.
    everything = (1 << len(calls)) - 1
    seen: set[tuple[int, State | None]] = set()
    pending: list[tuple[int, State | None]] = [(0, None)]
    while pending:
        done, state = pending.pop()
        if done == everything:
            return True
        if (done, state) in seen:
            continue
        seen.add((done, state))
        for index in next_calls(calls, done):
            try:
                pending.append((done | 1 << index, after(state, calls[index])))
            except Impossible:
                continue
    return False


def next_calls(calls: list[Call], done: int) -> Iterator[int]:
    """The calls that may come next in the order: those that were sent before the first response to any
    of the remaining calls."""
    left = [index for index in range(len(calls)) if not done >> index & 1]
    first_end = min(calls[index].received for index in left)
    return (index for index in left if calls[index].sent <= first_end)
