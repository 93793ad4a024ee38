"""A typed, asynchronous, race-free client of the systemd user manager that runs the sessions.

Order of every operation: subscribe, then call, then wait for the job (org.freedesktop.systemd1(5), "JobRemoved"). The
bus is reconnected with back-off; whoever watches units is told to read them anew.
"""

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from nanoclawd.errors import Unavailable

log = logging.getLogger(__name__)

_SERVICE: Final = "org.freedesktop.systemd1"
_MANAGER_PATH: Final = "/org/freedesktop/systemd1"
_MANAGER: Final = "org.freedesktop.systemd1.Manager"
_UNIT: Final = "org.freedesktop.systemd1.Unit"
_UNIT_SOCKET: Final = "org.freedesktop.systemd1.Socket"
_UNIT_SERVICE: Final = "org.freedesktop.systemd1.Service"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_UNIT_PATH_PREFIX: Final = "/org/freedesktop/systemd1/unit/"
_MATCHES: Final = (
    f"type='signal',sender='{_SERVICE}',interface='{_MANAGER}',member='JobRemoved'",
    (
        f"type='signal',sender='{_SERVICE}',interface='{_PROPERTIES}',member='PropertiesChanged',"
        f"path_namespace='{_MANAGER_PATH}/unit'"
    ),
)
CALL_TIMEOUT_SECONDS: Final = 30.0
JOB_TIMEOUT_SECONDS: Final = 90.0
_RECONNECT_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_ESCAPED = re.compile(b"_([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class UnitState:
    """What systemd says of a unit (systemd.unit states; ``result`` and ``exit_status`` of services only)."""

    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    status_text: str = ""
    exit_status: int = 0

    @property
    def running(self) -> bool:
        """Whether its processes may be there."""
        return self.active in ("active", "activating", "deactivating", "reloading")


type UnitListener = Callable[[str, UnitState], None]


class UserManager:
    """The user manager behind ``$XDG_RUNTIME_DIR/bus``."""

    def __init__(self, bus_address: str) -> None:
        self._address = bus_address
        self._bus: MessageBus | None = None
        self._connected = asyncio.Event()
        self._jobs: dict[str, asyncio.Future[str]] = {}
        self._early_jobs: dict[str, str] = {}
        self._starting = 0
        self._calls: set[asyncio.Future[Message | None]] = set()
        self._units: dict[str, tuple[UnitState, UnitListener]] = {}
        self._reload = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self.on_reconnect: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Begin to keep a connection; does not wait for it."""
        self._keeper = asyncio.create_task(self._keep_connected(), name="user-bus")

    async def stop(self) -> None:
        """Let the connection go."""
        if self._keeper is not None:
            self._keeper.cancel()
        if self._bus is not None:
            self._bus.disconnect()

    async def wait_connected(self, timeout: float) -> None:  # noqa: ASYNC109  # the bound is the caller's
        """Wait until the bus answers.

        Raises:
            Unavailable: it did not within the timeout (seconds).
        """
        try:
            await asyncio.wait_for(self._connected.wait(), timeout)
        except TimeoutError as error:
            raise Unavailable(
                "the systemd user manager of user nanoclaw does not answer",
                hint="systemctl status user@$(id -u nanoclaw).service",
            ) from error

    def watch(self, unit: str, listener: UnitListener) -> None:
        """Tell a listener of every later change of a unit's state or status text."""
        self._units[unit] = (UnitState(), listener)

    def unwatch(self, unit: str) -> None:
        """Stop telling."""
        self._units.pop(unit, None)

    async def state(self, unit: str) -> UnitState:
        """Read a unit's state now; a unit that is not loaded is inactive."""
        path = unit_path(unit)
        try:
            unit_values = await self._properties(path, _UNIT)
            values = await self._properties(path, _UNIT_SERVICE) if unit.endswith(".service") else {}
        except DBusError as error:
            log.debug("state of %s: %s", unit, error)
            return UnitState()
        state = _updated(_updated(UnitState(), unit_values), values)
        if unit in self._units:
            self._units[unit] = (state, self._units[unit][1])
        return state

    async def addresses(self, unit: str) -> tuple[str, ...]:
        """Return where a socket unit listens, or would if it were started; nowhere if there is no such unit."""
        try:
            values = await self._properties(unit_path(unit), _UNIT_SOCKET)
        except DBusError as error:
            log.debug("addresses of %s: %s", unit, error)
            return ()
        return tuple(str(address) for _kind, address in values["Listen"].value) if "Listen" in values else ()

    async def running_units(self, pattern: str) -> dict[str, UnitState]:
        """List the loaded units of a name pattern."""
        body = await self._call(_MANAGER_PATH, _MANAGER, "ListUnitsByPatterns", "asas", [[], [pattern]])
        return {row[0]: UnitState(active=row[3], sub=row[4]) for row in body[0]}

    async def start_unit(self, unit: str, patience: float = JOB_TIMEOUT_SECONDS) -> str:
        """Start a unit and wait for the job; returns the job's result (``done``, ``failed``, ``dependency``, …).

        Raises:
            Unavailable: the job did not end within the patience (seconds), or the bus closed.
        """
        return await self._job("StartUnit", "ss", [unit, "replace"], patience)

    async def stop_unit(self, unit: str) -> str:
        """Stop a unit and wait for the job."""
        return await self._job("StopUnit", "ss", [unit, "replace"])

    async def begin_stop(self, unit: str) -> None:
        """Ask for a unit's stop without waiting for it."""
        await self._call_tolerant("StopUnit", "ss", [unit, "replace"])

    async def kill_unit(self, unit: str) -> None:
        """Send SIGKILL to all of a unit's processes."""
        await self._call_tolerant("KillUnit", "ssi", [unit, "all", 9])

    async def reset_failed(self, unit: str) -> None:
        """Forget a unit's failure and its start limit counters."""
        await self._call_tolerant("ResetFailedUnit", "s", [unit])

    async def reload(self) -> None:
        """Reload the manager: one at a time, because two generators at once have corrupted units (Podman #29004)."""
        async with self._reload:
            await self._call(_MANAGER_PATH, _MANAGER, "Reload", "", [])

    async def run_transient(self, unit: str, command: list[str], description: str) -> str:
        """Run a command as a transient oneshot service of the user manager and wait for it; the job's result."""
        properties = [
            ["Description", Variant("s", description)],
            ["Type", Variant("s", "oneshot")],
            ["CollectMode", Variant("s", "inactive-or-failed")],
            ["ExecStart", Variant("a(sasb)", [[command[0], command, False]])],
        ]
        return await self._job("StartTransientUnit", "ssa(sv)a(sa(sv))", [unit, "fail", properties, []])

    async def _job(self, member: str, signature: str, body: list[Any], patience: float = JOB_TIMEOUT_SECONDS) -> str:
        self._starting += 1
        try:
            answer = await self._call(_MANAGER_PATH, _MANAGER, member, signature, body)
            job = str(answer[0])
            done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            early = self._early_jobs.pop(job, None)
            if early is not None:
                return early
            self._jobs[job] = done
        finally:
            self._starting -= 1
            if not self._starting:
                self._early_jobs.clear()
        try:
            return await asyncio.wait_for(done, patience)
        except TimeoutError as error:
            raise Unavailable(f"systemd did not finish {member} {body[0]}") from error
        finally:
            self._jobs.pop(job, None)

    async def _call_tolerant(self, member: str, signature: str, body: list[Any]) -> None:
        """Call for a unit that may have gone meanwhile."""
        try:
            await self._call(_MANAGER_PATH, _MANAGER, member, signature, body)
        except DBusError as error:
            log.debug("%s %s: %s", member, body[0], error)

    async def _properties(self, path: str, interface: str) -> dict[str, Variant]:
        body = await self._call(path, _PROPERTIES, "GetAll", "s", [interface])
        return dict(body[0])

    async def _call(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> list[Any]:
        await self.wait_connected(CALL_TIMEOUT_SECONDS)
        bus = self._bus
        if bus is None:
            raise Unavailable("the user manager's bus has gone")
        message = Message(
            destination=_SERVICE, path=path, interface=interface, member=member, signature=signature, body=body
        )
        call = asyncio.ensure_future(bus.call(message))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        try:
            reply = await asyncio.wait_for(call, CALL_TIMEOUT_SECONDS)
        except asyncio.CancelledError:
            if bus is self._bus:
                raise
            raise Unavailable(f"the user manager's bus closed before it answered {member}") from None
        except (TimeoutError, OSError, EOFError) as error:
            raise Unavailable(f"systemd did not answer {member}") from error
        if reply is None:
            return []
        if reply.message_type is MessageType.ERROR:
            raise DBusError._from_message(reply)  # noqa: SLF001  # the library's own way to make the error
        return list(reply.body)

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            try:
                bus = await MessageBus(bus_address=self._address, bus_type=BusType.SESSION).connect()
                bus.add_message_handler(self._on_message)
                await self._subscribe(bus)
            except Exception as error:
                # Whatever it is, nobody else would ever connect again.
                wait = _RECONNECT_SECONDS[min(attempt, len(_RECONNECT_SECONDS) - 1)]
                if attempt == 0:
                    log.warning("the user manager's bus does not answer (%s); trying again", error)
                attempt += 1
                await asyncio.sleep(wait)
                continue
            attempt = 0
            self._bus = bus
            self._connected.set()
            self.on_reconnect()
            reason = await _end_of(bus)
            log.warning("the user manager's bus has closed (%s)", reason)
            self._connected.clear()
            self._bus = None
            self._abandon()

    async def _subscribe(self, bus: MessageBus) -> None:
        for match in _MATCHES:
            await bus.call(
                Message(
                    destination="org.freedesktop.DBus",
                    path="/org/freedesktop/DBus",
                    interface="org.freedesktop.DBus",
                    member="AddMatch",
                    signature="s",
                    body=[match],
                )
            )
        await bus.call(
            Message(destination=_SERVICE, path=_MANAGER_PATH, interface=_MANAGER, member="Subscribe", signature="")
        )

    def _abandon(self) -> None:
        """Whoever waits for this connection's answers would wait for ever."""
        for call in tuple(self._calls):
            call.cancel()
        for done in self._jobs.values():
            if not done.done():
                done.set_exception(Unavailable("the user manager's bus has closed"))

    def _on_message(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member == "JobRemoved":
            self._on_job_removed(str(message.body[1]), str(message.body[3]))
        elif message.member == "PropertiesChanged":
            self._on_changed(str(message.path), dict(message.body[1]))

    def _on_job_removed(self, job: str, result: str) -> None:
        done = self._jobs.get(job)
        if done is not None and not done.done():
            done.set_result(result)
        elif self._starting:
            self._early_jobs[job] = result

    def _on_changed(self, path: str, values: dict[str, Variant]) -> None:
        unit = unit_name(path)
        watched = self._units.get(unit)
        if watched is None:
            return
        before, listener = watched
        state = _updated(before, values)
        if state == before:
            return
        self._units[unit] = (state, listener)
        listener(unit, state)


async def _end_of(bus: MessageBus) -> str:
    """Wait until a connection has ended, and say how; the library raises when the other side ended it."""
    try:
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
    except Exception as error:
        return str(error) or type(error).__name__
    return "in good order"


def unit_path(unit: str) -> str:
    """Return a unit's object path (sd_bus_path_encode(3))."""
    return _UNIT_PATH_PREFIX + "".join(
        chr(byte)
        if chr(byte).isascii() and (chr(byte).isalpha() or (chr(byte).isdigit() and index))
        else f"_{byte:02x}"
        for index, byte in enumerate(unit.encode())
    )


def unit_name(path: str) -> str:
    """Return the unit of an object path."""
    escaped = path.removeprefix(_UNIT_PATH_PREFIX).encode()
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), escaped).decode(errors="replace")


def _updated(state: UnitState, values: dict[str, Variant]) -> UnitState:
    names = {
        "ActiveState": "active",
        "SubState": "sub",
        "Result": "result",
        "StatusText": "status_text",
        "ExecMainStatus": "exit_status",
    }
    changed = {field: values[key].value for key, field in names.items() if key in values}
    return replace(state, **changed) if changed else state
