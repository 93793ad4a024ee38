"""``python3 -m discord_api --port N --token TOKEN``, with ``tests`` among the places of modules."""

import argparse
import asyncio

from .server import DiscordApi


async def _main(given: argparse.Namespace) -> None:
    server = DiscordApi(given.token, heartbeat_seconds=given.heartbeat)
    if given.unlimited:
        server.unlimited()
    await server.start(given.port)
    if given.known_as:
        server.at(given.known_as)
    print(f"listening on {server.url}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve on loopback until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", required=True, help="the bot token that is accepted")
    parser.add_argument("--known-as", type=int, default=0, help="the port that clients are told: a proxy's")
    parser.add_argument("--heartbeat", type=float, default=41.25, help="seconds between two heartbeats of a client")
    parser.add_argument("--unlimited", action="store_true", help="have no rate limits")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
