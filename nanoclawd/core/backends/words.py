"""What the backends check alike: a setting's words, and who a user is that may not be known yet."""

import difflib
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Final

import apsw

from nanoclawd.errors import InvalidName, NotFound
from nanoclawd.store import resolve, users

POLICIES: Final = ("strict", "request_approval", "public")
CLI_SCOPES: Final = ("disabled", "group", "global")

type Project = Callable[[str], Awaitable[object]]
"""Bring what an agent group (by its id) may write to into its sessions."""


def check_word(what: str, value: str | None, allowed: Collection[str]) -> None:
    """Check a setting that has a closed set of words; None was not given.

    Raises:
        InvalidName: it is none of them; the message names all.
    """
    if value is not None and value not in allowed:
        raise InvalidName(f"{value[:40]!r} is no {what}; there are {', '.join(allowed)}", hint=near(value, allowed))


def near(value: str, known: Iterable[str]) -> str | None:
    """Return a hint with what was probably meant, or None."""
    found = difflib.get_close_matches(value, list(known), n=1)
    return f"did you mean {found[0]}?" if found else None


def user_id_of(connection: apsw.Connection, text: str) -> str:
    """Return the id of a user that is meant; PLATFORM:HANDLE may be of somebody who is not known yet.

    Raises:
        NotFound: nobody is meant, and it can't be an id.
        InvalidName: several are.
    """
    try:
        return resolve.user(connection, text).id
    except NotFound:
        try:
            return users.check_id(text)
        except InvalidName:
            pass
        raise
