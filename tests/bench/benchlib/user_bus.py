"""The user manager of the sessions, over its bus: when units go, and how long a reload takes."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.auth import UID_NOT_SPECIFIED, AuthExternal

from benchlib.machine import Owner, acting_as

PATIENCE_SECONDS = 120.0
_SYSTEMD = "org.freedesktop.systemd1"
_DBUS = "org.freedesktop.DBus"
_LOADED = ("nanoclaw-*@*.service", "nanoclaw-*@*.socket")


class UserBus:
    """Blocking calls, each with events underneath. Its loop turns only while somebody waits here."""

    def __init__(self, owner: Owner) -> None:
        self._loop = asyncio.new_event_loop()
        self._bus: MessageBus
        self._gone = asyncio.Event()
        with acting_as(owner.uid, owner.gid):
            self._wait(self._connect(f"unix:path={owner.runtime_directory}/bus"))

    @property
    def manager_pid(self) -> int:
        """The user manager's process."""
        return int(self._wait(self._call(_DBUS, "GetConnectionUnixProcessID", "s", [_SYSTEMD]))[0])

    def loaded(self) -> list[str]:
        """Return the session units that are loaded."""
        rows = self._wait(self._call(f"{_SYSTEMD}.Manager", "ListUnitsByPatterns", "asas", [[], list(_LOADED)]))[0]
        return [str(row[0]) for row in rows]

    def wait_all_asleep(self) -> None:
        """Return when no session has a loaded unit."""
        self._wait(asyncio.wait_for(self._until_none_is_loaded(), PATIENCE_SECONDS))

    def reload(self) -> float:
        """Reload the manager; return how long it took, in seconds."""
        begun = time.perf_counter()
        self._wait(self._call(f"{_SYSTEMD}.Manager", "Reload", "", []))
        return time.perf_counter() - begun

    def close(self) -> None:
        """Let the connection go."""
        self._bus.disconnect()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _until_none_is_loaded(self) -> None:
        while True:
            self._gone.clear()
            rows = await self._call(f"{_SYSTEMD}.Manager", "ListUnitsByPatterns", "asas", [[], list(_LOADED)])
            if not rows[0]:
                return
            await self._gone.wait()

    async def _connect(self, address: str) -> None:
        # The uid that the kernel tells is the effective one; the library would claim the real one.
        auth = AuthExternal(UID_NOT_SPECIFIED)
        self._bus = await MessageBus(bus_address=address, bus_type=BusType.SESSION, auth=auth).connect()
        self._bus.add_message_handler(self._on_message)
        match = f"type='signal',sender='{_SYSTEMD}',interface='{_SYSTEMD}.Manager',member='UnitRemoved'"
        await self._call(_DBUS, "AddMatch", "s", [match])
        await self._call(f"{_SYSTEMD}.Manager", "Subscribe", "", [])

    def _on_message(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member == "UnitRemoved":
            self._gone.set()

    async def _call(self, interface: str, member: str, signature: str, body: list[Any]) -> list[Any]:
        service = _DBUS if interface == _DBUS else _SYSTEMD
        path = "/org/freedesktop/DBus" if interface == _DBUS else "/org/freedesktop/systemd1"
        message = Message(
            destination=service, path=path, interface=interface, member=member, signature=signature, body=body
        )
        reply = await self._bus.call(message)
        if reply is None or reply.message_type is MessageType.ERROR:
            raise RuntimeError(f"{member}: {reply.body if reply else 'no reply'}")
        return list(reply.body)

    def _wait[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)
