"""Pairing: whoever sends a code to an account is the person who had it made, at the operator's terminal.

The first becomes the owner, where there is none; later ones become known to an agent, or its admins. Their direct chat
is connected to the agent. A code is known to this process only: a daemon that ends, ends its pairings.
"""

import asyncio
import hmac
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import apsw

from nanoclaw_runner.contract.clock import now_text
from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.contract.transaction import writing
from nanoclawd.config import Access
from nanoclawd.delivery.outbox import HostOutbox, words
from nanoclawd.errors import InvalidName, NotFound, Refused
from nanoclawd.journal import about
from nanoclawd.routing.event import InboundEvent
from nanoclawd.routing.ports import AbilitiesOf
from nanoclawd.routing.wirings import default_wiring, wire
from nanoclawd.store import agent_groups, chats, host_messages, members, roles, user_dms, users
from nanoclawd.store.database import Database

log = logging.getLogger(__name__)

VALID_SECONDS: Final = 600.0
MAX_WRONG: Final = 5
ROLES: Final = ("member", "admin")
_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_HALF: Final = 5
_SAID: Final = re.compile(r"(?:/start(?:@\w+)?\s+)?([A-Za-z2-7]{5})-([A-Za-z2-7]{5})")
_KEPT: Final = 100


class PairingState(StrEnum):
    """How a pairing is."""

    WAITING = "waiting"
    PAIRED = "paired"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Pairing:
    """A pairing as it is shown.

    Attributes:
        id: names it to whoever has begun it; the code is for the person.
        reason: why it has ended without anybody.
        user: who has sent the code, with their shown name, and what they are now.
        group: the folder of the agent that hears their direct chat; None: no agent does.
    """

    id: str
    channel: str
    code: str
    expires_at: str
    state: PairingState = PairingState.WAITING
    reason: str = ""
    user: str | None = None
    name: str | None = None
    role: str | None = None
    group: str | None = None


@dataclass(slots=True)
class _Pending:
    shown: Pairing
    group: str | None
    role: str
    ends: float
    wrong: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def finish(self, shown: Pairing) -> None:
        self.shown = shown
        self.over.set()


class Pairings:
    """The pairings of all channels, one at a time for each."""

    def __init__(
        self,
        database: Database,
        outbox: HostOutbox,
        abilities: AbilitiesOf,
        access: Access,
        project: Callable[[str], Awaitable[object]],
        decided: Callable[[], object],
    ) -> None:
        """Prepare.

        Args:
            database: the central one.
            outbox: says to the person that it is done.
            abilities: what a channel's platform can.
            access: the rules for chats, and the default agent.
            project: has the sessions of an agent (by id) know whom it may write to.
            decided: there is somebody now who may decide what waits.
        """
        self._database = database
        self._outbox = outbox
        self._abilities = abilities
        self._access = access
        self._project = project
        self._decided = decided
        self._by_channel: dict[str, _Pending] = {}
        self._all: dict[str, _Pending] = {}
        self._taken: dict[tuple[Address, str], None] = {}
        self._turn = asyncio.Lock()

    async def start(self, channel: str, group: str | None, role: str | None) -> Pairing:
        """Begin a pairing on a channel in place of the one before.

        Raises:
            NotFound: there is no such group.
            InvalidName: no such role.
            Refused: several agents are there, and none was named.
        """
        if role is not None and role not in ROLES:
            raise InvalidName(f"{role[:40]!r} is nothing that a pairing makes of a person: {' or '.join(ROLES)}")
        folder = await self._database.run(_agent, group, self._access.default_group)
        self._end(channel, "another one was begun")
        code = "".join(secrets.choice(_ALPHABET) for _ in range(2 * _HALF))
        shown = Pairing(
            id=secrets.token_hex(8),
            channel=channel,
            code=f"{code[:_HALF]}-{code[_HALF:]}",
            expires_at=now_text(plus_seconds=VALID_SECONDS),
        )
        pending = _Pending(shown, folder, role or ROLES[0], time.monotonic() + VALID_SECONDS)
        self._by_channel[channel] = self._all[shown.id] = pending
        while len(self._all) > _KEPT:
            del self._all[next(iter(self._all))]
        return shown

    async def outcome(self, pairing_id: str, seconds: float) -> Pairing:
        """Wait until a pairing is over, or so long, and return it.

        Raises:
            NotFound: there is none.
        """
        pending = self._all.get(pairing_id)
        if pending is None:
            raise NotFound("there is no such pairing; a restart of the daemon ends them", hint="ncl channels pair NAME")
        left = min(seconds, pending.ends - time.monotonic())
        try:
            async with asyncio.timeout(max(left, 0.0)):
                await pending.over.wait()
        except TimeoutError:
            if time.monotonic() >= pending.ends:
                self._end(pending.shown.channel, "nobody has sent the code in time", pending)
        return pending.shown

    async def take(self, event: InboundEvent) -> bool:
        """Look whether a message is a code, and do what follows; False where it is an ordinary message.

        Only a direct chat counts: in a group everybody would read the code.

        Raises:
            Unavailable: it could not be stored.
        """
        channel = event.address.channel_type
        if channel not in self._by_channel and not self._taken:
            return False
        said = _SAID.fullmatch(event.text.strip())
        if said is None or event.is_group or not event.is_speech or event.sender.user_id is None:
            return False
        async with self._turn:
            if (event.address, event.message_id) in self._taken:
                return True  # told again
            pending = self._by_channel.get(channel)
            if pending is None:
                return False
            if time.monotonic() >= pending.ends:
                self._end(channel, "nobody has sent the code in time")
                return False
            code = f"{said[1]}-{said[2]}".upper()
            if not hmac.compare_digest(code.encode(), pending.shown.code.encode()):
                await self._wrong(pending, event)
            else:
                await self._right(pending, event, event.sender.user_id)
            self._taken[event.address, event.message_id] = None
            while len(self._taken) > _KEPT:
                del self._taken[next(iter(self._taken))]
        return True

    async def _wrong(self, pending: _Pending, event: InboundEvent) -> None:
        pending.wrong += 1
        channel = pending.shown.channel
        log.warning("a wrong pairing code on %s, from %s", channel, event.sender.user_id, extra=about(channel=channel))
        if pending.wrong >= MAX_WRONG:
            self._end(channel, f"{MAX_WRONG} wrong codes were sent")
        await self._outbox.post(_id(event), event.address, "That code is not right.")

    async def _right(self, pending: _Pending, event: InboundEvent, user_id: str) -> None:
        channel = pending.shown.channel
        threads = self._abilities(channel).threads
        role, group_id = await self._database.run(
            _pair, event, user_id, pending.group, pending.role, threads, self._access
        )
        self._by_channel.pop(channel, None)
        name = event.sender.name or None
        pending.finish(
            replace(pending.shown, state=PairingState.PAIRED, user=user_id, name=name, role=role, group=pending.group)
        )
        log.info("%s was paired on %s and is %s now", user_id, channel, role, extra=about(channel=channel))
        self._outbox.nudge()
        if group_id is not None:
            await self._project(group_id)
        self._decided()

    def _end(self, channel: str, reason: str, only: _Pending | None = None) -> None:
        pending = self._by_channel.get(channel)
        if pending is None or (only is not None and pending is not only):
            return
        del self._by_channel[channel]
        pending.finish(replace(pending.shown, state=PairingState.ENDED, reason=reason))


