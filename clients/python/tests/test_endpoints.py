"""How a client returns to the endpoint that it started at. Scenarios cannot test this, because it takes
five minutes."""

from __future__ import annotations

import unittest
from unittest.mock import patch

from aurora_discovery._transport import Endpoints

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
