"""The places that an agent knows, by the names that it knows them by; read anew each time, so they are never stale.

A session's own chat that has no name in the agent's address book is called ``chat``, and a place that is not in it at
all ``here``: no identifier of a platform is ever a name.
"""

import logging
from dataclasses import dataclass
from typing import Final

from nanoclaw_runner.contract.rows import AGENT, Address
from nanoclaw_runner.store.inbox import Directory, Inbox, NotYetError

_log = logging.getLogger(__name__)

OWN_CHAT: Final = "chat"
HERE: Final = "here"


@dataclass(frozen=True, slots=True)
class Destination:
    """A chat, or another agent.

    Attributes:
        name: the agent's own name for it.
        display_name: what people call it.
        address: where it is, without a thread.
    """

    name: str
    display_name: str
    address: Address


class Book:
    """The session's own chat and the agent's destinations, as they are now."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._known: tuple[Destination, ...] = ()

    def destinations(self) -> tuple[Destination, ...]:
        """Return where the agent may write to: the session's own chat first, then by name."""
        try:
            self._known = _listed(self._inbox.directory())
        except NotYetError as error:
            # The host is writing; what was read last is at most a moment old.
            _log.debug("not yet: %s", error)
        return self._known

    def around(self, asked: Address | None) -> tuple[Destination, ...]:
        """Return all places that an answer can go to: the one where it was asked is among them, known or not."""
        known = self.destinations()
        if asked is None or any(_same_chat(one.address, asked) for one in known):
            return known
        return (*known, place_of(known, asked))

    def find(self, name: str) -> Destination | None:
        """Return the destination of a name."""
        return find(self.destinations(), name)

    def newest(self, address: Address) -> tuple[str | None, str | None]:
        """Return the thread and the id of what was written last in a chat: what is sent there goes on with it."""
        try:
            return self._inbox.newest(address)
        except NotYetError as error:
            _log.info("not yet: %s", error)
            return None, None


def name_of(known: tuple[Destination, ...], address: Address) -> str:
    """Return what a place is called by an agent that knows these."""
    return place_of(known, address).name


def find(places: tuple[Destination, ...], name: str) -> Destination | None:
    """Return the place that a name means: its own, in any case, or the one that people call it, if only one is."""
    wanted = _folded(name)
    for one in places:
        if _folded(one.name) == wanted:
            return one
    called = [one for one in places if _folded(one.display_name) == wanted]
    return called[0] if len(called) == 1 else None


def _same_chat(one: Address, other: Address) -> bool:
    return (one.channel_type, one.platform_id) == (other.channel_type, other.platform_id)


def _listed(found: Directory) -> tuple[Destination, ...]:
    listed = tuple(Destination(name, display_name, address) for name, display_name, address in found.entries)
    if found.own is None:
        return listed
    own = Address(found.own.channel_type, found.own.platform_id)
    named = next((one for one in listed if _same_chat(one.address, own)), None)
    if named is None:
        named = Destination(_free(OWN_CHAT, listed), "the chat of this conversation", own)
    return (named, *(one for one in listed if one is not named))


def place_of(known: tuple[Destination, ...], address: Address) -> Destination:
    """Return the place of an address; one that is not among those that are known has a name all the same."""
    found = next((one for one in known if _same_chat(one.address, address)), None)
    if found is not None:
        return found
    name = address.platform_id if address.channel_type == AGENT else HERE
    return Destination(_free(name, known), name, Address(address.channel_type, address.platform_id))


def _free(name: str, taken: tuple[Destination, ...]) -> str:
    names = {one.name for one in taken}
    candidate, number = name, 2
    while candidate in names:
        candidate, number = f"{name}-{number}", number + 1
    return candidate


def _folded(name: str) -> str:
    return " ".join(name.casefold().split()).lstrip("@#")
