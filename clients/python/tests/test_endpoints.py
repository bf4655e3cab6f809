"""How a client changes its endpoint: after a failed request that is not retried, and back to the
endpoint that it started at. Scenarios cannot test the return, because it takes five minutes."""

from __future__ import annotations

import unittest
from unittest.mock import patch

from aurora_discovery import DiscoveryError, UnreachableError
from aurora_discovery._blocking import run
from aurora_discovery._calls import Calls
from aurora_discovery._transport import Endpoints, Request, Response, Retry, Stream, Transport

URLS = ["http://a.example", "http://b.example", "http://c.example"]


class Return(unittest.TestCase):
    def setUp(self) -> None:
        self.now = 0.0
        clock = patch("time.monotonic", lambda: self.now)
        clock.start()
        self.addCleanup(clock.stop)

    def test_a_client_returns_to_its_first_endpoint_within_ten_minutes(self) -> None:
        endpoints = Endpoints(URLS)
        first = endpoints.current
        endpoints.leave(first)
        second = endpoints.current
        self.assertNotEqual(second, first)
        self.now = 299.0
        self.assertEqual(endpoints.current, second)
        endpoints.leave(second)
        self.assertNotIn(endpoints.current, (first, second))
        self.now = 600.0
        self.assertEqual(endpoints.current, first, "a further move does not postpone the return")

    def test_a_return_to_a_failing_endpoint_is_repeated_later(self) -> None:
        endpoints = Endpoints(URLS[:2])
        first = endpoints.current
        for _ in range(3):
            endpoints.leave(first)
            self.assertNotEqual(endpoints.current, first)
            self.now += 600.0
            self.assertEqual(endpoints.current, first)


class FirstFails:
    """An `Io` in which the endpoint of the first request fails, and all others work."""

    def __init__(self, failure: Response | None) -> None:
        self.failure = failure
        self.failing = ""
        self.requested: list[str] = []

    async def exchange(self, request: Request, timeout: float) -> Response:
        self.requested.append(request.endpoint)
        self.failing = self.failing or request.endpoint
        if request.endpoint != self.failing:
            return Response(200, {}, b'{"status":"healthy"}')
        if self.failure is None:
            raise UnreachableError(request.endpoint, "it is down")
        return self.failure

    async def open(self, request: Request, timeout: float, silence: float) -> Stream | Response:
        raise NotImplementedError

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


class Health(unittest.TestCase):
    def test_a_health_check_that_fails_moves_the_next_one_to_another_endpoint(self) -> None:
        for failure in (None, Response(502, {}, b"<html>")):
            with self.subTest(failure=failure):
                io = FirstFails(failure)
                calls = Calls(Transport(io, Endpoints(URLS), 1.0, Retry()))
                with self.assertRaises(DiscoveryError) as raised:
                    run(calls.health())
                self.assertIn(io.failing, str(raised.exception))
                self.assertIsNone(run(calls.health()))
                self.assertEqual(len(set(io.requested)), 2)
