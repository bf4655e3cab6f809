"""Rules for schemathesis that a schema can't express."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path
from typing import Any

import schemathesis

VECTORS = Path(__file__).resolve().parents[2] / "crates/protocol/tests/vectors/signed.json"
SIGNED_RECORD = json.loads(VECTORS.read_text())["vectors"][0]["jws"]
KEY = json.loads(urlsafe_b64decode(SIGNED_RECORD.split(".")[0] + "=="))["kid"]
# The service checks the form of a message, and leaves the signature to its receiver.
SIGNATURE = "A" * 86


@schemathesis.hook
def before_call(context: Any, case: Any, arguments: Any) -> None:
    """Removes parameters that the service rightly rejects: a cursor is valid only for its query, and
    only a sample can be filled. Also replaces signed texts by well-formed ones."""
    for holder in (case.query, case.body):
        for query in (holder, holder.get("discover")) if isinstance(holder, dict) else ():
            for name in ("cursor", "since") if isinstance(query, dict) else ():
                if isinstance(query.get(name), (str, list)):
                    del query[name]
            if isinstance(query, dict) and query.get("order") in ("all", ["all"]):
                query.pop("fill", None)
    # A schema cannot describe a valid signature, so this one is inserted. Its time is constant, and not
    # close to the present, so the service responds with 401.
    if isinstance(case.body, dict) and isinstance(case.body.get("signed"), str):
        case.body["signed"] = SIGNED_RECORD
    if isinstance(case.body, dict) and isinstance(case.body.get("message"), str):
        case.body["message"] = message_to(case.body.get("to"))


def message_to(peer: object) -> str:
    """A message in the form that the service requires, which is too old."""
    header = {"alg": "Ed25519", "typ": "aurora-mail+jws", "kid": KEY}
    payload = {"from": "sender", "to": peer, "sid": "S" * 22, "iat": 1_759_406_400, "type": "offer", "sdp": "v=0"}
    parts = (urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, payload))
    return ".".join([*parts, SIGNATURE])
