"""``python3 -m telegram_api --port N --token TOKEN``, with ``tests`` among the places of modules."""

import argparse
import asyncio

from .server import TelegramApi


def main() -> None:
    """Serve on loopback until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token", required=True, help="the bot's token")
    given = parser.parse_args()
    asyncio.run(_serve(given.port, given.token))


async def _serve(port: int, token: str) -> None:
    api = TelegramApi(token)
    await api.start(port)
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    main()
