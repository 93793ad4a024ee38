"""The Telegram adapter keeps the contract, over HTTP against a server of the Bot API (F-47…F-49, W-21, W-53)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from contract import AdapterContract
from telegram_stage import Stage, staged


class TestTelegram(AdapterContract):
    @pytest.fixture
    async def side(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
        async with staged(tmp_path, monkeypatch) as stage:
            yield stage
