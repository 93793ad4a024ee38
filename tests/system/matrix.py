"""A Matrix homeserver beside the appliance, and people on it; the appliance's channel ``mx`` is an account there."""

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from eventually import wait_until
from homeserver.person import Person
from homeserver.server import Homeserver
from system.appliance import call

CHANNEL: Final = "mx"
BOT: Final = "nano"


@contextlib.contextmanager
def matrix_appliance(*more: str, through: Callable[[int], int] = lambda port: port) -> Iterator[Homeserver]:
    """Have a homeserver, and the appliance's account on it, for a while.

    Args:
        more: options of the channel.
        through: takes the server's port, and returns the one that the channel is told: a proxy's.
    """
    with tempfile.TemporaryDirectory() as directory:
        server = Homeserver(Path(directory))
        server.start()
        try:
            told_url = f"http://127.0.0.1:{through(server.port)}"
            options = [part for one in (f"homeserver={told_url}", f"user={BOT}", *more) for part in ("--option", one)]
            password = secrets.token_urlsafe()
            server.register(BOT, password)
            told = _ncl("add", "matrix", CHANNEL, *options, secret=password)
            assert server.user_id(BOT) in told
            wait_until(lambda: state() == "ok", "the account is connected")
            yield server
        finally:
            _ncl("remove", CHANNEL)
            server.stop()


def _ncl(*words: str, secret: str = "") -> str:
    argv = ["ncl", "channels", *words]
    done = subprocess.run(argv, input=secret, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def state() -> str:
    """Return how the channel is."""
    found: str = next(one for one in call("Channels.List")["channels"] if one["name"] == CHANNEL)["state"]
    return found


@contextlib.asynccontextmanager
async def people(server: Homeserver, *names: str) -> AsyncIterator[list[Person]]:
    """Have people, who are new there."""
    tail = secrets.token_hex(3)
    with tempfile.TemporaryDirectory() as directory:
        found = [await Person(server, f"{name}-{tail}", Path(directory)).enter() for name in names]
        try:
            yield found
        finally:
            for person in found:
                await person.leave()


def wired(room_id: str, group: str, *, is_group: bool = False, **rules: str) -> None:
    """Have a group's agent hear a room."""
    made = call("Chats.Create", channel=CHANNEL, chat=room_id, is_group=is_group, unknown_sender_policy="public")[
        "chat"
    ]
    call("Wirings.Create", chat=made["id"], group=group, **rules)
