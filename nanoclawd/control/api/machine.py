"""Behind io.nanoclaw.Appliance, Groups, Sessions and Images: what runs."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from nanoclawd.control.values import (
    ApplianceStatus,
    BuildProgress,
    Caller,
    Group,
    GroupSettings,
    Image,
    Peer,
    Session,
    SessionState,
)
from nanoclawd.doctor.finding import Finding


class ApplianceBackend(Protocol):
    """Behind io.nanoclaw.Appliance."""

    async def status(self) -> ApplianceStatus:
        """Return how the appliance is. Cheap: a person runs it in ``watch``."""

    async def doctor(self) -> Sequence[Finding]:
        """Run the checks that only the daemon can make."""


class GroupsBackend(Protocol):
    """Behind io.nanoclaw.Groups."""

    async def list(self, limit: int) -> Sequence[Group]:
        """Return the groups by name."""

    async def get(self, name: str) -> Group:
        """Return one group.

        Raises:
            NotFound: there is none.
        """

    async def create(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        """Make a group.

        Raises:
            InvalidName: the name breaks the rule.
            AlreadyExists: there is one.
            Refused: a setting is not allowed here.
        """

    async def update(self, caller: Caller, name: str, settings: GroupSettings) -> Group:
        """Change a group's settings.

        Raises:
            NotFound: there is none.
            InvalidName: a setting is none that there is.
            Refused: a setting is not allowed here.
        """

    async def delete(self, caller: Caller, name: str, *, force: bool) -> None:
        """Delete a group.

        Raises:
            NotFound: there is none.
            Refused: it has sessions, and ``force`` is false.
        """

    async def restart(self, caller: Caller, name: str, *, rebuild: bool, message: str | None) -> tuple[int, bool]:
        """Restart a group's running sessions; return how many there were, and whether its own image was built anew.

        Args:
            caller: who wants it.
            name: of the group.
            rebuild: build its image first; nothing is restarted where that fails.
            message: told to each restarted session, which begins again at once for it.

        Raises:
            NotFound: there is none.
            NanoclawError: the image could not be built.
        """


class SessionsBackend(Protocol):
    """Behind io.nanoclaw.Sessions. ``session_id`` may be any unique prefix.

    Raises:
        NotFound: no session has the prefix.
        InvalidName: several have it.
    """

    async def list(self, group: str | None, state: SessionState | None, limit: int) -> Sequence[Session]:
        """Return the sessions (of a group, in a state), the last active first; closed ones only by that state."""

    async def get(self, session_id: str) -> Session:
        """Return one session."""

    async def stop(self, caller: Caller, session_id: str) -> Session:
        """End the session's container; return the session as it is then."""

    async def close(self, caller: Caller, session_id: str) -> Session:
        """End the session for good; return it as it is then.

        Raises:
            Refused: it is closed already.
        """

    async def reset(self, caller: Caller, session_id: str) -> tuple[Session, str | None]:
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
