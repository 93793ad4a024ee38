"""How it stands with the gateway outside (OneCLI), as our gateway tells it and the daemon acts on it."""

from typing import Annotated, Final, Literal

import msgspec

STATE_PATH: Final = "/-/outside"
"""What the daemon asks our gateway for; no endpoint can have this name. One line of JSON now, one at each change."""

MAX_LINE_BYTES: Final = 64 * 1024

type Words = Annotated[str, msgspec.Meta(max_length=1000)]


class Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that an operator should know or do, though everything works.

    Attributes:
        group: the agent group's folder.
        message: what it is.
        fix: what to do.
    """

    group: Annotated[str, msgspec.Meta(max_length=40)]
    message: Words
    fix: Words = ""


class Outside(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How it stands.

    Attributes:
        state: ``ready``: what agents ask for gets through; ``away``: it does not; ``starting``: nobody knows yet.
        reason: why not.
        fix: what an operator can run.
        notes: of the agents there.
    """

    state: Literal["starting", "ready", "away"]
    reason: Words = ""
    fix: Words = ""
    notes: Annotated[tuple[Note, ...], msgspec.Meta(max_length=100)] = ()
