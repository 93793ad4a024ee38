"""``python3 -m ways JSON``: tries all ways in the container that it runs in."""

import json
import sys

from . import WAYS
from .words import FOUND, GIVEN, outcome


def main() -> None:
    GIVEN.update(json.loads(sys.argv[1]))
    FOUND.write_text(json.dumps({one.name: outcome(one.tried) for one in WAYS}))
    FOUND.chmod(0o644)
    print(f"{len(WAYS)} ways")


main()
