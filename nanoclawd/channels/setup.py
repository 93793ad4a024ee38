"""What a channel's type asks whoever adds one: a package declares it beside its factory, as ``SETUP``.

The module that the entry point names is imported for it, so whatever is heavy is imported by the factory.
"""

from dataclasses import dataclass


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
