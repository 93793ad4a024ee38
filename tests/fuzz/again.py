"""Gives a target one input: ``python3 -m fuzz.again TARGET FILE``."""

import sys
from pathlib import Path

from fuzz.targets import TARGETS

TARGETS[sys.argv[1]](Path(sys.argv[2]).read_bytes())
