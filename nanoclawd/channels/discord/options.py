"""What the configuration may say of a Discord channel. The token is a credential, and not here."""

from typing import Annotated

import msgspec


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys beside ``type``.

    Attributes:
        api: where Discord's API is, in place of ``https://discord.com``: a proxy or a test's server. The gateway's
            address is asked for there, and files are fetched from there.
        stream: whether an answer is shown while it is written.
        commands: whether ``/help`` is registered as a slash command.
        max_attachment_mib: of one file; servers with boosts take more than 10.
    """

    api: Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/?#]+$", max_length=200)] | None = None
    stream: bool = True
    commands: bool = True
    max_attachment_mib: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10
