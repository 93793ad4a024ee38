"""Troubles that were reported and are not over: kept across runners, so that whoever sees them end can say so."""

import logging
from collections.abc import Callable
from typing import Final

from nanoclaw_runner import reports
from nanoclaw_runner.store.outbox import Outbox

FILE: Final = "file"
"""Where a trouble with the configuration file is kept."""

_BEGINNING: Final = "trouble/"
_TURN: Final = "turn"
_SERVER: Final = "mcp"
_MAX_KEPT: Final = 64

_log = logging.getLogger(__name__)


class Standing:
    """What stands: each trouble by what ends it, its kind and its subject."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._kept = set(outbox.states(_BEGINNING))

    def begins(self, kind: str, subject: str, where: str = "") -> None:
        """Keep a trouble that is about to be reported.

        Args:
            kind: of trouble.
            subject: what it is about, may be empty.
            where: :data:`FILE`; empty: the kind says it.
        """
        key = f"{_BEGINNING}{where or (_SERVER if kind == _SERVER else _TURN)}/{kind}/{subject}/"
        if key not in self._kept and len(self._kept) < _MAX_KEPT:
            self._outbox.set_state(key, "")
            self._kept.add(key)

    def answered(self, highest_in: Callable[[], int]) -> bool:
        """Report that the provider's troubles are over, since it has answered; False: there were none.

        Args:
            highest_in: gives the greatest sequence number of the inbox; mostly nobody needs it.
        """
        return self._over(f"{_BEGINNING}{_TURN}/", highest_in)

    def works(self, server: str, highest_in: Callable[[], int]) -> bool:
        """Report that an MCP server's troubles are over; with one of them the library is there that all need."""
        ended = [self._over(f"{_BEGINNING}{_SERVER}/{_SERVER}/{name}/", highest_in) for name in (server, "")]
        return any(ended)

    def readable(self, highest_in: Callable[[], int]) -> bool:
        """Report that the configuration file is no trouble any more."""
        return self._over(f"{_BEGINNING}{FILE}/", highest_in)

    def _over(self, beginning: str, highest_in: Callable[[], int]) -> bool:
        ended = sorted(key for key in self._kept if key.startswith(beginning))
        if not ended:
            return False
        told = [reports.over(*key.removesuffix("/").split("/", 3)[2:]) for key in ended]
        self._outbox.finish(told, (), highest_in(), forget=beginning)
        self._kept.difference_update(ended)
        _log.info("%d troubles are over", len(ended))
        return True
