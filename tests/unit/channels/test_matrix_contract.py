"""The Matrix channel, against a real homeserver (Synapse): what every adapter has to keep, in both kinds of rooms.

F-47, F-49, W-21, W-39: what is delivered again, also in several pieces, is one message each.
"""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from homeserver.server import Homeserver
from unit.channels.contract import AdapterContract
from unit.channels.matrix_stage import MatrixSide, staged

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Homeserver]:
    made = Homeserver(tmp_path_factory.mktemp("homeserver"))
    made.start()
    yield made
    made.stop()


class TestPlain(AdapterContract):
    encrypted = False

    @pytest.fixture
    async def side(
        self, server: Homeserver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[MatrixSide]:
        async with staged(server, tmp_path, next(_numbers), monkeypatch) as stage:
            made = MatrixSide(stage, encrypted=self.encrypted)
            await made.make()
            yield made


class TestEncrypted(TestPlain):
    encrypted = True
