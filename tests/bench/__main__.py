"""``python3 tests/bench --json FILE``: measures the appliance, as root in a bed of its own."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # what it shares with the tests

from benchlib.cli import main

if __name__ == "__main__":
    main()
