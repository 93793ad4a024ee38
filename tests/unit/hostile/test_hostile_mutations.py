"""Any bytes give rows, damage or "not now": never another exception, a crash of the process, or a long wait."""

import ast
import subprocess
import sys
from pathlib import Path

from hostile_stage import Victim, child_environment, fill

SECONDS = 15


def test_thousands_of_mutations(empty: Victim) -> None:
    fill(empty.database, 60, content='{"text": "' + "long enough for overflow pages " * 40 + '"}')
    child = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("mutations.py")), str(empty.database), str(SECONDS)],
        capture_output=True,
        text=True,
        check=False,
        env=child_environment(),
        timeout=SECONDS * 8,
    )
    assert child.returncode == 0, f"{child.returncode}\n{child.stdout[-3000:]}\n{child.stderr[-3000:]}"
    outcomes = ast.literal_eval(child.stdout.splitlines()[-1])
    print(outcomes)
    assert sum(outcomes.values()) > 1000
    # Both kinds were met: else the mutations miss what they are meant to hit.
    assert outcomes["rows"] > 20
    assert outcomes["DamagedError"] > 200
