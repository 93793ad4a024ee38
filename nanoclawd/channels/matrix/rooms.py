"""Into which rooms the account goes: invitations, direct chats, and rooms that replace others."""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nanoclawd.channels.adapter import Conversation
from nanoclawd.channels.matrix.account import PLATFORM, Account
from nanoclawd.channels.matrix.options import MAX_ID, is_user_id, may_invite, server_of
from nanoclawd.channels.matrix.requests import place
from nanoclawd.channels.matrix.state import MAX_INVITES
from nanoclawd.errors import NanoclawError, NotFound, Refused, Unavailable

log = logging.getLogger(__name__)

MAX_JOINS: Final = 30
"""Invitations that are accepted in an hour: whoever may invite may not fill the disk."""

_HOUR: Final = 3600.0
_JOIN_SECONDS: Final = 60.0
_SYNC_SECONDS: Final = 15.0
_MEGOLM: Final = "m.megolm.v1.aes-sha2"


class Rooms:
    """The rooms of an account."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._joins: deque[float] = deque()

    # Invitations.

    async def invited(self, room_id: str, invitation: Mapping[str, Any]) -> None:
        """Go where the account is invited, if the inviter may do that, and keep the others for another policy.

        Raises:
            Unavailable: not now.
        """
        progress = self._account.progress
        inviter = _inviter(invitation, self._account.user_id)
        if inviter is None:
            log.warning("nobody says who invites to %.200r", room_id)
            return
        if room_id in progress.moved.values() or may_invite(self._account.options, self._account.user_id, inviter):
            progress.invites[room_id] = inviter
            await self._accept(room_id, inviter)
            return
        if room_id not in progress.invites and len(progress.invites) < MAX_INVITES:
            log.info("the invitation of %s is left open: channels.%s.invites", inviter, self._account.name)
            progress.invites[room_id] = inviter

    async def accept_again(self) -> None:
        """Go where the account was invited earlier, if that is allowed by now."""
        account = self._account
        for room_id, inviter in list(account.progress.invites.items()):
            if may_invite(account.options, account.user_id, inviter):
                try:
                    await self._accept(room_id, inviter)
                except Unavailable as error:
                    log.info("an invitation waits: %s", error.message)

    async def _accept(self, room_id: str, inviter: str) -> None:
        now = time.monotonic()
        while self._joins and self._joins[0] < now - _HOUR:
            self._joins.popleft()
        if len(self._joins) >= MAX_JOINS:
            log.warning("too many invitations in an hour: the one of %s is left open", inviter)
            return
        self._joins.append(now)
        try:
            await self._account.requests.ask(
                "POST", place("join", room_id), {}, query={"server_name": server_of(inviter)}, seconds=_JOIN_SECONDS
            )
            log.info("joined the room of %s's invitation", inviter)
        except Unavailable:
            raise
        except NanoclawError as error:
            log.warning("an invitation of %s could not be accepted: %s", inviter, error.message)
        self._account.progress.invites.pop(room_id, None)

    # Rooms that were replaced.

    async def tombstoned(self, room_id: str, event: Mapping[str, Any]) -> None:
        """Follow a room to its replacement, with all that belongs to it.

        Only who may close the old room can say where it goes on.

        Raises:
            Unavailable: not now.
        """
        content = event.get("content")
        replacement = content.get("replacement_room") if isinstance(content, Mapping) else None
        if not isinstance(replacement, str) or not 1 < len(replacement) <= MAX_ID or replacement == room_id:
            return
        account = self._account
        if account.progress.moved.get(room_id) == replacement and replacement in account.progress.rooms:
            return
        account.progress.moved[room_id] = replacement
        sender = event.get("sender")
        query = {"server_name": server_of(sender)} if isinstance(sender, str) and is_user_id(sender) else {}
        try:
            await account.requests.ask("POST", place("join", replacement), {}, query=query, seconds=_JOIN_SECONDS)
        except Unavailable:
            raise
        except NanoclawError as error:
            log.warning("the room that replaces another can't be joined yet: %s", error.message)
            return  # its invitation will be accepted
        await account.host.chat_moved(account.address(room_id), replacement)

    async def entered(self, room_id: str) -> None:
        """Carry over what belonged to rooms that this one replaces; called when the account is in it."""
        for old, new in self._account.progress.moved.items():
            if new == room_id:
                await self._account.host.chat_moved(self._account.address(old), room_id)

    # Direct chats.

    async def direct(self, handle: str) -> str | None:
        """Return the direct chat with a person, made if there is none; None where they can't be had there.

        Raises:
            Unavailable: not now.
        """
        person = handle.removeprefix(f"{PLATFORM}:")
        account = self._account
        if not is_user_id(person) or person == account.user_id:
            return None
        candidates: list[str] = [*account.direct.get(person, []), *self._shared(person)]
        for known in candidates:
            if self._is_direct(known, person):
                return known
        try:
            await account.requests.ask("GET", place("profile", person))
        except NotFound:
            return None
        except Refused:
            pass  # a server that tells nothing of its people
        body: dict[str, Any] = {"is_direct": True, "invite": [person], "preset": "trusted_private_chat"}
        if account.keys.encrypts and account.options.encrypt_direct:
            state = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": _MEGOLM}}
            body["initial_state"] = [state]
        try:
            answer = await account.requests.ask("POST", place("createRoom"), body)
        except (NotFound, Refused) as error:
            log.info("there is no direct chat with %s: %s", person, error.message)
            return None
        room_id = answer.get("room_id")
        if not isinstance(room_id, str):
            raise Unavailable("the homeserver does not tell the new room's id")
        account.direct.setdefault(person, []).insert(0, room_id)
        try:
            place_of_it = place("user", account.user_id, "account_data", "m.direct")
            await account.requests.ask("PUT", place_of_it, account.direct)
        except NanoclawError as error:
            log.warning("the direct chat with %s is not marked as one: %s", person, error.message)
        await account.joined(room_id, _SYNC_SECONDS)
        return room_id

    def _shared(self, person: str) -> list[str]:
        rooms = self._account.keys.rooms
        return [room_id for room_id, room in rooms.items() if person in room.users and not room.name]

    def _is_direct(self, room_id: str, person: str) -> bool:
        room = self._account.keys.rooms.get(room_id)
        return room is not None and person in room.users and not self._account.is_group(room_id)

    def learn_direct(self, raw: Mapping[str, Any]) -> None:
        """Take over what a sync says of direct chats."""
        held = raw.get("account_data")
        events = held.get("events") if isinstance(held, Mapping) else None
        for event in events if isinstance(events, list) else ():
            if isinstance(event, dict) and event.get("type") == "m.direct" and isinstance(event.get("content"), dict):
                self._account.direct = {
                    person: [one for one in rooms if isinstance(one, str)]
                    for person, rooms in event["content"].items()
                    if isinstance(rooms, list)
                }

    async def conversations(self) -> Sequence[Conversation]:
        """Return the rooms that the account is in."""
        account = self._account
        return tuple(
            Conversation(room_id, room.display_name, account.is_group(room_id))
            for room_id, room in account.keys.rooms.items()
        )


def _inviter(invitation: Mapping[str, Any], user_id: str) -> str | None:
    """Return who has sent an invitation: the sender of the account's own membership."""
    state = invitation.get("invite_state")
    events = state.get("events") if isinstance(state, Mapping) else None
    for event in events if isinstance(events, list) else ():
        if not isinstance(event, Mapping) or event.get("type") != "m.room.member" or event.get("state_key") != user_id:
            continue
        sender = event.get("sender")
        if isinstance(sender, str) and is_user_id(sender):
            return sender
    return None
