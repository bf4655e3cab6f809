"""What the blocking and the asynchronous client share in their use of httpx."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import httpx

from ._transport import Request
from .errors import DiscoveryError, ProtocolError, TimedOutError, UnreachableError

USER_AGENT = f"aurora-discovery-python/{version('aurora-discovery')}"


def client_options(headers: Mapping[str, str] | None, verify: ssl.SSLContext | bool) -> dict[str, Any]:
    """The options of the HTTP client that a client creates for itself."""
    return {"headers": {"user-agent": USER_AGENT, **(headers or {})}, "verify": verify}


def http_request(
    http: httpx.Client | httpx.AsyncClient, request: Request, timeout: float | httpx.Timeout
) -> httpx.Request:
    method, headers = ("GET", None) if request.body is None else ("POST", {"content-type": "application/json"})
    return http.build_request(method, request.url, content=request.body, headers=headers, timeout=timeout)


def headers_of(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def failure(endpoint: str, error: httpx.HTTPError, timeout: float) -> DiscoveryError:
    if isinstance(error, httpx.TimeoutException):
        return TimedOutError(endpoint, timeout)
    return UnreachableError(endpoint, str(error) or type(error).__name__)


def too_long(request: Request, response: httpx.Response) -> DiscoveryError:
    return ProtocolError(request.endpoint, response.status_code, "more than 8 MiB")
