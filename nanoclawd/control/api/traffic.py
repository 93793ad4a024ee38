"""Behind io.nanoclaw.Approvals, Questions, Channels and Routing: what waits for a word, and where messages go."""

from collections.abc import Sequence
from typing import Protocol

from nanoclawd.control.values import (
    Approval,
    Channel,
    ChannelSetup,
    Conversation,
    Decision,
    DroppedSender,
    Hypothesis,
    Pairing,
    Peer,
    Question,
    SetAsideEvent,
)


class ApprovalsBackend(Protocol):
    """Behind io.nanoclaw.Approvals."""

    async def list(self, limit: int, *, decided: bool) -> Sequence[Approval]:
        """Return what is pending, the oldest first; or everything, the newest first."""

    async def get(self, approval: str) -> Approval:
        """Return one approval."""

    async def decide(self, peer: Peer, approval: str, option: str) -> tuple[Approval, str]:
        """Decide; return the approval as it is then, and what was done in words.

        Raises:
            InvalidName: no such option.
            Refused: it was decided already, or has expired.
        """


class QuestionsBackend(Protocol):
    """Behind io.nanoclaw.Questions."""

    async def list(self, group: str | None, limit: int) -> Sequence[Question]:
        """Return the open questions (of a group), the oldest first."""

    async def get(self, question: str) -> Question:
        """Return one question."""

    async def answer(self, peer: Peer, question: str, option: str) -> str:
        """Answer; return what was done in words.

        Raises:
            InvalidName: no such option.
            Refused: somebody has answered in this moment.
        """


class ChannelsBackend(Protocol):
    """Behind io.nanoclaw.Channels."""

    async def list(self) -> Sequence[Channel]:
        """Return the channels by name."""

    async def show(self, channel: str) -> tuple[Channel, Sequence[str], Sequence[SetAsideEvent]]:
        """Return a channel, its options as KEY=VALUE, and the events that were given up.

        Raises:
            NotFound: no such channel; so do all that name one.
        """

    async def types(self) -> Sequence[str]:
        """Return the types that can be added."""

    async def setup(self, kind: str) -> ChannelSetup:
        """Return what a type asks.

        Raises:
            InvalidName: there is no such type.
        """

    async def add(self, peer: Peer, name: str, kind: str, options: Sequence[str], *, enabled: bool) -> Channel:
        """Add a channel.

        Raises:
            AlreadyExists: there is one of this name.
            InvalidName: the name, the type or an option is wrong.
            Refused: a secret is among the options.
        """

    async def update(self, peer: Peer, channel: str, options: Sequence[str]) -> Channel:
        """Change options of a channel that was added.

        Raises:
            InvalidName: an option is wrong.
            Refused: it was not added by command; so do those below.
        """

    async def switch(self, peer: Peer, channel: str, *, enabled: bool) -> Channel:
        """Enable or disable a channel that was added."""

    async def remove(self, peer: Peer, channel: str) -> None:
        """Remove a channel that was added."""

    async def test(self, channel: str) -> tuple[Channel, str | None, str | None]:
        """Return a channel after an attempt, as whom it is connected, and what to do next.

        Raises:
            Unavailable: it is up, and its platform does not answer.
        """

    async def pair(self, peer: Peer, channel: str, group: str | None, role: str | None) -> Pairing:
        """Begin a pairing.

        Raises:
            Unavailable: the channel is not up.
            NotFound: there is no such channel or group.
            InvalidName: no such role.
            Refused: several agents are there, and none was named.
        """

    async def await_pairing(self, pairing: str) -> Pairing:
        """Return a pairing, as soon as it is over, or after a while as it is.

        Raises:
            NotFound: there is none.
        """

    async def clear(self, peer: Peer, channel: str) -> int:
        """Forget the events that were given up; return how many."""

    async def export_keys(self, peer: Peer, channel: str, passphrase: str) -> str:
        """Return the keys that decrypt what was said so far, as a file of the platform's own form.

        Raises:
            Refused: the channel does not encrypt.
            Unavailable: it is not up.
        """

    async def import_keys(self, peer: Peer, channel: str, upload: str, passphrase: str) -> int:
        """Learn keys from a file that the peer has uploaded, and forget the file; return how many were new.

        Raises:
            NotFound: there is no such upload.
            Refused: the channel does not encrypt, the passphrase is wrong, or it is no such file.
            Unavailable: it is not up.
        """

    async def conversations(self, channel: str) -> Sequence[Conversation]:
        """Return the chats that the channel's account is in.

        Raises:
            NotFound: no such channel.
            Unavailable: it is not up.
        """


class RoutingBackend(Protocol):
    """Behind io.nanoclaw.Routing."""

    async def explain(self, message: Hypothesis) -> Decision:
        """Say what would become of a message, without effect."""

    async def explain_message(self, message_id: str) -> Sequence[Decision]:
        """Return what became of a message, the newest first.

        Raises:
            NotFound: it is not remembered.
        """

    async def dropped(
        self, channel: str | None, chat: str | None, user: str | None, limit: int
    ) -> Sequence[DroppedSender]:
        """Return whose messages were dropped, the latest first."""
