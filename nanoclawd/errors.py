"""What can go wrong for a reason that a person can act on.

Everything else is a bug and keeps its own exception. Modules raise :class:`NanoclawError` itself where nobody catches
the case apart; a subclass exists where somebody does.
"""

from collections.abc import Sequence
from typing import ClassVar


class NanoclawError(Exception):
    """The root of all expected failures.

    Attributes:
        code: the name of the Varlink error that a client of the control socket gets.
        message: one sentence for a person.
        hint: the next command to type, without a prompt sign; ``ncl`` shows it on a line of its own.
    """

    code: ClassVar[str] = "Failed"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(NanoclawError):
    """The configuration file cannot be used.

    Attributes:
        problems: each fault as ``FILE:LINE: KEY: what is wrong``; all that were found, not only the first.
    """

    code: ClassVar[str] = "ConfigError"

    def __init__(self, problems: Sequence[str], *, hint: str | None = None) -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = tuple(problems)


class SchemaTooNew(NanoclawError):  # noqa: N818  # named for what is found, as all its siblings
    """A database was written by a newer version than this one."""

    code: ClassVar[str] = "SchemaTooNew"


class InvalidName(NanoclawError):  # noqa: N818
    """A name breaks the rule that the message tells."""

    code: ClassVar[str] = "InvalidName"


class NotFound(NanoclawError):  # noqa: N818
    """What was asked for does not exist."""

    code: ClassVar[str] = "NotFound"


class AlreadyExists(NanoclawError):  # noqa: N818
    """What was to be made is there already."""

    code: ClassVar[str] = "AlreadyExists"


class TooLarge(NanoclawError):  # noqa: N818
    """A message, body or frame is over the bound that the message tells."""

    code: ClassVar[str] = "TooLarge"


class Unavailable(NanoclawError):  # noqa: N818
    """Something this needs is not there at the moment: a model, a bus, an image, room on the disk."""

    code: ClassVar[str] = "Unavailable"


class Refused(NanoclawError):  # noqa: N818
    """The request is understood and not done."""

    code: ClassVar[str] = "Refused"
