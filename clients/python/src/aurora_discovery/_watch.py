"""The stream of changes, with reconnection, which both clients share."""

from __future__ import annotations

from collections import deque

from ._calls import malformed
from ._json import parse_peer, parse_response
from ._sse import Frame, SseParser
from ._transport import Stream, Transport, full_jitter
from .errors import DiscoveryError, ProtocolError, UnreachableError
from .events import Changed, Interrupted, Joined, Left, Reset, Resumed, Started, WatchEvent
from .requests import DiscoverRequest
from .responses import Peer

# How long a stream may be silent, in seconds. The service sends a comment every 15 seconds, so
# three comments are missing by then.
_SILENCE = 45.0
# The upper bound of the random part of the first wait before a reconnection, in seconds.
_FIRST_CEILING = 1.0
# The maximum of that upper bound, and of the wait that the service requests.
_HIGHEST_CEILING = 60.0


class Watcher:
    """The state of a watch."""

    def __init__(self, transport: Transport, request: DiscoverRequest, since: str | None) -> None:
        allowed = ("archetype", "exclude", "view")
        self._parameters = [(key, value) for key, value in request.parameters() if key in allowed]
        self._transport = transport
        self.cursor = since
        self._stream: Stream | None = None
        self._endpoint = ""
        self._parser = SseParser()
        self._frames: deque[Frame] = deque()
        self._wait = 0.0
        self._is_started = False
        self._failures = 0
        self._requested_wait = 0.0

    async def next_event(self) -> WatchEvent:
        """Waits for the next event. Raises DiscoveryError after a permanent failure only."""
        while True:
            try:
                event = await self._step()
            except DiscoveryError as error:
                await self.close()
                if not error.is_transient:
                    raise
                return Interrupted(error, self._interrupted(error))
            if event is not None:
                return event

    async def close(self) -> None:
        """Closes the connection."""
        stream, self._stream = self._stream, None
        self._frames.clear()
        if stream is not None:
            await stream.close()

    async def _step(self) -> WatchEvent | None:
        """Handles the next frame. If there is none, connects if necessary, and receives more
        frames. Returns None if this yields no event."""
        if self._wait:
            wait, self._wait = self._wait, 0.0
            await self._transport.io.sleep(wait)
        if self._frames:
            return self._read(self._frames.popleft())
        if self._stream is None:
            self._stream = await self._connect()
        try:
            chunk = await self._stream.read()
            if not chunk:
                raise UnreachableError(self._endpoint, "the service closed the stream")
        except DiscoveryError as error:
            self._transport.failed(self._endpoint, error)
            raise
        try:
            self._frames.extend(self._parser.feed(chunk))
        except ValueError as error:
            raise ProtocolError(self._endpoint, 200, str(error)) from error
        return None

    async def _connect(self) -> Stream:
        cursor = [("since", self.cursor)] if self.cursor else []
        self._endpoint, stream = await self._transport.open("watch", self._parameters + cursor, _SILENCE)
        self._parser = SseParser()
        if not stream.content_type.startswith("text/event-stream"):
            await stream.close()
            raise ProtocolError(self._endpoint, 200, "no stream of events")
        return stream

    def _read(self, frame: Frame) -> WatchEvent | None:
        """Returns the event in a frame, if it has one, and moves the cursor past the frame."""
        if frame.retry is not None:
            self._requested_wait = min(frame.retry / 1_000, _HIGHEST_CEILING)
        try:
            event = self._event(frame)
        except (ValueError, KeyError, TypeError) as error:
            raise malformed(self._endpoint, 200, error) from error
        if frame.id:
            self.cursor = frame.id
        self._failures = 0
        return event

    def _event(self, frame: Frame) -> WatchEvent | None:
        match frame.event:
            case "start":
                self.cursor = str(parse_response(frame.data)["since"])
                resumes, self._is_started = self._is_started, True
                return Resumed() if resumes else Started()
            case "reset":
                self.cursor = str(parse_response(frame.data)["since"])
                self._is_started = True
                return Reset()
            case "joined":
                return Joined(Peer.from_json(parse_peer(frame.data)))
            case "changed":
                return Changed(Peer.from_json(parse_peer(frame.data)))
            case "left":
                return Left(parse_response(frame.data)["peer_id"])
            case _:
                # A comment, which only moves the cursor, or an event of a later version of the
                # service.
                return None

    def _interrupted(self, error: DiscoveryError) -> float:
        """Schedules the next attempt. Returns the seconds until then."""
        self._failures += 1
        requested = self._requested_wait if error.retry_after is None else error.retry_after
        # The jitter on top spreads out clients that received the same `Retry-After`.
        jitter = full_jitter(self._failures, _FIRST_CEILING, _HIGHEST_CEILING)
        self._wait = min(requested, _HIGHEST_CEILING) + jitter
        return self._wait
