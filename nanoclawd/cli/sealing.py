"""What ``ncl`` hands to the credential store for a secret: its value, and the places as the operator typed them.

Read here once more, and not taken from the daemon's reply: a daemon in wrong hands could name other places.
"""

import re
from collections.abc import Sequence

import msgspec

from nanoclawd.cli import outcome
from nanoclawd.cli.outcome import CommandError
from nanoclawd.egress.secret_wishes import read_oauth, read_places
from nanoclawd.egress.secrets import OAuth, Sealed
from nanoclawd.egress.targets import BadTarget

_HEADER_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_IN_HEADERS = frozenset({"bearer", "header", "cookie", "placeholder"})
_MAX_CHARACTERS = 16_384
_MAX_CLIENT_SECRET = 4000


def check_value(value: str, style: str, what: str = "secret") -> None:
    """Return if a value can be put into a request in this way.

    Raises:
        CommandError: it can't.
    """
    if len(value) > _MAX_CHARACTERS:
        raise CommandError(outcome.REFUSED, f"the {what} is over {_MAX_CHARACTERS} characters long")
    if not value.isprintable():
        raise CommandError(outcome.REFUSED, f"the {what} has more than one line, or invisible characters in it")
    if style.partition(":")[0] in _IN_HEADERS and not _HEADER_VALUE.fullmatch(value):
        raise CommandError(outcome.REFUSED, f"the {what} has characters that no header of a request can have")
    if style.startswith("cookie:") and ";" in value:
        raise CommandError(outcome.REFUSED, f"the {what} has a semicolon in it, which ends a cookie")


def sealed(hosts: Sequence[str], value: str, oauth: OAuth | None = None) -> str:
    """Return what is stored.

    Raises:
        CommandError: the hosts can't be read.
    """
    try:
        places = read_places(tuple(hosts))
    except BadTarget as error:
        raise CommandError(outcome.REFUSED, str(error), "ncl secret set --help") from None
    return msgspec.json.encode(Sealed(value, places, oauth)).decode()


def oauth_of(token_url: str, client_id: str, client_secret: str, scope: str) -> OAuth:
    """Return how access tokens are got.

    Raises:
        CommandError: a part of it can't be read.
    """
    if client_secret:
        check_value(client_secret, "basic", "client's secret")
        if len(client_secret) > _MAX_CLIENT_SECRET:
            raise CommandError(outcome.REFUSED, f"the client's secret is over {_MAX_CLIENT_SECRET} characters long")
    try:
        return read_oauth(token_url, client_id, client_secret, scope)
    except BadTarget as error:
        raise CommandError(outcome.REFUSED, str(error), "ncl secret set --help") from None
