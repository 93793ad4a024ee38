"""A host's connections between the requests of one connection of an agent: no handshake for each of them.

They are that connection's alone, so what a host says on them concerns nobody else; and one on which anything has come
that was not asked for is not used again.
"""

import asyncio
from collections.abc import Hashable
from typing import Final

from nanoclawd.gateway.secure import Line

KEEP_SECONDS: Final = 4.0
"""Less than servers commonly keep one (5 s), so that no request is sent into a connection that is being closed."""

MOST: Final = 8


class Kept:
    """Those of one agent's connection."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, Hashable, Line]] = []
        self._is_over = False

    def take(self, kind: Hashable) -> Line | None:
        """Return one that can be used, None where there is none.

        Args:
            kind: how one would be made now; one that was made otherwise does not count.
        """
        now = asyncio.get_running_loop().time()
        while self._lines:
            since, was, line = self._lines.pop()
            if line.is_quiet and was == kind and now - since < KEEP_SECONDS:
                return line
            line.close()
        return None

    def give(self, line: Line, kind: Hashable) -> None:
        """Keep one on which a request was answered, or close it."""
        if self._is_over or len(self._lines) >= MOST or not line.is_quiet:
            line.close()
            return
        self._lines.append((asyncio.get_running_loop().time(), kind, line))

    def close(self) -> None:
        """The agent's connection has ended."""
        self._is_over = True
        for _, _, line in self._lines:
            line.close()
        self._lines.clear()
