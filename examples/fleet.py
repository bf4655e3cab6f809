"""A host that runs a hundred agents, and renews all their leases with one heartbeat.

    python examples/fleet.py http://127.0.0.1:8080 --heartbeats 3

One heartbeat request renews at most a hundred leases. If the service no longer knows an agent, the host
registers that agent again.
"""

from __future__ import annotations

import argparse
import socket
import time

from aurora_discovery import Client, RegisterRequest

AGENTS = 100


def main() -> None:
    arguments = parse_arguments()
    host = socket.gethostname()
    agents = [RegisterRequest(f"{host}-{n}", port=9000 + n, archetypes=["fleet"]) for n in range(AGENTS)]
    with Client(arguments.url) as client:
        tokens = {}
        for agent in agents:
            tokens[agent.peer_id] = client.register(agent).lease_token
        print(f"registered {len(tokens)} agents")
        try:
            renew(client, agents, tokens, arguments.heartbeats, arguments.interval)
        finally:
            for peer_id, token in tokens.items():
                client.deregister(peer_id, lease_token=token)
            print(f"deregistered {len(tokens)} agents")


def renew(
    client: Client, agents: list[RegisterRequest], tokens: dict[str, str], heartbeats: int, interval: float | None
) -> None:
    """Sends the first heartbeat after a second, and the others at the interval that the service
    requests. If `interval` is given, it applies to all of them."""
    wait = interval or 1.0
    for _ in range(heartbeats):
        time.sleep(wait)
        response = client.heartbeats(tokens.items())
        print(f"one heartbeat renewed {response.renewed} agents")
        intervals = [result.heartbeat_interval_seconds or 0 for result in response.results if not result.error]
        for agent, result in zip(agents, response.results, strict=True):
            if result.code == "peer_not_registered":
                tokens[agent.peer_id] = client.register(agent).lease_token
                print(f"registered {agent.peer_id} again")
        # One request renews all leases, so the shortest of the requested intervals applies.
        wait = interval or min(intervals, default=1.0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080", help="the service")
    parser.add_argument("--heartbeats", type=int, default=3, help="how many to send before the agents leave")
    parser.add_argument("--interval", type=float, help="seconds between heartbeats; by default what the service asks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
