"""What a channel's type asks whoever adds one: a package declares it beside its factory, as ``SETUP``.

The module that the entry point names is imported for it, so whatever is heavy is imported by the factory.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from nanoclawd.errors import Unavailable

_OURS = frozenset({"nanoclawd", "nanoclaw_runner"})


@dataclass(frozen=True, slots=True)
class Question:
    """An option that people are asked for.

    Attributes:
        option: its key.
        text: what is asked, without a colon: ``homeserver``.
        hint: where the answer is found, a sentence.
        default: taken where nothing is said.
        required: whether the channel cannot be without it.
    """

    option: str
    text: str
    hint: str = ""
    default: str = ""
    required: bool = True


@dataclass(frozen=True, slots=True)
class ChannelSetup:
    """What is asked.

    Attributes:
        secret: what the platform calls the secret by which the account is used: ``bot token``; empty: there is none.
        hint: where all this is found, some sentences for a person who sees the platform for the first time.
        questions: options that are asked for, in this order.
    """

    secret: str = ""
    hint: str = ""
    questions: tuple[Question, ...] = ()


@contextmanager
def library_of(package: str) -> Iterator[None]:
    """Import in this what uses a platform's library, which ``package`` of Debian has.

    Raises:
        Unavailable: it is not installed, or too old; with the command that installs it.
    """
    try:
        yield
    except ImportError as error:
        if (error.name or "").partition(".")[0] in _OURS:
            raise
        raise Unavailable(f"its library cannot be used: {error}", hint=f"sudo apt install {package}") from error
