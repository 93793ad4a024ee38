"""``python3 -m discord_api --port N --token TOKEN``, with ``tests`` among the places of modules."""

import argparse
import asyncio

from .server import DiscordApi


async def _main(given: argparse.Namespace) -> None:
    server = DiscordApi(given.token)
    if given.unlimited:
        server.unlimited()
    await server.start(given.port)
    print(f"listening on {server.url}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve on loopback until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token", required=True, help="the bot token that is accepted")
    parser.add_argument("--unlimited", action="store_true", help="have no rate limits")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
