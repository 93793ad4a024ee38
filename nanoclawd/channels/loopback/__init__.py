"""A channel whose platform is a program on this machine: the system tests' people, groups, threads and accidents.

``create`` is its entry point. It is allowed only with ``allow_scripted: true``, because whoever may use its socket may
speak for everybody on it.
"""

from collections.abc import Mapping

from nanoclawd.channels.adapter import ChannelPlaces
from nanoclawd.channels.loopback.adapter import LoopbackAdapter, Options
from nanoclawd.channels.options import read_options


def create(name: str, options: Mapping[str, object], places: ChannelPlaces) -> LoopbackAdapter:
    """Make an adapter; its socket comes with its setup.

    Raises:
        InvalidOption: an option is unknown or wrong.
    """
    return LoopbackAdapter(name, read_options(Options, options), places)
