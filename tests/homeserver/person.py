"""A person on the homeserver: a second client, with its own device and keys, who sees rooms as people do."""

import asyncio
import contextlib
import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

import nio
from nio.crypto import decrypt_attachment, encrypt_attachment

from homeserver.memory import MemoryStore
from homeserver.server import Homeserver

PATIENCE_SECONDS: Final = 30.0
MEGOLM: Final = "m.megolm.v1.aes-sha2"
EVERYTHING: Final = {"room": {"timeline": {"limit": 1000}}}

logging.getLogger("nio").setLevel(logging.ERROR)


class Person:
    """Logged in from :meth:`enter` to :meth:`leave`; what comes is read all the time."""

    def __init__(self, server: Homeserver, name: str, directory: Path) -> None:
        self.name = name
        self.server = server
        self.user_id = server.user_id(name)
        directory.mkdir(parents=True, exist_ok=True)
        config = nio.AsyncClientConfig(store=MemoryStore)
        self.client = nio.AsyncClient(server.url, self.user_id, store_path=str(directory), config=config)
        self.events: dict[str, list[dict[str, Any]]] = {}
        """By room, all that was said there, decrypted, in order."""
        self.unreadable: list[str] = []
        self.typing: dict[str, list[str]] = {}
        self.receipts: dict[str, set[str]] = {}
        """By event, who has read it."""
        self.invitations: set[str] = set()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, *, register: bool = True) -> Self:
        """Log in, and begin to read."""
        if register:
            with contextlib.suppress(OSError):  # there already
                await asyncio.to_thread(self.server.register, self.name)
        answer = await self.client.login("secret", device_name=f"{self.name}'s phone")
        assert isinstance(answer, nio.LoginResponse), answer
        self.client.add_event_callback(self._saw, nio.Event)
        self.client.add_event_callback(self._was_invited, nio.InviteMemberEvent)
        self.client.add_ephemeral_callback(self._sign, (nio.TypingNoticeEvent, nio.ReceiptEvent))
        await self.client.sync(timeout=0, full_state=True, sync_filter=EVERYTHING)
        await self.client.keys_upload()
        self._task = asyncio.create_task(self.client.sync_forever(timeout=10_000, sync_filter=EVERYTHING))
        return self

    async def leave(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.client.close()

    # What the person sees.

    async def until(self, condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until something that came makes a condition true."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seen = {room: self.texts(room) for room in self.events}
            raise AssertionError(f"{self.name} does not see within {seconds:g} s: {what}; sees {seen}") from None

    def messages(self, room_id: str, sender: str | None = None) -> list[dict[str, Any]]:
        """Return a room's messages as they are shown: edited, without those that were deleted, by somebody else."""
        events = self.events.get(room_id, [])
        gone = {
            event.get("redacts") or event["content"].get("redacts")
            for event in events
            if _is(event, "m.room.redaction")
        }
        shown: dict[str, dict[str, Any]] = {}
        for event in events:
            if not _is(event, "m.room.message") or event["event_id"] in gone:
                continue
            relation = event["content"].get("m.relates_to", {})
            if relation.get("rel_type") == "m.replace":
                if relation["event_id"] in shown:
                    old = shown[relation["event_id"]]
                    shown[relation["event_id"]] = {**old, "content": event["content"]["m.new_content"]}
                continue
            shown[event["event_id"]] = event
        return [
            event
            for event in shown.values()
            if (event["sender"] != self.user_id if sender is None else event["sender"] == sender)
        ]

    def texts(self, room_id: str, sender: str | None = None) -> list[str]:
        """Return the words of :meth:`messages`."""
        return [event["content"]["body"] for event in self.messages(room_id, sender)]

    async def hears(self, room_id: str, text: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait for a message; return it."""
        await self.until(lambda: text in self.texts(room_id), f"{text!r} in {room_id}", seconds)
        return next(event for event in self.messages(room_id) if event["content"]["body"] == text)

    async def hears_of(self, room_id: str, text: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
        """Wait for a message that has a text in it; return it."""
        await self.until(lambda: any(text in one for one in self.texts(room_id)), f"…{text!r}… in {room_id}", seconds)
        return next(event for event in self.messages(room_id) if text in event["content"]["body"])

    def reactions(self, event_id: str) -> list[str]:
        """Return what others reacted to a message with."""
        found = []
        for events in self.events.values():
            for event in events:
                relation = event["content"].get("m.relates_to", {})
                if (
                    _is(event, "m.reaction")
                    and relation.get("event_id") == event_id
                    and event["sender"] != self.user_id
                ):
                    found.append(relation["key"])
        return found

    async def content_of(self, event: Mapping[str, Any]) -> bytes:
        """Return the content of a file that came."""
        content = event["content"]
        sealed = content.get("file")
        answer = await self.client.download(sealed["url"] if sealed else content["url"])
        assert isinstance(answer, nio.DownloadResponse), answer
        if not sealed:
            return bytes(answer.body)
        return decrypt_attachment(answer.body, sealed["key"]["k"], sealed["hashes"]["sha256"], sealed["iv"])

    # What the person does.

    async def make_room(
        self, *invited: str, encrypted: bool = False, direct: bool = False, name: str | None = None
    ) -> str:
        """Make a room; return its id."""
        state: list[dict[str, Any]] = []
        if encrypted:
            state.append({"type": "m.room.encryption", "state_key": "", "content": {"algorithm": MEGOLM}})
        answer = await self.client.room_create(
            name=name,
            is_direct=direct,
            invite=list(invited),
            initial_state=state,
            preset=nio.RoomPreset.trusted_private_chat if direct else nio.RoomPreset.private_chat,
        )
        assert isinstance(answer, nio.RoomCreateResponse), answer
        room_id: str = answer.room_id
        await self.until(lambda: room_id in self.client.rooms, f"the new room {room_id}")
        return room_id

    async def join(self, room_id: str) -> None:
        """Go into a room."""
        answer = await self.client.join(room_id)
        assert isinstance(answer, nio.JoinResponse), answer
        await self.until(lambda: room_id in self.client.rooms, f"the joined room {room_id}")

    async def sees_member(self, room_id: str, user_id: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until somebody is in a room."""

        def there() -> bool:
            room = self.client.rooms.get(room_id)
            return room is not None and user_id in room.users and user_id not in room.invited_users

        await self.until(there, f"{user_id} in {room_id}", seconds)

    async def say(
        self, room_id: str, text: str, *, thread: str | None = None, answers: str | None = None, **more: Any
    ) -> str:
        """Write; return the event's id."""
        relation: dict[str, Any] = {}
        if thread is not None:
            relation = {"rel_type": "m.thread", "event_id": thread, "is_falling_back": True}
            relation["m.in_reply_to"] = {"event_id": thread}
        if answers is not None:
            relation = {
                **relation,
                "m.in_reply_to": {"event_id": answers},
                **({"is_falling_back": False} if thread else {}),
            }
        content = {"msgtype": "m.text", "body": text, **({"m.relates_to": relation} if relation else {}), **more}
        return await self.send(room_id, "m.room.message", content)

    async def edit(self, room_id: str, event_id: str, text: str) -> str:
        """Change what was written."""
        content = {
            "msgtype": "m.text",
            "body": f"* {text}",
            "m.new_content": {"msgtype": "m.text", "body": text},
            "m.relates_to": {"rel_type": "m.replace", "event_id": event_id},
        }
        return await self.send(room_id, "m.room.message", content)

    async def react(self, room_id: str, event_id: str, emoji: str) -> str:
        """React to a message."""
        relation = {"rel_type": "m.annotation", "event_id": event_id, "key": emoji}
        return await self.send(room_id, "m.reaction", {"m.relates_to": relation})

    async def delete(self, room_id: str, event_id: str) -> str:
        """Take a message back."""
        answer = await self.client.room_redact(room_id, event_id)
        assert isinstance(answer, nio.RoomRedactResponse), answer
        return str(answer.event_id)

    async def send_file(
        self, room_id: str, name: str, content: bytes, media_type: str = "application/octet-stream"
    ) -> str:
        """Send a file, encrypted where the room is."""
        sealed, keys = encrypt_attachment(content) if self.client.rooms[room_id].encrypted else (content, {})
        answer, _ = await self.client.upload(io.BytesIO(sealed), media_type, name, filesize=len(sealed))
        assert isinstance(answer, nio.UploadResponse), answer
        where = {"file": {**keys, "url": answer.content_uri}} if keys else {"url": answer.content_uri}
        kind = "m.image" if media_type.startswith("image/") else "m.file"
        info = {"mimetype": media_type, "size": len(content)}
        return await self.send(room_id, "m.room.message", {"msgtype": kind, "body": name, "info": info, **where})

    async def send(self, room_id: str, kind: str, content: dict[str, Any], transaction: str | None = None) -> str:
        """Send any event."""
        answer = await self.client.room_send(room_id, kind, content, transaction, ignore_unverified_devices=True)
        assert isinstance(answer, nio.RoomSendResponse), answer
        return str(answer.event_id)

    # What comes.

    async def _saw(self, room: nio.MatrixRoom, event: nio.Event) -> None:
        if isinstance(event, nio.MegolmEvent):
            self.unreadable.append(event.event_id)
        known = self.events.setdefault(room.room_id, [])
        if isinstance(event.source.get("content"), dict) and all(one["event_id"] != event.event_id for one in known):
            known.append(event.source)
        self._news.set()

    async def _was_invited(self, room: nio.MatrixRoom, event: nio.InviteMemberEvent) -> None:
        if event.state_key == self.user_id and event.membership == "invite":
            self.invitations.add(room.room_id)
            self._news.set()

    async def _sign(self, room: nio.MatrixRoom, event: nio.EphemeralEvent) -> None:
        if isinstance(event, nio.TypingNoticeEvent):
            self.typing[room.room_id] = list(event.users)
        if isinstance(event, nio.ReceiptEvent):
            for receipt in event.receipts:
                self.receipts.setdefault(receipt.event_id, set()).add(receipt.user_id)
        self._news.set()


def _is(event: Mapping[str, Any], kind: str) -> bool:
    return event.get("type") == kind
