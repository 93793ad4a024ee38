"""Which credentials there are: a name says whose it is."""

import re
from dataclasses import dataclass
from typing import Final

from nanoclawd.errors import InvalidName

DAEMON: Final = "nanoclawd"
GATEWAY: Final = "nanoclaw-gateway"

_NAME = re.compile(rf"(?P<consumer>{DAEMON}|{GATEWAY})\.[a-z0-9-]{{1,64}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Name:
    """A credential's name, which has been checked: it is a file's name and an argument of programs."""

    text: str
    consumer: str

    @property
    def unit(self) -> str:
        """The service that systemd gives it to."""
        return f"{self.consumer}.service"


def read_name(text: str) -> Name:
    """Return a name.

    Raises:
        InvalidName: it is not of the form.
    """
    found = _NAME.fullmatch(text)
    if found is None:
        raise InvalidName(
            # Not repeated: it may be the secret, in the wrong place.
            "that is no name of a credential: it is nanoclawd.CHANNEL or nanoclaw-gateway.KEY, with at most 64 of"
            " a-z, 0-9 and - after the dot",
            hint="ncl credentials list",
        )
    return Name(text, found["consumer"])


def is_name(text: str) -> bool:
    """Tell whether a file of this name is one of ours."""
    return _NAME.fullmatch(text) is not None
