"""A Matrix homeserver beside the appliance, and people on it; the appliance's channel ``mx`` is an account there."""

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from homeserver.person import Person
from homeserver.server import Homeserver
from system.appliance import call, configured, run, wait_until

CHANNEL: Final = "mx"
BOT: Final = "nano"
_CREDENTIAL: Final = Path(f"/etc/credstore.encrypted/nanoclawd.{CHANNEL}")
_DROP_IN: Final = Path("/run/systemd/system/nanoclawd.service.d/90-matrix-of-the-tests.conf")
_NETWORK: Final = """\
[Service]
PrivateNetwork=no
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressDeny=
IPAddressAllow=localhost
"""


@contextlib.contextmanager
def matrix_appliance() -> Iterator[Homeserver]:
    """Have a homeserver, and the appliance's account on it, for a while."""
    with tempfile.TemporaryDirectory() as directory:
        server = Homeserver(Path(directory))
        server.start()
        try:
            password = secrets.token_urlsafe()
            server.register(BOT, password)
            _store(password)
            options = {"type": "matrix", "homeserver": server.url, "user": BOT}
            with configured(channels={CHANNEL: options}):
                wait_until(lambda: state() == "ok", "the account is connected")
                yield server
        finally:
            server.stop()
            _CREDENTIAL.unlink(missing_ok=True)
            _DROP_IN.unlink(missing_ok=True)
            run("systemctl", "daemon-reload")


def _store(password: str) -> None:
    _CREDENTIAL.parent.mkdir(mode=0o700, exist_ok=True)
    argv = ["systemd-creds", "encrypt", f"--name=nanoclawd.{CHANNEL}", "-", str(_CREDENTIAL)]
    subprocess.run(argv, input=password, text=True, check=True, capture_output=True, timeout=60)
    _DROP_IN.parent.mkdir(exist_ok=True)
    _DROP_IN.write_text(_NETWORK)
    run("systemctl", "daemon-reload")


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
