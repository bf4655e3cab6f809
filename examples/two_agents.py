"""Two agents that find each other and talk over TCP.

    python examples/two_agents.py http://127.0.0.1:8080

Each listens on a port of its own, registers that port, looks for another agent, and greets it.
"""

from __future__ import annotations

import asyncio
import sys

from aurora_discovery import AsyncClient, DiscoverRequest, Joined, RegisterRequest

# Agents find each other by an archetype.
GREETERS = "greeter"
# The longest greeting that an agent reads, in bytes. It is limited because anyone can connect.
MAX_BYTES = 1_024
SECONDS = 5.0


async def answer(name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers one greeting."""
    try:
        async with asyncio.timeout(SECONDS):
            greeting = (await reader.read(MAX_BYTES)).decode(errors="replace")
            print(f"{name} heard: {greeting}")
            writer.write(f"welcome, I am {name}".encode())
            await writer.drain()
    finally:
        writer.close()


async def greet(name: str, host: str, port: int) -> str:
    """Connects to another agent, greets it, and returns its answer."""
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"hello from {name}".encode())
            await writer.drain()
            return (await reader.read(MAX_BYTES)).decode(errors="replace")
        finally:
            writer.close()


async def agent(client: AsyncClient, name: str) -> None:
    """One agent: it listens, registers, waits for another one, and greets it."""
    server = await asyncio.start_server(lambda reader, writer: answer(name, reader, writer), "127.0.0.1")
    port: int = server.sockets[0].getsockname()[1]
    others = DiscoverRequest(archetypes=[GREETERS], exclude=name)
    # The watch begins before the first list, so that it misses no peer that joins in between.
    async with server, client.watch(others) as watch:
        await anext(watch)
        async with client.keep(RegisterRequest(name, port=port, archetypes=[GREETERS])):
            found = [*(await client.discover(others)).peers]
            while not found:
                if isinstance(event := await anext(watch), Joined):
                    found.append(event.peer)
            peer = found[0]
            print(f"{name} found {peer.peer_id} at {peer.address} port {peer.port}")
            print(f"{peer.peer_id} answered {name}: {await greet(name, peer.address, peer.port)}")
            # Stays registered until both agents are done, because the other one may not have found
            # this one yet.
            await everyone_is_done.wait()


everyone_is_done = asyncio.Barrier(2)


async def main(url: str) -> None:
    async with AsyncClient(url) as client:
        await asyncio.gather(agent(client, "ada"), agent(client, "grace"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"))
