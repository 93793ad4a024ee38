"""The Matrix channel, against a real homeserver (Synapse): what every adapter has to keep, in both kinds of rooms.

F-47, F-49, W-21, W-39: what is delivered again, also in several pieces, is one message each.
"""

from collections.abc import AsyncIterator

import pytest

from unit.channels.contract import AdapterContract
from unit.channels.matrix_stage import MatrixSide, Stage, server, stage

__all__ = ["server", "stage"]


class TestPlain(AdapterContract):
    encrypted = False

    @pytest.fixture
    async def side(self, stage: Stage) -> AsyncIterator[MatrixSide]:
        made = MatrixSide(stage, encrypted=self.encrypted)
        await made.make()
        yield made


class TestEncrypted(TestPlain):
    encrypted = True
