"""The menu of commands in Telegram's apps (F-47): those that there are, told once."""

from pathlib import Path

import pytest
from telegram_stage import ANN, staged

from eventually import eventually
from nanoclawd.channels.telegram.menu import COMMANDS
from nanoclawd.routing.commands import COMMANDS as KNOWN
from nanoclawd.routing.decision import CommandClass
from nanoclawd.sessions.ports import Delivered, Text


def test_the_menu_has_the_commands_that_there_are():
    there_are = {name for name, kind in KNOWN.items() if kind is not CommandClass.FILTERED} - {"start"}
    assert {one.command for one in COMMANDS} == there_are


async def test_it_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.up()
        await eventually(lambda: stage.api.calls["setMyCommands"])
        assert [one["command"] for one in stage.api.world.commands] == [one.command for one in COMMANDS]
        await stage.adapter.teardown()
        stage.api.world.commands[0]["description"] = "an older version's"
        for changes in (1, 0):
            stage.api.calls.clear()
            await stage.up()
            method = "setMyCommands" if changes else "getMyCommands"
            await eventually(lambda asked=method: stage.api.calls[asked])
            await stage.deliver(Text("hello"), f"row-{changes}")
            assert stage.api.calls["setMyCommands"] == changes
            await stage.adapter.teardown()


async def test_a_menu_that_is_not_taken_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    async with staged(tmp_path, monkeypatch) as stage:
        stage.api.fault("setMyCommands", status=400, description="Bad Request: BOT_COMMAND_INVALID")
        await stage.up()
        await eventually(lambda: stage.api.calls["setMyCommands"])
        assert isinstance(await stage.deliver(Text("hello"), chat=ANN), Delivered)
