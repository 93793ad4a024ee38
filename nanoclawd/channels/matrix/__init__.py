"""The Matrix channel: an account on a homeserver, with end-to-end encryption where its libraries are installed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nanoclawd.channels.adapter import ChannelPlaces, InvalidOption
from nanoclawd.channels.matrix.options import Options, check
from nanoclawd.channels.options import read_options

if TYPE_CHECKING:
    from nanoclawd.channels.matrix.adapter import MatrixAdapter


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> "MatrixAdapter":
    """Make an adapter that is not connected yet.

    Raises:
        InvalidOption: an option is wrong, or the library is not installed.
    """
    known = read_options(Options, options)
    check(known)
    try:
        from nanoclawd.channels.matrix.adapter import MatrixAdapter
    except ImportError as error:
        raise InvalidOption(
            "type", f"Matrix needs a library: {error}", hint="sudo apt install python3-matrix-nio"
        ) from error
    return MatrixAdapter(name, known, places)
