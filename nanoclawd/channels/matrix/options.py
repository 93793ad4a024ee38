"""What the configuration may say of a Matrix channel."""

import fnmatch
import re
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec

from nanoclawd.channels.adapter import InvalidOption

MAX_ID: Final = 255
"""Characters of any id on Matrix."""

_USER: Final = re.compile(r"@[^\s:@]{1,200}:[^\s@]{1,230}")
_NAME: Final = re.compile(r"[a-z0-9._=/+-]{1,200}")
_SERVER: Final = re.compile(r"[A-Za-z0-9.:\[\]-]{1,230}")
_OWN_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})

type Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
type Text = Annotated[str, msgspec.Meta(max_length=4000)]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account on a homeserver.

    Attributes:
        homeserver: its address, ``https://matrix.example.org``, or a server's name, of which the address is asked.
        user: ``@bot:example.org`` or ``bot``; needed for a login by password.
        login: what the channel's credential is: the account's password, an access token, or a token of a single
            sign-on (``m.login.token``), which is good for one login.
        device_name: what people see in the list of sessions.
        encryption: whether messages are encrypted where a room asks for it (and the libraries are there).
        encrypt_direct: whether direct chats that the appliance opens are encrypted.
        invites: patterns of the ids of people whose invitations are accepted, as a list, or in one text with spaces
            between them; None: everybody on the account's own server; ``nobody``, or an empty list: nobody.
        catch_up_minutes: after a first login, what is older than this is not answered.
        max_missed: so many messages of one chat are read after an absence.
        poll_seconds: how long the homeserver may keep a question for news waiting.
    """

    homeserver: str
    user: str = ""
    login: Literal["password", "token", "sso"] = "password"
    device_name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] = "nanoclaw"
    encryption: bool = True
    encrypt_direct: bool = True
    invites: Annotated[tuple[Pattern, ...], msgspec.Meta(max_length=1000)] | Text | None = None
    catch_up_minutes: Annotated[int, msgspec.Meta(ge=0, le=60 * 24 * 7)] = 10
    max_missed: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 2000
    poll_seconds: Annotated[int, msgspec.Meta(ge=1, le=50)] = 30


def check(options: Options) -> None:
    """Check what a type cannot say.

    Raises:
        InvalidOption: an option is wrong.
    """
    if "://" not in options.homeserver:
        if not _SERVER.fullmatch(options.homeserver):
            raise InvalidOption("homeserver", "is no server's name and no address, such as https://matrix.example.org")
    else:
        try:
            parts = urlsplit(options.homeserver)
            host = parts.hostname or ""
        except ValueError:
            parts, host = urlsplit(""), ""
        if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
            raise InvalidOption("homeserver", "is no address, such as https://matrix.example.org")
        if parts.scheme == "http" and host not in _OWN_MACHINE:
            raise InvalidOption("homeserver", "must be https://, or the account's token is seen on the way")
    if options.user and not is_user_id(options.user) and not _NAME.fullmatch(options.user):
        raise InvalidOption("user", "is no account, such as @bot:example.org")
    if options.login == "password" and not options.user:
        raise InvalidOption("user", "is missing; a login by password needs it")


def is_user_id(text: object) -> bool:
    """Tell whether a text is a person's id on Matrix."""
    return isinstance(text, str) and len(text) <= MAX_ID and _USER.fullmatch(text) is not None


def server_of(user_id: str) -> str:
    """Return the server's name in a person's id."""
    return user_id.partition(":")[2]


def may_invite(options: Options, own_id: str, inviter: str) -> bool:
    """Tell whether somebody's invitation is accepted.

    By default everybody of the account's own server may: whoever runs it decides who has an account there. To be in a
    room is no permission: what a stranger says there goes the way of all unknown people.
    """
    if not is_user_id(inviter):
        return False
    if options.invites is None:
        return server_of(inviter) == server_of(own_id)
    patterns = options.invites.split() if isinstance(options.invites, str) else options.invites
    return any(fnmatch.fnmatchcase(inviter, pattern) for pattern in patterns)
