"""What a channel adapter is. A package adds one by an entry point of the group ``nanoclawd.channels``.

The entry point names a factory ``(name: str, options: Mapping[str, object], places: ChannelPlaces) -> ChannelAdapter``;
``name`` is the channel's key under ``channels:`` in config.yaml and the first part of every address on it, so that one
platform can be there twice. ``tests/unit/channels/contract.py`` is the suite that every adapter is run through.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from nanoclaw_runner.contract.rows import Address
from nanoclawd.channels.http_listener import HttpListener
from nanoclawd.channels.http_routes import HttpRoutes
from nanoclawd.errors import InvalidName, Refused
from nanoclawd.routing.event import Click, InboundEvent
from nanoclawd.sessions.ports import Delivered, Outgoing, Progress, Undelivered

ENTRY_POINTS = "nanoclawd.channels"
_NO_KEYS = "this channel does not encrypt what is said: it has no keys"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a platform can. The host leaves out, or says in words, what it can't.

    Attributes:
        threads: a thread is a conversation of its own. Declared, never inferred.
        buttons: cards can have buttons; elsewhere they come as text with numbers.
        edits: a delivered message can be changed.
        reactions: a message can be reacted to.
        idempotent: a delivery repeated with the same id is one message.
        at_once: and so it is whenever that is and however often, so that none has to wait for a note that it is tried.
        typing_seconds: how long a sign of typing lasts; None: there is none.
        max_text: characters of one message, in Python's count; the adapter splits what is longer.
        max_attachment: bytes of one file; 0: no files.
    """

    threads: bool = False
    buttons: bool = False
    edits: bool = False
    reactions: bool = False
    idempotent: bool = False
    at_once: bool = False
    typing_seconds: float | None = None
    max_text: int = 4096
    max_attachment: int = 0


class HealthState(StrEnum):
    """How a channel is."""

    OK = "ok"
    STARTING = "starting"
    DEGRADED = "degraded"
    FAILED = "failed"
    DISABLED = "disabled"
    """By the operator; an adapter never says so."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a channel is, in words, with the next command to type where one helps."""

    state: HealthState
    detail: str = ""
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """As whom a channel is connected.

    Attributes:
        name: as people on the platform know it: ``@kitchen_bot``.
        next_step: what whoever has just added the channel does next, a sentence with the command or the link in it.
    """

    name: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat that the channel knows of."""

    platform_id: str
    name: str | None
    is_group: bool


@dataclass(frozen=True, slots=True)
class ChannelPlaces:
    """Where a channel may keep things, and where programs may come to it.

    Attributes:
        state: its own directory (0700).
        runtime: the daemon's runtime directory, for sockets.
        http: takes what platforms send by HTTP, to paths of the channel's own; by default nobody ever comes.
    """

    state: Path
    runtime: Path
    http: HttpRoutes = field(default_factory=HttpListener)


class Inbound(Protocol):
    """What the appliance offers an adapter. May be called from ``setup()`` on."""

    async def message(self, event: InboundEvent) -> None:
        """Hand a message in; return after it is stored, refused or dropped for good.

        Raises:
            Unavailable: it could not be stored: the platform's event must not be acknowledged, and is handed in again.
            TooLarge: it is over the bounds: tell the person.
        """

    async def click(self, click: Click) -> str:
        """Hand a chosen option in; return words for who clicked. Never raises for a wrong click."""

    async def chat_named(self, chat: Address, name: str | None, *, is_group: bool | None = None) -> None:
        """Tell a chat's name or kind (W-55)."""

    async def chat_moved(self, chat: Address, platform_id: str) -> None:
        """Tell that the platform has replaced a chat by another: all that belongs to it follows.

        Wirings, sessions, direct chats, open cards, tasks, and what is yet to be delivered. Returns after the commit;
        again does nothing. What comes from the old chat afterwards counts as said in the new one.
        """

    def reachable_again(self, address: Address) -> None:
        """Deliveries that waited for this chat are due."""


