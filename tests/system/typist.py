"""Somebody at a real terminal: what a program shows on it, and what is typed."""

import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

PATIENCE_SECONDS: Final = 60.0


class Typist:
    """Runs a program on a pseudo-terminal that is its controlling one."""

    def __init__(self, *argv: str) -> None:
        self._fd, slave = pty.openpty()
        self._process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *argv], stdin=slave, stdout=slave, stderr=slave, close_fds=True
        )
        os.close(slave)
        self.shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, stack: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
        os.close(self._fd)

    def sees(self, text: str) -> None:
        """Wait until a text was shown."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.shown:
            assert self._read(deadline), f"no {text!r} in:\n{self.shown}"

    def types(self, line: str) -> None:
        """Type a line."""
        os.write(self._fd, line.encode() + b"\n")

    def presses(self, key: bytes) -> None:
        """Type without an end of line."""
        os.write(self._fd, key)

    def ends(self) -> int:
        """Wait for the program's end; return its exit code."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(max(deadline - time.monotonic(), 1))

    @property
    def lines(self) -> Sequence[str]:
        """What was shown, line by line."""
        return self.shown.replace("\r", "").splitlines()

    def _read(self, deadline: float) -> bool:
        """Read on; False where nothing more comes."""
        ready, _, _ = select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            return False
        try:
            piece = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            return False
        self.shown += piece.decode(errors="replace")
        return bool(piece)