def _agent(connection: apsw.Connection, group: str | None, default: str | None) -> str | None:
    """Return the folder of the agent that is to hear the person, or None where there is no agent at all."""
    if group is not None:
        return agent_groups.by_folder(connection, group).folder
    folders = [one.folder for one in agent_groups.every(connection)]
    if default in folders:
        return default
    if len(folders) > 1:
        raise Refused("there are several agents: say which one is to answer", hint="ncl groups list")
    return folders[0] if folders else None


def _pair(
    connection: apsw.Connection,
    event: InboundEvent,
    user_id: str,
    folder: str | None,
    role: str,
    threads: bool,
    access: Access,
) -> tuple[str, str | None]:
    """Make a person known, connect their direct chat, and say so; return what they are, and the agent's id."""
    address = event.address
    with writing(connection):
        users.ensure(connection, user_id, event.sender.name or None)
        group = None if folder is None else agent_groups.by_folder(connection, folder)
        standing = _stand(connection, user_id, group.id if group else None, role)
        chat = chats.by_address(connection, address.channel_type, address.platform_id)
        if chat is None:
            chat = chats.create(
                connection,
                address.channel_type,
                address.platform_id,
                name=event.chat_name,
                unknown_sender_policy=access.unknown_senders,
            )
        if chat.denied_at is not None:
            chats.undeny(connection, chat.id)
        user_dms.remember(connection, user_id, address.channel_type, chat.id)
        heard = {one.agent_group_id for one in chats.wirings_of_chat(connection, chat.id)}
        if group is not None and group.id not in heard:
            wire(connection, chat.id, group.id, default_wiring(is_group=False, threads=threads))
        text = f"Paired: you are {standing} here."
        text += f" {group.name} answers in this chat." if group else " There is no agent yet that could answer."
        host_messages.post(connection, words(_id(event), address, text))
    return standing, group.id if group else None


def _stand(connection: apsw.Connection, user_id: str, group_id: str | None, role: str) -> str:
    """Give a person what a pairing gives, unless they are more already; return what they are, in words."""
    if not roles.has_owner(connection):
        roles.grant(connection, user_id, "owner", granted_by=user_id)
        return "the owner"
    standing = roles.standing(connection, user_id)
    if standing.is_owner:
        return "an owner"
    if role == "admin" and not standing.may_administer(group_id):
        roles.grant(connection, user_id, "admin", group_id)
    elif group_id is not None and not standing.may_access(group_id):
        members.add(connection, user_id, group_id)
    if role == "admin" or standing.may_administer(group_id):
        return "an admin"
    return "known"


def _id(event: InboundEvent) -> str:
    return f"pairing-{event.address.channel_type}-{event.address.platform_id}-{event.message_id}"
