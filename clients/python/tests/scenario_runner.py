"""Runs the commands of a scenario with the Python client: the blocking one, or with `--async` the one
for asyncio. `clients/scenarios/README.md` describes the commands."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from aurora_discovery import (
    AsyncClient,
    AsyncLeaseKeeper,
    AsyncWatch,
    Client,
    DiscoverRequest,
    DiscoveryError,
    HeartbeatResponse,
    KeeperEvent,
    KeyFile,
    LeaseKeeper,
    Mailbox,
    Page,
    RegisterRequest,
    RegisterResponse,
    SignedMessage,
    SignedRecord,
    Signer,
    Watch,
    WatchEvent,
)

Json = dict[str, Any]

# Results and events are written by several threads.
_output = threading.Lock()


def write(message: Json) -> None:
    with _output:
        print(json.dumps(message), flush=True)


def register_request(request: Json) -> RegisterRequest:
    discover = request.pop("discover", None)
    return RegisterRequest(**request, discover=discover_request(discover) if discover else None)


def discover_request(request: Json | None) -> DiscoverRequest:
    return DiscoverRequest(**(request or {}))


def page(response: Page | None) -> Json:
    if response is None:
        return {}
    peers = [
        {
            "peer_id": peer.peer_id,
            "address": peer.address,
            "port": peer.port,
            "archetypes": list(peer.archetypes),
            "metadata_text": peer.metadata_text,
            "signed": record(peer.signed),
        }
        for peer in response.peers
    ]
    return {"peers": peers, "total": response.total}


def record(text: str | None) -> Json | None:
    """The content of a signed record, after its verification."""
    if text is None:
        return None
    names = ("peer_id", "signed_by", "port", "archetypes", "metadata_text", "audience", "replaces")
    verified = SignedRecord.verify(text)
    values = {name: getattr(verified, name) for name in names}
    return {**values, "is_dated": verified.issued_at is not None}


def signer(key_file: str | None) -> Signer | None:
    return Signer(KeyFile(key_file).read_or_create()) if key_file else None


def mail_arguments(request: Json, message: Json, key_file: str) -> Json:
    """The arguments of `Client.mail`, with the message signed by the key in a file."""
    key = KeyFile(key_file).read_or_create()
    names = ("to", "sid", "sdp")
    content = {name: message[name] for name in names} | {"sender": message["from"], "kind": message["type"]}
    return {"to": message["to"], **request, "message": SignedMessage.sign(key, **content)}


def mailbox(response: Mailbox) -> Json:
    def content(text: str) -> Json:
        message = SignedMessage.verify(text)
        names = ("signed_by", "to", "sid", "sdp")
        return {name: getattr(message, name) for name in names} | {"from": message.sender, "type": message.kind}

    return {
        "from": [mail.sender for mail in response.mail],
        "ids": [mail.id for mail in response.mail],
        "messages": [content(mail.message) for mail in response.mail],
        "next_poll_seconds": response.next_poll_seconds,
    }


def lease(response: RegisterResponse | HeartbeatResponse) -> Json:
    names = ("peer_id", "ttl_seconds", "heartbeat_interval_seconds", "observed_address", "lease_token", "signed_by")
    return {name: getattr(response, name, None) for name in names} | page(response.page)


def event_message(source: str, event: KeeperEvent | WatchEvent) -> Json:
    name = re.sub("(?<!^)([A-Z])", r"_\1", type(event).__name__).lower()
    message = {"of": source, "event": name, "peer_id": getattr(event, "peer_id", None)}
    if peer := getattr(event, "peer", None):
        message |= {"peer_id": peer.peer_id, "metadata_text": peer.metadata_text}
    if name == "refused":
        message["is_permanent"] = getattr(event, "retry_in", None) is None
    return message


def error_message(error: Exception) -> Json:
    if not isinstance(error, DiscoveryError):
        return {"error": {"kind": type(error).__name__, "message": str(error)}}
    kind = re.sub("(?<!^)([A-Z])", r"_\1", type(error).__name__.removesuffix("Error")).lower()
    return {"error": {"kind": kind, "code": error.code, "field": error.field, "message": str(error)}}


class Blocking:
    """Runs commands with `Client`."""

    def __init__(self) -> None:
        self._client = Client("http://127.0.0.1")
        self._running: dict[str, LeaseKeeper | Watch] = {}

    def run(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            try:
                write({"result": getattr(self, command.pop("do"))(**command) or {}})
            except Exception as error:
                write(error_message(error))

    def client(self, endpoints: list[str], **options: Any) -> None:
        self._client = Client(endpoints, **client_options(options))

    def key(self, key_file: str) -> Json:
        return {"public_key": KeyFile(key_file).read_or_create().public_key}

    def register(self, request: Json, key_file: str | None = None) -> Json:
        return lease(self._client.register(register_request(request), signer=signer(key_file)))

    def heartbeat(self, request: Json) -> Json:
        return lease(self._client.heartbeat(**heartbeat_arguments(request)))

    def deregister(self, request: Json) -> None:
        self._client.deregister(**request)

    def mail(self, request: Json, message: Json, key_file: str) -> Json:
        return {"expires_in_seconds": self._client.mail(**mail_arguments(request, message, key_file))}

    def mailbox(self, request: Json) -> Json:
        return mailbox(self._client.mailbox(**request))

    def discover(self, request: Json | None = None) -> Json:
        return page(self._client.discover(discover_request(request)))

    def enumerate(self, request: Json | None = None) -> Json:
        return {"peer_ids": sorted(peer.peer_id for peer in self._client.enumerate(discover_request(request)))}

    def network(self) -> Json:
        return {"peers": self._client.network().peers}

    def health(self) -> Json:
        return {"status": self._client.health() or "healthy"}

    def keep(self, name: str, request: Json, **options: Any) -> None:
        self._running[name] = self._client.keep(
            register_request(request),
            on_event=lambda event: write(event_message(name, event)),
            **keeper_options(options),
        )

    def watch(self, name: str, request: Json | None = None) -> None:
        self._running[name] = watch = self._client.watch(discover_request(request))
        threading.Thread(target=self._follow, args=(name, watch), daemon=True).start()

    def stop(self, name: str) -> None:
        running = self._running.pop(name)
        assert isinstance(running, LeaseKeeper)
        running.stop()

    def _follow(self, name: str, watch: Watch) -> None:
        for event in watch:
            write(event_message(name, event))


class Asynchronous:
    """Runs commands with `AsyncClient`."""

    def __init__(self) -> None:
        self._client = AsyncClient("http://127.0.0.1")
        self._running: dict[str, AsyncLeaseKeeper] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        while line := await asyncio.to_thread(sys.stdin.readline):
            command = json.loads(line)
            method: Callable[..., Awaitable[Json | None]] = getattr(self, command.pop("do"))
            try:
                write({"result": await method(**command) or {}})
            except Exception as error:
                write(error_message(error))

    async def client(self, endpoints: list[str], **options: Any) -> None:
        self._client = AsyncClient(endpoints, **client_options(options))

    async def key(self, key_file: str) -> Json:
        return {"public_key": KeyFile(key_file).read_or_create().public_key}

    async def register(self, request: Json, key_file: str | None = None) -> Json:
        return lease(await self._client.register(register_request(request), signer=signer(key_file)))

    async def heartbeat(self, request: Json) -> Json:
        return lease(await self._client.heartbeat(**heartbeat_arguments(request)))

    async def deregister(self, request: Json) -> None:
        await self._client.deregister(**request)

    async def mail(self, request: Json, message: Json, key_file: str) -> Json:
        return {"expires_in_seconds": await self._client.mail(**mail_arguments(request, message, key_file))}

    async def mailbox(self, request: Json) -> Json:
        return mailbox(await self._client.mailbox(**request))

    async def discover(self, request: Json | None = None) -> Json:
        return page(await self._client.discover(discover_request(request)))

    async def enumerate(self, request: Json | None = None) -> Json:
        return {"peer_ids": sorted([peer.peer_id async for peer in self._client.enumerate(discover_request(request))])}

    async def network(self) -> Json:
        return {"peers": (await self._client.network()).peers}

    async def health(self) -> Json:
        return {"status": await self._client.health() or "healthy"}

    async def keep(self, name: str, request: Json, **options: Any) -> None:
        self._running[name] = self._client.keep(
            register_request(request),
            on_event=lambda event: write(event_message(name, event)),
            **keeper_options(options),
        )

    async def watch(self, name: str, request: Json | None = None) -> None:
        watch = self._client.watch(discover_request(request))
        self._tasks.append(asyncio.create_task(self._follow(name, watch)))

    async def stop(self, name: str) -> None:
        await self._running.pop(name).stop()

    async def _follow(self, name: str, watch: AsyncWatch) -> None:
        async for event in watch:
            write(event_message(name, event))


def client_options(options: Json) -> Json:
    return {name.removesuffix("_seconds"): value for name, value in options.items()}


def keeper_options(options: Json) -> Json:
    keys = {"key_file": "key", "replaces_key_file": "replaces_key"}
    return {
        keys.get(name, name): KeyFile(value).read_or_create() if name in keys else value
        for name, value in options.items()
    }


def heartbeat_arguments(request: Json) -> Json:
    discover = request.pop("discover", None)
    return {**request, "discover": discover_request(discover) if discover else None}


if __name__ == "__main__":
    if "--async" in sys.argv:
        asyncio.run(Asynchronous().run())
    else:
        Blocking().run()
