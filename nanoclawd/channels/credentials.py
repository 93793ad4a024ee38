"""Reads a channel's secret: a systemd credential of the daemon, decrypted by systemd for this process alone."""

import os
from pathlib import Path
from typing import Final

from nanoclawd.errors import Refused

PREFIX: Final = "nanoclawd."
MAX_BYTES: Final = 64 * 1024


def read_token(channel: str) -> str:
    """Return the secret of a channel, without white space around it. Reads a file in memory: fit for the loop.

    Raises:
        Refused: there is none, or it is no text; with the command that stores one.
    """
    hint = f"ncl channels login {channel}"
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    try:
        if directory is None:
            raise FileNotFoundError
        with Path(directory, f"{PREFIX}{channel}").open("rb") as file:
            token = file.read(MAX_BYTES + 1).decode().strip()
    except FileNotFoundError:
        raise Refused(f"no secret is stored for channel {channel}", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the secret of channel {channel} can't be read: {type(error).__name__}", hint=hint) from None
    if not token or len(token) > MAX_BYTES:
        raise Refused(f"the secret of channel {channel} is empty or over {MAX_BYTES // 1024} KiB", hint=hint)
    return token
