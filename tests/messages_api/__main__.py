"""``python3 -m messages_api --port N --key KEY``, with ``tests`` among the places of modules."""

import argparse

from aiohttp import web

from .server import MessagesApi


def _say(words: str) -> None:
    """Tell who has begun it that it listens."""
    print(words, flush=True)


def main() -> None:
    """Serve on loopback until somebody ends it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True, help="the API key that is accepted")
    parser.add_argument("--token", default="no-token", help="the OAuth token that is accepted")
    given = parser.parse_args()
    application = MessagesApi(given.key, given.token).application()
    # An answer that stalls is not waited for.
    web.run_app(application, host="127.0.0.1", port=given.port, print=_say, shutdown_timeout=0.1)


if __name__ == "__main__":
    main()
