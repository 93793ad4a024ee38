"""The Matrix channel with today's release of its library, whose encryption is other code than that of Debian's."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[4]
LIBRARY = REPOSITORY / "build" / "cache" / "matrix-nio"
HERE = "tests/unit/channels/matrix"
TESTS = (
    f"{HERE}/test_matrix_contract.py::TestEncrypted::test_a_claimed_idempotency_holds",
    f"{HERE}/test_matrix_contract.py::TestEncrypted::test_nothing_comes_in_after_the_teardown",
    f"{HERE}/test_matrix.py::test_what_people_say_and_do_comes_in",
    f"{HERE}/test_matrix.py::test_what_agents_say_and_do_is_seen",
    f"{HERE}/test_matrix.py::test_a_key_that_comes_later_opens_what_was_kept",
    f"{HERE}/test_matrix_reading.py::test_any_sync_is_taken_in",
)


def test_the_present_release_of_the_library():
    """Encrypted and plain rooms, both ways; the library that is imported is the one that is meant."""
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY)}
    found = [sys.executable, "-c", "import nio, vodozemac; print(nio.__file__)"]
    which = subprocess.run(found, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert which.stdout.startswith(str(LIBRARY))
    argv = [sys.executable, "-m", "pytest", "-q", *TESTS]
    done = subprocess.run(
        argv, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:]
