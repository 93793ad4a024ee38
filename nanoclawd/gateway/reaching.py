"""From a host's name to a connection with an address that was looked at: what is checked is what is connected to."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import aiohappyeyeballs

from nanoclawd.egress.addresses import special
from nanoclawd.egress.targets import Target, is_address

LOOK_UP_SECONDS: Final = 10.0
CONNECT_SECONDS: Final = 20.0
HEAD_START_SECONDS: Final = 0.25
"""Of an address before the next one is tried beside it (RFC 8305)."""

LOOK_UPS_AT_ONCE: Final = 4
"""Of one group: names that nobody answers for hold threads, and others need some."""

_THREADS: Final = 32
_MAX_ADDRESSES: Final = 8

type _Found = list[tuple[Any, Any, int, str, Any]]
type LookUp = Callable[..., _Found]
type Connecting = Callable[[_Found], Awaitable[socket.socket]]


class Unreachable(Exception):  # noqa: N818  # an answer, not a fault
    """There is no connection.

    Attributes:
        kind: a word for programs.
        message: why, for a person.
        is_forbidden: the address was not to be connected to; otherwise it did not work.
    """

    def __init__(self, kind: str, message: str, *, is_forbidden: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.is_forbidden = is_forbidden


class Reaching:
    """Looks names up in threads of its own, and connects."""

    def __init__(self, look_up: LookUp = socket.getaddrinfo, connecting: Connecting | None = None) -> None:
        self._look_up = look_up
        self._connecting = connecting or _connected
        self._pool = ThreadPoolExecutor(_THREADS, "names")
        self._slots: dict[str, asyncio.Semaphore] = {}

    def close(self) -> None:
        """Start no more; a thread that waits for a name server is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def connect(self, group: str, target: Target, *, may_be_private: bool) -> socket.socket:
        """Return a connected socket, non-blocking.

        Args:
            group: for whom; its look-ups are bounded.
            target: where to.
            may_be_private: the owner has allowed addresses that are not on the internet for this host and port.

        Raises:
            Unreachable: there is none.
        """
        found = await self.look(group, target, may_be_private=may_be_private)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                connection = await self._connecting(found[:_MAX_ADDRESSES])
        except TimeoutError:
            raise Unreachable("timeout", f"{target} does not answer") from None
        except OSError as error:
            raise Unreachable("unreachable", f"{target} cannot be reached ({_reason(error)})") from None
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    async def look(self, group: str, target: Target, *, may_be_private: bool) -> _Found:
        """Return the addresses that may be connected to; parameters and errors are those of :meth:`connect`."""
        found = await self._addresses(group, target)
        return found if may_be_private else _on_the_internet(target, found)

    async def _addresses(self, group: str, target: Target) -> list[tuple[Any, Any, int, str, Any]]:
        if is_address(target.host):
            # Nobody is asked.
            return [_literal(target)]
        hints = {"type": socket.SOCK_STREAM, "proto": socket.IPPROTO_TCP}
        slots = self._slots.get(group)
        if slots is None:
            slots = self._slots[group] = asyncio.Semaphore(LOOK_UPS_AT_ONCE)
        loop = asyncio.get_running_loop()

        def free(_job: object) -> None:
            # A thread goes on when nobody waits for it any more; until it ends it counts.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(slots.release)

        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                await slots.acquire()
                try:
                    job = self._pool.submit(self._look_up, target.host, target.port, **hints)
                except RuntimeError:
                    slots.release()
                    raise Unreachable("stopping", "the gateway is being stopped") from None
                job.add_done_callback(free)
                return await asyncio.wrap_future(job)
        except TimeoutError:
            raise Unreachable("name_timeout", f"no name server answers for {target.host}") from None
        except (OSError, UnicodeError):
            raise Unreachable("unknown_name", f"the name {target.host} cannot be resolved") from None


def _literal(target: Target) -> tuple[Any, Any, int, str, Any]:
    """Return what getaddrinfo(3) says of an address in its one form."""
    if ":" in target.host:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (target.host, target.port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (target.host, target.port)


async def _connected(found: _Found) -> socket.socket:
    if len(found) == 1:
        return await _at_once(found[0])
    return await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=HEAD_START_SECONDS, interleave=1)


async def _at_once(address: tuple[Any, Any, int, str, Any]) -> socket.socket:
    family, kind, protocol, _, where = address
    connection = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        await asyncio.get_running_loop().sock_connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


def _on_the_internet(
    target: Target, found: list[tuple[Any, Any, int, str, Any]]
) -> list[tuple[Any, Any, int, str, Any]]:
    """Return the addresses that anybody may connect to.

    Raises:
        Unreachable: there are none.
    """
    left, words = [], "no address"
    for one in found:
        text = str(one[4][0])
        reason = special(text) or ("the machine itself" if _is_own(one[0], one[4]) else None)
        if reason is None:
            left.append(one)
        else:
            words = reason
    if not left:
        raise Unreachable("address_not_allowed", f"{target.host} is {words}", is_forbidden=True)
    return left


def _is_own(family: int, address: Any) -> bool:
    """Tell whether an address is one of this machine: what connects to it would connect from it. Nothing is sent."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.connect(address)
            return bool(probe.getsockname()[0] == address[0])
    except OSError:
        return False


def _reason(error: OSError) -> str:
    number = error.errno
    if number is None:
        return "no address answers"
    words = {errno.ECONNREFUSED: "connection refused", errno.EHOSTUNREACH: "no route to it"}
    return words.get(number) or (errno.errorcode.get(number, "it failed"))
