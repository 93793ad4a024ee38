"""What the configuration may say of a Telegram channel."""

from typing import Annotated

import msgspec

type _Address = Annotated[str, msgspec.Meta(pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$", max_length=500)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The token is a credential, and no option.

    Attributes:
        api: where the Bot API is; a server of one's own is allowed.
        poll_seconds: how long Telegram may keep a question for news waiting.
        webhook: the public address to which Telegram is to send, instead of being asked; ``/telegram/NAME`` of the
            appliance's listener has to be behind it.
        live: show answers while they are written.
    """

    api: _Address = "https://api.telegram.org"
    poll_seconds: Annotated[int, msgspec.Meta(ge=1, le=50)] = 50
    webhook: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^?#\s]+)?$", max_length=500)] = ""
    live: bool = True
