"""What the benchmark is doing, and how far it is, on standard error."""

import sys
import time

_BEGUN = time.monotonic()


def step(text: str) -> None:
    """Say it, with the seconds since the start."""
    sys.stderr.write(f"[{time.monotonic() - _BEGUN:5.0f} s] {text}\n")
    sys.stderr.flush()
