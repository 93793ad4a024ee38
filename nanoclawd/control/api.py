"""What the control socket needs from the daemon's core: one protocol per Varlink interface.

Any method may raise a :class:`~nanoclawd.errors.NanoclawError`; the client gets it as the Varlink error of its
``code``. Another exception is a bug: the client gets ``Internal`` with a reference that the journal has too.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

from nanoclawd.control.values import (
    ApplianceStatus,
    BuildProgress,
    ChatEvent,
    Group,
    GroupSettings,
    Image,
    Peer,
    Sent,
    Session,
)
from nanoclawd.doctor.finding import Finding
from nanoclawd.errors import NanoclawError


class ClientGone(NanoclawError):  # noqa: N818
    """A chat screen's client left, or did not read in time, before the event was written to it."""

    code: ClassVar[str] = "ClientGone"


class ChatScreen(Protocol):
    """One attached client. The control layer implements it; the core's terminal channel calls it."""

    async def show(self, event: ChatEvent) -> None:
        """Write an event; return when its bytes were handed to the client's socket. Events keep their order.

        For message, notice and turn: what must not be lost. The wait is bounded.

        Raises:
            ClientGone: the client left, or did not read for the bound; the event may not have been seen.
        """

    def hint(self, event: ChatEvent) -> None:
        """Write an event if that costs no wait, else drop it. For partial, status and waiting; never raises."""


class ApplianceBackend(Protocol):
    """Behind io.nanoclaw.Appliance."""

    async def status(self) -> ApplianceStatus:
        """Return how the appliance is. Cheap: a person runs it in ``watch``."""

    async def doctor(self) -> Sequence[Finding]:
        """Run the checks that only the daemon can make."""


class GroupsBackend(Protocol):
    """Behind io.nanoclaw.Groups."""

    async def list(self) -> Sequence[Group]:
        """Return all groups by name."""

    async def get(self, name: str) -> Group:
        """Return one group.

        Raises:
            NotFound: there is none.
        """

    async def create(self, peer: Peer, name: str, settings: GroupSettings) -> Group:
        """Make a group.

        Raises:
            InvalidName: the name breaks the rule.
            AlreadyExists: there is one.
            Refused: a setting is not allowed here.
        """

    async def update(self, peer: Peer, name: str, settings: GroupSettings) -> Group:
        """Change a group's settings.

        Raises:
            NotFound: there is none.
            Refused: a setting is not allowed here.
        """

    async def delete(self, peer: Peer, name: str, *, force: bool) -> None:
        """Delete a group.

        Raises:
            NotFound: there is none.
            Refused: it has sessions, and ``force`` is false.
        """

    async def restart(self, peer: Peer, name: str) -> int:
        """Restart a group's running sessions; return how many there were.

        Raises:
            NotFound: there is none.
        """


class SessionsBackend(Protocol):
    """Behind io.nanoclaw.Sessions. ``session_id`` may be any unique prefix.

    Raises:
        NotFound: no session has the prefix.
        InvalidName: several have it.
    """

    async def list(self, group: str | None) -> Sequence[Session]:
        """Return the sessions (of a group), the last active first."""

    async def get(self, session_id: str) -> Session:
        """Return one session."""

    async def stop(self, peer: Peer, session_id: str) -> Session:
        """End the session's container; return the session as it is then."""

    async def reset(self, peer: Peer, session_id: str) -> tuple[Session, str | None]:
        """Release a quarantined session; return it and where its damaged database lies now.

        Raises:
            Refused: it is in good order.
        """


class ImagesBackend(Protocol):
    """Behind io.nanoclaw.Images."""

    async def list(self) -> Sequence[Image]:
        """Return all images that the appliance uses."""

    def build(self, peer: Peer, name: str | None) -> AsyncGenerator[BuildProgress]:
        """Build an image (None: all) and tell the progress; ends after the last ``done``.

        Closing the generator does not stop the build.

        Raises:
            NotFound: no such image (at the first step of the generator).
            NanoclawError: the build failed.
        """


class ChatBackend(Protocol):
    """Behind io.nanoclaw.Chat: the terminal channel."""

    async def send(self, peer: Peer, group: str, text: str, client_token: str) -> Sent:
        """Accept a message, once per token; return after the commit.

        Raises:
            NotFound: no such group.
            TooLarge: over the bound. (The control layer has refused those over 256 KiB already.)
            Unavailable: it could not be stored.
        """

    def attach(self, peer: Peer, group: str, screen: ChatScreen) -> AbstractAsyncContextManager[None]:
        """Show the chat on a screen while the context lasts.

        From entering on, ``screen`` gets all events; messages that came while nobody was attached become due. Leaving
        forgets the screen.

        Raises:
            NotFound: no such group (on entering).
        """


class Backend(Protocol):
    """All that the control socket serves."""

    @property
    def appliance(self) -> ApplianceBackend:
        """Behind io.nanoclaw.Appliance."""

    @property
    def groups(self) -> GroupsBackend:
        """Behind io.nanoclaw.Groups."""

    @property
    def sessions(self) -> SessionsBackend:
        """Behind io.nanoclaw.Sessions."""

    @property
    def images(self) -> ImagesBackend:
        """Behind io.nanoclaw.Images."""

    @property
    def chat(self) -> ChatBackend:
        """Behind io.nanoclaw.Chat."""