class Host(Inbound, Protocol):
    """What ``setup()`` gives an adapter: the appliance's :class:`Inbound`, and the channel's own supervision."""

    async def handle(self, event_id: str, raw: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Run what an event of the platform asks for: every one is to be handled so.

        What fails is tried three times, also over deaths of the daemon; then it is set aside, with its id in the
        journal, and shown by ``ncl channels show``: no event blocks those behind it.

        Args:
            event_id: the platform's id of the event, the same when it is told again.
            raw: what the platform has sent, for a look at it; the first 8192 characters are kept.
            work: reads the event and hands in what is in it.

        Returns:
            False where it was set aside. Either way it is done with, and to be acknowledged to the platform.

        Raises:
            Unavailable: it is to be handed in again, and must not be acknowledged.
        """

    def lost(self, reason: str) -> None:
        """Say that the connection is gone and that the adapter will not mend it: it is torn down and set up again."""


class InvalidOption(InvalidName):
    """An option of a channel in the configuration is wrong.

    Attributes:
        option: its key below the channel's name, ``limits.rate``; empty where it is the channel as a whole.
    """

    def __init__(self, option: str, problem: str, *, hint: str | None = None) -> None:
        super().__init__(problem, hint=hint)
        self.option = option


class ChannelAdapter(Protocol):
    """One channel. :class:`BaseAdapter` has what a platform without a feature does."""

    @property
    def name(self) -> str:
        """The channel's name in addresses and in the configuration, e.g. ``telegram-work``."""

    @property
    def platform(self) -> str:
        """The platform's name, which begins the ids of its users, e.g. ``telegram``."""

    @property
    def capabilities(self) -> Capabilities:
        """What the platform can."""

    async def setup(self, inbound: Host) -> None:
        """Connect. Called again after a failure, with back-off; events may come before it returns.

        It has 60 seconds. After it returned, the adapter reconnects by itself, or says ``inbound.lost()``.

        Raises:
            NanoclawError: it can't, for the reason that the error tells. Any exception is tried again.
        """

    async def teardown(self) -> None:
        """Disconnect; also after a setup that failed."""

    def health(self) -> Health:
        """Tell how the channel is. Cheap; asked by ``ncl status``."""

    def reachable(self, address: Address) -> bool:
        """Tell whether a delivery can be tried now. False costs nothing: ``reachable_again`` says when it can."""

    async def deliver(self, outgoing: Outgoing) -> Delivered | Undelivered:
        """Deliver once. May raise: that is an undelivered message with the exception's words."""

    def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """Give the content of a file that came with a message, by the reference that the adapter put into the event.

        Also long after the event, and by another process: the message may have waited for somebody's permission.

        Raises:
            Unavailable: not now; it is tried again.
            NanoclawError: it is gone, or the platform refuses; the agent is told why.
        """

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Show what may be dropped. Never waits."""

    async def set_typing(self, address: Address) -> None:
        """Show that the agent is at work, for ``typing_seconds``."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """Say that a message (the host's id of it) is done with."""

    async def subscribe(self, address: Address) -> None:
        """Have the platform send everything of a thread from now on; again does nothing."""

    async def open_dm(self, handle: str) -> str | None:
        """Return the platform id of the direct chat with a person, or None where they can't be reached."""

    async def account(self) -> Account | None:
        """Ask the platform, now, as whom the adapter is connected; None: the platform has no accounts.

        This is the test of ``ncl channels test``, and what ``ncl channels add`` ends with.

        Raises:
            NanoclawError: it does not answer, or refuses the account.
        """

    def pairing_link(self, code: str) -> str | None:
        """Return an address that opens the platform with a code to be sent to the account, where it has such."""

    async def conversations(self) -> Sequence[Conversation]:
        """Return the chats that the account is in, as far as the platform tells."""

    async def chat_name(self, platform_id: str) -> str | None:
        """Return a chat's shown name, or None."""

    async def export_keys(self, passphrase: str) -> bytes:
        """Return the keys that decrypt what was said so far, as a file of the platform's own form.

        Raises:
            Refused: it does not encrypt.
        """

    async def import_keys(self, content: bytes, passphrase: str) -> int:
        """Learn keys from such a file; return how many were new.

        Raises:
            Refused: it does not encrypt, the passphrase is wrong, or it is no such file.
        """


class BaseAdapter:
    """The optional half of an adapter, as a platform without those features has it."""

    name: str
    platform: str
    capabilities = Capabilities()

    async def teardown(self) -> None:
        """Nothing is connected."""

    def health(self) -> Health:
        """All is well."""
        return Health(HealthState.OK)

    def reachable(self, address: Address) -> bool:
        """Every delivery can be tried."""
        del address
        return True

    async def fetch(self, reference: str) -> AsyncIterator[bytes]:
        """No message has files."""
        del reference
        raise Refused("this channel has no files")
        yield b""

    def show_progress(self, address: Address, progress: Progress) -> None:
        """Progress is not shown."""

    async def set_typing(self, address: Address) -> None:
        """There is no sign of typing."""

    async def end_turn(self, address: Address, message_id: str, *, completed: bool) -> None:
        """The end of a turn is not shown."""

    async def subscribe(self, address: Address) -> None:
        """Everything comes anyway."""

    async def open_dm(self, handle: str) -> str | None:
        """The person's id is their direct chat."""
        return handle

    async def account(self) -> Account | None:
        """The platform has no accounts."""
        return None

    def pairing_link(self, code: str) -> str | None:
        """A code has to be typed."""
        del code
        return None

    async def conversations(self) -> Sequence[Conversation]:
        """The platform tells none."""
        return ()

    async def chat_name(self, platform_id: str) -> str | None:
        """The platform has no names."""
        del platform_id
        return None

    async def export_keys(self, passphrase: str) -> bytes:
        """The platform does not encrypt."""
        del passphrase
        raise Refused(_NO_KEYS)

    async def import_keys(self, content: bytes, passphrase: str) -> int:
        """The platform does not encrypt."""
        del content, passphrase
        raise Refused(_NO_KEYS)


class AdapterFactory(Protocol):
    """What an entry point names."""

    def __call__(self, name: str, options: Mapping[str, object], places: ChannelPlaces) -> ChannelAdapter:
        """Make an adapter that is not connected yet.

        Raises:
            InvalidOption: an option is missing, unknown or wrong. (:mod:`nanoclawd.channels.options` checks them.)
        """
