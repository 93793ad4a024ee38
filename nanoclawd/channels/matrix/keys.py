"""The account's keys and rooms, as matrix-nio keeps them: what decrypts, encrypts, and knows who is in a room.

Trust: messages are encrypted for all devices of the people in a room, at their first use; a device that is new is
logged. The library of Debian 13 knows neither cross-signing nor the server's key backup.
"""

import asyncio
import contextlib
import logging
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

import nio
from nio.crypto import ENCRYPTION_ENABLED

from nanoclawd.channels.matrix import key_file
from nanoclawd.channels.matrix.reading import Malformed
from nanoclawd.channels.matrix.requests import RateLimited, refusal
from nanoclawd.channels.matrix.sanitising import encrypted_rooms, readable
from nanoclawd.channels.matrix.state import Device, Store
from nanoclawd.errors import Refused, Unavailable

log = logging.getLogger(__name__)
logging.getLogger("nio").setLevel(logging.CRITICAL)  # its other words quote what servers and people have sent

ENCRYPTED: Final = "m.room.encrypted"


class _Client(nio.AsyncClient):  # type: ignore[misc]  # the library has no types
    """The library's client; one odd event costs that event, and not all that came with it."""

    def _handle_timeline_event(self, event: Any, room_id: str, *rest: Any) -> Any:
        with _survived(room_id):
            return super()._handle_timeline_event(event, room_id, *rest)

    def _handle_joined_state(self, room_id: str, *rest: Any) -> None:
        with _survived(room_id):
            super()._handle_joined_state(room_id, *rest)

    def _handle_decrypt_to_device(self, event: Any) -> Any:
        with _survived("a message between devices"):
            return super()._handle_decrypt_to_device(event)


