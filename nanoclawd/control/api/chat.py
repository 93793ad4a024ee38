"""Behind io.nanoclaw.Chat: the terminal channel and its screens."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import ClassVar, Protocol

from nanoclawd.control.values import ChatEvent, FilePart, Peer, Sent, Uploaded, UploadedFile
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


class ChatBackend(Protocol):
    """Behind io.nanoclaw.Chat: the terminal channel."""

    async def send(
        self, peer: Peer, group: str, text: str, client_token: str, files: Sequence[UploadedFile] = ()
    ) -> Sent:
        """Accept a message, once per token; return after the commit.

        Raises:
            NotFound: no such group, or a file was not uploaded.
            TooLarge: over the bound. (The control layer has refused those over 256 KiB already.)
            Unavailable: it could not be stored.
        """

    async def upload(self, peer: Peer, upload: str, offset: int, part: bytes) -> Uploaded:
        """Keep a part of a file that is to go with a message.

        Raises:
            Refused: what is before it has not come.
            TooLarge: over the bound.
            Unavailable: it could not be stored.
        """

    async def download(self, peer: Peer, file: str, offset: int) -> FilePart:
        """Return a part of a file that an agent has sent to this user.

        Raises:
            NotFound: no such file.
        """

    def attach(self, peer: Peer, group: str, screen: ChatScreen) -> AbstractAsyncContextManager[None]:
        """Show the chat on a screen while the context lasts.

        From entering on, ``screen`` gets all events; messages that came while nobody was attached become due. Leaving
        forgets the screen.

        Raises:
            NotFound: no such group (on entering).
        """
