"""What is not used costs no memory: the services import a channel's library, or a cipher, when they need it."""

import os
import subprocess
import sys

import pytest

CHANNELS = ("telegram", "nio", "discord", "markdown_it", "nh3", "segno")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("nanoclawd.__main__", (*CHANNELS, "cryptography", "h2")),
        ("nanoclawd.core.appliance", CHANNELS),
        ("nanoclawd.gateway.__main__", (*CHANNELS, "cryptography", "apsw", "varlink")),
        ("nanoclawd.credentials.__main__", (*CHANNELS, "aiohttp", "apsw")),
        ("nanoclawd.cli.__main__", (*CHANNELS, "aiohttp", "apsw", "cryptography")),
    ],
)
def test_a_service_that_begins_has_no_library_that_it_does_not_use_yet(module: str, heavy: tuple[str, ...]):
    program = f"import sys, {module}; print(*(name for name in {heavy!r} if name in sys.modules))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == []
