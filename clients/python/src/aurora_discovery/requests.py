"""The requests of the API."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class DiscoverRequest:
    """Which peers to list, and how. `docs/api.md` describes the parameters."""

    archetypes: Sequence[str] = ()
    """List peers that have any of these archetypes (at most 8), or all peers if empty."""
    limit: int | None = None
    """The maximum number of peers, 1 to 1000."""
    exclude: str | None = None
    """The id of a peer to leave out, normally the caller's own."""
    order: Literal["sample", "diverse", "all"] | None = None
    """`sample` is a uniform random sample. Half of a `diverse` sample comes from different
    networks. `all` is an enumeration, page by page. The default is `sample`, unless the operator of
    the service has made `diverse` the default."""
    cursor: str | None = None
    """`next_cursor` of the previous page of an enumeration."""
    view: Literal["legacy", "full", "contact", "observer"] | None = None
    """The representation of each peer."""
    fill: Literal["any"] | None = None
    """`any`: fill a short sample with random peers of the whole network."""

    def __post_init__(self) -> None:
        _refuse_string("archetypes", self.archetypes)

    def parameters(self) -> list[tuple[str, str]]:
        """The query parameters of `GET /discover`."""
        parameters = [("archetype", archetype) for archetype in self.archetypes]
        return parameters + [(key, str(value)) for key, value in self._scalars().items()]

    def to_json(self) -> dict[str, Any]:
        """The value of the key `discover` of another request."""
        return {"archetype": list(self.archetypes), **self._scalars()}

    def _scalars(self) -> dict[str, int | str]:
        names = ("limit", "exclude", "order", "cursor", "view", "fill")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass(frozen=True)
class RegisterRequest:
    """What a peer publishes. `docs/api.md` describes the keys."""

    peer_id: str
    """1 to 128 visible ASCII characters."""
    address: str | None = None
    """An IP address or a DNS name. If it is None, the service lists the address that it sees."""
    port: int = 0
    """0 means that the peer does not accept connections."""
    archetypes: Sequence[str] = ()
    """The tags that the peer can be found by."""
    metadata: Mapping[str, Any] | str | None = None
    """A JSON object, or its text, which other peers then get byte for byte."""
    ttl_seconds: int | None = None
    """The duration of the lease to request."""
    lease_token: str | None = field(default=None, repr=False)
    """Proves that the caller is the holder."""
    token_only: bool = False
    """From now on, only a client with the token can replace, renew or deregister the peer."""
    discover: DiscoverRequest | None = None
    """If given, the response includes this page of peers."""
    mail: bool = False
    """The peer has a mailbox. The registration has to be signed."""

    def __post_init__(self) -> None:
        _refuse_string("archetypes", self.archetypes)

    def body(self) -> bytes:
        """The JSON body of the request.

        Raises ValueError if the metadata is text that is not JSON, or an object with NaN or
        infinite numbers.
        """
        keys: dict[str, Any] = {"peer_id": self.peer_id, "port": self.port, "archetypes": list(self.archetypes)}
        optional = ("address", "ttl_seconds", "lease_token")
        keys |= {name: value for name in optional if (value := getattr(self, name)) is not None}
        if self.token_only:
            keys["token_only"] = True
        if self.mail:
            keys["mail"] = True
        if self.discover:
            keys["discover"] = self.discover.to_json()
        if not isinstance(self.metadata, str):
            keys["metadata"] = dict(self.metadata or {})
            return encode(keys)
        json.loads(self.metadata)  # must be JSON, because other text could add keys
        return encode(keys)[:-1] + b',"metadata":' + self.metadata.encode() + b"}"


def heartbeat_body(peer_id: str, lease_token: str | None, discover: DiscoverRequest | None) -> bytes:
    """The JSON body of a heartbeat of one peer."""
    return encode({"peer_id": peer_id, **_optional(lease_token, discover)})


def heartbeats_body(peers: Iterable[str | tuple[str, str]], discover: DiscoverRequest | None) -> bytes:
    """The JSON body of a heartbeat of many peers: ids, or pairs of an id and its lease token."""
    _refuse_string("peers", peers)
    entries = [
        peer if isinstance(peer, str) else dict(zip(("peer_id", "lease_token"), peer, strict=True)) for peer in peers
    ]
    return encode({"peer_ids": entries, **_optional(None, discover)})


def deregister_body(peer_id: str, lease_token: str | None) -> bytes:
    """The JSON body of a deregistration."""
    return encode({"peer_id": peer_id, **_optional(lease_token, None)})


def mail_body(to: str, lease_token: str, message: str) -> bytes:
    """The JSON body that sends a message."""
    return encode({"to": to, "lease_token": lease_token, "message": message})


def mailbox_body(peer_id: str, lease_token: str, acknowledge: Iterable[str], wait_seconds: int) -> bytes:
    """The JSON body of a request for mail."""
    _refuse_string("acknowledge", acknowledge)
    ids = list(acknowledge)
    return encode({"peer_id": peer_id, "lease_token": lease_token, "acknowledge": ids, "wait_seconds": wait_seconds})


def encode(value: object) -> bytes:
    """`value` as compact JSON in UTF-8. Raises ValueError for NaN and infinite numbers."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _optional(lease_token: str | None, discover: DiscoverRequest | None) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if lease_token is not None:
        keys["lease_token"] = lease_token
    if discover is not None:
        keys["discover"] = discover.to_json()
    return keys


def _refuse_string(name: str, values: object) -> None:
    """Rejects a string, because Python would take it for a sequence of its characters."""
    if isinstance(values, str):
        raise TypeError(f"{name} must be a sequence of strings, not a string")
