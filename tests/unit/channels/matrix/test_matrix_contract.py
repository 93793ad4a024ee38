"""The Matrix channel, against a real homeserver (Synapse): what every adapter has to keep, in both kinds of rooms.

F-47, F-49, W-21, W-39: what is delivered again, also in several pieces, is one message each.
"""

import pytest

from unit.channels.contract import AdapterContract
from unit.channels.matrix.stage import MatrixSide, Stage


class TestPlain(AdapterContract):
    encrypted = False

    @pytest.fixture
    async def side(self, stage: Stage) -> MatrixSide:
        made = MatrixSide(stage, encrypted=self.encrypted)
        await made.make()
        return made


class TestEncrypted(TestPlain):
    encrypted = True