class Keys:
    """Keys and rooms of one device. Used in one loop, which waits for the disk here."""

    def __init__(self, device: Device, store: Store, *, encryption: bool, seconds: float) -> None:
        """Open the database of keys, made where there is none; a request may take ``seconds``."""
        self.encrypts = encryption and ENCRYPTION_ENABLED
        options: dict[str, Any] = {"encryption_enabled": self.encrypts}
        if ENCRYPTION_ENABLED:
            from nio.store import SqliteStore  # not there without the libraries for encryption

            options |= {"store": SqliteStore, "store_name": store.keys, "pickle_key": device.pickle_key}
        config = nio.AsyncClientConfig(max_limit_exceeded=0, max_timeouts=0, request_timeout=seconds, **options)
        self.client = _Client(device.address, device.user_id, device.device_id, str(store.directory), config)
        self.client.restore_login(device.user_id, device.device_id, device.token)
        store.protect()
        self.fingerprint = str(self.client.olm.account.identity_keys["ed25519"]) if self.encrypts else ""
        """What a person compares who verifies this device by hand."""
        self._sending: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def rooms(self) -> Mapping[str, Any]:
        """The joined rooms (``nio.MatrixRoom``), as of the last sync."""
        rooms: Mapping[str, Any] = self.client.rooms
        return rooms

    async def close(self) -> None:
        """End the connections, and close the database."""
        await self.client.close()
        if self.client.store is not None:
            self.client.store.database.close()

    async def take_in(self, raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Learn what a sync tells of rooms and keys; return the events that could be decrypted, by their ids.

        All of it is one transaction: a process that dies here has learnt nothing, and is told again.
        """
        response = _parsed(raw) or _parsed(readable(raw))
        if response is None:
            raise Unavailable("the homeserver's sync can't be read")
        with self._transaction():
            await self.client.receive_response(response)
        for room_id in encrypted_rooms(raw):
            # Also where the library does not know the way of it: nothing goes there in the clear.
            if room_id in self.client.rooms:
                self.client.rooms[room_id].encrypted = True
        return {
            event.event_id: event.source
            for room in response.rooms.join.values()
            for event in room.timeline.events
            if getattr(event, "decrypted", False)
        }

    def leave(self, room_id: str) -> None:
        """Forget a room that the account is in no more."""
        self.client.rooms.pop(room_id, None)

    def begin_anew(self) -> None:
        """Ask for everybody's devices again: what has changed of them meanwhile nobody tells."""
        if self.encrypts:
            self.client.olm.users_for_key_query.update(self.client.device_store.users)

    async def keep_up(self) -> None:
        """Do what a sync may have made due: publish keys, ask for others' keys, answer devices.

        Raises:
            Unavailable: not now; it is due again after the next sync.
        """
        if not self.encrypts:
            return
        with _in_words():
            if self.client.should_upload_keys:
                _checked(await self.client.keys_upload())
            if self.client.should_query_keys:
                await self._query()
            if self.client.should_claim_keys:
                _checked(await self.client.keys_claim(self.client.get_users_for_key_claiming()))
            for answer in await self.client.send_to_device_messages():
                _checked(answer)

    def open(self, room_id: str, source: dict[str, Any]) -> dict[str, Any] | None:
        """Return what is in an encrypted event; None while its key is not there.

        Raises:
            Malformed: it is no such event.
        """
        event = nio.Event.parse_event(source)
        if not isinstance(event, nio.MegolmEvent):
            raise Malformed("it is encrypted in a way that nobody knows")
        if not self.encrypts:
            return None
        event.room_id = room_id
        try:
            opened = self.client.decrypt_event(event)
        except nio.EncryptionError:
            return None
        if not isinstance(opened, nio.Event):
            raise Malformed("what is encrypted in it is no event")
        found: dict[str, Any] = opened.source
        return found

    async def request(self, room_id: str, source: dict[str, Any]) -> None:
        """Ask the account's other devices for an event's key; they have it if they were in the room."""
        event = nio.Event.parse_event(source)
        if not self.encrypts or not isinstance(event, nio.MegolmEvent):
            return
        event.room_id = room_id
        if event.session_id not in self.client.outgoing_key_requests:
            with _in_words():
                _checked(await self.client.request_room_key(event))

    async def encrypt(self, room_id: str, kind: str, content: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return an event's type and content as a room wants them.

        Raises:
            Refused: the room wants it encrypted, and that can't be done here.
            Unavailable: somebody's keys can't be had, or given, at the moment.
        """
        room = self.rooms.get(room_id)
        if room is None:
            raise Unavailable("the account is not in this room yet")
        if not room.encrypted or kind == "m.reaction":
            return kind, content
        if not self.encrypts:
            raise Refused("the room is encrypted, and this channel does not encrypt", hint="ncl channels list")
        lock = self._sending.setdefault(room_id, asyncio.Lock())
        async with lock:
            with _in_words():
                if not room.members_synced:
                    _checked(await self.client.joined_members(room_id))
                if self.client.should_query_keys:
                    await self._query()
                if self.client.olm.should_share_group_session(room_id):
                    await self._share(room)
                sealed: tuple[str, dict[str, Any]] = self.client.encrypt(room_id, kind, content)
        return sealed

    async def export(self, passphrase: str) -> bytes:
        """Return all keys of rooms as a file, encrypted, as other clients import them ("export room keys").

        Raises:
            Refused: there are none.
            Unavailable: the disk is full.
        """
        if not self.encrypts:
            raise Refused("this channel does not encrypt: it has no keys")
        with self._file() as path:
            inner = secrets.token_hex(16)
            await self.client.export_keys(str(path), inner, count=1)
            return await asyncio.to_thread(lambda: key_file.seal(key_file.unseal(path.read_bytes(), inner), passphrase))

    async def bring_in(self, content: bytes, passphrase: str) -> int:
        """Learn keys of rooms from a file that another client has exported; return how many were new.

        Raises:
            Refused: the passphrase is wrong, or it is no such file.
            Unavailable: the disk is full.
        """
        if not self.encrypts:
            raise Refused("this channel does not encrypt: it has no use for keys")
        with self._file() as path:
            inner = secrets.token_hex(16)

            def read() -> Any:
                path.write_bytes(key_file.seal(key_file.unseal(content, passphrase), inner, rounds=1))
                return self.client.olm.import_keys_static(str(path), inner)

            try:
                sessions = await asyncio.to_thread(read)
            except (nio.EncryptionError, ValueError, TypeError, RecursionError) as error:
                raise Refused(f"the keys can't be read: {error}") from error
        with self._transaction():
            new = [session for session in sessions if self._is_new(session)]
            for session in new:
                self.client.olm.inbound_group_store.add(session)
                self.client.store.save_inbound_group_session(session)
        return len(new)

    def _is_new(self, session: Any) -> bool:
        """Tell whether a room's key opens what the one that is known does not."""
        known = self.client.olm.inbound_group_store.get(session.room_id, session.sender_key, session.id)
        return known is None or session.first_known_index < known.first_known_index

    @contextlib.contextmanager
    def _file(self) -> Iterator[Path]:
        """Give the library, which knows files only, one for a moment: beside its database, which has the same keys."""
        try:
            with tempfile.TemporaryDirectory(prefix="keys-", suffix=".tmp", dir=self.client.store_path) as directory:
                yield Path(directory, "keys")
        except OSError as error:
            raise Unavailable(f"the keys can't be written: {error.strerror}") from error

    async def _query(self) -> None:
        known = {user: set(self.client.device_store[user]) for user in self.client.users_for_key_query}
        response = _checked(await self.client.keys_query())
        for user, devices in response.changed.items():
            for device_id in devices.keys() - known.get(user, set()):
                log.info("messages are encrypted for a new device of %s from now on: %.100s", user, device_id)

    async def _share(self, room: Any) -> None:
        """Give the room's present key to everybody's devices; all of them, or it is not used."""
        missing = self.client.get_missing_sessions(room.room_id)
        if missing:
            _checked(await self.client.keys_claim(missing))
        for user, devices in self.client.get_missing_sessions(room.room_id).items():
            log.warning("devices of %s can't be encrypted for: they have no keys left: %s", user, sorted(devices)[:5])
        response = await self.client.share_group_session(room.room_id, ignore_unverified_devices=True)
        session = self.client.olm.outbound_group_sessions.get(room.room_id)
        given = {*response.users_shared_with, *(session.users_shared_with if session is not None else ())}
        for user in room.users:
            for device in self.client.device_store.active_user_devices(user):
                if device.id == self.client.device_id or self.client.olm.session_store.get(device.curve25519) is None:
                    continue
                if (user, device.id) not in given:
                    self.client.olm.outbound_group_sessions.pop(room.room_id, None)
                    raise Unavailable("the room's new key did not reach everybody's devices")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if self.client.store is None:
            yield
            return
        with self.client.store.database.atomic():
            yield


def _checked(response: Any) -> Any:
    if isinstance(response, nio.ErrorResponse):
        code = response.status_code
        told = {"errcode": code if isinstance(code, str) else "", "error": response.message}
        if response.retry_after_ms is not None:
            told |= {"retry_after_ms": response.retry_after_ms}
        status = getattr(response.transport_response, "status", 500)
        error = refusal(status, told)
        raise error if isinstance(error, RateLimited) else Unavailable(f"keys: {error.message}")
    return response


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    import aiohttp  # beside the library, which uses it

    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"the homeserver can't be reached: {type(error).__name__}") from error
    except nio.LocalProtocolError as error:
        raise Unavailable(f"the Matrix library: {error}") from error


@contextlib.contextmanager
def _survived(what: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("something odd was left out: %.100s", what)


def _parsed(raw: dict[str, Any]) -> Any:
    """Return a sync as the library has it; None where it can't read it, which it says in several ways."""
    try:
        response = nio.SyncResponse.from_dict(raw)
    except Exception:
        return None
    return response if isinstance(response, nio.SyncResponse) else None
