"""A parser of server-sent events.

It splits lines itself because `httpx.Response.iter_lines` also splits at characters such as U+2028,
which JSON text may contain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# The maximum length of an event, in bytes, so that a stream without a complete event takes bounded
# memory. The largest registration takes less than a tenth of it.
MAX_EVENT_BYTES = 256 * 1024

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")


@dataclass(frozen=True)
class Frame:
    """The fields of one event, or of a block without an event, such as a comment with an `id`."""

    event: str = ""
    data: bytes = b""
    id: str = ""
    retry: int | None = None
    """In milliseconds."""


class SseParser:
    """Turns the bytes of a stream into frames."""

    def __init__(self) -> None:
        self._unread = b""
        self._frame_bytes = 0
        self._fields: list[tuple[bytes, bytes]] = []

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        """The frames that `chunk` completes. Raises ValueError if an event is too long."""
        # A `\r` at the end may be the first half of `\r\n`, so it stays unread until the next chunk.
        *lines, self._unread = _LINE_END.split(self._unread + chunk)
        for line in lines:
            if not line:
                yield self._frame()
                continue
            self._frame_bytes += len(line)
            name, _, value = line.partition(b":")
            self._fields.append((name, value.removeprefix(b" ")))
            self._check_length()
        self._check_length()

    def _check_length(self) -> None:
        if self._frame_bytes + len(self._unread) > MAX_EVENT_BYTES:
            raise ValueError("an event of more than 256 KiB")

    def _frame(self) -> Frame:
        fields, self._fields, self._frame_bytes = self._fields, [], 0
        last = dict(fields)
        retry = last.get(b"retry", b"")
        return Frame(
            event=last.get(b"event", b"").decode(),
            data=b"\n".join(value for name, value in fields if name == b"data"),
            id=last.get(b"id", b"").decode(),
            retry=int(retry) if retry.isdigit() else None,
        )
