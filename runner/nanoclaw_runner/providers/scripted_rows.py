"""What a script can write for the host, and the ``ncl`` that it can run. Nothing is checked here: the host has to."""

import asyncio
import json
import os
import shlex
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from pathlib import Path
from typing import Final

from nanoclaw_runner.contract.rows import Address
from nanoclaw_runner.desk import Desk

NCL_SECONDS: Final = 90.0
_NAMES: Final = 100


class Rows:
    """The directives that write a row each, and give its number."""

    def __init__(self, desk: Desk, files: Path) -> None:
        self._desk = desk
        self._files = files

    async def card(self, rest: str) -> str:
        """Ask with a card."""
        return f"card: {self._desk.write('card', _needed(rest, 'JSON'))}"

    async def edit(self, rest: str) -> str:
        """Change what was said."""
        message, _, text = rest.partition(" ")
        _needed(text, "ID TEXT")
        return f"edit: {self._chat({'operation': 'edit', 'messageId': message, 'text': text})}"

    async def react(self, rest: str) -> str:
        """React to a message."""
        message, _, emoji = rest.partition(" ")
        _needed(emoji, "ID EMOJI")
        return f"react: {self._chat({'operation': 'reaction', 'messageId': message, 'emoji': emoji})}"

    async def file(self, rest: str) -> str:
        """Send a file."""
        name, _, text = rest.partition(" ")
        written = self._write(_needed(name, "NAME TEXT"), text.encode())
        return f"file: {self._chat({'text': '', 'files': [written]})}"

    async def to(self, rest: str) -> str:
        """Say something elsewhere."""
        channel, _, more = rest.partition(" ")
        chat, _, text = more.partition(" ")
        _needed(text, "CHANNEL PLATFORM-ID TEXT")
        return f"to: {self._chat({'text': text}, Address(channel, chat))}"

    async def system(self, rest: str) -> str:
        """Ask the host for something."""
        return f"system: {self._desk.write('system', _needed(rest, 'JSON'))}"

    def _chat(self, content: dict[str, object], to: Address | None = None) -> int:
        return self._desk.write("chat", json.dumps(content, ensure_ascii=False), to)

    def _write(self, name: str, data: bytes) -> str:
        """Write a new file and return its name: another message's file may still wait for its delivery."""
        stem, dot, suffix = name.partition(".")
        for number in range(1, _NAMES):
            tried = name if number == 1 else f"{stem}-{number}{dot}{suffix}"
            try:
                descriptor = os.open(self._files / tried, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o660)
            except FileExistsError:
                continue
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            return tried
        raise ValueError(f"there are {_NAMES} files of this name")


async def ncl(rest: str) -> str:
    """Run ``ncl`` as one of the agent's tools would, and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        "ncl", *shlex.split(rest), stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, start_new_session=True
    )
    try:
        async with asyncio.timeout(NCL_SECONDS):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    text = printed.decode(errors="replace").rstrip("\n")
    return text if process.returncode == 0 else f"{text}\n(exit code {process.returncode})"


def _needed(argument: str, usage: str) -> str:
    if not argument:
        raise ValueError(f"needs {usage}")
    return argument
