"""Rules for schemathesis that a schema can't express."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import schemathesis

VECTORS = Path(__file__).resolve().parents[2] / "crates/protocol/tests/vectors/signed.json"
SIGNED_RECORD = json.loads(VECTORS.read_text())["vectors"][0]["jws"]


@schemathesis.hook
def before_call(context: Any, case: Any, arguments: Any) -> None:
    """Removes parameters that the service rightly rejects: a cursor is valid only for its query, and
    only a sample can be filled."""
    for holder in (case.query, case.body):
        for query in (holder, holder.get("discover")) if isinstance(holder, dict) else ():
            for name in ("cursor", "since") if isinstance(query, dict) else ():
                if isinstance(query.get(name), (str, list)):
                    del query[name]
            if isinstance(query, dict) and query.get("order") in ("all", ["all"]):
                query.pop("fill", None)
    # A schema cannot describe a valid signature, so this one is inserted. It is too old, so the service
    # responds with 401.
    if isinstance(case.body, dict) and isinstance(case.body.get("signed"), str):
        case.body["signed"] = SIGNED_RECORD
