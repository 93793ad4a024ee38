"""Keeps a process's memory from other processes, whoever they are run by."""

import ctypes
from typing import Final

_PR_SET_DUMPABLE: Final = 4


def be_undumpable() -> None:
    """No other process of this uid may read this one's memory or trace it, and no core of it is written (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
