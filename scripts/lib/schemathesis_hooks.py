"""Rules for schemathesis that a schema can't express."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.hook
def before_call(context: Any, case: Any, arguments: Any) -> None:
    """Removes parameters that the service rejects correctly: a cursor is valid only for its query, and only a sample
    can be filled."""
    for holder in (case.query, case.body):
        for query in (holder, holder.get("discover")) if isinstance(holder, dict) else ():
            for name in ("cursor", "since") if isinstance(query, dict) else ():
                if isinstance(query.get(name), (str, list)):
                    del query[name]
            if isinstance(query, dict) and query.get("order") in ("all", ["all"]):
                query.pop("fill", None)
