"""The requests of the API as coroutines, which both clients share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ._json import parse_response
from ._transport import Response, Transport
from .errors import ProtocolError, RefusedError
from .requests import (
    DiscoverRequest,
    RegisterRequest,
    deregister_body,
    heartbeat_body,
    heartbeats_body,
    mail_body,
    mailbox_body,
)
from .responses import HeartbeatResponse, HeartbeatsResponse, Mailbox, Network, Page, RegisterResponse
from .signer import MAX_SIGNED, Signer

T = TypeVar("T")


class Calls:
    """The requests of the API."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    async def register(self, request: RegisterRequest, signer: Signer | None = None) -> RegisterResponse:
        if signer is None:
            return await self._post("register", request.body(), RegisterResponse.from_json)
        token, nonce, signed = signer.token, None, 0
        while True:
            body = signer.body(request, nonce)
            signed += 1
            try:
                response = await self._post("register", body, lambda body: RegisterResponse.from_json(body, token))
            except RefusedError as error:
                if signed == MAX_SIGNED or not signer.learns_from(error):
                    raise
                nonce = error.nonce
            else:
                signer.accepted()
                return response

    async def heartbeat(
        self, peer_id: str, lease_token: str | None = None, discover: DiscoverRequest | None = None
    ) -> HeartbeatResponse:
        body = heartbeat_body(peer_id, lease_token, discover)
        return await self._post("heartbeat", body, HeartbeatResponse.from_json)

    async def heartbeats(
        self, peers: Iterable[str | tuple[str, str]], discover: DiscoverRequest | None = None
    ) -> HeartbeatsResponse:
        return await self._post("heartbeat", heartbeats_body(peers, discover), HeartbeatsResponse.from_json)

    async def deregister(self, peer_id: str, lease_token: str | None = None) -> None:
        await self._post("deregister", deregister_body(peer_id, lease_token), lambda _: None)

    async def mail(self, to: str, lease_token: str, message: str) -> int:
        body = mail_body(to, lease_token, message)
        return await self._post("mail", body, lambda response: int(response["expires_in_seconds"]))

    async def mailbox(self, peer_id: str, lease_token: str, acknowledge: Iterable[str], wait_seconds: int) -> Mailbox:
        body = mailbox_body(peer_id, lease_token, acknowledge, wait_seconds)
        return await self._post("mailbox", body, Mailbox.from_json, wait_seconds)

    async def discover(self, request: DiscoverRequest) -> Page:
        return await self._get("discover", request.parameters(), Page.from_json)

    async def pages(self, request: DiscoverRequest) -> AsyncIterator[Page]:
        request = replace(request, order="all", cursor=None, fill=None)
        while True:
            page = await self.discover(request)
            yield page
            if page.next_cursor is None:
                return
            if page.next_cursor == request.cursor:
                cause = "the cursor of the next page is that of this one, so the list would not end"
                raise self._malformed(200, ValueError(cause))
            request = replace(request, cursor=page.next_cursor)

    async def network(self) -> Network:
        return await self._get("network", (), Network.from_json)

    async def health(self) -> str | None:
        endpoint, response = await self.transport.exchange_once("health")
        try:
            return self._parse(response, lambda body: None if body["status"] == "healthy" else str(body["reason"]))
        except ProtocolError as error:
            self.transport.failed(endpoint, error)
            raise

    async def _get(self, path: str, parameters: Sequence[tuple[str, str]], convert: Callable[[dict[str, Any]], T]) -> T:
        return self._parse(await self.transport.get(path, parameters), convert)

    async def _post(self, path: str, body: bytes, convert: Callable[[dict[str, Any]], T], wait: float = 0.0) -> T:
        return self._parse(await self.transport.post(path, body, wait), convert)

    def _parse(self, response: Response, convert: Callable[[dict[str, Any]], T]) -> T:
        try:
            return convert(parse_response(response.body))
        except (ValueError, KeyError, TypeError) as error:
            raise self._malformed(response.status, error) from error

    def _malformed(self, status: int, cause: Exception) -> ProtocolError:
        return malformed(self.transport.endpoints.current, status, cause)


def malformed(endpoint: str, status: int, cause: Exception) -> ProtocolError:
    """The error for a response whose body cannot be parsed."""
    return ProtocolError(endpoint, status, f"a malformed body ({type(cause).__name__}: {cause})")
