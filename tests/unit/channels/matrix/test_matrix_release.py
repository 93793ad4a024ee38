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


WITHOUT_OLM = """
import asyncio, sys
sys.modules["olm"] = sys.modules["vodozemac"] = None
from pathlib import Path
from nanoclawd.channels.matrix.account import Account
from nanoclawd.channels.matrix.keys import Keys
from nanoclawd.channels.matrix.options import Options
from nanoclawd.channels.matrix.requests import Requests
from nanoclawd.channels.matrix.session import Session
from nanoclawd.channels.matrix.state import Device, Progress, Store

async def main():
    device = Device("http://127.0.0.1:1", "@bot:bed.test", "DEVICE", "token", "k" * 32, "")
    store, options = Store(Path(sys.argv[1])), Options(homeserver="https://x", user="bot")
    keys = Keys(device, store, encryption=True, seconds=1.0)
    room = {"state": {"events": [{"type": "m.room.encryption", "state_key": "", "sender": "@a:b", "event_id": "$1",
        "origin_server_ts": 1, "content": {"algorithm": "m.megolm.v1.aes-sha2"}}]}}
    await keys.take_in({"next_batch": "s1", "rooms": {"join": {"!a:b": room}}})
    await keys.keep_up()
    session = Session(Account("mx", options, device, Requests(device.address), keys, store, Progress(), None))
    session.ready.set()
    print(session.health().detail)
    try:
        await keys.encrypt("!a:b", "m.room.message", {"body": "a secret"})
    except Exception as error:
        print(error)
    await session.end()

asyncio.run(main())
"""


def test_without_the_libraries_for_encryption_it_says_so_and_sends_no_secret_in_the_clear(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'runner'}"}
    argv = [sys.executable, "-c", WITHOUT_OLM, str(tmp_path)]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "does not encrypt: python3-olm is not installed (apt install python3-olm)" in done.stdout
    assert "the room is encrypted, and this channel does not encrypt" in done.stdout
