"""Runs other programs, keeping quiet unless they fail."""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .settings import BedError

TAIL = 30


def run(
    argv: Sequence[str | Path],
    *,
    note: Callable[[str], None] | None = None,
    keep: Callable[[str], bool] = lambda _line: True,
    env: Mapping[str, str] | None = None,
    hint: str = "",
) -> str:
    """Run a program without standard input and return what it printed.

    Args:
        argv: the program and its arguments.
        note: is told the lines for which `keep` is true, as they come.
        keep: which lines are worth telling.
        env: added to the environment.
        hint: what to type if it fails.

    Raises:
        BedError: it failed; the message has its last lines.
    """
    words = [str(word) for word in argv]
    lines: list[str] = []
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        )
    except FileNotFoundError as error:
        raise BedError(f"{words[0]} is not installed: run `apt-get install {words[0]}`") from error
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if note is not None and keep(line):
                note(line.strip())
    if process.returncode != 0:
        tail = "".join(deque(lines, TAIL))
        raise BedError(f"{words[0]} failed ({process.returncode}):\n{tail}{hint}".rstrip())
    return "".join(lines)
