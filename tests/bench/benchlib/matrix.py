"""Matrix for the appliance: a real Synapse on loopback, a person with plain rooms, and no limits of rate."""

import secrets
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from benchlib.machine import systemctl
from benchlib.platforms import CHATS, Moments, Platform, Rate
from eventually import wait_until
from homeserver.server import Homeserver

_TESTS = Path(__file__).parents[2]
_JOIN_SECONDS = 60.0
_FILTER = '{"presence":{"not_types":["*"]},"room":{"timeline":{"limit":1000},"ephemeral":{"not_types":["*"]}}}'


class Matrix(Platform):
    """One person's rooms with the account. Moments are the server's own: ``origin_server_ts``, whole milliseconds."""

    name = "matrix"
    per_chat = overall = Rate(1_000_000, 1.0)
    _is_group = False

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._homeserver = Homeserver(Path(self._directory.name))
        super().__init__(self._homeserver.port)
        self._person = ""
        self._since = ""
        self._told: dict[tuple[str, str], float] = {}
        self._came: list[tuple[float, str, str]] = []

    @property
    def section(self) -> dict[str, str]:
        """What the configuration says of the channel."""
        return {"type": self.name, "homeserver": self._homeserver.url, "user": "nano"}

    def __enter__(self) -> Self:
        """Run the server, make accounts and rooms, and store the password."""
        self._homeserver.start()
        self._homeserver.register("nano", self.token)
        self._person = str(self._homeserver.register("ada")["access_token"])
        self.chats = self._make_chats()
        self.store_secret()
        return self

    def __exit__(self, *_: object) -> None:
        self.forget_secret()
        systemctl("daemon-reload")
        self._homeserver.stop()
        self._directory.cleanup()

    def connected(self) -> None:
        """Wait until the channel is up, and the account in all rooms."""
        super().connected()
        for chat in self.chats:
            wait_until(partial(self._is_in, chat), f"the account is in {chat}", _JOIN_SECONDS)

    def _is_in(self, chat: str) -> bool:
        joined = self._control(f"rooms/{quote(chat)}/joined_members")["joined"]
        return self._homeserver.user_id("nano") in joined

    def write(self, messages: Sequence[tuple[str, str]]) -> None:
        """Write, one after the other: the server takes some hundred a second."""
        for chat, text in messages:
            place = f"/_matrix/client/v3/rooms/{quote(chat)}/send/m.room.message/{secrets.token_hex(8)}"
            self._homeserver.ask("PUT", place, {"msgtype": "m.text", "body": text}, self._person)

    def exceeded(self) -> int:
        """There is no limit."""
        return 0

    def moments(self) -> Moments:
        """Ask the server what is new since the last time."""
        since = f"&since={self._since}" if self._since else ""
        found = self._control(f"sync?timeout=0&filter={quote(_FILTER)}{since}")
        self._since = found["next_batch"]
        for chat, room in found.get("rooms", {}).get("join", {}).items():
            for event in room["timeline"]["events"]:
                self._take(chat, event)
        self._came.sort()
        return Moments(dict(self._told), list(self._came))

    def _take(self, chat: str, event: dict[str, Any]) -> None:
        if event["type"] != "m.room.message":
            return
        moment, text = event["origin_server_ts"] / 1000, str(event["content"].get("body"))
        if event["sender"] == self._homeserver.user_id("nano"):
            self._came.append((moment, chat, text))
        else:
            self._told.setdefault((chat, text), moment)

    def _make_chats(self) -> list[str]:
        about = {"invite": [self._homeserver.user_id("nano")], "is_direct": True, "preset": "trusted_private_chat"}
        made = [
            self._homeserver.ask("POST", "/_matrix/client/v3/createRoom", about, self._person) for _ in range(CHATS)
        ]
        return [str(one["room_id"]) for one in made]

    def _control(self, what: str, **_: object) -> Any:
        return self._homeserver.ask("GET", f"/_matrix/client/v3/{what}", None, self._person)
