"""The Matrix channel: an account on a homeserver, with end-to-end encryption where its libraries are installed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.matrix.options import Options, check
from nanoclawd.channels.options import read_options
from nanoclawd.channels.setup import ChannelSetup, Question, library_of

if TYPE_CHECKING:
    from nanoclawd.channels.matrix.adapter import MatrixAdapter


SETUP = ChannelSetup(
    secret="account's password",  # noqa: S106  # what it is called
    hint="Make an account for the appliance on a Matrix homeserver, with any Matrix app, and log out of it there. "
    "With --option login=token or login=sso the secret is an access token, or a token of a single sign-on.",
    questions=(
        Question(
            "homeserver", "homeserver", "The server's name, example.org, or its address, https://matrix.example.org."
        ),
        Question("user", "account", "Its name, bot, or @bot:example.org."),
    ),
)


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> "MatrixAdapter":
    """Make an adapter that is not connected yet.

    Raises:
        InvalidOption: an option is wrong.
        Unavailable: the library is not installed.
    """
    known = read_options(Options, options)
    check(known)
    with library_of("python3-matrix-nio python3-olm"):
        from nanoclawd.channels.matrix.adapter import MatrixAdapter
    return MatrixAdapter(name, known, places)
