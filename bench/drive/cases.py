"""The requests with which `equivalence` compares two functions: valid and invalid registrations and
heartbeats."""

from __future__ import annotations

import json
from typing import Any

PEER = "123e4567-e89b-12d3-a456-426614174000"


def legacy_registration(peer: str) -> dict[str, Any]:
    """A registration as legacy clients send it."""
    return {
        "peer_id": peer,
        "address": "192.168.1.100",
        "port": 9000,
        "archetypes": ["pepino", "ethics"],
        "metadata": {"version": "1.0.0", "capabilities": ["tensor-exchange"]},
    }


def of(peer: str = PEER, **raw: str) -> str:
    """The registration of a peer. The values of `raw` are JSON texts, which may be invalid."""
    return ",".join([f'{{"peer_id":"{peer}"', *(f'"{key}":{value}' for key, value in raw.items())]) + "}"


def nested(levels: int) -> str:
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


def wide(size: int) -> str:
    return '{"a":"' + "x" * (size - 8) + '"}'


def names(count: int, length: int) -> str:
    return json.dumps([f"{number:0{length}}" for number in range(count)])


HOME_V4, HOME_V6, MAPPED, NO_SOURCE = "203.0.113.7", "2001:db8:1:2::3", "::ffff:203.0.113.7", ""
GOOD_METADATA = [
    "{}",
    "null",
    nested(16),
    wide(4096),
    '{ "n" : 123456789012345678901234567890, "e": 1e99, "f": 1.10, "s": "\\ud83d\\udc39 \\u00e9 é" }',
    '{"a":{"x":1},"b":{"x":1},"c":["x","x",{"x":"x"}],"d":"{{{{{{{{{{{{{{{{{{{{"}',
]
GOOD_ADDRESSES = ["", "0.0.0.0", "::", "::ffff:0.0.0.0", "127.0.0.1", "2001:DB8:0:0::1", "::ffff:10.0.0.1"]
GOOD_ADDRESSES += ["peer.example.org", "localhost", "_p2p.example.", "1.2.example"]
GOOD_ARCHETYPES = ["[]", "null", '["b","a","b"]', '["ética","研究","🐹","two words","\\u00e9\\"\\\\"]', names(8, 9)]
# Two forms of one name, and a joiner within a name.
GOOD_ARCHETYPES += ['["e\\u0301","\\u00e9"]', '["\\u00e9","e\\u0301"]', '["a\\u200db"]', json.dumps(["a", "b"] * 16)]
# Valid registrations, each with its source address.
GOOD_REGISTRATIONS = [
    (json.dumps(legacy_registration(PEER)), HOME_V4),
    (json.dumps(legacy_registration(PEER), indent=2), HOME_V4),
    (of(), HOME_V6),
    (of(), MAPPED),
    (of(), NO_SOURCE),
    *[(of(), loopback) for loopback in ("127.0.0.9", "::1")],
    (of(unknown="[[[1]]]", other='{"a":1,"a":"\\ud800"}', long="1" * 308), HOME_V4),
    *[(of(metadata=metadata), HOME_V4) for metadata in GOOD_METADATA],
    *[(of(address=json.dumps(address)), HOME_V4) for address in GOOD_ADDRESSES],
    *[(of(archetypes=archetypes), HOME_V4) for archetypes in GOOD_ARCHETYPES],
    *[(of(port=port), HOME_V4) for port in ("0", "65535", "9000.0", "9e3", "-0", "null")],
    *[(of(ttl_seconds=seconds), HOME_V4) for seconds in ("30", "3600", "null")],
    (of(lease_token='"an-unknown-token"'), HOME_V4),
]

NO_OBJECTS = ["", "[]", "7", "null", "{", "{,}", '{"peer_id":"p",}', '{"peer_id":"p"} x', "\ufeff{}", "{peer_id:1}"]
NO_OBJECTS += ['{"peer_id":"p","peer_id":"p"}', '{"x":1,"\\u0078":2}', '{"x":NaN}', '{"x":"\t"}', '{"x":01}']
NO_OBJECTS += [of(x='"' + "x" * 16_384 + '"')]
NO_PEERS = ["{}", *[f'{{"peer_id":{value}}}' for value in ("null", "7", '""', '"a b"', '"é"', '"\\ud800"', '["p"]')]]
NO_PEERS += [of("x" * 129)]
NO_ADDRESSES = ["224.0.0.1", "255.255.255.255", "169.254.1.1", "ff02::1", "fe80::1", "fe80::1%eth0", "::ffff:224.0.0.1"]
NO_ADDRESSES += ["1.2.3", "127.1", "0x7f.0x1", "256.1.1.1", "[::1]", "10.0.0.1:80", "a b", "-a.b", "a-.b", "a..b", "."]
NO_ADDRESSES += ["é.org", "http://x", "a." * 130 + "example", "a" * 64, "01.2.3.4"]
NO_METADATA = ["[]", "1", '"{}"', '{"a":1,"a":2}', '{"a":{"b":1 , "\\u0062":2}}', '{"a":"\\ud800"}', '{"\\udc00":1}']
NO_METADATA += [nested(17), wide(4097)]
NO_ARCHETYPES = ['"pepino"', "[1]", '[""]', '[" a"]', '["a\\u00a0"]', '["a\\tb"]', '["\\u0085"]', '["\\ud800"]', "{}"]
NO_ARCHETYPES += [names(9, 2), names(33, 2), names(17, 64), json.dumps(["é" * 65])]
NO_ARCHETYPES += ['["a\\u202eb"]', '["a\\u00adb"]', '["\\ufeffa"]', '["\\u200da"]', '["a\\u200c"]']
NO_TOKENS = ['""', "1", '"a b"', '"' + "x" * 129 + '"']
# Numbers that do not fit a double, in a key of the API and in unknown ones.
NO_NUMBERS = [of(metadata='{"a":[1e309]}'), of(unknown="1" * 400), of(**{"x" * 70: '[{"a":"1e999"},-1e999]'})]
REGISTRATIONS = [
    *NO_OBJECTS,
    *NO_PEERS,
    *NO_NUMBERS,
    *[of(address=json.dumps(address)) for address in NO_ADDRESSES],
    of(address="1"),
    *[of(port=port) for port in ("65536", "-1", "1.5", "1e999", '"9000"', "true", "[1]")],
    *[of(archetypes=archetypes) for archetypes in NO_ARCHETYPES],
    *[of(metadata=metadata) for metadata in NO_METADATA],
    *[of(ttl_seconds=seconds) for seconds in ("0", "29", "3601", "300.5", '"300"', "true", "1e-3")],
    *[of(lease_token=token) for token in NO_TOKENS],
]
HEARTBEATS = [*NO_OBJECTS, *NO_PEERS, *NO_NUMBERS, *[of(lease_token=token) for token in NO_TOKENS]]
