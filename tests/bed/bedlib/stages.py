"""Says what is being done, how far it is, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Numbered stages on standard error: `[2/6] unpacking the rootfs … 3.1 s`."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._number = 0
        self._line_open = False

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Announce a stage and, when it is over, its duration."""
        self._number += 1
        self._write(f"[{self._number}/{self._total}] {title} …")
        self._line_open = True
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self._close("failed after", start)
            raise
        self._close("done in", start)

    def note(self, text: str) -> None:
        """Say something about the stage that is running."""
        self._write(f"{chr(10) if self._line_open else ''}      {text}\n")
        self._line_open = False

    def _close(self, word: str, start: float) -> None:
        seconds = f"{time.monotonic() - start:.1f} s"
        if self._line_open and word == "done in":
            self._write(f" {seconds}\n")
        else:
            self.note(f"{word} {seconds}")
        self._line_open = False

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
